"""Packing for the block kernels of the Arm DSP extension (``firmware/kernels/common/blocks_dsp.h``)."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array
from tinyopt.plan.packing import all_shift_right, right_shifts

_LEAST_RIGHT = -6
"""The farthest that sums may be shifted to the left, less one, where there is one rounding."""


def _reach(weights: Array, bias: Array) -> Array:
    """Per channel, the largest magnitude of the bias plus products of any int8 inputs."""
    wide = weights.astype(np.int64)
    largest = np.maximum(-128 * wide, 127 * wide).sum(axis=1) + bias
    smallest = np.minimum(-128 * wide, 127 * wide).sum(axis=1) + bias
    result: Array = np.maximum(np.abs(largest), np.abs(smallest))
    return result


def fits_blocks(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> bool:
    """Whether every sum stays in the range that the block kernels need, for every possible input.

    ``weights``: int8 [channels, taps]; ``bias``: int32 [channels], input zero point folded in; ``multipliers``,
    ``shifts``: [channels] or [1]. The largest sum of a channel is its bias plus its taps at their worst int8 inputs.
    The high channel of a pair needs sums below 2**23, the low one below 2**30; shifts must be to the right.
    """
    return all_shift_right(multipliers, shifts) and _fits_sums(weights, _reach(weights, bias))


def _fits_sums(weights: Array, reach: Array) -> bool:
    odd_fits = len(reach) < 2 or int(reach[1::2].max()) < 1 << 23
    return int(reach.max()) < 1 << 30 and odd_fits and weights.min() > -128


def fits_relu_blocks(weights: Array, bias: Array, multipliers: Array, shifts: Array, zero_point: int) -> bool:
    """Whether the block kernels for outputs at the zero point or above may compute this; see ``fits_blocks``.

    Sums of all channels stay below 2**23, and those of low channels stay in 32 bits after their shift to the left,
    which is at least 2, or never leave the zero point; the requantized value stays below 2**31 before its shift. As
    there is but one rounding, shifts may also be to the left.
    """
    reach = _reach(weights, bias)
    if not _fits_sums(weights, reach) or int(reach.max()) >= 1 << 23:
        return False
    rights = np.broadcast_to(-right_shifts(multipliers, shifts).astype(np.int64), reach.shape)
    if int(rights.max()) > 24 or int(rights.min()) < _LEAST_RIGHT:
        return False
    lefts = 16 - rights
    low_fits = (lefts >= 2) & (reach << np.maximum(lefts, 0) < 1 << 31) | _idle(reach, multipliers, rights)
    values = (reach * multipliers.astype(np.int64) >> 24) + np.abs(_relu_offsets(rights, 8, zero_point))
    return bool(low_fits[0::2].all()) and int(values.max()) < (1 << 31) - 1


def _idle(reach: Array, multipliers: Array, rights: Array) -> Array:
    """Per channel, whether both roundings together give zero for every possible sum."""
    result: Array = reach * multipliers.astype(np.int64) + (1 << 30) < np.int64(1) << (30 + rights)
    return result


def _relu_offsets(rights: Array, lefts: Array | int, zero_point: int) -> Array:
    """What rounds the multiplication, where a shift to the right comes after it; what rounds the shift; zero point."""
    first = np.where(rights > 0, 1 << (lefts - 2), 0)
    result: Array = first + ((2 * zero_point + 1) << (lefts + rights - 2))
    return result


def pack_stream(weights: Array, bias: Array, multipliers: Array, shifts: Array, *, run: int) -> Array:
    """The stream of words of ``blocks_dsp.h`` for any outputs, as bytes (int8, little-endian), to be aligned to four.

    Shapes as in ``fits_blocks``, which must hold; ``run``: taps of a run, which divides the taps.
    """
    scales, rights = _scales(len(weights), multipliers, shifts)
    shifts_word = _marked(_halves(rights - 1), len(weights))
    return _stream(bias, _pair_words(weights, run), np.concatenate([scales, shifts_word], axis=1))


def pack_relu_stream(
    weights: Array, bias: Array, multipliers: Array, shifts: Array, *, run: int, zero_point: int
) -> Array:
    """As ``pack_stream``, for outputs at the zero point or above; ``fits_relu_blocks`` must hold."""
    scales, rights = _scales(len(weights), multipliers, shifts)
    low_scales, low_rights = scales[:, 0], rights[:, 0]
    idle = low_rights > 14
    low_lefts = np.where(idle, 0, 16 - low_rights)
    low_offsets = _relu_offsets(np.minimum(low_rights, 14), np.maximum(low_lefts, 2), zero_point)
    low = [np.where(idle, 0, low_scales), np.where(idle, zero_point << 15, low_offsets)]
    high = [scales[:, 1], _relu_offsets(rights[:, 1], 8, zero_point)]
    shifts_word = _marked(_halves(np.stack([low_lefts, rights[:, 1] + 7], axis=1)), len(weights))
    return _stream(bias, _pair_words(weights, run), np.concatenate([shifts_word, np.stack(low + high, axis=1)], axis=1))


def pack_stream_of_eight(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of ``fully_connected_s8/dsp_8.c``: four pairs interleaved. Channels must be a multiple of eight, taps
    of four; shapes as in ``fits_blocks``, which must hold."""
    scales, rights = _scales(len(weights), multipliers, shifts)
    tail = np.concatenate([scales, _halves(rights - 1)], axis=1)
    parts = (_heads(bias), _pair_words(weights, weights.shape[1]), tail)
    head, words, tail = (part.reshape(-1, 4, part.shape[1]) for part in parts)
    blocks = [part.reshape(len(part), -1) for part in (head, words.swapaxes(1, 2), tail)]
    return _as_bytes(np.concatenate(blocks, axis=1))


