"""Elementwise kernels of the Arm DSP extension."""

from __future__ import annotations

from collections.abc import Callable

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.elementwise import add_parameters, multiply_parameters
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.catalogue import elementwise
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


def accepts_product(constants: int) -> Callable[[Graph, Operator], bool]:
    """Products with so many constant operands whose output is scaled down by at least a half."""
    portable = next(k for k in elementwise.KERNELS if k.name == ("mul_s8_constant_ref" if constants else "mul_s8_ref"))

    def accepts(graph: Graph, operator: Operator) -> bool:
        if not portable.accepts(graph, operator):
            return False
        a, b = graph.ins(operator)
        return multiply_parameters(a, b, graph.outs(operator)[0])[1] <= -1

    return accepts


def products(suffix: str, cycles: float) -> tuple[Kernel, Kernel]:
    """The kernels of two activations and of one and a constant, for an instruction set."""
    first, second = (
        Kernel(
            name=f"mul_s8_{ending}",
            family="mul_s8",
            source=f"{suffix}.c",
            accepts=accepts_product(constants),
            lower=elementwise.lower_product,
            cost=lambda graph, operator: cycles * graph.outs(operator)[0].size + 60,
            requires=frozenset({suffix}),
            needs=("broadcast.h", "common.h", f"{suffix}.h"),
        )
        for constants, ending in enumerate((suffix, f"constant_{suffix}"))
    )
    return first, second


KERNELS = (
    *products("dsp", 18.0),
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
