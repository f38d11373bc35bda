"""Functions of one value on int8: each is a table of 256 entries, computed here and stored in flash by the C kernels.

Contract: docs/contract/elementwise.md. Where TensorFlow Lite Micro has the int8 operator, the table is its arithmetic;
everywhere else it is the real function in double precision, divided by the output scale and rounded half away from
zero, saturated. Arguments outside a function's domain count as its nearest point (square root and logarithm of a
negative value are those of zero).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer import fixed_point, gates
from tinyopt.execute.integer.arithmetic import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_shift_right,
)
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, DType, Quantization, Tensor
from tinyopt.graph.ops import Unary, UnaryKind

_LOGISTIC_OUTPUT = Quantization.per_tensor(1 / 256, -128)
_TANH_OUTPUT = Quantization.per_tensor(1 / 128, 0)


def round_half_away(values: Array) -> Array:
    """Round to the nearest integer, halves away from zero (C's round), in the array's own precision."""
    whole = np.trunc(values)
    return np.asarray(whole + np.sign(values) * (np.abs(values - whole) >= 0.5), values.dtype)


@cache
def unary_table(attributes: Unary, x: Quantization, y: Quantization) -> Array:
    """The int8 result for every int8 input, in the order -128 … 127; int8 [256], read-only."""
    q = np.arange(-128, 128, dtype=np.int64) - x.zero_point
    exact = _EXACT.get(attributes.op)
    table = exact(attributes, q, x, y) if exact else None
    if table is None:
        table = _rounded_real(attributes, q, x, y)
    result: Array = np.clip(table, -128, 127).astype(np.int8)
    result.flags.writeable = False
    return result


@integer(Unary)
def unary(attributes: Unary, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    x, y = ins[0].quantization, outs[0].quantization
    if ins[0].dtype is DType.INT8 and x is not None and y is not None:
        return [unary_table(attributes, x, y)[arrays[0].astype(np.int64) + 128]]
    wide = _EXACT_S16.get(attributes.op)
    if ins[0].dtype is DType.INT16 and x is not None and y is not None and wide is not None:
        result = wide(attributes, arrays[0].astype(np.int64) - x.zero_point, x, y)
        if result is not None:
            return [np.clip(result, -32768, 32767).astype(np.int16)]
    raise GraphError(
        f"{attributes.kind} on {ins[0].dtype.value} with this quantization is not supported; "
        f"quantize '{ins[0].name}' to int8"
    )


# ---- real functions, in double precision ----------------------------------------------------------------------


def _limited(function: Callable[[float], float]) -> Callable[[float], float]:
    def at(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf

    return at


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def real_function(attributes: Unary) -> Callable[[float], float]:
    """The mathematical function of an operator, on doubles; total (see the module's rule for domains)."""
    alpha = float(np.float32(attributes.alpha))
    functions: dict[UnaryKind, Callable[[float], float]] = {
        UnaryKind.LOGISTIC: _logistic,
        UnaryKind.TANH: math.tanh,
        UnaryKind.HARD_SWISH: lambda x: x * min(max(x + 3.0, 0.0), 6.0) / 6.0,
        UnaryKind.HARD_SIGMOID: lambda x: min(max(x / 6.0 + 0.5, 0.0), 1.0),
        UnaryKind.GELU: lambda x: 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0))),
        UnaryKind.GELU_TANH: lambda x: 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
        UnaryKind.SILU: lambda x: x * _logistic(x),
        UnaryKind.ELU: lambda x: x if x >= 0 else alpha * math.expm1(x),
        UnaryKind.SOFTPLUS: lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
        UnaryKind.LEAKY_RELU: lambda x: x if x >= 0 else alpha * x,
        UnaryKind.ABS: abs,
        UnaryKind.NEG: lambda x: -x,
        UnaryKind.EXP: math.exp,
        UnaryKind.LOG: lambda x: math.log(x) if x > 0 else -math.inf,
        UnaryKind.SQRT: lambda x: math.sqrt(max(x, 0.0)),
        UnaryKind.RSQRT: lambda x: 1.0 / math.sqrt(x) if x > 0 else math.inf,
        UnaryKind.SQUARE: lambda x: x * x,
        UnaryKind.ERF: math.erf,
        UnaryKind.SIGN: lambda x: 1.0 if x >= 0 else -1.0,
        UnaryKind.SIGNUM: lambda x: float((x > 0) - (x < 0)),
    }
    return _limited(functions[attributes.op])


