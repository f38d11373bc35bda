"""Weight formats: which int8 values the weights of a layer may take, and the scales that go with them.

A quantized graph always holds int8 weights with one scale per output channel. A format narrows the values down, so
that the planner can store them in fewer bits and still compute the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.quantize.rounding import round_half_away

SMALLEST_SCALE = 2.0**-60
"""Products of two scales stay far from the smallest float32."""
_RATIOS = np.linspace(1.0, 0.4, 31)
"""Fractions of the largest weight at which a searched range may end."""


@runtime_checkable
class WeightFormat(Protocol):
    """The values that weights may take. Frozen, comparable and hashable."""

    @property
    def bits(self) -> float:
        """Bits that a weight needs in flash, without scales and tables."""

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        """Weights [channels, n] → int8 [channels, n] and scales [channels], float32 values: weight ≈ integer * scale.

        ``least_scales`` [channels]: no scale becomes smaller. A channel of zeros keeps zeros in every format, and
        has the largest scale of the others.
        """


@runtime_checkable
class UniformFormat(WeightFormat, Protocol):
    """A format of equal steps: every integer from ``low`` to ``high``, times the step of the weight."""

    @property
    def low(self) -> int:
        """The smallest number of steps."""

    @property
    def high(self) -> int:
        """The largest number of steps."""

    def steps(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        """Weights [channels, n] → the integer step of each weight [channels, n], and scales [channels].

        An integer weight is its step times a number from ``low`` to ``high``.
        """


@dataclass(frozen=True)
class Int8:
    """-127 … 127. ``search``: the range of each channel is the one of least squared error, else its largest weight."""

    search: bool = False
    low = -127
    high = 127
    bits = 8.0

    def steps(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        scales = _uniform_scales(rows, self.low, self.high, least_scales, search=self.search)
        return np.ones(rows.shape), scales

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        return _nearest(self, rows, least_scales)

    def __str__(self) -> str:
        return "int8"


@dataclass(frozen=True)
class Int4:
    """-8 … 7, packed in half a byte.

    ``group``: that many weights in a row, in the order of the layer's weights, share an integer multiplier from 1 to
    15, chosen by the least squared error; their int8 values are that multiple of -8 … 7. None: no multipliers.
    ``search``: the range of each channel is the one of least squared error, else its largest weight.
    """

    group: int | None = None
    search: bool = True
    low = -8
    high = 7

    def __post_init__(self) -> None:
        if self.group is not None and self.group < 2:
            raise DataError(f"a group of {self.group} weights cannot share a multiplier; give at least 2")

    @property
    def bits(self) -> float:
        return 4.0 if self.group is None else 4.0 + 4.0 / self.group

    def steps(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        if self.group is None:
            scales = _uniform_scales(rows, self.low, self.high, least_scales, search=self.search)
            return np.ones(rows.shape), scales
        return _grouped_steps(rows, self.group, least_scales, search=self.search)

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        return _nearest(self, rows, least_scales)

    def __str__(self) -> str:
        return "int4" if self.group is None else f"int4:{self.group}"


@dataclass(frozen=True)
class Ternary:
    """-1, 0, 1 (ternary weight networks, Li et al. 2016).

    ``threshold``: weights below this multiple of the channel's mean magnitude become zero and the scale is the mean
    of the others; the paper's 0.7 fits normally distributed weights. None: the threshold of least squared error.
    """

    threshold: float | None = None
    low = -1
    high = 1
    bits = 2.0

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0.0 <= self.threshold < 1.0:
            raise DataError(f"a ternary threshold must lie from 0 up to 1, not {self.threshold}")

    def steps(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        return np.ones(rows.shape), self.integers(rows, least_scales)[1]

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        rows = rows.astype(np.float64)
        sizes = np.abs(rows)
        if self.threshold is None:
            # With the k largest weights kept at their mean, the error falls by (their sum)² / k.
            ordered = -np.sort(-sizes, axis=1)
            sums = np.cumsum(ordered, axis=1)
            kept = np.argmax(sums**2 / np.arange(1, rows.shape[1] + 1), axis=1)
            limits = np.take_along_axis(ordered, kept[:, None], 1)
            signs = np.where(sizes >= limits, np.sign(rows), 0.0)
        else:
            signs = np.where(sizes > self.threshold * sizes.mean(1, keepdims=True), np.sign(rows), 0.0)
        count = np.maximum(np.abs(signs).sum(1), 1.0)
        scales = _finished((sizes * np.abs(signs)).sum(1) / count, least_scales)
        return signs.astype(np.int8), scales

    def __str__(self) -> str:
        return "ternary"


@dataclass(frozen=True)
class Binary:
    """-1 and 1; the scale is the channel's mean magnitude (XNOR-Net, Rastegari et al. 2016). Zero becomes 1."""

    bits = 1.0

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        rows = rows.astype(np.float64)
        sizes = np.abs(rows)
        signs = np.where(rows < 0, -1.0, 1.0) * (sizes.max(1, keepdims=True) > 0)
        return signs.astype(np.int8), _finished(sizes.mean(1), least_scales)

    def __str__(self) -> str:
        return "binary"


