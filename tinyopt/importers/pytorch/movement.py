"""ATen operators that move data: shapes, slices, joins, padding, resizing, lookups, type conversion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tinyopt.graph import DType, ops
from tinyopt.graph.ops import PadMode, ResizeMethod
from tinyopt.importers.layers import Layers
from tinyopt.importers.pytorch.registry import OPERATORS, Arguments, Lowering, Result, operator
from tinyopt.importers.values import CannotLower, Value, constant

END = 2**62
"""torch writes "to the end" as a number near 2**63."""


def graph_dtype(dtype: torch.dtype) -> DType:
    """The element type that the graph uses for a torch type: half and double precision become float32."""
    if dtype.is_floating_point:
        return DType.FLOAT32
    try:
        return DType(str(dtype).removeprefix("torch."))
    except ValueError:
        raise CannotLower(f"element type {dtype}") from None


def _identity(net: Layers, a: Arguments) -> Value:
    return a.x


OPERATORS.update(
    dict.fromkeys(
        ("clone", "contiguous", "alias", "detach", "dropout", "lift_fresh_copy", "feature_dropout"), _identity
    )
)


@operator("to", "_to_copy", "type_as")
def _to(net: Layers, a: Arguments) -> Value:
    dtype = a.get("dtype")
    if not isinstance(dtype, torch.dtype) or graph_dtype(dtype) is net.dtype(a.x):
        return a.x
    return net.elementwise(ops.Cast(graph_dtype(dtype).value), a.x)


# ---- shapes ---------------------------------------------------------------------------------------------------


@operator("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
def _reshape(net: Layers, a: Arguments) -> Value:
    """torch has worked out the shape already."""
    if a.result_shape is None:
        raise CannotLower("its result has no known shape")
    return net.reshape(a.x, a.result_shape)


@operator("permute")
def _permute(net: Layers, a: Arguments) -> Value:
    return net.transpose(a.x, [d % a.x.rank for d in a["dims"]])


@operator("transpose")
def _transpose(net: Layers, a: Arguments) -> Value:
    order = list(range(a.x.rank))
    first, second = a["dim0"] % a.x.rank, a["dim1"] % a.x.rank
    order[first], order[second] = order[second], order[first]
    return net.transpose(a.x, order)


@operator("t", "numpy_T")
def _t(net: Layers, a: Arguments) -> Value:
    return net.transpose(a.x, list(reversed(range(a.x.rank))))


@operator("expand")
def _expand(net: Layers, a: Arguments) -> Value:
    assert a.result_shape is not None
    return net.expand(a.x, a.result_shape)


@operator("repeat", "tile")
def _repeat(net: Layers, a: Arguments) -> Value:
    repeats = [int(n) for n in a.get("repeats", a.get("dims"))]
    rank = max(len(repeats), a.x.rank)
    x = net.reshape(a.x, (1,) * (rank - a.x.rank) + a.x.shape)
    return net.tile(x, [1] * (rank - len(repeats)) + repeats)


@operator("pixel_shuffle")
def _pixel_shuffle(net: Layers, a: Arguments) -> Value:
    r, (n, c, h, w) = a["upscale_factor"], a.x.shape
    parts = net.reshape(a.x, (n, c // (r * r), r, r, h, w))
    return net.reshape(net.transpose(parts, (0, 1, 4, 2, 5, 3)), (n, c // (r * r), h * r, w * r))


@operator("pixel_unshuffle")
def _pixel_unshuffle(net: Layers, a: Arguments) -> Value:
    r, (n, c, h, w) = a["downscale_factor"], a.x.shape
    parts = net.reshape(a.x, (n, c, h // r, r, w // r, r))
    return net.reshape(net.transpose(parts, (0, 1, 3, 5, 2, 4)), (n, c * r * r, h // r, w // r))


@operator("channel_shuffle")
def _channel_shuffle(net: Layers, a: Arguments) -> Value:
    g, (n, c, *space) = a["groups"], a.x.shape
    parts = net.reshape(a.x, (n, g, c // g, *space))
    return net.reshape(net.transpose(parts, (0, 2, 1, *range(3, parts.rank))), a.x.shape)


# ---- joins and cuts -------------------------------------------------------------------------------------------


@operator("cat", "concat")
def _cat(net: Layers, a: Arguments) -> Value:
    values = [v for v in a["tensors"] if v.size]
    return net.concat(values, a["dim"])


@operator("stack")
def _stack(net: Layers, a: Arguments) -> Value:
    values = list(a["tensors"])
    axis = a["dim"] % (values[0].rank + 1)
    return net.concat([net.reshape(v, (*v.shape[:axis], 1, *v.shape[axis:])) for v in values], axis)


@operator("split", "split_with_sizes", "chunk", "unbind")
def _split(net: Layers, a: Arguments) -> Result:
    axis = a.get("dim", 0) % a.x.rank
    extent = a.x.shape[axis]
    sizes = a.get("split_sizes", a.get("split_size"))
    if a.get("chunks"):
        sizes = -(-extent // a["chunks"])
    if sizes is None:  # unbind
        kept = tuple(d for i, d in enumerate(a.x.shape) if i != axis)
        return [net.reshape(part, kept) for part in net.split(a.x, axis, [1] * extent)]
    if isinstance(sizes, int):
        sizes = [min(sizes, extent - start) for start in range(0, extent, sizes)]
    return list(net.split(a.x, axis, sizes))


@operator("slice")
def _slice(net: Layers, a: Arguments) -> Value:
    axis = a["dim"] % a.x.rank
    extent = a.x.shape[axis]
    begin, end, _ = slice(a.get("start"), a.get("end"), 1).indices(extent)
    return net.cut(a.x, axis, begin, max(begin, end), a.get("step", 1))


@operator("narrow")
def _narrow(net: Layers, a: Arguments) -> Value:
    axis, start = a["dim"] % a.x.rank, int(a["start"])
    start %= a.x.shape[axis]
    return net.cut(a.x, axis, start, start + a["length"])


@operator("select")
def _select(net: Layers, a: Arguments) -> Value:
    axis = a["dim"] % a.x.rank
    index = a["index"] % a.x.shape[axis]
    part = net.cut(a.x, axis, index, index + 1)
    return net.reshape(part, tuple(d for i, d in enumerate(a.x.shape) if i != axis))


@operator("flip")
def _flip(net: Layers, a: Arguments) -> Value:
    axes = {d % a.x.rank for d in a["dims"]}
    begin = [d - 1 if i in axes else 0 for i, d in enumerate(a.x.shape)]
    return net.slice(a.x, begin, a.x.shape, [-1 if i in axes else 1 for i in range(a.x.rank)])


def _indices(net: Layers, indices: Value, extent: int) -> Value:
    """Negative constants count from the end."""
    if indices.data is None:
        return indices
    data = np.where(indices.data < 0, indices.data + extent, indices.data).astype(np.int32)
    if data.size and (data.min() < 0 or data.max() >= extent):
        raise CannotLower(f"an index is outside 0..{extent - 1}")
    return constant(data, indices.name)


@operator("index_select")
def _index_select(net: Layers, a: Arguments) -> Value:
    axis = a["dim"] % a.x.rank
    return net.gather(a.x, _indices(net, a.value("index"), a.x.shape[axis]), axis)


@operator("embedding")
def _embedding(net: Layers, a: Arguments) -> Value:
    return net.gather(a.value("weight"), _indices(net, a.value("indices"), a.value("weight").shape[0]), 0)


@operator("index")
def _index(net: Layers, a: Arguments) -> Value:
    used = [(axis, index) for axis, index in enumerate(a["indices"]) if index is not None]
    if len(used) != 1 or net.dtype(used[0][1]) is DType.BOOL:
        raise CannotLower("indexing with several index tensors, or with a mask")
    axis, index = used[0]
    return net.gather(a.x, _indices(net, index, a.x.shape[axis]), axis)


# ---- padding and resizing -------------------------------------------------------------------------------------

_MODES = {"constant": PadMode.CONSTANT, "reflect": PadMode.REFLECT, "replicate": PadMode.EDGE}


def _pad(mode: str | None = None) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        amounts: Sequence[int] = a.get("pad", a.get("padding"))
        chosen = mode or a.get("mode", "constant")
        if chosen not in _MODES:
            raise CannotLower(f"padding mode '{chosen}'")
        before, after = [0] * a.x.rank, [0] * a.x.rank
        for i in range(len(amounts) // 2):
            before[a.x.rank - 1 - i], after[a.x.rank - 1 - i] = amounts[2 * i], amounts[2 * i + 1]
        return net.pad(a.x, before, after, _MODES[chosen], float(a.get("value", 0.0)))

    return lower


OPERATORS.update(
    pad=_pad(),
    constant_pad_nd=_pad("constant"),
    reflection_pad1d=_pad("reflect"),
    reflection_pad2d=_pad("reflect"),
    replication_pad1d=_pad("replicate"),
    replication_pad2d=_pad("replicate"),
)


def _upsample(method: ResizeMethod, exact: bool = False) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        assert a.result_shape is not None
        size = a.result_shape[2:]
        factors: Any = a.get("scale_factors")
        if factors is None:
            factors = [a.get(n) for n in ("scales", "scales_h", "scales_w") if a.get(n)]
        for extent, target, factor in zip(a.x.shape[2:], size, factors):
            if not math.isclose(extent * factor, target):
                raise CannotLower(
                    f"scale factor {factor} of an axis of {extent}: torch then samples at other points than a resize "
                    f"to {target}; give the size, or recompute_scale_factor=True"
                )
        align = bool(a.get("align_corners", False))
        half = exact or (method is ResizeMethod.BILINEAR and not align)
        return net.resize(a.x, size, method, align_corners=align, half_pixel=half)

    return lower


for _rank in ("1d", "2d"):
    OPERATORS[f"upsample_nearest{_rank}"] = _upsample(ResizeMethod.NEAREST)
    OPERATORS[f"_upsample_nearest_exact{_rank}"] = _upsample(ResizeMethod.NEAREST, exact=True)
OPERATORS["upsample_bilinear2d"] = OPERATORS["upsample_linear1d"] = _upsample(ResizeMethod.BILINEAR)


# ---- constants of another tensor's shape ----------------------------------------------------------------------


def _filled(number: float | None) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        assert a.result_shape is not None
        dtype = a.get("dtype")
        kind = graph_dtype(dtype) if isinstance(dtype, torch.dtype) else net.dtype(a.x)
        return constant(np.full(a.result_shape, a["fill_value"] if number is None else number, kind.numpy))

    return lower


for _stem, _number in (("zeros", 0.0), ("ones", 1.0), ("full", None)):
    OPERATORS[f"{_stem}_like"] = OPERATORS[f"new_{_stem}"] = _filled(_number)