def block_words(taps: int) -> int:
    """Words of a run of taps: two per four taps, one where a single tap is left."""
    return -(-taps // 4) * 2 - (taps % 4 == 1)


def _pairs(values: Array) -> Array:
    """Values of the channels, [channels] → [pairs, 2]; a missing last one is zero. int64"""
    result = np.zeros(-(-len(values) // 2) * 2, np.int64)
    result[: len(values)] = values
    return result.reshape(-1, 2)


def _heads(bias: Array) -> Array:
    low, high = _pairs(bias).T
    return np.stack([low, low + 256 * high], axis=1)


def _scales(channels: int, multipliers: Array, shifts: Array) -> tuple[Array, Array]:
    """Multipliers and shifts to the right of the pairs of channels, [pairs, 2] each, int64."""
    rights = np.broadcast_to(-right_shifts(multipliers, shifts).astype(np.int64), channels)
    rights = np.append(rights, 1) if channels % 2 else rights  # a missing channel computes nothing
    return _pairs(np.broadcast_to(multipliers, channels)), _pairs(rights)


def _halves(values: Array) -> Array:
    """Two columns in the halves of one."""
    result: Array = (values[:, 0] | values[:, 1] << 16)[:, None]
    return result


def _marked(shifts: Array, channels: int) -> Array:
    """The words of shifts, with the marks of the last pair."""
    shifts[-1] |= (1 << 31) | ((channels % 2) << 30)
    return shifts


def _stream(bias: Array, words: Array, tail: Array) -> Array:
    return _as_bytes(np.concatenate([words[:, :1], _heads(bias), words[:, 1:], tail], axis=1))


def _pair_words(weights: Array, run: int) -> Array:
    """The words of weights of each pair of channels, [pairs, words], int64. ``weights``: [channels, taps]."""
    channels, taps = weights.shape
    pairs, groups = -(-channels // 2), -(-run // 4)
    padded = np.zeros((2 * pairs, taps // run, 4 * groups), np.int64)
    padded[:channels, :, :run] = weights.reshape(channels, -1, run)
    low, high = padded[0::2], padded[1::2]
    halves = ((high << 8) + low).reshape(pairs, -1, groups, 2, 2) & 0xFFFF  # taps (0, 1), (2, 3) of a group
    words = halves[:, :, :, 0, :] | halves[:, :, :, 1, :] << 16  # (0, 2), (1, 3)
    result: Array = words.reshape(pairs, taps // run, 2 * groups)[:, :, : block_words(run)].reshape(pairs, -1)
    return result


def _as_bytes(words: Array) -> Array:
    result: Array = (words & 0xFFFFFFFF).astype("<u4").reshape(-1).view(np.int8)
    return result
