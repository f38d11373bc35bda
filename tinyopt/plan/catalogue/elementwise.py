"""Kernels of elementwise arithmetic with two operands, and PReLU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier
from tinyopt.execute.integer.elementwise import (
    Multiplier,
    add_parameters,
    divide_parameters,
    multiply_parameters,
    prelu_parameters,
    quantization_of,
    rescale_multiplier,
    wrapped,
)
from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.graph.ops import BinaryKind
from tinyopt.plan.broadcast import broadcast_fields, fits
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import float_limits, output_limits

_EXTREMES = (BinaryKind.MINIMUM, BinaryKind.MAXIMUM)
_HEADERS = ("common.h", "broadcast.h")
_DIVISION = (*_HEADERS, "fixed_point.h", "fixed_point.c")
Accepts = Callable[[Graph, Operator], bool]


def _accepts(kinds: tuple[BinaryKind, ...], dtype: DType, constants: int) -> Accepts:
    """Operators of these kinds and type, with exactly this many constant operands."""

    def accepts(graph: Graph, operator: Operator) -> bool:
        a, ins = operator.attributes, graph.ins(operator)
        return (
            isinstance(a, ops.Binary)
            and a.op in kinds
            and all_dtypes(graph, operator, dtype)
            and (dtype is DType.FLOAT32 or graph.outs(operator)[0].quantization is not None)
            and (dtype is not DType.INT16 or _int16_fits(a, ins[0], ins[1], graph.outs(operator)[0]))
            and sum(t.is_constant for t in ins) == constants
            and fits(ins[0].shape, ins[1].shape)
        )

    return accepts


def _int16_fits(attributes: ops.Binary, a: Tensor, b: Tensor, y: Tensor) -> bool:
    """Products need zero points of 0, comparisons one quantization, as in TFLM."""
    if attributes.op in _EXTREMES:
        return a.quantization == b.quantization == y.quantization
    return attributes.op is not BinaryKind.MUL or not (a.zero_point or b.zero_point or y.zero_point)


def _multiplier(name: str, value: Multiplier) -> dict[str, Value]:
    prefix = f"{name}_" if name else ""
    return {f"{prefix}multiplier": value[0], f"{prefix}shift": value[1]}


def _call(
    graph: Graph, operator: Operator, kernel: Kernel, parameters: dict[str, Value], *, swapped: bool = False
) -> Call:
    """The call with its operand fields: constants into the struct, activations as pointers, what may be in place.

    ``swapped``: the kernel takes the second operand first.
    """
    ins, y = graph.ins(operator)[:: -1 if swapped else 1], graph.outs(operator)[0]
    constant = next((t for t in ins if t.data is not None), None)
    fields: dict[str, Value] = {
        "constant": None
        if constant is None
        else Constant(constant.value, align=constant.dtype.itemsize, source=constant.name),
        "constant_first": int(ins[0].is_constant),
        "broadcast": broadcast_fields(ins[0].shape, ins[1].shape),
        **parameters,
    }
    inputs = tuple(t for t in ins if not t.is_constant)
    in_place = tuple((i, 0) for i, t in enumerate(inputs) if t.size == y.size)
    return Call(kernel, operator, fields, tuple(t.name for t in inputs), (y.name,), in_place=in_place)


def lower_add(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    """The operand of the larger scale first: its multiplier is exactly one half, and its path is a multiplication."""
    attributes, (first, second), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    p = add_parameters(attributes.op, first, second, y)
    swapped = second.scale > first.scale
    signs = (1, 1 if attributes.op is BinaryKind.ADD else -1)
    (a, a_sign), (b, b_sign) = ((second, signs[1]), (first, signs[0])) if swapped else zip((first, second), signs)
    factor = a_sign << (p.left_shift - 1)
    parameters: dict[str, Value] = {
        "a_factor": factor,
        "a_offset": -a.zero_point * factor,
        "b_zero_point": b.zero_point,
        **_multiplier("b", p.a if swapped else p.b),
        "b_sign": b_sign,
        **_multiplier("output", p.output),
        **output_limits(y, attributes.activation),
    }
    return _call(graph, operator, kernel, parameters, swapped=swapped)


def _lower_add_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    p = add_parameters(attributes.op, a, b, y)
    parameters: dict[str, Value] = {
        "a_zero_point": a.zero_point,
        **_multiplier("a", p.a),
        "b_zero_point": b.zero_point,
        **_multiplier("b", p.b),
        "b_sign": 1 if attributes.op is BinaryKind.ADD else -1,
        **_multiplier("output", p.output),
        **output_limits(y, attributes.activation),
    }
    return _call(graph, operator, kernel, parameters)


def lower_product(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    """Products and quotients."""
    attributes, (a, b), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    scale = multiply_parameters if attributes.op is BinaryKind.MUL else divide_parameters
    limits = output_limits(y, attributes.activation)
    parameters: dict[str, Value] = {"a_zero_point": a.zero_point, "b_zero_point": b.zero_point}
    if y.dtype is DType.INT16:  # all zero points are 0
        parameters = {}
        del limits["output_zero_point"]
    parameters.update({**_multiplier("", scale(a, b, y)), **limits})
    return _call(graph, operator, kernel, parameters)


def _requantized(constant: Tensor, y: Tensor) -> Constant:
    """A constant operand brought to the output's quantization."""
    source, target = quantization_of(constant), quantization_of(y)
    data = constant.value
    if source != target:
        centred = data.astype(np.int64) - source.zero_point
        rescaled = multiply_by_quantized_multiplier(centred, *rescale_multiplier(source, target))
        data = np.clip(wrapped(rescaled + target.zero_point), -128, 127).astype(np.int8)
    return Constant(data, align=data.dtype.itemsize, source=constant.name)