def _rounded_real(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array:
    function = real_function(attributes)
    values = np.array([function(x.scale * float(v)) for v in q]) / y.scale
    return round_half_away(np.clip(values, -1e6, 1e6)) + y.zero_point


# ---- TensorFlow Lite Micro's integer functions ----------------------------------------------------------------


def _saturated_beyond(radius: int, q: Array, inside: Array, low: int, high: int) -> Array:
    return np.asarray(np.where(q <= -radius, low, np.where(q >= radius, high, inside)), np.int64)


def _sigmoidal_input(q: Array, x: Quantization) -> tuple[Array, int]:
    """The input in Q4, and the radius beyond which the result saturates."""
    real = x.scale * float(1 << 27)
    significand, shift = quantize_multiplier(real)
    radius = fixed_point.input_radius(4, shift) if shift >= 0 else 1 << 31
    inside = np.clip(q, -radius, radius)
    return multiply_by_quantized_multiplier(inside, significand, shift), radius


def _logistic_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    if y != _LOGISTIC_OUTPUT:
        return None
    q4, radius = _sigmoidal_input(q, x)
    inside = rounding_shift_right(fixed_point.logistic(q4), 23) - 128
    return _saturated_beyond(radius, q, np.clip(inside, -128, 127), -128, 127)


def _tanh_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    if y != _TANH_OUTPUT:
        return None
    q4, radius = _sigmoidal_input(q, x)
    inside = rounding_shift_right(fixed_point.tanh(q4), 24)
    return _saturated_beyond(radius, q, np.clip(inside, -128, 127), -128, 127)


def _to_int16_multiplier(multiplier: int) -> int:
    return 32767 if multiplier >= (1 << 31) - 1 - (1 << 15) else (multiplier + (1 << 15)) >> 16


def _multiply_s16(a: Array, b: int) -> Array:
    return np.asarray((a * b + (1 << 14)) >> 15, np.int64)


def _saturate_s16(values: Array) -> Array:
    return np.asarray(np.clip(values, -32768, 32767), np.int64)


def _hard_swish_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    fine_scale = np.float32(1 / 128) * np.float32(x.scale)
    output_multiplier, output_shift = quantize_multiplier(float(fine_scale / np.float32(y.scale)))
    relu_multiplier, relu_shift = quantize_multiplier(float(fine_scale / np.float32(3.0 / 32768.0)))
    if output_shift > 0 or min(output_shift, relu_shift) < -15:
        return None  # TFLM refuses the first, and shifts an int16 by more than its width in the second case
    fine = q << 7
    scaled = _multiply_s16(fine, _to_int16_multiplier(output_multiplier))
    gate = fine
    if relu_shift > 0:
        gate = _saturate_s16(gate << (relu_shift - 1))
    gate = _multiply_s16(gate, _to_int16_multiplier(relu_multiplier))
    if relu_shift > 0:
        gate = _saturate_s16(gate << 1)
    elif relu_shift < 0:
        gate = rounding_shift_right(gate, -relu_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * scaled
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return rounding_shift_right(truncated, -output_shift) + y.zero_point


def leaky_relu_parameters(
    attributes: Unary, x: Quantization, y: Quantization
) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Multipliers of the sides above and below zero, and the sign of alpha; ratios in double precision."""
    alpha = x.scale * float(np.float32(attributes.alpha)) / y.scale
    return quantize_multiplier(x.scale / y.scale), quantize_multiplier(abs(alpha)), -1 if alpha < 0 else 1


def _leaky_relu_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    above, below, sign = leaky_relu_parameters(attributes, x, y)
    positive = multiply_by_quantized_multiplier(q, *above)
    negative = sign * multiply_by_quantized_multiplier(q, *below)
    return np.asarray(np.where(q >= 0, positive, negative) + y.zero_point, np.int64)


def _elu_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    if attributes.alpha != 1.0:
        return None
    real = (np.float32(x.scale) * q.astype(np.float32)).astype(np.float32)
    grown = np.exp(np.minimum(real, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
    value = np.where(real < 0, grown, real).astype(np.float32)
    inverse = np.float32(1) / np.float32(y.scale)
    scaled = np.clip(round_half_away((value * inverse).astype(np.float32)), -1e6, 1e6)
    return np.asarray(np.trunc(scaled + np.float32(y.zero_point)), np.int64)


def _abs_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    if x.scale == y.scale:
        return np.abs(q) + y.zero_point
    multiplier, shift = quantize_multiplier(x.scale / y.scale)
    return multiply_by_quantized_multiplier(np.abs(q), multiplier, shift) + y.zero_point


def _rsqrt_exact(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
    extra = 20
    real = 1.0 / float(np.sqrt(np.float32(x.scale)) * np.float32(y.scale))
    multiplier, shift = quantize_multiplier(real)
    if shift - extra > 30 or shift - extra < -31:
        return None
    table = np.full(256, 127, np.int64)
    for index, value in enumerate(int(v) for v in q):
        if value > 0:
            inverse, inverse_shift = fixed_point.inverse_square_root(value)
            one = multiply_by_quantized_multiplier(np.array(1), inverse, inverse_shift + extra)
            table[index] = int(multiply_by_quantized_multiplier(one, multiplier, shift - extra)) + y.zero_point
    return table


_EXACT: dict[UnaryKind, Callable[[Unary, Array, Quantization, Quantization], Array | None]] = {
    UnaryKind.LOGISTIC: _logistic_exact,
    UnaryKind.TANH: _tanh_exact,
    UnaryKind.HARD_SWISH: _hard_swish_exact,
    UnaryKind.LEAKY_RELU: _leaky_relu_exact,
    UnaryKind.ELU: _elu_exact,
    UnaryKind.ABS: _abs_exact,
    UnaryKind.RSQRT: _rsqrt_exact,
}
"""TFLM's own int8 arithmetic; a function returns None where TFLM refuses the quantization."""


# ---- int16 ----------------------------------------------------------------------------------------------------

_GATE_OUTPUT = Quantization.per_tensor(1 / 32768, 0)


def gate_scaling(kind: UnaryKind, x: Quantization, y: Quantization) -> tuple[int, int] | None:
    """Multiplier and right shift that bring an int16 input of logistic or tanh to the table's scale 1 / (3 * 2**12).

    TFLM takes powers of two exactly and cuts any other multiplier to 15 bits. None where it refuses the quantization.
    """
    if x.zero_point or y != _GATE_OUTPUT:
        return None
    logarithm = math.log2(x.scale)
    exponent = round(logarithm) + 12
    exact = (0,) if kind is UnaryKind.LOGISTIC else (0, 1)
    if abs(logarithm - round(logarithm)) < 1e-3 and exponent in exact:
        return 3 << exponent, 0
    multiplier, shift = x.scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return (int(multiplier), shift) if multiplier < 32768 else None


def _gate(function: Callable[[Array], Array]) -> Callable[[Unary, Array, Quantization, Quantization], Array | None]:
    def result(attributes: Unary, q: Array, x: Quantization, y: Quantization) -> Array | None:
        scaling = gate_scaling(attributes.op, x, y)
        if scaling is None:
            return None
        multiplier, shift = scaling
        return function((q * multiplier + (1 << shift >> 1)) >> shift)

    return result


_EXACT_S16: dict[UnaryKind, Callable[[Unary, Array, Quantization, Quantization], Array | None]] = {
    UnaryKind.LOGISTIC: _gate(gates.logistic_of_scaled),
    UnaryKind.TANH: _gate(gates.tanh_of_scaled),
    UnaryKind.LEAKY_RELU: _leaky_relu_exact,
    UnaryKind.ABS: _abs_exact,
}
"""TFLM's int16 arithmetic."""
