"""Kernels that change the number format: quantize, requantize, dequantize, cast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyopt.execute.integer.elementwise import quantization_of, rescale_multiplier
from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Kernel, Value

_SUFFIXES = {DType.INT8: "s8", DType.UINT8: "u8", DType.INT16: "s16", DType.INT32: "s32"}
_CAST_TYPES = (DType.FLOAT32, DType.INT8, DType.UINT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL)
"""In the order of the enumeration in cast.h."""


def _per_tensor(tensor: Tensor) -> bool:
    """Quantized with one scale; int32 with a zero point of 0, whose limits could not be moved."""
    q = tensor.quantization
    return q is not None and q.axis is None and (tensor.dtype is not DType.INT32 or q.zero_point == 0)


def _accepts(kind: type[ops.Quantize] | type[ops.Dequantize], x: DType, y: DType) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        source, target = graph.ins(operator)[0], graph.outs(operator)[0]
        return (
            isinstance(operator.attributes, kind)
            and (source.dtype, target.dtype) == (x, y)
            and not source.is_constant
            and all(t.dtype is DType.FLOAT32 or _per_tensor(t) for t in (source, target))
        )

    return accepts


def _call(graph: Graph, operator: Operator, kernel: Kernel, parameters: dict[str, Value]) -> Call:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    # Growing elements would overwrite those not yet read; shrinking ones lie behind the reader.
    in_place = ((0, 0),) if y.dtype.itemsize <= x.dtype.itemsize else ()
    return Call(kernel, operator, {"size": y.size, **parameters}, (x.name,), (y.name,), in_place=in_place)


def _lower_quantize(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    y = graph.outs(operator)[0]
    return _call(graph, operator, kernel, {"scale": float(np.float32(y.scale)), "zero_point": y.zero_point})


def _lower_dequantize(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    x = graph.ins(operator)[0]
    return _call(graph, operator, kernel, {"scale": float(np.float32(x.scale)), "zero_point": x.zero_point})


def _lower_rescale(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    multiplier, shift = rescale_multiplier(quantization_of(x), quantization_of(y))
    parameters: dict[str, Value] = {
        "input_zero_point": x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "output_zero_point": y.zero_point,
    }
    return _call(graph, operator, kernel, parameters)


def _accepts_cast(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.Cast) and not graph.ins(operator)[0].is_constant


def _lower_cast(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    parameters: dict[str, Value] = {
        "size": y.size,
        "from": _CAST_TYPES.index(x.dtype),
        "to": _CAST_TYPES.index(y.dtype),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(cycles: float) -> Callable[[Graph, Operator], float]:
    return lambda graph, operator: cycles * graph.outs(operator)[0].size


def _quantize(y: DType) -> Kernel:
    suffix = _SUFFIXES[y]
    accepts = _accepts(ops.Quantize, DType.FLOAT32, y)
    return Kernel(f"quantize_{suffix}_ref", "quantize", f"{suffix}.c", accepts, _lower_quantize, _cost(35))


def _dequantize(x: DType) -> Kernel:
    suffix = _SUFFIXES[x]
    accepts = _accepts(ops.Dequantize, x, DType.FLOAT32)
    return Kernel(f"dequantize_{suffix}_ref", "dequantize", f"{suffix}.c", accepts, _lower_dequantize, _cost(10))


def _rescale(x: DType, y: DType) -> Kernel:
    suffix = f"{_SUFFIXES[x]}_{_SUFFIXES[y]}"
    accepts = _accepts(ops.Quantize, x, y)
    return Kernel(f"rescale_{suffix}_ref", "rescale", f"{suffix}.c", accepts, _lower_rescale, _cost(25))


KERNELS = (
    *(_quantize(y) for y in _SUFFIXES),
    *(_dequantize(x) for x in _SUFFIXES),
    *(_rescale(x, y) for x in _SUFFIXES for y in _SUFFIXES),
    Kernel("cast_ref", "cast", "ref.c", _accepts_cast, _lower_cast, _cost(30)),
)
