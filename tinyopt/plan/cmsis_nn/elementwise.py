"""arm_elementwise_add_s8, arm_elementwise_mul_s8 (two activations of one shape) and arm_softmax_s8.

GCC 12.2 stops with an internal error at the softmax for Helium of releases before 4.1.0; later ones avoid that, and
say so in the file.
"""

from __future__ import annotations

import math
from functools import partial

from tinyopt.execute.integer.elementwise import add_parameters, multiply_parameters
from tinyopt.execute.integer.softmax import SOFTMAX_OUTPUT, softmax_parameters
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.cmsis_nn.target import Target
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes
from tinyopt.plan.packing import output_limits

_LONGEST_ROW = 511
"""Elements of a softmax: their exponentials sum up to less than 2**28, see the adapter's header."""


def kernels(target: Target) -> tuple[Kernel, ...]:
    """The elementwise functions of a library, and its softmax."""
    softmax = target.kernel(
        "softmax",
        "softmax",
        "adapter.c",
        ("arm_softmax_s8",),
        _accepts_softmax,
        _lower_softmax,
        partial(_cost_binary, {"c": 2800.0, "dsp": 630.0, "mve": 610.0}[target.core]),
    )
    return (
        *target.kernel(
            "add",
            "binary",
            "add.c",
            ("arm_elementwise_add_s8",),
            partial(_accepts_binary, BinaryKind.ADD),
            _lower_binary,
            partial(_cost_binary, {"c": 343.0, "dsp": 98.0, "mve": 18.0}[target.core]),
        ),
        *target.kernel(
            "mul",
            "binary",
            "mul.c",
            ("arm_elementwise_mul_s8",),
            partial(_accepts_binary, BinaryKind.MUL),
            _lower_binary,
            partial(_cost_binary, {"c": 129.0, "dsp": 40.0, "mve": 8.5}[target.core]),
        ),
        *(softmax if _compiles(target) else ()),
    )


def _accepts_binary(kind: BinaryKind, graph: Graph, operator: Operator) -> bool:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    return (
        isinstance(a, ops.Binary)
        and a.op is kind
        and all_dtypes(graph, operator, DType.INT8)
        and y.quantization is not None
        and not any(t.is_constant for t in ins)
        and ins[0].shape == ins[1].shape
    )


def _lower_binary(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    fields: dict[str, Value] = {"elements": y.size, "a_offset": -a.zero_point, "b_offset": -b.zero_point}
    if attributes.op is BinaryKind.ADD:
        p = add_parameters(attributes.op, a, b, y)
        output = p.output
        fields.update(
            left_shift=p.left_shift,
            a_multiplier=p.a[0],
            a_shift=p.a[1],
            b_multiplier=p.b[0],
            b_shift=p.b[1],
        )
    else:
        output = multiply_parameters(a, b, y)
    clamp = output_limits(y, attributes.activation)
    fields.update(
        output_multiplier=output[0],
        output_shift=output[1],
        output_offset=clamp["output_zero_point"],
        clamp_low=clamp["clamp_low"],
        clamp_high=clamp["clamp_high"],
    )
    return Call(kernel, operator, fields, (a.name, b.name), (y.name,), in_place=((0, 0), (1, 0)))


def _compiles(target: Target) -> bool:
    """Whether the compiler can build the softmax for this core."""
    files = target.library.sources_of("arm_softmax_s8") or ()
    return target.core != "mve" or any("ARM_GCC_12_2_ICE" in target.library.files[path] for path in files)


def _accepts_softmax(graph: Graph, operator: Operator) -> bool:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    if not isinstance(a, ops.Softmax) or not all_dtypes(graph, operator, DType.INT8) or x.is_constant:
        return False
    if x.quantization is None or y.quantization != SOFTMAX_OUTPUT or x.shape[-1] > _LONGEST_ROW:
        return False
    return softmax_parameters(a, x, y).input[1] >= 0


def _lower_softmax(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Softmax)
    p = softmax_parameters(a, x, y)
    fields: dict[str, Value] = {
        "rows": math.prod(x.shape[:-1]),
        "depth": x.shape[-1],
        "multiplier": p.input[0],
        "shift": p.input[1],
        "least_difference": max(p.least_difference, -256),
    }
    return Call(kernel, operator, fields, (x.name,), (y.name,), in_place=((0, 0),))


def _cost_binary(per_element: float, graph: Graph, operator: Operator) -> float:
    return per_element * graph.outs(operator)[0].size + 100
