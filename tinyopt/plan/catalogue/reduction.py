"""Kernels of mean, sum, maximum, minimum and index of the maximum."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinyopt.execute.integer.elementwise import quantization_of, rescale_multiplier
from tinyopt.execute.integer.reduction import mean_multiplier, reduced_count
from tinyopt.graph import DType, Graph, Operator, Shape, ops
from tinyopt.graph.ops import ReduceKind
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes

_HEADERS = ("common.h", "reduction.h")
_SUMS = (ReduceKind.MEAN, ReduceKind.SUM)
_EXTREMES = (ReduceKind.MAX, ReduceKind.MIN)
_GROUPS = 3
_MAX_SUM, _MAX_SUM_S16 = 1 << 23, 1 << 15
Axis = tuple[int, int]
"""Size, and elements from one index to the next."""


def merged_axes(shape: Shape, axes: tuple[int, ...]) -> tuple[list[Axis], list[Axis]]:
    """Kept and reduced axes, outermost first; axes of size 1 are dropped and neighbours of one kind merged."""
    kept: list[Axis] = []
    reduced: list[Axis] = []
    previous: bool | None = None
    for index, size in enumerate(shape):
        if size == 1:
            continue
        is_reduced = index in axes
        group = reduced if is_reduced else kept
        step = math.prod(shape[index + 1 :])
        if is_reduced == previous:
            group[-1] = (group[-1][0] * size, step)
        else:
            group.append((size, step))
        previous = is_reduced
    return kept, reduced


def _shape_fields(shape: Shape, axes: tuple[int, ...]) -> dict[str, Value]:
    """The nested struct ``tinyopt_reduction``."""
    fields: dict[str, Value] = {}
    for name, group in zip(("kept", "reduced"), merged_axes(shape, axes)):
        padded = [(1, 0)] * (_GROUPS - len(group)) + group
        fields[f"{name}_size"] = tuple(size for size, _ in padded)
        fields[f"{name}_step"] = tuple(step for _, step in padded)
    return fields


def _accepts(kinds: tuple[ReduceKind, ...], dtype: DType) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a, x = operator.attributes, graph.ins(operator)[0]
        if not isinstance(a, ops.Reduce) or a.op not in kinds or not all_dtypes(graph, operator, dtype):
            return False
        if x.is_constant or max(len(group) for group in merged_axes(x.shape, a.axes)) > _GROUPS:
            return False
        most = _MAX_SUM if dtype is DType.INT8 else _MAX_SUM_S16
        return dtype is DType.FLOAT32 or (x.quantization is not None and reduced_count(a, x) <= most)

    return accepts


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Reduce)
    count = reduced_count(a, x)
    parameters: dict[str, Value] = {"shape": _shape_fields(x.shape, a.axes)}
    if x.dtype is DType.FLOAT32:
        parameters["divisor"] = float(count) if a.op is ReduceKind.MEAN else 1.0
        return Call(kernel, operator, parameters, (x.name,), (y.name,))
    source, target = quantization_of(x), quantization_of(y)
    multiplier, shift = rescale_multiplier(source, target)
    if a.op in _SUMS:
        if a.op is ReduceKind.MEAN:
            multiplier, shift = mean_multiplier(count, x, y)
        parameters["sum_zero_point"] = source.zero_point * count
    else:
        parameters["maximum"] = int(a.op is ReduceKind.MAX)
        parameters["rescale"] = int(source != target)
        parameters["input_zero_point"] = source.zero_point
    parameters.update({"multiplier": multiplier, "shift": shift, "output_zero_point": target.zero_point})
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _accepts_argmax(dtype: DType, index: DType) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        x = graph.ins(operator)[0]
        fits = x.dtype is dtype and graph.outs(operator)[0].dtype is index
        return isinstance(operator.attributes, ops.ArgMax) and fits and not x.is_constant

    return accepts


def _lower_argmax(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.ArgMax)
    parameters: dict[str, Value] = {
        "outer": math.prod(x.shape[: a.axis]),
        "count": x.shape[a.axis],
        "inner": math.prod(x.shape[a.axis + 1 :]),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    return 9.0 * graph.ins(operator)[0].size + 30.0 * graph.outs(operator)[0].size


def _accepts_run(least: int) -> Callable[[Graph, Operator], bool]:
    """Sums whose outputs are neighbours as their inputs are, at least so many in a row."""
    sums = _accepts(_SUMS, DType.INT8)

    def accepts(graph: Graph, operator: Operator) -> bool:
        if not sums(graph, operator):
            return False
        a = operator.attributes
        assert isinstance(a, ops.Reduce)
        kept, _ = merged_axes(graph.ins(operator)[0].shape, a.axes)
        return bool(kept) and kept[-1][1] == 1 and kept[-1][0] >= least

    return accepts


def _sums_of_four(suffix: str, least: int, feature: str, per_element: float) -> Kernel:
    def cost(graph: Graph, operator: Operator) -> float:
        return per_element * graph.ins(operator)[0].size + 30.0 * graph.outs(operator)[0].size

    return Kernel(
        f"reduce_sum_s8_{suffix}",
        "reduce_sum_s8",
        f"{suffix}.c",
        _accepts_run(least),
        _lower,
        cost,
        requires=frozenset({feature}),
        needs=(*_HEADERS, f"{suffix}.h", *(("sums_dsp.h",) if suffix == "dsp" else ())),
    )


def _argmax(dtype: DType, suffix: str, index: DType) -> Kernel:
    family = f"argmax_{suffix}"
    name = f"{family}_ref" if index is DType.INT32 else f"{family}_wide_ref"
    return Kernel(name, family, "ref.c", _accepts_argmax(dtype, index), _lower_argmax, _cost)


def _float(name: str, source: str, kinds: tuple[ReduceKind, ...]) -> Kernel:
    accepts = _accepts(kinds, DType.FLOAT32)
    return Kernel(f"reduce_{name}_f32_ref", "reduce_f32", source, accepts, _lower, _cost, needs=_HEADERS)


KERNELS = (
    Kernel("reduce_sum_s8_ref", "reduce_sum_s8", "ref.c", _accepts(_SUMS, DType.INT8), _lower, _cost, needs=_HEADERS),
    _sums_of_four("dsp", 4, "dsp", 2.5),
    _sums_of_four("mve", 1, "mve", 1.5),
    Kernel(
        "reduce_sum_s16_ref", "reduce_sum_s16", "ref.c", _accepts(_SUMS, DType.INT16), _lower, _cost, needs=_HEADERS
    ),
    Kernel(
        "reduce_minmax_s8_ref",
        "reduce_minmax_s8",
        "ref.c",
        _accepts(_EXTREMES, DType.INT8),
        _lower,
        _cost,
        needs=_HEADERS,
    ),
    _float("sum", "sum.c", _SUMS),
    _float("max", "max.c", (ReduceKind.MAX,)),
    _float("min", "min.c", (ReduceKind.MIN,)),
    _argmax(DType.INT8, "s8", DType.INT32),
    _argmax(DType.INT8, "s8", DType.INT64),
    _argmax(DType.FLOAT32, "f32", DType.INT32),
    _argmax(DType.FLOAT32, "f32", DType.INT64),
)
