"""Image resizing: nearest neighbour of any element type, bilinear int8 and float32."""

from __future__ import annotations

import numpy as np

from tinyopt.execute.integer.resize import float_taps, integer_taps, nearest_positions
from tinyopt.graph import Array, DType, Graph, Operator, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value

_LARGEST = 65535
"""Coordinates are stored as uint16."""


def _accepts(graph: Graph, operator: Operator, method: ops.ResizeMethod, dtype: DType | None) -> bool:
    a = operator.attributes
    if not isinstance(a, ops.Resize2d) or a.method is not method:
        return False
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    return (
        not x.is_constant
        and x.dtype is y.dtype
        and dtype in (None, x.dtype)
        and x.quantization == y.quantization
        and max(x.shape[1:3]) <= _LARGEST
    )


def _table(array: Array) -> Constant:
    return Constant(array.astype(np.float32 if array.dtype.kind == "f" else np.uint16), weights=False)


def _sizes(graph: Graph, operator: Operator) -> dict[str, Value]:
    x, y = graph.ins(operator)[0].shape, graph.outs(operator)[0].shape
    return {"batches": x[0], "in_height": x[1], "in_width": x[2], "out_height": y[1], "out_width": y[2]}


def _lower_nearest(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Resize2d)
    x = graph.ins(operator)[0]
    parameters = {
        **_sizes(graph, operator),
        "unit": x.shape[3] * x.dtype.itemsize,
        "row": _table(nearest_positions(x.shape[1], a.size[0], a)),
        "column": _table(nearest_positions(x.shape[2], a.size[1], a)),
    }
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _lower_integer(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Resize2d)
    x = graph.ins(operator)[0].shape
    tables = [
        _table(np.stack([taps.lower, taps.upper, taps.fraction], axis=1))
        for taps in (integer_taps(x[1], a.size[0], a), integer_taps(x[2], a.size[1], a))
    ]
    parameters = {**_sizes(graph, operator), "channels": x[3], "row": tables[0], "column": tables[1]}
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _lower_float(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Resize2d)
    x = graph.ins(operator)[0].shape
    rows, columns = float_taps(x[1], a.size[0], a), float_taps(x[2], a.size[1], a)
    parameters = {
        **_sizes(graph, operator),
        "channels": x[3],
        "row": _table(np.stack([rows.lower, rows.upper], axis=1)),
        "row_weight": _table(rows.fraction),
        "column": _table(np.stack([columns.lower, columns.upper], axis=1)),
        "column_weight": _table(columns.fraction),
    }
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _pixels(graph: Graph, operator: Operator) -> int:
    y = graph.outs(operator)[0].shape
    return y[0] * y[1] * y[2]


KERNELS = (
    Kernel(
        "resize_nearest_ref",
        "resize_nearest",
        "ref.c",
        lambda g, o: _accepts(g, o, ops.ResizeMethod.NEAREST, None),
        _lower_nearest,
        cost=lambda g, o: 14.0 * _pixels(g, o) + 0.6 * g.outs(o)[0].nbytes,
    ),
    Kernel(
        "resize_bilinear_s8_ref",
        "resize_bilinear_s8",
        "ref.c",
        lambda g, o: _accepts(g, o, ops.ResizeMethod.BILINEAR, DType.INT8),
        _lower_integer,
        cost=lambda g, o: 25.0 * _pixels(g, o) + 14.0 * g.outs(o)[0].size,
    ),
    Kernel(
        "resize_bilinear_f32_ref",
        "resize_bilinear_f32",
        "ref.c",
        lambda g, o: _accepts(g, o, ops.ResizeMethod.BILINEAR, DType.FLOAT32),
        _lower_float,
        cost=lambda g, o: 20.0 * _pixels(g, o) + 16.0 * g.outs(o)[0].size,
    ),
)
