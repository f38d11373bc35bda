"""Single-operator graphs of reductions: every set of axes, int8 and float32; index of the maximum."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels.cases.quantized import Draw, quantizations, shapes, single
from tinyopt.graph import DType, Graph, ops


@st.composite
def _reduce(draw: Draw, op: ops.ReduceKind, dtype: DType) -> Graph:
    shape = draw(shapes(1, 5))
    axes = tuple(axis for axis in range(len(shape)) if draw(st.booleans())) or (len(shape) - 1,)
    x = draw(quantizations(dtype))
    y = draw(st.sampled_from((x, draw(quantizations(dtype)))))
    return single(ops.Reduce(op, axes, draw(st.booleans())), [(shape, x)], dtype, y)


@st.composite
def _argmax(draw: Draw, dtype: DType) -> Graph:
    shape = draw(shapes(1, 4))
    index = draw(st.sampled_from((DType.INT32, DType.INT64)))
    attributes = ops.ArgMax(draw(st.integers(0, len(shape) - 1)), draw(st.booleans()), index.value)
    return single(attributes, [(shape, draw(quantizations(dtype)))], dtype, None)


_SUFFIXES = {"s8": DType.INT8, "f32": DType.FLOAT32}

CASES: dict[str, st.SearchStrategy[Graph]] = {
    **{
        f"reduce_{op.value}_{suffix}": _reduce(op, dtype)
        for op in ops.ReduceKind
        for suffix, dtype in _SUFFIXES.items()
    },
    "reduce_mean_s16": _reduce(ops.ReduceKind.MEAN, DType.INT16),
    "reduce_sum_s16": _reduce(ops.ReduceKind.SUM, DType.INT16),
    **{f"argmax_{suffix}": _argmax(dtype) for suffix, dtype in _SUFFIXES.items()},
}
