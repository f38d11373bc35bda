"""Packing for the Helium kernels (``firmware/kernels/common/blocks_mve.h``)."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array

VECTOR = 16
"""Bytes of a vector."""
_LANES = 4


def padded_to_vectors(taps: int) -> int:
    """Taps of a run, whole vectors."""
    return -(-taps // VECTOR) * VECTOR


def requantization_lanes(bias: Array, multipliers: Array, shifts: Array) -> Array:
    """Per four channels: four biases, four multipliers, four shifts; int32 [blocks, 12].

    ``bias``: [channels]; ``multipliers``, ``shifts``: [channels] or [1]. Channels that fill up the last block compute
    nothing; a channel whose multiplier is 0 gets a shift of -1.
    """
    blocks = -(-len(bias) // _LANES)
    full = np.zeros((3, blocks * _LANES), np.int32)
    full[2] = -1
    for target, values in zip(full, (bias, multipliers, np.where(multipliers == 0, -1, shifts))):
        target[: len(bias)] = values
    result: Array = full.reshape(3, blocks, _LANES).swapaxes(0, 1).reshape(blocks, 3 * _LANES)
    return result


def pack_vectors(weights: Array, bias: Array, multipliers: Array, shifts: Array) -> Array:
    """The stream of ``blocks_mve.h`` as bytes (int8, little-endian), to be aligned to four.

    ``weights``: int8 [channels, runs, taps of a run]; the others as in ``requantization_lanes``.
    """
    channels, runs, taps = weights.shape
    blocks, width = -(-channels // _LANES), padded_to_vectors(taps)
    padded = np.zeros((blocks * _LANES, runs, width), np.int8)
    padded[:channels, :, :taps] = weights
    vectors = padded.reshape(blocks, _LANES, runs * width // VECTOR, VECTOR).swapaxes(1, 2).reshape(blocks, -1)
    tails = requantization_lanes(bias, multipliers, shifts).astype("<i4").view(np.int8)
    result: Array = np.concatenate([vectors, tails], axis=1).reshape(-1)
    return result
