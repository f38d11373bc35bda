"""Sums of int8 tensors as one linear form, where that is proved to be exact."""

from __future__ import annotations

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.broadcast import broadcast_fields
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes
from tinyopt.plan.linear_sum import linear_sum


def _accepts(graph: Graph, operator: Operator) -> bool:
    """Two int8 activations of the output's shape."""
    attributes, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    if not isinstance(attributes, ops.Binary) or attributes.op not in (BinaryKind.ADD, BinaryKind.SUB):
        return False
    if not all_dtypes(graph, operator, DType.INT8) or any(t.is_constant or t.shape != y.shape for t in ins):
        return False
    return linear_sum(attributes, ins[0], ins[1], y) is not None


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    form = linear_sum(attributes, a, b, y)
    assert form is not None
    parameters: dict[str, Value] = {
        "broadcast": broadcast_fields(a.shape, b.shape),
        "a_factor": form.first,
        "a_offset": form.offset,
        "b_multiplier": form.second,
        "output_shift": form.shift,
        "clamp_low": form.low,
        "clamp_high": form.high,
    }
    return Call(kernel, operator, parameters, (a.name, b.name), (y.name,), in_place=((0, 0), (1, 0)))


def _accepts_unclamped(graph: Graph, operator: Operator) -> bool:
    if not _accepts(graph, operator):
        return False
    attributes, y = operator.attributes, graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    return clamp_limits(attributes.activation, y) == (-128, 127)


KERNELS = (
    Kernel(
        name="add_s8_linear",
        family="add_s8",
        source="linear.c",
        accepts=_accepts,
        lower=_lower,
        cost=lambda graph, operator: 16.0 * graph.outs(operator)[0].size + 60,
        needs=("broadcast.h", "common.h"),
    ),
    Kernel(
        name="add_s8_linear_dsp",
        family="add_s8",
        source="linear_dsp.c",
        accepts=_accepts_unclamped,
        lower=_lower,
        cost=lambda graph, operator: 11.0 * graph.outs(operator)[0].size + 60,
        requires=frozenset({"dsp"}),
        needs=("broadcast.h", "common.h", "dsp.h"),
    ),
    Kernel(
        name="add_s8_linear_mve",
        family="add_s8",
        source="linear_mve.c",
        accepts=_accepts,
        lower=_lower,
        cost=lambda graph, operator: 2.7 * graph.outs(operator)[0].size + 60,
        requires=frozenset({"mve"}),
        needs=("broadcast.h", "common.h", "mve.h"),
    ),
)
