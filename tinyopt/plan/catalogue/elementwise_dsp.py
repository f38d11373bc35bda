"""Elementwise kernels of the Arm DSP extension."""

from __future__ import annotations

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.elementwise import add_parameters
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.catalogue.elementwise import lower_add
from tinyopt.plan.kernel import Kernel, all_dtypes


def _accepts_add(graph: Graph, operator: Operator) -> bool:
    """Two int8 activations of the output's shape, and an output scaled down by at least a half."""
    attributes, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    if not isinstance(attributes, ops.Binary) or attributes.op not in (BinaryKind.ADD, BinaryKind.SUB):
        return False
    if not all_dtypes(graph, operator, DType.INT8) or any(t.is_constant or t.shape != y.shape for t in ins):
        return False
    a, b = ins
    return y.quantization is not None and add_parameters(attributes.op, a, b, y).output[1] <= -1


def _accepts_add_relu(graph: Graph, operator: Operator) -> bool:
    """The same, where outputs below the zero point are clamped to it: how their ties are rounded does not matter."""
    if not _accepts_add(graph, operator):
        return False
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    low = clamp_limits(attributes.activation, y)[0]
    return low >= y.zero_point and add_parameters(attributes.op, a, b, y).output[1] >= -22


KERNELS = (
    Kernel(
        name="add_s8_dsp",
        family="add_s8",
        source="dsp.c",
        accepts=_accepts_add,
        lower=lower_add,
        cost=lambda graph, operator: 17.3 * graph.outs(operator)[0].size + 150,
        requires=frozenset({"dsp"}),
        needs=("broadcast.h", "common.h", "dsp.h"),
    ),
    Kernel(
        name="add_s8_dsp_relu",
        family="add_s8",
        source="dsp.c",
        accepts=_accepts_add_relu,
        lower=lower_add,
        cost=lambda graph, operator: 15.3 * graph.outs(operator)[0].size + 150,
        requires=frozenset({"dsp"}),
        needs=("broadcast.h", "common.h", "dsp.h"),
    ),
)
