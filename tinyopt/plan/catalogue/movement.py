"""Kernels that move data: concat, split, strided copies (slice, transpose, broadcast), pad, gather."""

from __future__ import annotations

import math

import numpy as np

from tinyopt.execute.integer.movement import check_concat_quantization, pad_value
from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.strides import PaddedAxes, StridedRead, byte_strides, merge_axes, merge_padding

_MAX_AXES = 6
_SHORT_RUN = 32
_COLUMNS = ("columns.h", "common.h")
_BYTE_COST, _RUN_COST = 0.6, 14.0
"""Cycles per byte inside a run and per run, roughly, of memcpy on a Cortex-M4."""


def _moves_activation(graph: Graph, operator: Operator) -> bool:
    """The first input is an activation of the output's element type."""
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    return not x.is_constant and x.dtype is y.dtype


def _column_cost(count: int, run: int) -> float:
    """Counted on the emulated M4: a column of equally distant runs, see ``firmware/kernels/common/columns.c``."""
    if run > _SHORT_RUN or run > 4 * count:
        return 60 + count * (32 + 1.05 * run)
    parts = run // 4 + run % 4 // 2 + run % 2
    return 60 + parts * (40 + 5.7 * count)


def _run_cost(total_bytes: int, run: int) -> float:
    return 30 + total_bytes * _BYTE_COST + total_bytes / run * _RUN_COST


# ---- concat, split --------------------------------------------------------------------------------------------


def _accepts_concat(graph: Graph, operator: Operator) -> bool:
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    return (
        isinstance(operator.attributes, ops.Concat)
        and any(not tensor.is_constant for tensor in ins)
        and all(tensor.dtype is y.dtype for tensor in ins)
    )


