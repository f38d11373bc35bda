"""Requantization in one rounding, for outputs clamped at their zero point (relu), and the proof that it is exact.

The contract rounds twice: a high multiply by the Q31 multiplier, then a shift to the right with ties away from zero.
Ties differ for negative results only, and those are clamped; for the others the two floors are one. What is left is

    min(127, ((sum * multiplier >> 32) + zero_point * 2**SHIFT + 2**(SHIFT-1) + 2**(k-2)) >> SHIFT)

of a sum whose weights and bias are scaled by 2**k. k differs from channel to channel and the final shift does not, so
that it can be part of an instruction. Where the contract's shift asks for a smaller k than two, the multiplier is
rounded to fewer bits, and the bias makes up for it. Where it does not shift to the right at all, as with weights of few
values whose sums are small, the contract rounds only once, and the bias takes away what is added too much.

Whatever was chosen is compared with the contract at every step of the output within reach; both are monotonic, so
agreement there is agreement everywhere.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

import numpy as np

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier
from tinyopt.graph import Array

SHIFT = 11
"""The final shift of every channel; the kernels have it in an instruction."""
_LEAST, _MOST = 2, 14
"""k: what rounds the multiplication is a whole number from 2 on; a weight of 1 or -1 fits 16 bits up to 14."""
_STEEPEST = 22
"""The largest shift to the right whose thresholds fit 64 bits."""


@dataclass(frozen=True, eq=False)
class SingleRounding:
    """Int64 [channels] each. ``bias`` is scaled already; ``scales`` are the exponents k."""

    bias: Array
    multipliers: Array
    scales: Array


@dataclass(frozen=True, eq=False)
class _Contract:
    """The sums of products that are possible, and what becomes of them."""

    least: Array
    most: Array
    bias: Array
    multipliers: Array
    shifts: Array
    _: KW_ONLY
    zero_point: int
    low: int

    def channel(self, index: int) -> _Contract:
        at = slice(index, index + 1)
        arrays = [a[at] for a in (self.least, self.most, self.bias, self.multipliers, self.shifts)]
        return _Contract(*arrays, zero_point=self.zero_point, low=self.low)

    def steps(self) -> Array:
        """[channels, levels]: the least sum of products, within reach or not, of every output above the zero point."""
        levels = np.arange(1, 127 - self.zero_point + 1, dtype=np.int64)
        left, right = np.maximum(self.shifts, 0)[:, None], np.maximum(-self.shifts, 0)[:, None]
        second = np.where(right > 0, np.int64(1) << (30 + right), 0)  # the second rounding, where there is one
        reach = (levels << (31 + right)) - (1 << 30) - second
        found: Array = -(-reach // (np.maximum(self.multipliers, 1)[:, None] << left)) - self.bias[:, None]
        return found


def single_rounding(
    weights: Array, bias: Array, multipliers: Array, shifts: Array, zero_point: int, low: int
) -> SingleRounding | None:
    """Constants with which one rounding gives every output of two, or None.

    ``weights``: int8 [channels, …]; ``bias``: int32 [channels], input zero point folded in; ``multipliers``,
    ``shifts``: [channels] or [1], of the contract; ``low``: the clamp, on the output's integers.
    """
    if low < zero_point or shifts.max() > _MOST - SHIFT - 1 or -shifts.min() > _STEEPEST:
        return None
    wide = weights.reshape(weights.shape[0], -1).astype(np.int64)
    least = np.minimum(-128 * wide, 127 * wide).sum(axis=1)
    most = np.maximum(-128 * wide, 127 * wide).sum(axis=1)
    bias, lefts = bias.astype(np.int64), np.maximum(shifts, 0).astype(np.int64)
    if (np.maximum(np.abs(least + bias), np.abs(most + bias)) << lefts).max() >= 1 << 31:
        return None
    multipliers, shifts = (np.broadcast_to(values, len(wide)) for values in (multipliers, shifts))
    arrays = (least, most, bias, multipliers, shifts, _largest_scales(np.abs(wide).max(axis=1)))
    return _found(tuple(np.ascontiguousarray(a, np.int64).tobytes() for a in arrays), zero_point, low)


def _largest_scales(weights: Array) -> Array:
    """k up to which weights of that magnitude fit 16 bits; 128 is -128."""
    fit = [np.maximum(weights, 1) << k <= (1 << 15) - (weights < 128) for k in range(1, _MOST + 1)]
    result: Array = np.sum(fit, axis=0)
    return result


@lru_cache(maxsize=128)
def _found(data: tuple[bytes, ...], zero_point: int, low: int) -> SingleRounding | None:
    *arrays, largest = (np.frombuffer(array, np.int64) for array in data)
    contract = _Contract(*arrays, zero_point=zero_point, low=low)
    wanted = SHIFT + 1 + contract.shifts
    if (wanted > largest).any():
        return None
    scales = np.maximum(wanted, _LEAST)
    found = SingleRounding(contract.bias << scales, contract.multipliers.copy(), scales)
    for index in np.flatnonzero((wanted < _LEAST) | (contract.shifts >= 0)).tolist():
        rounded = _shifted_bias(contract.channel(index), int(wanted[index]), int(largest[index]))
        if rounded is None:
            return None
        found.bias[index], found.multipliers[index], found.scales[index] = rounded
    return found if _agrees(found, contract) else None


def _shifted_bias(channel: _Contract, wanted: int, largest: int) -> tuple[int, int, int] | None:
    """Bias, multiplier and k of one channel whose exact k would be too small, or which is not shifted to the right."""
    steps = channel.steps()[0]
    levels = np.flatnonzero((steps > channel.least) & (steps <= channel.most))
    exact = int(channel.multipliers[0])
    if exact == 0:
        return 0, 0, _LEAST
    for k in range(largest, max(_LEAST, wanted) - 1, -1):
        dropped = k - wanted
        multiplier = exact + (1 << dropped >> 1) >> dropped
        if multiplier == 0:
            continue
        # At a step the high multiply reaches this; one below it does not.
        high = ((levels + 1) << SHIFT) - (1 << (SHIFT - 1)) - (1 << (k - 2))
        reach = -(-(high << 32) // multiplier) - (steps[levels] << k)
        if levels.size:
            lowest, highest = int(reach.max()), int(reach.min()) + (1 << k) - 1
        else:
            total = (int(channel.bias[0]) * exact + (1 << 30) << _STEEPEST) >> (_STEEPEST - wanted)
            lowest = highest = (total - (1 << (k + 30))) // multiplier
        if lowest <= highest and abs(highest) < 1 << 30:
            return (lowest + highest) // 2, multiplier, k
    return None


def _agrees(found: SingleRounding, contract: _Contract) -> bool:
    """Whether both roundings give the same output for every sum within reach, channel by channel, in 32 bits."""
    least, most = contract.least[:, None], contract.most[:, None]
    steps = contract.steps()
    sums = np.sort(np.clip(np.concatenate([least, steps - 1, steps, most], axis=1), least, most), axis=1)
    total = sums + contract.bias[:, None]
    twice = multiply_by_quantized_multiplier(total, contract.multipliers[:, None], contract.shifts[:, None])
    twice = np.clip(twice + contract.zero_point, contract.low, 127)
    scales = found.scales[:, None]
    scaled = (sums << scales) + found.bias[:, None]
    added = (contract.zero_point << SHIFT) + (1 << (SHIFT - 1)) + (1 << (scales - 2))
    high = (scaled * found.multipliers[:, None] >> 32) + added
    # Between the steps the contract is constant, and so, being monotonic, is what agrees with it at both ends.
    constant = (np.diff(sums, axis=1) <= 1) | (np.diff(twice, axis=1) == 0)
    fits = np.abs(sums << scales).max() + np.abs(found.bias).max() < 1 << 31
    return bool(fits and constant.all() and (np.clip(high >> SHIFT, contract.low, 127) == twice).all())
