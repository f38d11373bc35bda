"""Kernels of softmax and log-softmax.

The int8 softmax has two kernels of equal results, each in portable C and for Helium. Computing exponentials takes some
100 cycles each and 300 bytes of code; a table of them takes up to 1 KB of flash. Classifiers end in one short row, for
which a kilobyte is much, so the table serves only from 256 elements on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyopt.execute.integer.softmax import (
    MAX_DEPTH,
    MAX_DEPTH_S16,
    SoftmaxParameters,
    exponential,
    log_reverse_multiplier,
    log_softmax_parameters,
    softmax_parameters,
    softmax_s16_multiplier,
    softmax_s16_tables,
)
from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes

_TABLE_FROM = 256
_FIXED_POINT = ("common.h", "fixed_point.h", "fixed_point.c")
Kind = type[ops.Softmax] | type[ops.LogSoftmax]


def _accepts(
    kind: Kind, dtype: DType, *, least: int = 0, below: int | None = None
) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        x = graph.ins(operator)[0]
        if not isinstance(operator.attributes, kind) or not all_dtypes(graph, operator, dtype) or x.is_constant:
            return False
        if dtype is DType.INT8 and (x.quantization is None or x.shape[-1] > MAX_DEPTH):
            return False
        return x.size >= least and (below is None or x.size < below)

    return accepts


def _rows(x: Tensor) -> dict[str, Value]:
    return {"rows": math.prod(x.shape[:-1]), "depth": x.shape[-1]}


def _output(p: SoftmaxParameters, y: Tensor) -> dict[str, Value]:
    return {
        "input_multiplier": p.input[0],
        "input_shift": p.input[1],
        "least_difference": max(p.least_difference, -256),
        "output_bits": p.output_bits,
        "multiplier": p.output[0],
        "shift": p.output[1],
        "output_zero_point": y.zero_point,
    }


def _lower_softmax_s8(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Softmax)
    p = softmax_parameters(a, x, y)
    table, scratch = None, 4 * x.shape[-1]
    if not kernel.uses_scratch:
        exponentials = exponential(p, -np.arange(min(-p.least_difference, 255) + 1)).astype(np.int32)
        exponentials = exponentials[: np.flatnonzero(exponentials)[-1] + 1]  # what lies behind is zero as well
        table, scratch = Constant(exponentials, weights=False), 0
    parameters: dict[str, Value] = {"table": table, **_rows(x), **_output(p, y)}
    if table is not None:
        parameters["least_difference"] = 1 - table.data.size
    return Call(kernel, operator, parameters, (x.name,), (y.name,), scratch, in_place=((0, 0),))


def _lower_log_softmax_s8(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    p = log_softmax_parameters(x, y)
    reverse = log_reverse_multiplier(p)
    parameters: dict[str, Value] = {
        **_rows(x),
        **_output(p, y),
        "reverse_multiplier": reverse[0],
        "reverse_shift": reverse[1],
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _accepts_s16(graph: Graph, operator: Operator) -> bool:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    if not _accepts(ops.Softmax, DType.INT16)(graph, operator) or x.quantization is None or y.quantization is None:
        return False
    return not (x.zero_point or y.zero_point) and y.scale == 1 / 32768 and x.shape[-1] <= MAX_DEPTH_S16


def _lower_softmax_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Softmax)
    multiplier, shift = softmax_s16_multiplier(a, x, y)
    exponentials, reciprocals = softmax_s16_tables()
    parameters: dict[str, Value] = {
        "exponential": Constant(exponentials, weights=False, align=2),
        "reciprocal": Constant(reciprocals, weights=False, align=2),
        **_rows(x),
        "multiplier": multiplier,
        "shift": shift,
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _lower_f32(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    parameters = _rows(x)
    if isinstance(a, ops.Softmax):
        parameters["beta"] = float(np.float32(a.beta))
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost(cycles: float) -> Callable[[Graph, Operator], float]:
    return lambda graph, operator: cycles * graph.ins(operator)[0].size


def _softmax_s8(name: str, cycles: float) -> Kernel:
    """``name``: of the C function behind the family's; with a table where it says so."""
    has_table, helium = "table" in name, "mve" in name
    return Kernel(
        f"softmax_s8_{name}",
        "softmax_s8",
        {"table_ref": "table.c"}.get(name, f"{name}.c"),
        _accepts(ops.Softmax, DType.INT8, **({"least": _TABLE_FROM} if has_table else {"below": _TABLE_FROM})),
        _lower_softmax_s8,
        _cost(cycles),
        requires=frozenset({"mve"}) if helium else frozenset(),
        needs=(*_FIXED_POINT, "mve.h") if helium else _FIXED_POINT,
        uses_scratch=not has_table,
    )


KERNELS = (
    _softmax_s8("ref", 130),
    _softmax_s8("table_ref", 30),
    _softmax_s8("mve", 30),
    _softmax_s8("table_mve", 10),
    Kernel(
        "log_softmax_s8_ref",
        "log_softmax_s8",
        "ref.c",
        _accepts(ops.LogSoftmax, DType.INT8),
        _lower_log_softmax_s8,
        _cost(180),
        needs=_FIXED_POINT,
    ),
    Kernel(
        "softmax_s16_ref",
        "softmax_s16",
        "ref.c",
        _accepts_s16,
        _lower_softmax_s16,
        _cost(60),
        needs=("common.h", "fixed_point.h"),
    ),
    Kernel("softmax_f32_ref", "softmax_f32", "ref.c", _accepts(ops.Softmax, DType.FLOAT32), _lower_f32, _cost(100)),
    Kernel(
        "log_softmax_f32_ref",
        "log_softmax_f32",
        "ref.c",
        _accepts(ops.LogSoftmax, DType.FLOAT32),
        _lower_f32,
        _cost(100),
    ),
)
