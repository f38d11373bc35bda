"""Kernels of MatMul, on int8, int16 and float32 tensors. Either operand may be a constant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from tinyopt.execute.integer.arithmetic import quantize_multiplier
from tinyopt.execute.integer.convolution import product_multiplier
from tinyopt.graph import DType, Graph, Operator, Shape, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution_wide import LARGEST_WIDE_SHIFT
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes

_BATCH_AXES = 3


def batch_plan(a: Shape, b: Shape) -> tuple[Shape, Shape, Shape]:
    """Batch axes of a product of two operands, as few as possible.

    ``a``, ``b``: the shapes in front of the matrices. Returns the sizes of the loops and the steps of both operands
    in matrices (0 where an operand is repeated). Neighbouring axes that step alike are joined.
    """
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    loops: list[list[int]] = []  # size, step of a, step of b; the innermost axis first
    step_a = step_b = 1
    for size_a, size_b in zip(reversed(a), reversed(b)):
        size = max(size_a, size_b)
        axis = [size, step_a if size_a > 1 else 0, step_b if size_b > 1 else 0]
        step_a, step_b = step_a * size_a, step_b * size_b
        if size == 1:
            continue
        inner = loops[-1] if loops else None
        if inner and axis[1] == inner[0] * inner[1] and axis[2] == inner[0] * inner[2]:
            inner[0] *= size
        else:
            loops.append(axis)
    loops.reverse()
    sizes, steps_a, steps_b = (tuple(column) for column in zip(*loops)) if loops else ((), (), ())
    return sizes, steps_a, steps_b


def _constant_operand(graph: Graph, operator: Operator) -> str:
    a, b = (tensor.is_constant for tensor in graph.ins(operator))
    return {(False, False): "none", (True, False): "a", (False, True): "b", (True, True): "both"}[a, b]


def _multiplier(graph: Graph, operator: Operator) -> tuple[int, int]:
    (a, b), y = graph.ins(operator), graph.outs(operator)[0]
    return quantize_multiplier(product_multiplier(a.scale, b.scale, y.scale))


def _fits_int16(graph: Graph, operator: Operator) -> bool:
    centred = not any(tensor.zero_point for tensor in (*graph.ins(operator), *graph.outs(operator)))
    return centred and _multiplier(graph, operator)[1] <= LARGEST_WIDE_SHIFT


def _accepts(dtype: DType, constant: str) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        if not isinstance(operator.attributes, ops.MatMul) or not all_dtypes(graph, operator, dtype):
            return False
        if dtype is DType.INT16 and not _fits_int16(graph, operator):
            return False
        a, b = (tensor.shape[:-2] for tensor in graph.ins(operator))
        return _constant_operand(graph, operator) == constant and len(batch_plan(a, b)[0]) <= _BATCH_AXES

    return accepts


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.MatMul)
    rows, columns = y.shape[-2:]
    depth = a.shape[-2] if attributes.transpose_a else a.shape[-1]
    sizes, steps_a, steps_b = batch_plan(a.shape[:-2], b.shape[:-2])
    missing = _BATCH_AXES - len(sizes)
    constant = next((t for t in (a, b) if t.is_constant), None)
    parameters: dict[str, Value] = {
        "constant": None if constant is None else Constant(constant.value, source=constant.name),
        "batch": (*(1,) * missing, *sizes),
        "a_batch_stride": (*(0,) * missing, *(step * rows * depth for step in steps_a)),
        "b_batch_stride": (*(0,) * missing, *(step * depth * columns for step in steps_b)),
        "rows": rows,
        "depth": depth,
        "columns": columns,
        "a_row_stride": 1 if attributes.transpose_a else depth,
        "a_depth_stride": rows if attributes.transpose_a else 1,
        "b_depth_stride": 1 if attributes.transpose_b else columns,
        "b_column_stride": depth if attributes.transpose_b else 1,
    }
    if y.dtype is DType.INT8:
        parameters |= {
            "a_zero_point": a.zero_point,
            "b_zero_point": b.zero_point,
            "output_zero_point": y.zero_point,
        }
    if y.dtype is not DType.FLOAT32:
        multiplier, shift = _multiplier(graph, operator)
        parameters |= {"multiplier": multiplier, "shift": shift}
    return Call(kernel, operator, parameters, tuple(t.name for t in (a, b) if not t.is_constant), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    return 9.0 * operator_macs(graph, operator) + 30 * math.prod(graph.outs(operator)[0].shape)


def _lower_dsp(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    call = _lower(graph, operator, kernel)
    depth, gathers = _depth(graph, operator), call.parameters["a_depth_stride"] != 1
    return replace(call, scratch=8 * _padded(depth) + (depth if gathers else 0))


def _accepts_dsp(constant: str) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        # A product of two centred int8 values is at most 255 * 255.
        return (
            _accepts(DType.INT8, constant)(graph, operator)
            and _multiplier(graph, operator)[1] < 0
            and 255 * 255 * _depth(graph, operator) < 1 << 30
        )

    return accepts


def _depth(graph: Graph, operator: Operator) -> int:
    attributes, a = operator.attributes, graph.ins(operator)[0]
    assert isinstance(attributes, ops.MatMul)
    return a.shape[-2] if attributes.transpose_a else a.shape[-1]


def _padded(depth: int) -> int:
    return -(-depth // 4) * 4


def _cost_dsp(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4: products in blocks of four columns, outputs, and the widening of b."""
    attributes, y = operator.attributes, graph.outs(operator)[0]
    assert isinstance(attributes, ops.MatMul)
    depth, (rows, columns) = _padded(_depth(graph, operator)), y.shape[-2:]
    blocks = -(-columns // 4) * (y.size / (rows * columns))
    gather = 0.0 if not attributes.transpose_a else 6.0 * depth
    widen = 4 * depth * (4.5 if attributes.transpose_b else 14.0)
    return blocks * (widen + rows * (6.5 * depth + 30 + gather)) + 30 * y.size


def _middle(constant: str) -> str:
    return "" if constant == "none" else f"_constant_{constant}"


def _kernel(family: str, dtype: DType, constant: str) -> Kernel:
    return Kernel(
        name=f"{family}{_middle(constant)}_ref",
        family=family,
        source="ref.c",
        accepts=_accepts(dtype, constant),
        lower=_lower,
        cost=_cost,
    )


def _kernel_dsp(constant: str) -> Kernel:
    return replace(
        _kernel("matmul_s8", DType.INT8, constant),
        name=f"matmul_s8{_middle(constant)}_dsp",
        source="dsp.c",
        accepts=_accepts_dsp(constant),
        lower=_lower_dsp,
        cost=_cost_dsp,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h"),
        uses_scratch=True,
    )


KERNELS = (
    *(
        _kernel(family, dtype, constant)
        for family, dtype in (("matmul_s8", DType.INT8), ("matmul_s16", DType.INT16), ("matmul_f32", DType.FLOAT32))
        for constant in ("none", "a", "b")
    ),
    *(_kernel_dsp(constant) for constant in ("none", "a", "b")),
)
