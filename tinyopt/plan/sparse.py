"""Packing of weights that are mostly zero: the streams of ``firmware/kernels/common/sparse.h``.

Every format is lossless: what is stored are the int8 weights that are not zero, and where they belong. Which formats
suit a layer is seen from its weights alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array
from tinyopt.plan.blocks_mve import requantization_lanes

LEAST_ZEROS = 0.4
"""Share of weights (or blocks) that must be zero before a format without a fixed pattern is considered."""

_PAIRS_OF_RUN = 31
_BLOCKS_1X4_OF_RUN = 15
_BLOCKS_4X1_OF_RUN = 62
_MORE = 128
"""Marks a run that is followed by another one of the same row."""


@dataclass(frozen=True)
class Format:
    """A way to store sparse weights. All arrays are int8 [outputs, taps]."""

    name: str
    """As in ``sparse.h``; the kernels' names have it."""
    suits: Callable[[Array], bool]
    """Whether weights have the pattern, and enough zeros."""
    pack: Callable[[Array], Array]
    """The stream, int8."""
    steps: Callable[[Array], tuple[int, int]]
    """Entries that are walked (pairs, blocks, or bytes of positions), and runs."""


def _gapped(positions: Array, largest: int) -> tuple[Array, Array]:
    """Gaps between ascending positions, with further entries where a gap is wider than ``largest``.

    Returns the gaps, and for each the index of its position, or -1 for an entry in between.
    """
    gaps = np.diff(positions, prepend=0)
    extra = np.maximum(gaps - 1, 0) // largest
    ends = np.cumsum(extra + 1) - 1
    total = int(ends[-1]) + 1 if len(ends) else 0
    result, index = np.full(total, largest, np.int64), np.full(total, -1, np.int64)
    result[ends] = gaps - extra * largest
    index[ends] = np.arange(len(positions))
    return result, index


def _entries(row: Array, largest: int) -> tuple[Array, Array]:
    """Gaps and values of one row [positions, values of an entry]; all-zero entries are left out."""
    kept = np.flatnonzero(row.any(axis=1))
    gaps, index = _gapped(kept, largest)
    values = np.zeros((len(gaps), row.shape[1]), np.int64)
    values[index >= 0] = row[kept]
    return gaps, values


def _runs(entries: Array, most: int) -> list[Array]:
    """A row's entries, int64 [entries, bytes of one], cut into runs with their heads."""
    starts = range(0, max(len(entries), 1), most)
    pieces = []
    for start in starts:
        run = entries[start : start + most]
        more = _MORE if start + most < len(entries) else 0
        pieces += [np.array([len(run) | more]), run.reshape(-1)]
    return pieces


def _bytes(pieces: list[Array]) -> Array:
    result: Array = (np.concatenate(pieces) & 255).astype(np.uint8).view(np.int8)
    return result


