"""Packing for the block kernels of the Arm DSP extension (``firmware/kernels/common/blocks_dsp.h``)."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array
from tinyopt.plan.packing import all_shift_right


def fits_blocks(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> bool:
    """Whether every sum stays in the range that the block kernels need, for every possible input.

    ``weights``: int8 [channels, taps]; ``bias``: int32 [channels], input zero point folded in; ``multipliers``,
    ``shifts``: [channels] or [1]. The largest sum of a channel is its bias plus its taps at their worst int8 inputs.
    The high channel of a pair needs sums below 2**23, the low one below 2**30; shifts must be to the right.
    """
    wide = weights.astype(np.int64)
    largest = np.maximum(-128 * wide, 127 * wide).sum(axis=1) + bias
    smallest = np.minimum(-128 * wide, 127 * wide).sum(axis=1) + bias
    reach = np.maximum(np.abs(largest), np.abs(smallest))
    odd_fits = len(reach) < 2 or int(reach[1::2].max()) < 1 << 23
    return all_shift_right(multipliers, shifts) and int(reach.max()) < 1 << 30 and odd_fits and weights.min() > -128


def pack_stream(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of words of ``blocks_dsp.h``, as bytes (int8, little-endian), to be aligned to four.

    Shapes as in ``fits_blocks``, which must hold.
    """
    head, words, tail = _pair_words(weights, bias, multipliers, shifts)
    return _as_bytes(np.concatenate([head, words, tail], axis=1))


def pack_stream_of_eight(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of ``fully_connected_s8/dsp_8.c``: four pairs interleaved. Channels must be a multiple of eight, taps
    of four; shapes as in ``fits_blocks``, which must hold."""
    head, words, tail = (part.reshape(-1, 4, part.shape[1]) for part in _pair_words(weights, bias, multipliers, shifts))
    blocks = [part.reshape(len(part), -1) for part in (head, words.swapaxes(1, 2), tail)]
    return _as_bytes(np.concatenate(blocks, axis=1))


def _pair_words(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> tuple[Array, Array, Array]:
    """Per pair of channels: two words of bias, two words per four taps, three words of requantization; int64."""
    channels, taps = weights.shape
    pairs, groups = -(-channels // 2), -(-taps // 4)
    padded = np.zeros((2 * pairs, 4 * groups), np.int64)
    padded[:channels, :taps] = weights
    full = [np.zeros(2 * pairs, np.int64) for _ in range(3)]
    for target, values in zip(full, (bias, multipliers, np.where(multipliers == 0, 0, -shifts.astype(np.int64) - 1))):
        target[:channels] = values
    biases, scales, rights = (values.reshape(pairs, 2) for values in full)

    low, high = padded[0::2], padded[1::2]
    halves = ((high << 8) + low).reshape(pairs, groups, 2, 2) & 0xFFFF  # taps (0, 1), (2, 3) of a group
    words = halves[:, :, 0, :] | halves[:, :, 1, :] << 16  # (0, 2), (1, 3)
    head = np.stack([biases[:, 0], biases[:, 0] + 256 * biases[:, 1]], axis=1)
    tail = np.concatenate([scales, (rights[:, 0] | rights[:, 1] << 16)[:, None]], axis=1)
    return head, words.reshape(pairs, 2 * groups), tail


def _as_bytes(words: Array) -> Array:
    result: Array = (words & 0xFFFFFFFF).astype("<u4").reshape(-1).view(np.int8)
    return result
