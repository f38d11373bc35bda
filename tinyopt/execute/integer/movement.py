"""Operators that only move data: exact for every element type, float32 included.

Contract: docs/contract/movement.md. No element changes its value, so inputs and outputs share their quantization; a
change of quantization is an explicit Quantize.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor, ops


@integer(ops.Reshape)
def reshape(a: ops.Reshape, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    return [np.reshape(arrays[0], a.shape)]


@integer(ops.Transpose)
def transpose(a: ops.Transpose, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    return [np.array(np.transpose(arrays[0], a.perm), order="C")]


@integer(ops.BroadcastTo)
def broadcast_to(
    a: ops.BroadcastTo, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    return [np.broadcast_to(arrays[0], a.shape).copy()]


@integer(ops.Concat)
def concat(a: ops.Concat, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    """Raises GraphError when the quantization of an input differs from the output's: nothing is rescaled here."""
    check_concat_quantization(ins, outs[0])
    return [np.concatenate(arrays, axis=a.axis)]


def check_concat_quantization(ins: Sequence[Tensor], out: Tensor) -> None:
    """Raises GraphError, naming the input, when a joined tensor would need its values rescaled."""
    for tensor in ins:
        if tensor.quantization != out.quantization:
            raise GraphError(
                f"Concat joins '{tensor.name}' into '{out.name}', which has another quantization; insert a Quantize"
            )


@integer(ops.Split)
def split(a: ops.Split, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    ends = np.cumsum(a.sizes)[:-1]
    return [np.ascontiguousarray(part) for part in np.split(arrays[0], ends, axis=a.axis)]


@integer(ops.Slice)
def slice_(a: ops.Slice, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    chosen = arrays[0]
    for axis, (begin, size, stride) in enumerate(zip(a.begin, a.size, a.stride)):
        chosen = np.take(chosen, begin + stride * np.arange(size), axis=axis)
    return [np.array(chosen, order="C")]


def pad_value(a: ops.Pad, tensor: Tensor) -> Array:
    """The element that constant padding writes: ``a.value`` in the format of ``tensor``, as a 0-d array."""
    if tensor.quantization is not None:
        return np.asarray(tensor.quantization.quantize(np.asarray(a.value, np.float32), tensor.dtype))
    value = np.clip(a.value, *tensor.dtype.limits) if tensor.dtype.is_integer else a.value
    return np.asarray(value).astype(tensor.dtype.numpy)


@integer(ops.Pad)
def pad(a: ops.Pad, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    if not a.before:  # numpy cannot pad a scalar by nothing
        return [arrays[0]]
    widths = list(zip(a.before, a.after))
    if a.mode is ops.PadMode.CONSTANT:
        return [np.pad(arrays[0], widths, constant_values=pad_value(a, ins[0]))]
    return [np.pad(arrays[0], widths, mode="reflect" if a.mode is ops.PadMode.REFLECT else "edge")]


@integer(ops.Gather)
def gather(a: ops.Gather, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    """An index outside the axis reads its nearest end, so that a bad index can never read other memory."""
    indices = np.clip(arrays[1], 0, ins[0].shape[a.axis] - 1)
    return [np.asarray(np.take(arrays[0], indices, axis=a.axis))]
