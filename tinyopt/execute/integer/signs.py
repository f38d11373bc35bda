"""Signs as bits: packing, and convolutions of packed signs. Contract: docs/contract/signs.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyopt.execute.integer.convolution import exact_matmul, finish, output_multipliers, patches
from tinyopt.execute.integer.pooling import reduce_windows
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor, ops

WORD = 32


def pack_signs(positive: Array) -> Array:
    """bool [...,C] → int32 [...,ceil(C/32)]: bit ``c % 32`` of word ``c // 32``; what is left over is 0."""
    spare = -positive.shape[-1] % WORD
    padded = np.pad(positive, [(0, 0)] * (positive.ndim - 1) + [(0, spare)])
    octets = np.packbits(padded, axis=-1, bitorder="little")
    words: Array = np.ascontiguousarray(octets).view("<i4").astype(np.int32)
    return words


def unpack_signs(words: Array, channels: int) -> Array:
    """int32 [...,words] → int32 [...,channels] of -1 and 1."""
    octets = np.ascontiguousarray(words.astype("<i4")).view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels]
    signs: Array = 2 * bits.astype(np.int32) - 1
    return signs


def sign_sums(a: ops.XnorConv2d, x: Array, weights: Array) -> Array:
    """The sums of products of signs, int64 [N,OH,OW,O]; padding counts as zero."""
    kernels = unpack_signs(weights, a.channels)
    fields = patches(unpack_signs(x, a.channels), kernels.shape[1:3], a.stride, a.dilation, a.padding)
    rows = fields.reshape(*fields.shape[:3], -1)
    return exact_matmul(rows, kernels.reshape(len(kernels), -1).T, 1)


@integer(ops.PackSigns)
def pack(a: ops.PackSigns, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Array]:
    """x int8 [...,C] → int32 [...,ceil(C/32)]."""
    return [pack_signs(arrays[0] >= inputs[0].zero_point)]


@integer(ops.OrPool2d)
def or_pool2d(
    a: ops.OrPool2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x int32 [N,H,W,words] → [N,OH,OW,words]."""
    return [reduce_windows(a, arrays[0], 0, np.bitwise_or)]


@integer(ops.XnorConv2d)
def xnor_conv2d(
    a: ops.XnorConv2d, arrays: Sequence[Array], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> list[Array]:
    """x [N,H,W,words], weights [O,KH,KW,words], bias or thresholds [O] → int8 or packed."""
    sums, y = sign_sums(a, arrays[0], arrays[1]), outputs[0]
    if a.packed:
        return [pack_signs(sums >= arrays[2])]
    multipliers = output_multipliers(inputs[0], inputs[1], y)
    return [finish(sums, arrays, inputs, y, multipliers, a.activation)]
