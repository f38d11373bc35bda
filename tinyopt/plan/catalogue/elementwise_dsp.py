"""Elementwise kernels of the Arm DSP extension."""

from __future__ import annotations

from tinyopt.execute.integer.elementwise import Multiplier, add_parameters
from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.broadcast import broadcast_fields
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes
from tinyopt.plan.packing import output_limits

_HALF = (1 << 30, 0)


def _operands(graph: Graph, operator: Operator) -> tuple[tuple[Tensor, Multiplier], tuple[Tensor, Multiplier]] | None:
    """The operand of the larger scale, then the other, with their multipliers; None where neither is halved."""
    a, b = graph.ins(operator)
    p = add_parameters(BinaryKind.ADD, a, b, graph.outs(operator)[0])
    if p.output[1] > -1:
        return None
    for first, second in (((a, p.a), (b, p.b)), ((b, p.b), (a, p.a))):
        if tuple(first[1]) == _HALF and second[1][1] <= 0:
            return first, second
    return None


def _accepts_add(graph: Graph, operator: Operator) -> bool:
    attributes = operator.attributes
    if not isinstance(attributes, ops.Binary) or attributes.op is not BinaryKind.ADD:
        return False
    if not all_dtypes(graph, operator, DType.INT8) or any(t.is_constant for t in graph.ins(operator)):
        return False
    shape = graph.outs(operator)[0].shape
    return all(t.shape == shape for t in graph.ins(operator)) and _operands(graph, operator) is not None


def _lower_add(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, y = operator.attributes, graph.outs(operator)[0]
    operands = _operands(graph, operator)
    assert isinstance(attributes, ops.Binary) and operands is not None
    (a, a_scale), (b, b_scale) = operands
    output = add_parameters(BinaryKind.ADD, a, b, y).output
    parameters: dict[str, Value] = {
        "broadcast": broadcast_fields(a.shape, b.shape),
        "a_zero_point": a.zero_point,
        "a_multiplier": a_scale[0],
        "a_shift": a_scale[1],
        "b_zero_point": b.zero_point,
        "b_multiplier": b_scale[0],
        "b_shift": b_scale[1],
        "b_sign": 1,
        "output_multiplier": output[0],
        "output_shift": output[1],
        **output_limits(y, attributes.activation),
    }
    return Call(kernel, operator, parameters, (a.name, b.name), (y.name,), in_place=((0, 0), (1, 0)))


KERNELS = (
    Kernel(
        name="add_s8_dsp",
        family="add_s8",
        source="dsp.c",
        accepts=_accepts_add,
        lower=_lower_add,
        cost=lambda graph, operator: 25.0 * graph.outs(operator)[0].size,
        requires=frozenset({"dsp"}),
        needs=("broadcast.h", "common.h", "dsp.h"),
    ),
)