@dataclass(frozen=True)
class Clustered:
    """At most ``values`` different int8 values in the layer, found by k-means (Han et al. 2016, deep compression).

    Weights are divided by the scale of their channel first, so that one codebook serves all channels; an error counts
    as much as it changes the weight. ``keep_zero``: zero is one of the values, so that pruned weights stay zero
    (always where a channel has no weights).
    """

    values: int = 16
    keep_zero: bool = True
    iterations: int = 40

    def __post_init__(self) -> None:
        if not 2 <= self.values <= 256:
            raise DataError(f"a codebook has 2 to 256 values, not {self.values}")

    @property
    def bits(self) -> float:
        return float(max(1, (self.values - 1).bit_length()))

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        rows = rows.astype(np.float64)
        scales = _uniform_scales(rows, -127, 127, least_scales, search=False)
        wanted = np.clip(rows / scales[:, None], -127.0, 127.0)
        importance = np.broadcast_to((scales / scales.max())[:, None] ** 2, rows.shape)
        keep_zero = self.keep_zero or not rows.any(1).all()
        book = codebook(wanted, importance, self.values, keep_zero=keep_zero, iterations=self.iterations)
        return nearest_value(wanted, book).astype(np.int8), scales

    def __str__(self) -> str:
        return f"clustered:{self.values}"


def weight_format(text: str) -> WeightFormat:
    """A format by its name: ``int8``, ``int4``, ``int4:GROUP``, ``ternary``, ``binary``, ``clustered:VALUES``.

    Raises:
        DataError: for any other text.
    """
    name, _, number = text.strip().lower().partition(":")
    plain: dict[str, Callable[[], WeightFormat]] = {
        "int8": Int8,
        "int4": Int4,
        "ternary": Ternary,
        "binary": Binary,
        "clustered": Clustered,
    }
    if name in plain and not number:
        return plain[name]()
    if number.isdigit() and name == "int4":
        return Int4(group=int(number))
    if number.isdigit() and name == "clustered":
        return Clustered(int(number))
    raise DataError(f"'{text}' is no weight format; give int8, int4, int4:GROUP, ternary, binary or clustered:VALUES")


