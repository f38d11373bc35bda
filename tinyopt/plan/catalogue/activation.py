"""Kernels of functions of one value: tables for int8, the C library's functions for float32, and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.execute.integer import integer_functions
from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.elementwise import clip_multiplier, quantization_of
from tinyopt.execute.integer.gates import logistic_table
from tinyopt.execute.integer.unary import gate_scaling, leaky_relu_parameters
from tinyopt.graph import DType, Graph, Operator, Quantization, Tensor, ops
from tinyopt.graph.ops import UnaryKind
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes
from tinyopt.plan.packing import float_limits, output_limits


def _size(graph: Graph, operator: Operator) -> int:
    return graph.outs(operator)[0].size


def _scalar_operand(graph: Graph, operator: Operator) -> Tensor | None:
    """The constant of an operator of two int8 operands that is a single value, which leaves a function of the other."""
    a, y = operator.attributes, graph.outs(operator)[0]
    if not isinstance(a, (ops.Binary, ops.Prelu)):
        return None
    constant, others = None, 0
    for tensor in graph.ins(operator):
        if tensor.is_constant and tensor.size == 1 and tensor.dtype is DType.INT8 and tensor.quantization is not None:
            constant = tensor
        else:
            others += tensor.shape == y.shape and not tensor.is_constant
    return constant if others == 1 else None


def _variable(graph: Graph, operator: Operator) -> Tensor:
    return next((t for t in graph.ins(operator) if not t.is_constant), graph.ins(operator)[0])


def _accepts_table(graph: Graph, operator: Operator) -> bool:
    a, x, y = operator.attributes, _variable(graph, operator), graph.outs(operator)[0]
    if any(t.dtype is not DType.INT8 or t.quantization is None for t in (x, y)) or x.is_constant:
        return False
    return isinstance(a, (ops.Unary, ops.Clip, ops.Quantize)) or _scalar_operand(graph, operator) is not None


def _lower_table(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    """The table is what the integer executor computes for every int8 value, in the order of uint8 indices."""
    x, y = _variable(graph, operator), graph.outs(operator)[0]
    values = np.arange(256, dtype=np.uint8).view(np.int8)
    every = [
        replace(t, shape=(1,), data=t.value.reshape(1)) if t.is_constant else replace(t, shape=(256,))
        for t in graph.ins(operator)
    ]
    arrays = [t.value if t.is_constant else values for t in every]
    function = integer_functions()[type(operator.attributes)]
    (table,) = function(operator.attributes, arrays, tuple(every), (replace(y, shape=(256,)),))
    parameters: dict[str, Value] = {"table": Constant(table, weights=False, align=1), "size": y.size}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost_table(graph: Graph, operator: Operator) -> float:
    """A table takes 256 bytes; a few outputs of operators that share their code with others are not worth them."""
    small = 100.0 if isinstance(operator.attributes, (ops.Binary, ops.Prelu)) else 0.0
    return 5.0 * _size(graph, operator) + small


def _accepts_clip_s8(graph: Graph, operator: Operator) -> bool:
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    same = x.quantization == y.quantization and x.quantization is not None
    return isinstance(operator.attributes, ops.Clip) and all_dtypes(graph, operator, DType.INT8) and same


def _lower_clip_s8(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Clip)
    low, high = clamp_limits(a.clamp, y)
    parameters: dict[str, Value] = {"size": y.size, "clamp_low": low, "clamp_high": high}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost_clip(graph: Graph, operator: Operator) -> float:
    return 5.0 * _size(graph, operator) - 1  # as fast as a table, without its 256 bytes


def _accepts_clip_f32(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.Clip) and all_dtypes(graph, operator, DType.FLOAT32)


def _lower_clip_f32(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Clip)
    parameters: dict[str, Value] = {"size": y.size, **float_limits(a.clamp)}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _unary_f32(kind: UnaryKind) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a = operator.attributes
        return isinstance(a, ops.Unary) and a.op is kind and all_dtypes(graph, operator, DType.FLOAT32)

    return Kernel(f"{kind.value}_f32_ref", "unary_f32", f"{kind.value}.c", accepts, _lower_unary_f32, _cost_unary_f32)


def _lower_unary_f32(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Unary)
    parameters: dict[str, Value] = {"size": y.size, "alpha": float(np.float32(a.alpha))}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost_unary_f32(graph: Graph, operator: Operator) -> float:
    return 60.0 * _size(graph, operator)


def _int16_pair(graph: Graph, operator: Operator) -> tuple[Quantization, Quantization] | None:
    """The quantization of an int16 operator's input and output; None for other types and constants."""
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    if x.dtype is not DType.INT16 or y.dtype is not DType.INT16 or x.is_constant:
        return None
    return (x.quantization, y.quantization) if x.quantization and y.quantization else None


