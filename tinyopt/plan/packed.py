"""Weights of few different values, stored as codes of 1, 2 or 4 bits (``firmware/kernels/common/unpack.h``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, Tensor
from tinyopt.plan.kernel import Constant, Value

WIDTHS = (1, 2, 4)
"""Bits that a code may have."""


@dataclass(frozen=True)
class Order:
    """How the bytes that a kernel reads are made up: equal blocks, each of weights, others, weights, others.

    ``halves``: two weights (low, high) are stored as the int16 256 * high + low.
    """

    first: int
    first_others: int = 0
    second: int = 0
    second_others: int = 0
    halves: bool = False

    @property
    def block(self) -> int:
        return self.first + self.first_others + self.second + self.second_others


def different_values(weights: Array) -> Array:
    """The values that occur in int8 weights, sorted."""
    counts = np.bincount(weights.reshape(-1).view(np.uint8), minlength=256)
    return np.sort(np.flatnonzero(counts).astype(np.uint8).view(np.int8))


def code_width(values: Array) -> int | None:
    """Bits that a code for one of these values needs; None for more than 16 values."""
    return next((bits for bits in WIDTHS if len(values) <= 1 << bits), None)


def is_packable(tensor: Tensor) -> bool:
    """Whether weights have few enough different values, zero among them, as kernels fill up with it."""
    return code_width(np.union1d(different_values(tensor.value), [0])) is not None


@dataclass(frozen=True)
class Uniform:
    """Weights are ``low + step * code``. One step fits all: the integer that divides every difference."""

    low: int
    step: int
    bits: int

    @staticmethod
    def of(values: Array) -> Uniform | None:
        """The fewest bits for sorted values; None if they are not that regular, or reach too far."""
        wide = values.astype(np.int64)
        low = int(wide[0])
        step = max(int(np.gcd.reduce(wide - low)), 1)
        bits = next((bits for bits in WIDTHS if int(wide[-1]) - low <= step * ((1 << bits) - 1)), None)
        if bits is None or step * ((1 << bits) - 1) > 127:
            return None
        return Uniform(low, step, bits)


def pack(data: Array, order: Order, source: str) -> tuple[dict[str, Value], int]:
    """The fields of ``tinyopt_packed``, and the bytes that they expand to.

    ``data``: int8, as a kernel for int8 weights stores it; filled up with zeros to whole blocks. At most 16 different
    weights, zero among them where blocks are not whole. ``source``: name of the tensor.
    """
    blocks = -(-data.size // order.block)
    padded = np.zeros((blocks, order.block), np.int8)
    padded.reshape(-1)[: data.size] = data.reshape(-1)
    cuts = np.cumsum([order.first, order.first_others, order.second])
    first, first_others, second, second_others = np.split(padded, cuts, axis=1)
    weights = np.concatenate([first, second], axis=1)
    if order.halves:
        weights = weights.copy()
        weights[:, 1::2] += weights[:, 0::2] < 0
    others = np.concatenate([first_others, second_others], axis=1)
    values = different_values(weights)
    uniform, bits = Uniform.of(values), code_width(values)
    assert bits is not None
    if uniform is not None and uniform.bits == bits:
        codes = (weights.astype(np.int64) - uniform.low) // uniform.step
        table = None
    else:
        uniform = Uniform(0, 1, bits)
        codes = np.searchsorted(values, weights)
        # The table has an entry for every code that may fill up a word.
        full = np.zeros(1 << bits, np.int8)
        full[: len(values)] = values
        table = Constant(full, weights=False, align=1)
    return {
        "codes": Constant(code_words(codes, bits), source=source),
        "others": Constant(others, source=source) if others.size else None,
        "values": table,
        "bits": bits,
        "step": uniform.step,
        "low": uniform.low,
        "blocks": blocks,
        "halves": int(order.halves),
        "first": order.first,
        "first_others": order.first_others,
        "second": order.second,
        "second_others": order.second_others,
    }, blocks * order.block


def code_words(codes: Array, bits: int) -> Array:
    """Codes [blocks, n], n a multiple of four, → uint32 words; every block begins with a new word."""
    per_word = 32 // bits
    padded = np.zeros((len(codes), -(-codes.shape[1] // per_word) * per_word), np.uint32)
    padded[:, : codes.shape[1]] = codes
    fours = padded.reshape(-1, 8 // bits, 4) << (8 * np.arange(4, dtype=np.uint32))
    shifted = fours.sum(axis=2, dtype=np.uint32) << (bits * np.arange(8 // bits, dtype=np.uint32))
    result: Array = shifted.sum(axis=1, dtype=np.uint32)
    return result


@dataclass(frozen=True, eq=False)
class Groups:
    """Weights that are a multiplier from 1 to 15 times -8 … 7. ``multipliers``: int64 [outputs, groups]."""

    size: int
    multipliers: Array

    @staticmethod
    def of(weights: Array) -> Groups | None:
        """The largest groups of ``GROUPS`` for weights [outputs, inputs]; None where there are none."""
        columns = np.arange(1, 16)[:, None, None]
        wide = weights.astype(np.int64)
        if _multipliers(wide[:4], columns, GROUPS[0]) is None:
            return None
        for size in reversed(GROUPS):
            if size < weights.shape[1] or size == GROUPS[0]:
                found = _multipliers(wide, columns, size)
                if found is not None:
                    return Groups(size, found)
        return None

    def spread(self, inputs: int) -> Array:
        """The multiplier of every weight."""
        result: Array = np.repeat(self.multipliers, self.size, axis=1)[:, :inputs]
        return result


GROUPS = (8, 16, 24, 32, 48, 64, 96, 128, 256)
"""Sizes of groups that are looked for; all are multiples of the first."""


def _multipliers(weights: Array, candidates: Array, size: int) -> Array | None:
    """The least fitting multiplier of every group; None if a group has none."""
    steps = weights // candidates
    fits = (steps * candidates == weights) & (steps >= -8) & (steps <= 7)
    fits = np.logical_and.reduceat(fits, np.arange(0, weights.shape[1], size), axis=2)
    if not fits.any(axis=0).all():
        return None
    result: Array = fits.argmax(axis=0) + 1
    return result
