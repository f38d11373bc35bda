"""Elementwise ATen operators, each written with the layers of ``tinyopt.importers.layers``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyopt.graph import DType, ops
from tinyopt.graph.ops import BinaryKind, UnaryKind
from tinyopt.importers.layers import Layers
from tinyopt.importers.pytorch.registry import OPERATORS, Arguments, Lowering, operator
from tinyopt.importers.signs import compare, inverted, select
from tinyopt.importers.values import CannotLower, Value, constant


def scaled(net: Layers, x: Value, factor: float) -> Value:
    if factor == 1:
        return x
    if x.is_constant:
        return constant(x.real * np.float32(factor))
    return net.binary(BinaryKind.MUL, x, constant(np.float32(factor).reshape(1)))


def _operand(net: Layers, value: Any, like: Value) -> Value:
    """A number or tensor in the element type of the other operand."""
    if isinstance(value, Value):
        if value.is_constant and net.dtype(value) is not net.dtype(like) and not like.is_constant:
            return constant(value.real.astype(net.dtype(like).numpy), value.name)
        return value
    return constant(np.asarray(value, net.dtype(like).numpy))


def _number_of(net: Layers, value: Any) -> Any:
    """A comparison that was computed counts as 0 and 1 in arithmetic."""
    if isinstance(value, Value) and not value.is_constant and net.dtype(value) is DType.BOOL:
        return net.elementwise(ops.Cast("float32"), value)
    return value


def binary(net: Layers, op: BinaryKind, left: Any, right: Any) -> Value:
    left, right = _number_of(net, left), _number_of(net, right)
    left, right = (
        _operand(net, left, right if isinstance(right, Value) else left),
        _operand(net, right, left if isinstance(left, Value) else right),
    )
    types = net.dtype(left), net.dtype(right)
    if types != (DType.FLOAT32, DType.FLOAT32):
        raise CannotLower(f"arithmetic on {types[0].value} and {types[1].value} that depends on the input")
    return net.binary(op, left, right)


def _sum_of(op: BinaryKind, reverse: bool = False) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        left, right, *_ = a
        alpha = a.get("alpha", 1)
        if alpha != 1:
            right = scaled(net, right, alpha) if isinstance(right, Value) else right * alpha
        return binary(net, op, right, left) if reverse else binary(net, op, left, right)

    return lower


OPERATORS.update(add=_sum_of(BinaryKind.ADD), sub=_sum_of(BinaryKind.SUB), rsub=_sum_of(BinaryKind.SUB, True))


def _pair(op: BinaryKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        left, right, *_ = a
        if a.get("rounding_mode"):
            raise CannotLower(f"division with rounding_mode={a['rounding_mode']}")
        if op is BinaryKind.DIV and not isinstance(right, Value):
            return binary(net, BinaryKind.MUL, left, 1 / right)
        return binary(net, op, left, right)

    return lower


OPERATORS.update(
    mul=_pair(BinaryKind.MUL),
    div=_pair(BinaryKind.DIV),
    minimum=_pair(BinaryKind.MINIMUM),
    maximum=_pair(BinaryKind.MAXIMUM),
)

_PLAIN = {
    "sigmoid": UnaryKind.LOGISTIC,
    "tanh": UnaryKind.TANH,
    "hardswish": UnaryKind.HARD_SWISH,
    "hardsigmoid": UnaryKind.HARD_SIGMOID,
    "silu": UnaryKind.SILU,
    "abs": UnaryKind.ABS,
    "neg": UnaryKind.NEG,
    "exp": UnaryKind.EXP,
    "log": UnaryKind.LOG,
    "sqrt": UnaryKind.SQRT,
    "rsqrt": UnaryKind.RSQRT,
    "square": UnaryKind.SQUARE,
    "erf": UnaryKind.ERF,
    "sign": UnaryKind.SIGNUM,
    "sgn": UnaryKind.SIGNUM,
}


def _plain(op: UnaryKind) -> Lowering:
    return lambda net, a: net.unary(op, a.x)


OPERATORS.update({name: _plain(op) for name, op in _PLAIN.items()})


def _comparison(name: str) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        left, right, *_ = a
        return compare(net, name, left, _operand(net, right, left))

    return lower


OPERATORS.update(
    ge=_comparison("greater_or_equal"),
    gt=_comparison("greater"),
    le=_comparison("less_or_equal"),
    lt=_comparison("less"),
    eq=_comparison("equal"),
    ne=_comparison("not_equal"),
    logical_not=lambda net, a: inverted(net, a.x),
)


@operator("where")
def _where(net: Layers, a: Arguments) -> Value:
    condition = a.value("condition")
    chosen, other = (_floating(a[name]) for name in ("self", "other"))
    if condition.is_constant:
        truth = constant(condition.real.astype(np.float32))
        return select(net, truth, chosen, other)
    return select(net, condition, chosen, other)


def _floating(value: Any) -> Value:
    """A value in float32, where it is a constant."""
    if isinstance(value, Value):
        return constant(value.real.astype(np.float32), value.name) if value.is_constant else value
    return constant(np.float32(value).reshape(1))


@operator("gelu")
def _gelu(net: Layers, a: Arguments) -> Value:
    return net.unary(UnaryKind.GELU_TANH if a["approximate"] == "tanh" else UnaryKind.GELU, a.x)


@operator("elu")
def _elu(net: Layers, a: Arguments) -> Value:
    """scale * (x if x > 0 else alpha * (exp(x * input_scale) - 1)); celu has input_scale = 1 / alpha."""
    alpha, scale, input_scale = float(a["alpha"]), float(a["scale"]), float(a["input_scale"])
    if input_scale == 1:
        return scaled(net, net.unary(UnaryKind.ELU, a.x, alpha), scale)
    if not math.isclose(input_scale * alpha, 1):
        raise CannotLower("an elu whose input scale is not 1 / alpha")
    return scaled(net, net.unary(UnaryKind.ELU, scaled(net, a.x, input_scale), 1.0), scale * alpha)


@operator("celu")
def _celu(net: Layers, a: Arguments) -> Value:
    alpha = float(a["alpha"])
    return scaled(net, net.unary(UnaryKind.ELU, scaled(net, a.x, 1 / alpha), 1.0), alpha)


@operator("log_sigmoid")
def _log_sigmoid(net: Layers, a: Arguments) -> Value:
    return net.unary(UnaryKind.NEG, net.unary(UnaryKind.SOFTPLUS, net.unary(UnaryKind.NEG, a.x)))


@operator("softplus")
def _softplus(net: Layers, a: Arguments) -> Value:
    beta = float(a["beta"])
    return scaled(net, net.unary(UnaryKind.SOFTPLUS, scaled(net, a.x, beta)), 1 / beta)


@operator("mish")
def _mish(net: Layers, a: Arguments) -> Value:
    gate = net.unary(UnaryKind.TANH, net.unary(UnaryKind.SOFTPLUS, a.x))
    return net.binary(BinaryKind.MUL, a.x, gate)


@operator("leaky_relu")
def _leaky_relu(net: Layers, a: Arguments) -> Value:
    return net.unary(UnaryKind.LEAKY_RELU, a.x, float(a["negative_slope"]))


OPERATORS.update(
    relu=lambda net, a: net.clip(a.x, 0.0, None),
    relu6=lambda net, a: net.clip(a.x, 0.0, 6.0),
    hardtanh=lambda net, a: net.clip(a.x, a["min_val"], a["max_val"]),
    clamp=lambda net, a: net.clip(a.x, a.get("min"), a.get("max")),
    clamp_min=lambda net, a: net.clip(a.x, a["min"], None),
    clamp_max=lambda net, a: net.clip(a.x, None, a["max"]),
)


@operator("prelu", "_prelu_kernel")
def _prelu(net: Layers, a: Arguments) -> Value:
    alpha = a.value("weight")
    if alpha.rank == 1 and a.x.rank > 1:
        alpha = net.reshape(alpha, (alpha.size, *(1,) * (a.x.rank - 2)))
    return net.prelu(a.x, alpha)


@operator("pow")
def _pow(net: Layers, a: Arguments) -> Value:
    base, exponent = a
    if isinstance(exponent, Value) and exponent.is_constant and exponent.size == 1:
        exponent = float(exponent.real.reshape(-1)[0])
    kinds = {2.0: UnaryKind.SQUARE, 0.5: UnaryKind.SQRT, -0.5: UnaryKind.RSQRT}
    if isinstance(base, Value) and not isinstance(exponent, Value):
        if exponent in kinds:
            return net.unary(kinds[float(exponent)], base)
        if exponent == 3:
            return net.binary(BinaryKind.MUL, net.unary(UnaryKind.SQUARE, base), base)
        if exponent == 1:
            return base
    raise CannotLower("only the powers 1, 2, 3, 0.5 and -0.5 are supported")


@operator("reciprocal")
def _reciprocal(net: Layers, a: Arguments) -> Value:
    return net.binary(BinaryKind.DIV, constant(np.ones(1, np.float32)), a.x)