def _lower_concat(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Concat)
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    check_concat_quantization(ins, y)
    outer = math.prod(y.shape[: a.axis])
    runs = [tensor.nbytes // outer * (-1 if tensor.is_constant else 1) for tensor in ins]
    stored = [np.frombuffer(tensor.data.tobytes(), np.uint8) for tensor in ins if tensor.data is not None]
    parameters: dict[str, Value] = {
        "outer": outer,
        "count": len(ins),
        "run": Constant(np.asarray(runs, np.int32), weights=False),
        "total": y.nbytes // outer,
        "constants": Constant(np.concatenate(stored), source=operator.name) if stored else None,
    }
    return Call(kernel, operator, parameters, tuple(t.name for t in ins if not t.is_constant), operator.outputs)


def _cost_concat(graph: Graph, operator: Operator) -> float:
    a = operator.attributes
    assert isinstance(a, ops.Concat)
    outer = math.prod(graph.outs(operator)[0].shape[: a.axis])
    return 30 + sum(_column_cost(outer, tensor.nbytes // outer) for tensor in graph.ins(operator))


def _accepts_split(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.Split) and _moves_activation(graph, operator)


def _lower_split(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Split)
    x = graph.ins(operator)[0]
    outer = math.prod(x.shape[: a.axis])
    runs = [tensor.nbytes // outer for tensor in graph.outs(operator)]
    parameters: dict[str, Value] = {
        "outer": outer,
        "count": len(runs),
        "run": Constant(np.asarray(runs, np.int32), weights=False),
        "total": x.nbytes // outer,
    }
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _cost_split(graph: Graph, operator: Operator) -> float:
    a = operator.attributes
    assert isinstance(a, ops.Split)
    outer = math.prod(graph.ins(operator)[0].shape[: a.axis])
    return 30 + sum(_column_cost(outer, tensor.nbytes // outer) for tensor in graph.outs(operator))


# ---- strided copies -------------------------------------------------------------------------------------------


def _strided_read(graph: Graph, operator: Operator) -> StridedRead:
    a = operator.attributes
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    item = x.dtype.itemsize
    strides = byte_strides(x.shape, item)
    if isinstance(a, ops.Transpose):
        return merge_axes(y.shape, [strides[axis] for axis in a.perm], item)
    if isinstance(a, ops.BroadcastTo):
        missing = len(y.shape) - len(x.shape)
        spread = [0 if extent == 1 else stride for extent, stride in zip(x.shape, strides)]
        return merge_axes(y.shape, [0] * missing + spread, item)
    assert isinstance(a, ops.Slice)
    offset = sum(begin * stride for begin, stride in zip(a.begin, strides))
    return merge_axes(a.size, [step * stride for step, stride in zip(a.stride, strides)], item, offset)


def _accepts_strided(graph: Graph, operator: Operator) -> bool:
    return (
        isinstance(operator.attributes, (ops.Transpose, ops.BroadcastTo, ops.Slice))
        and _moves_activation(graph, operator)
        and len(_strided_read(graph, operator).size) <= _MAX_AXES
    )


def _filled(values: tuple[int, ...]) -> tuple[int, ...]:
    return values + (0,) * (_MAX_AXES - len(values))


def _lower_strided(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    read = _strided_read(graph, operator)
    size, stride = (read.size, read.stride) if read.size else ((1,), (0,))
    parameters: dict[str, Value] = {
        "run": read.run,
        "offset": read.offset,
        "rank": len(size),
        "size": _filled(size),
        "stride": _filled(stride),
    }
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _cost_strided(graph: Graph, operator: Operator) -> float:
    read = _strided_read(graph, operator)
    turns, count = sorted((1, 1, *read.size[-2:]))[-2:]
    planes = math.prod(read.size[:-2])
    return 100 + planes * (60 + turns * _column_cost(count, read.run))


# ---- pad ------------------------------------------------------------------------------------------------------


def _padded_axes(graph: Graph, operator: Operator) -> PaddedAxes:
    a = operator.attributes
    assert isinstance(a, ops.Pad)
    x = graph.ins(operator)[0]
    constant = a.mode is ops.PadMode.CONSTANT
    return merge_padding(x.shape, a.before, a.after, x.dtype.itemsize, constant=constant)


def _accepts_pad(graph: Graph, operator: Operator, *, constant: bool) -> bool:
    a = operator.attributes
    return (
        isinstance(a, ops.Pad)
        and (a.mode is ops.PadMode.CONSTANT) == constant
        and _moves_activation(graph, operator)
        and len(_padded_axes(graph, operator).size) <= _MAX_AXES
    )


def _lower_pad(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Pad)
    axes = _padded_axes(graph, operator)
    value = pad_value(a, graph.ins(operator)[0]).tobytes()
    if len(set(value)) == 1:
        value = value[:1]  # every byte is the same (a zero): the border is a memset
    parameters: dict[str, Value] = {
        "unit": axes.unit,
        "rank": max(len(axes.size), 1),
        "before": _filled(axes.before),
        "size": _filled(axes.size or (1,)),
        "after": _filled(axes.after),
        "element": len(value),
        "value": tuple(value.ljust(8, b"\0")),
        "edge": a.mode is ops.PadMode.EDGE,
    }
    return Call(kernel, operator, parameters, operator.inputs, operator.outputs)


def _cost_pad(graph: Graph, operator: Operator) -> float:
    axes = _padded_axes(graph, operator)
    return _run_cost(graph.outs(operator)[0].nbytes, max(axes.unit * (axes.size or (1,))[-1], 1))


# ---- gather ---------------------------------------------------------------------------------------------------


def _accepts_gather(graph: Graph, operator: Operator, *, table: bool, fixed: bool) -> bool:
    if not isinstance(operator.attributes, ops.Gather):
        return False
    x, indices = graph.ins(operator)
    return x.is_constant == table and indices.is_constant == fixed and x.dtype is graph.outs(operator)[0].dtype


def _lower_gather(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a = operator.attributes
    assert isinstance(a, ops.Gather)
    x, indices = graph.ins(operator)
    parameters: dict[str, Value] = {
        "outer": math.prod(x.shape[: a.axis]),
        "extent": x.shape[a.axis],
        "unit": math.prod(x.shape[a.axis + 1 :]) * x.dtype.itemsize,
        "count": indices.size,
        "wide": indices.dtype.itemsize == 8,
        "indices": None
        if indices.data is None
        else Constant(indices.data.astype(np.int32), weights=False, source=indices.name),
        "table": None if x.data is None else Constant(x.data, source=x.name),
    }
    return Call(
        kernel, operator, parameters, tuple(t.name for t in (x, indices) if not t.is_constant), operator.outputs
    )


def _cost_gather(graph: Graph, operator: Operator) -> float:
    a = operator.attributes
    assert isinstance(a, ops.Gather)
    x = graph.ins(operator)[0]
    return _run_cost(graph.outs(operator)[0].nbytes, math.prod(x.shape[a.axis + 1 :]) * x.dtype.itemsize)


KERNELS = (
    Kernel(
        "concat_ref",
        "concat",
        "ref.c",
        _accepts_concat,
        _lower_concat,
        _cost_concat,
        needs=_COLUMNS,
        pointer_arrays=True,
    ),
    Kernel(
        "split_ref", "split", "ref.c", _accepts_split, _lower_split, _cost_split, needs=_COLUMNS, pointer_arrays=True
    ),
    Kernel(
        "strided_copy_ref", "strided_copy", "ref.c", _accepts_strided, _lower_strided, _cost_strided, needs=_COLUMNS
    ),
    Kernel("pad_constant_ref", "pad", "ref.c", lambda g, o: _accepts_pad(g, o, constant=True), _lower_pad, _cost_pad),
    Kernel(
        "pad_mirror_ref", "pad", "ref_mirror.c", lambda g, o: _accepts_pad(g, o, constant=False), _lower_pad, _cost_pad
    ),
    Kernel(
        "gather_ref",
        "gather",
        "ref.c",
        lambda g, o: _accepts_gather(g, o, table=False, fixed=False),
        _lower_gather,
        _cost_gather,
    ),
    Kernel(
        "gather_fixed_ref",
        "gather",
        "ref_fixed.c",
        lambda g, o: _accepts_gather(g, o, table=False, fixed=True),
        _lower_gather,
        _cost_gather,
    ),
    Kernel(
        "gather_table_ref",
        "gather",
        "ref.c",
        lambda g, o: _accepts_gather(g, o, table=True, fixed=False),
        _lower_gather,
        _cost_gather,
    ),
)