def _count_runs(entries: list[int], most: int) -> tuple[int, int]:
    return sum(entries), sum(max(1, -(-count // most)) for count in entries)


def _pairs(row: Array, largest: int) -> tuple[Array, Array]:
    """Gaps and weights of one row in pairs, int64 [pairs, 2] each."""
    gaps, values = _entries(row[:, None], largest)
    odd = len(gaps) % 2
    return (np.pad(item, (0, odd)).reshape(-1, 2) for item in (gaps, values[:, 0]))  # type: ignore[return-value]


def _pack_gaps8(weights: Array) -> Array:
    return _bytes([p for row in weights for p in _runs(np.concatenate(tuple(_pairs(row, 255)), 1), _PAIRS_OF_RUN)])


def _pack_gaps4(weights: Array) -> Array:
    pieces = []
    for row in weights:
        gaps, values = _pairs(row, 15)
        pieces += _runs(np.concatenate([gaps[:, :1] | gaps[:, 1:] << 4, values], axis=1), _PAIRS_OF_RUN)
    return _bytes(pieces)


def _steps_of_gaps(weights: Array, largest: int) -> tuple[int, int]:
    """As packing would make them, without the packing."""
    rows, columns = np.nonzero(weights)
    first = np.diff(rows, prepend=-1) != 0
    gaps = np.where(first, columns, np.diff(columns, prepend=0))
    entries = np.bincount(rows, 1 + np.maximum(gaps - 1, 0) // largest, minlength=len(weights)).astype(np.int64)
    return _count_runs([int(count + 1) // 2 for count in entries], _PAIRS_OF_RUN)


def _enough(kept: Array) -> bool:
    """Whether enough is zero, where it is not ``kept``."""
    return bool(np.count_nonzero(kept) <= (1 - LEAST_ZEROS) * kept.size)


def _suits_gaps(weights: Array) -> bool:
    return _enough(weights)


def _blocks_1x4(weights: Array) -> Array:
    """[outputs, taps] → [outputs, blocks, 4]"""
    return weights.reshape(len(weights), -1, 4)


def _suits_1x4(weights: Array) -> bool:
    return weights.shape[1] % 4 == 0 and _enough(np.asarray(_blocks_1x4(weights).any(axis=2)))


def _pack_blocks(rows: Array, most: int) -> Array:
    """[rows, entries, 4] → the stream."""
    pieces = []
    for row in rows:
        gaps, values = _entries(row, 255)
        pieces += _runs(np.concatenate([gaps[:, None], values], axis=1), most)
    return _bytes(pieces)


def _steps_of_blocks(rows: Array, most: int) -> tuple[int, int]:
    return _count_runs([len(_gapped(np.flatnonzero(row.any(axis=1)), 255)[0]) for row in rows], most)


def _blocks_4x1(weights: Array) -> Array:
    """[outputs, taps] → [rows of four outputs, taps, 4]; missing outputs are zero."""
    padded = np.zeros((-(-len(weights) // 4) * 4, weights.shape[1]), np.int8)
    padded[: len(weights)] = weights
    result: Array = padded.reshape(-1, 4, weights.shape[1]).swapaxes(1, 2)
    return result


def suits_4x1(weights: Array) -> bool:
    return len(weights) >= 4 and _enough(np.asarray(_blocks_4x1(weights).any(axis=2)))


def _suits_of_4(weights: Array, count: int) -> bool:
    return weights.shape[1] % 4 == 0 and int(np.count_nonzero(_blocks_1x4(weights), axis=2).max()) <= count


def _pack_of_4(weights: Array, count: int) -> Array:
    """``count``: weights of a group."""
    groups = _blocks_1x4(weights)
    # Weights that are not zero first, in the order of the inputs; a group with fewer is filled up with zeros.
    order = np.argsort(groups == 0, axis=2, kind="stable")[:, :, :count]
    values = np.take_along_axis(groups, order, axis=2).reshape(len(weights), -1).astype(np.int64)
    positions = order.reshape(len(weights), -1)
    whole = values.shape[1] // 4 * 4
    shifts = 2 * np.arange(4)
    heads = (positions[:, :whole].reshape(len(weights), -1, 4) << shifts).sum(axis=2)
    entries = np.concatenate([heads[:, :, None], values[:, :whole].reshape(len(weights), -1, 4)], axis=2)
    rows = entries.reshape(len(weights), -1)
    if whole < values.shape[1]:
        left = positions[:, whole:]
        head = (left << shifts[: left.shape[1]]).sum(axis=1)
        rows = np.concatenate([rows, head[:, None], values[:, whole:]], axis=1)
    return _bytes([rows.reshape(-1)])


def _steps_of_4(weights: Array, count: int) -> tuple[int, int]:
    entries = len(weights) * -(-weights.shape[1] // 4 * count // 4)
    return entries, len(weights) + entries // 15


_GROUP = 16
_REACH = 256
"""Inputs of a group, and the places that they lie within (``firmware/kernels/common/sparse_mve.h``)."""


def _groups(kept: Array) -> list[Array]:
    """Ascending positions in groups."""
    groups, first = [], 0
    while first < len(kept):
        end = min(first + _GROUP, int(np.searchsorted(kept, kept[first] + _REACH)))
        groups.append(kept[first:end])
        first = end
    return groups


def count_groups(weights: Array) -> int:
    """Groups of all rows of four outputs. ``weights``: int8 [outputs, taps]."""
    return sum(len(_groups(np.flatnonzero(row.any(axis=1)))) for row in _blocks_4x1(weights))


def pack_groups(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of ``sparse_mve.h``, int8. ``weights``: int8 [outputs, taps]; the others as in
    ``blocks_mve.requantization_lanes``."""
    pieces = []
    for row, lanes in zip(_blocks_4x1(weights), requantization_lanes(bias, multipliers, shifts)):
        groups = _groups(np.flatnonzero(row.any(axis=1)))
        pieces.append(np.append(lanes, len(groups)).astype("<i4").view(np.int8))
        before = 0
        for group in groups:
            first = int(group[0])
            entries = np.zeros((5, _GROUP), np.int64)
            entries[0, : len(group)] = group - first
            entries[1:, : len(group)] = row[group].T
            pieces.append(np.array([first - before], "<i4").view(np.int8))
            pieces.append((entries & 255).astype(np.uint8).view(np.int8).reshape(-1))
            before = first
    result: Array = np.concatenate(pieces)
    return result


FORMATS = (
    Format("gaps8", _suits_gaps, _pack_gaps8, lambda weights: _steps_of_gaps(weights, 255)),
    Format("gaps4", _suits_gaps, _pack_gaps4, lambda weights: _steps_of_gaps(weights, 15)),
    Format(
        "1x4",
        _suits_1x4,
        lambda weights: _pack_blocks(_blocks_1x4(weights), _BLOCKS_1X4_OF_RUN),
        lambda weights: _steps_of_blocks(_blocks_1x4(weights), _BLOCKS_1X4_OF_RUN),
    ),
    Format(
        "4x1",
        suits_4x1,
        lambda weights: _pack_blocks(_blocks_4x1(weights), _BLOCKS_4X1_OF_RUN),
        lambda weights: _steps_of_blocks(_blocks_4x1(weights), _BLOCKS_4X1_OF_RUN),
    ),
    Format(
        "1of4",
        lambda weights: _suits_of_4(weights, 1),
        lambda weights: _pack_of_4(weights, 1),
        lambda weights: _steps_of_4(weights, 1),
    ),
    Format(
        "2of4",
        lambda weights: _suits_of_4(weights, 2),
        lambda weights: _pack_of_4(weights, 2),
        lambda weights: _steps_of_4(weights, 2),
    ),
)
"""The formats of ``sparse.h``."""
