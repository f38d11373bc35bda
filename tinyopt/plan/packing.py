"""Constants of convolution-like kernels: folded biases, requantization tables, weights in the order of consumption."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.graph import Array, Tensor
from tinyopt.graph.ops import Clamp
from tinyopt.plan.kernel import Constant, Value


def model_bias(inputs: tuple[Tensor, ...], channels: int) -> Array:
    """The bias as int64 [channels]; zeros where the model has none."""
    if len(inputs) > 2:
        return inputs[2].value.astype(np.int64)
    return np.zeros(channels, np.int64)


def folded_bias(inputs: tuple[Tensor, ...], weights: Array) -> Array:
    """The int32 bias minus the input zero point times the sum of each channel's weights, modulo 2**32.

    ``weights``: [channels, …]. With it, a kernel multiplies raw inputs; padding must read as the zero point.
    """
    sums = weights.reshape(weights.shape[0], -1).astype(np.int64).sum(axis=1)
    result: Array = (model_bias(inputs, weights.shape[0]) - inputs[0].zero_point * sums).astype(np.int32)
    return result


def bias_name(inputs: tuple[Tensor, ...]) -> str:
    return inputs[2].name if len(inputs) > 2 else f"{inputs[1].name}_bias"


def requantization(multipliers: Array, shifts: Array) -> dict[str, Value]:
    """The fields ``multipliers``, ``shifts``, ``per_channel``; equal entries are stored once."""
    if (multipliers == multipliers[0]).all() and (shifts == shifts[0]).all():
        multipliers, shifts = multipliers[:1], shifts[:1]
    return {
        "multipliers": Constant(multipliers.astype(np.int32), weights=False),
        "shifts": Constant(shifts.astype(np.int8), weights=False, align=1),
        "per_channel": int(len(multipliers) > 1),
    }


def all_shift_right(multipliers: Array, shifts: Array) -> bool:
    """Whether every requantization shifts to the right by at least one; the multiplier zero fits any shift."""
    return bool(((shifts <= -1) | (multipliers == 0)).all())


def none_shift_left(multipliers: Array, shifts: Array) -> bool:
    """Whether no requantization shifts to the left; the multiplier zero fits any shift."""
    return bool(((shifts <= 0) | (multipliers == 0)).all())


def sum_reach(weights: Array, bias: Array) -> int:
    """The largest magnitude of ``bias`` plus products of any int8 inputs. ``weights``: [channels, …]; ``bias``:
    [channels], input zero point folded in."""
    wide = weights.reshape(weights.shape[0], -1).astype(np.int64)
    largest = np.maximum(-128 * wide, 127 * wide).sum(axis=1) + bias
    smallest = np.minimum(-128 * wide, 127 * wide).sum(axis=1) + bias
    return int(max(np.abs(largest).max(), np.abs(smallest).max()))


def is_narrow(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> bool:
    """Whether ``firmware/kernels/common/narrow.h`` may requantize: sums below 2**23, shifts to the right."""
    return sum_reach(weights, bias) < 1 << 23 and all_shift_right(multipliers, shifts)


def right_shifts(multipliers: Array, shifts: Array) -> Array:
    """The shifts, with one to the right for the multiplier zero, which gives zero whatever its shift."""
    result: Array = np.where(multipliers == 0, -1, shifts)
    return result


def output_limits(y: Tensor, activation: Clamp) -> dict[str, Value]:
    """The fields ``output_zero_point``, ``clamp_low``, ``clamp_high`` of a quantized output."""
    low, high = clamp_limits(activation, y)
    return {"output_zero_point": y.zero_point, "clamp_low": low, "clamp_high": high}


def float_limits(activation: Clamp) -> Mapping[str, Value]:
    """The fields ``clamp_low``, ``clamp_high`` of a float32 output; an open side is the largest float."""
    largest = float(np.finfo(np.float32).max)
    return {
        "clamp_low": -largest if activation.low is None else float(np.float32(activation.low)),
        "clamp_high": largest if activation.high is None else float(np.float32(activation.high)),
    }


def interleave_words(weights: Array, block: int) -> Array:
    """Rows of int8 weights [channels, depth] for kernels that read four weights of ``block`` channels in turn.

    The depth is padded with zeros to a multiple of four. Each block of channels is stored as: four weights of its
    first channel, four of its second, …, then the next four of each. What is left after whole blocks follows channel
    by channel.
    """
    channels, depth = weights.shape
    padded = np.zeros((channels, -(-depth // 4) * 4), np.int8)
    padded[:, :depth] = weights
    whole = channels // block * block
    blocks = padded[:whole].reshape(whole // block, block, padded.shape[1] // 4, 4).swapaxes(1, 2)
    result: Array = np.concatenate([blocks.reshape(-1), padded[whole:].reshape(-1)])
    return result