def _lower_extreme(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(attributes, ops.Binary)
    target = quantization_of(y)
    a, b = reversed(ins) if ins[0].is_constant else ins  # the constant, if any, is b
    parameters: dict[str, Value] = {
        "constant": _requantized(b, y) if b.is_constant else None,
        "broadcast": broadcast_fields(a.shape, b.shape),
        "maximum": int(attributes.op is BinaryKind.MAXIMUM),
        "rescale": int(any(t.quantization != target for t in (a, b) if not t.is_constant)),
        **output_limits(y, attributes.activation),
    }
    for name, tensor in (("a", a), ("b", b)):
        # The constant has the output's quantization already: rescaling it again must change nothing.
        source = target if tensor.is_constant else quantization_of(tensor)
        parameters[f"{name}_zero_point"] = source.zero_point
        parameters.update(_multiplier(name, rescale_multiplier(source, target)))
    inputs = tuple(t for t in (a, b) if not t.is_constant)
    in_place = tuple((i, 0) for i, t in enumerate(inputs) if t.size == y.size)
    return Call(kernel, operator, parameters, tuple(t.name for t in inputs), (y.name,), in_place=in_place)


def _lower_extreme_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    call = _lower_extreme(graph, operator, kernel)
    fields = ("constant", "broadcast", "maximum", "clamp_low", "clamp_high")
    return replace(call, parameters={field: call.parameters[field] for field in fields})


def _lower_float(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    attributes = operator.attributes
    assert isinstance(attributes, ops.Binary)
    clamp = attributes.activation
    parameters: dict[str, Value] = {
        "operation": list(BinaryKind).index(attributes.op),
        "clamped": int(clamp != ops.NONE),
        **float_limits(clamp),
    }
    return _call(graph, operator, kernel, parameters)


def _cost(cycles: float) -> Callable[[Graph, Operator], float]:
    return lambda graph, operator: cycles * graph.outs(operator)[0].size


def _accepts_prelu(dtype: DType) -> Accepts:
    def accepts(graph: Graph, operator: Operator) -> bool:
        ins = graph.ins(operator)
        return (
            isinstance(operator.attributes, ops.Prelu)
            and all_dtypes(graph, operator, dtype)
            and ins[1].is_constant
            and not ins[0].is_constant
            and fits(ins[0].shape, ins[1].shape)
        )

    return accepts


def _lower_prelu(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    (x, alpha), y = graph.ins(operator), graph.outs(operator)[0]
    parameters: dict[str, Value] = {
        "alpha": Constant(alpha.value, align=alpha.dtype.itemsize, source=alpha.name),
        "broadcast": broadcast_fields(x.shape, alpha.shape),
    }
    if x.dtype is DType.INT8:
        positive, negative = prelu_parameters(x, alpha, y)
        parameters.update(
            {
                "input_zero_point": x.zero_point,
                "alpha_zero_point": alpha.zero_point,
                **_multiplier("positive", positive),
                **_multiplier("negative", negative),
                "output_zero_point": y.zero_point,
            }
        )
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _pair(
    family: str,
    kinds: tuple[BinaryKind, ...],
    dtype: DType,
    lower: Callable[[Graph, Operator, Kernel], Call],
    cycles: float,
    needs: tuple[str, ...] = _HEADERS,
) -> tuple[Kernel, Kernel]:
    """The kernel of two activations and that of one activation and a constant."""
    names = (f"{family}_ref", f"{family}_constant_ref")
    first, second = (
        Kernel(name, family, "ref.c", _accepts(kinds, dtype, constants), lower, _cost(cycles), needs=needs)
        for constants, name in enumerate(names)
    )
    return first, second


KERNELS = (
    *_pair("add_s8", (BinaryKind.ADD, BinaryKind.SUB), DType.INT8, lower_add, 45),
    *_pair("mul_s8", (BinaryKind.MUL,), DType.INT8, lower_product, 35),
    *_pair("div_s8", (BinaryKind.DIV,), DType.INT8, lower_product, 150, _DIVISION),
    *_pair("minmax_s8", _EXTREMES, DType.INT8, _lower_extreme, 15),
    *_pair("add_s16", (BinaryKind.ADD, BinaryKind.SUB), DType.INT16, _lower_add_s16, 70),
    *_pair("mul_s16", (BinaryKind.MUL,), DType.INT16, lower_product, 35),
    *_pair("minmax_s16", _EXTREMES, DType.INT16, _lower_extreme_s16, 15),
    *_pair("binary_f32", tuple(BinaryKind), DType.FLOAT32, _lower_float, 15),
    Kernel("prelu_s8_ref", "prelu_s8", "ref.c", _accepts_prelu(DType.INT8), _lower_prelu, _cost(35), needs=_HEADERS),
    Kernel(
        "prelu_f32_ref", "prelu_f32", "ref.c", _accepts_prelu(DType.FLOAT32), _lower_prelu, _cost(10), needs=_HEADERS
    ),
)