def _accepts_clip_s16(graph: Graph, operator: Operator) -> bool:
    return isinstance(operator.attributes, ops.Clip) and _int16_pair(graph, operator) is not None


def _lower_clip_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Clip)
    multiplier, shift = clip_multiplier(x, y)
    parameters: dict[str, Value] = {
        "size": y.size,
        "rescale": int(x.quantization != y.quantization),
        "input_zero_point": x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        **output_limits(y, a.clamp),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _accepts_leaky_relu_s16(graph: Graph, operator: Operator) -> bool:
    a = operator.attributes
    return isinstance(a, ops.Unary) and a.op is UnaryKind.LEAKY_RELU and _int16_pair(graph, operator) is not None


def _lower_leaky_relu_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Unary)
    above, below, sign = leaky_relu_parameters(a, quantization_of(x), quantization_of(y))
    parameters: dict[str, Value] = {
        "size": y.size,
        "input_zero_point": x.zero_point,
        "positive_multiplier": above[0],
        "positive_shift": above[1],
        "negative_multiplier": below[0],
        "negative_shift": below[1],
        "negative_sign": sign,
        "output_zero_point": y.zero_point,
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _gate_s16(kind: UnaryKind) -> Kernel:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a, pair = operator.attributes, _int16_pair(graph, operator)
        return isinstance(a, ops.Unary) and a.op is kind and pair is not None and gate_scaling(kind, *pair) is not None

    name, source = f"{kind.value}_s16_ref", f"{kind.value}.c"
    return Kernel(name, "gate_s16", source, accepts, _lower_gate_s16, _cost_gate, needs=("common.h", "gates_s16.h"))


def _lower_gate_s16(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, ops.Unary)
    scaling = gate_scaling(a.op, quantization_of(x), quantization_of(y))
    assert scaling is not None
    table = Constant(logistic_table(), weights=False, align=2)
    parameters: dict[str, Value] = {"table": table, "size": y.size, "multiplier": scaling[0], "shift": scaling[1]}
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost_gate(graph: Graph, operator: Operator) -> float:
    return 30.0 * _size(graph, operator)


KERNELS = (
    Kernel("lut_s8_ref", "lut_s8", "ref.c", _accepts_table, _lower_table, _cost_table),
    Kernel("clip_s8_ref", "clip_s8", "ref.c", _accepts_clip_s8, _lower_clip_s8, _cost_clip),
    Kernel("clip_f32_ref", "clip_f32", "ref.c", _accepts_clip_f32, _lower_clip_f32, _cost_clip),
    *(_unary_f32(kind) for kind in UnaryKind),
    Kernel("clip_s16_ref", "clip_s16", "ref.c", _accepts_clip_s16, _lower_clip_s16, _cost_clip),
    Kernel("leaky_relu_s16_ref", "leaky_relu_s16", "ref.c", _accepts_leaky_relu_s16, _lower_leaky_relu_s16, _cost_gate),
    _gate_s16(UnaryKind.LOGISTIC),
    _gate_s16(UnaryKind.TANH),
)