def codebook(wanted: Array, importance: Array, values: int, *, keep_zero: bool, iterations: int) -> Array:
    """At most ``values`` different integers, sorted, near the real numbers ``wanted``: weighted k-means in 1-D.

    Starts at equal shares of the sorted numbers, so that it needs no random numbers.
    """
    numbers, weights = wanted.reshape(-1), importance.reshape(-1)
    order = np.argsort(numbers, kind="stable")
    numbers, weights = numbers[order], weights[order]
    sums, moments = np.cumsum(np.append(0.0, weights)), np.cumsum(np.append(0.0, weights * numbers))
    centres = np.linspace(numbers[0], numbers[-1], values)
    quantiles = numbers[((np.arange(values) + 0.5) * len(numbers) / values).astype(np.int64)]
    centres = np.sort(0.5 * (centres + quantiles))
    for _ in range(iterations):
        if keep_zero:
            centres[np.argmin(np.abs(centres))] = 0.0
        edges = np.searchsorted(numbers, 0.5 * (centres[1:] + centres[:-1]))
        edges = np.concatenate([[0], edges, [len(numbers)]])
        mass = np.diff(sums[edges])
        moved = np.where(mass > 0, np.diff(moments[edges]) / np.where(mass > 0, mass, 1.0), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    if keep_zero:
        centres[np.argmin(np.abs(centres))] = 0.0
    return np.unique(np.clip(round_half_away(centres), -127, 127))


def nearest_value(wanted: Array, book: Array) -> Array:
    """The value of a sorted codebook that is nearest to each number."""
    result: Array = book[np.searchsorted(0.5 * (book[1:] + book[:-1]), wanted)]
    return result


def _nearest(form: UniformFormat, rows: Array, least_scales: Array | None) -> tuple[Array, Array]:
    steps, scales = form.steps(rows, least_scales)
    exact = rows.astype(np.float64) / (steps * scales[:, None])
    return (np.clip(round_half_away(exact), form.low, form.high) * steps).astype(np.int8), scales


def _finished(scales: Array, least_scales: Array | None) -> Array:
    """Scales that are at least the given ones; channels without weights take the largest of the others."""
    scales = np.where(scales > 0, scales, scales.max() or 1.0)
    least = np.full(len(scales), SMALLEST_SCALE) if least_scales is None else least_scales
    result: Array = np.maximum(scales, np.maximum(least, SMALLEST_SCALE)).astype(np.float32).astype(np.float64)
    return result


def _uniform_scales(rows: Array, low: int, high: int, least_scales: Array | None, *, search: bool) -> Array:
    """One scale per channel: its range ends at the largest weight, or where the squared error is least."""
    rows = rows.astype(np.float64)
    top, bottom = rows.max(1, initial=0.0), rows.min(1, initial=0.0)
    largest = _finished(np.maximum(top / high, bottom / low), least_scales)
    if not search:
        return largest
    best, scales = np.full(len(rows), np.inf), largest
    for ratio in _RATIOS:
        tried = _finished(largest * ratio, least_scales)
        column = tried[:, None]
        error = np.square(np.clip(np.rint(rows / column), low, high) * column - rows).sum(1)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, tried, scales)
    return scales


def _grouped_steps(rows: Array, group: int, least_scales: Array | None, *, search: bool) -> tuple[Array, Array]:
    """Integer multipliers of groups of int4 weights, and the scales of their channels."""
    channels, count = rows.shape
    padded = np.zeros((channels, -(-count // group) * group))
    padded[:, :count] = rows
    groups = padded.reshape(channels, -1, group)
    multipliers = np.arange(1, 16)
    largest = _finished(np.abs(rows).max(1, initial=0.0) / (15 * 7), least_scales)
    best_error, best_steps, best_scales = np.full(channels, np.inf), np.ones(groups.shape[:2]), largest
    for ratio in _RATIOS[::5] if search else _RATIOS[:1]:
        scales = _finished(largest * ratio, least_scales)
        errors = np.stack(
            [
                np.square(np.clip(np.rint(groups / column), -8, 7) * column - groups).sum(2)
                for column in (scales[:, None, None] * m for m in multipliers)
            ]
        )
        error = errors.min(0).sum(1)
        better = error < best_error
        best_steps = np.where(better[:, None], multipliers[errors.argmin(0)], best_steps)
        best_scales, best_error = np.where(better, scales, best_scales), np.where(better, error, best_error)
    return np.repeat(best_steps, group, axis=1)[:, :count], best_scales
