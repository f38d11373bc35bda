"""ATen operators, each written with the layers of ``tinyopt.importers.layers``.

A lowering gets the layer builder and the operator's arguments by their schema names, and returns a value, a list of
values (operators with several results), or raises CannotLower with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

import numpy as np

from tinyopt.graph import DType, ops
from tinyopt.graph.ops import BinaryKind, ReduceKind, UnaryKind
from tinyopt.importers.layers import Layers
from tinyopt.importers.signs import compare, inverted, select
from tinyopt.importers.values import CannotLower, Value, constant

Result = Union[Value, "list[Value | None]"]


class Arguments:
    """The arguments of one call, by schema name (defaults filled in), and the shape of the first result."""

    def __init__(self, values: dict[str, Any], result_shape: tuple[int, ...] | None) -> None:
        self._values = values
        self.result_shape = result_shape

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        value = self._values.get(name)
        return default if value is None else value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())

    @property
    def x(self) -> Value:
        """The first argument, a tensor."""
        return self.value(next(iter(self._values)))

    def value(self, name: str) -> Value:
        value = self._values[name]
        if not isinstance(value, Value):
            raise CannotLower(f"'{name}' is not a tensor")
        return value

    def ints(self, name: str, count: int) -> list[int]:
        """A size argument, repeated to ``count`` entries when a single number stands for all."""
        value = self._values.get(name)
        items = [value] if isinstance(value, int) else list(value or [])
        return [int(items[0])] * count if len(items) == 1 else [int(v) for v in items]


Lowering = Callable[[Layers, Arguments], Result]
OPERATORS: dict[str, Lowering] = {}


def _op(*names: str) -> Callable[[Lowering], Lowering]:
    def register(function: Lowering) -> Lowering:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


# ---- convolutions and matrix products -------------------------------------------------------------------------


def _same_padding(kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return [(total // 2, total - total // 2) for total in totals]


@_op("conv1d", "conv2d", "convolution")
def _conv(net: Layers, a: Arguments) -> Value:
    x, w = a.x, a.value("weight")
    rank = w.rank - 2
    unbatched = x.rank == rank + 1
    if unbatched:
        x = net.reshape(x, (1, *x.shape))
    stride, dilation = a.ints("stride", rank), a.ints("dilation", rank)
    if isinstance(a["padding"], str):
        valid = a["padding"] == "valid"
        padding = [(0, 0)] * rank if valid else _same_padding(w.shape[2:], dilation)
    else:
        padding = [(p, p) for p in a.ints("padding", rank)]
    if a.get("transposed", False):
        return _transposed(net, a, x, w, stride, dilation)
    y = net.conv(x, w, a["bias"], stride=stride, padding=padding, dilation=dilation, groups=a["groups"])
    return net.reshape(y, y.shape[1:]) if unbatched else y


@_op("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(net: Layers, a: Arguments) -> Value:
    w = a.value("weight")
    return _transposed(net, a, a.x, w, a.ints("stride", w.rank - 2), a.ints("dilation", w.rank - 2))


def _transposed(net: Layers, a: Arguments, x: Value, w: Value, stride: list[int], dilation: list[int]) -> Value:
    rank = w.rank - 2
    extra = a.ints("output_padding", rank)
    padding = [(p, p - e) for p, e in zip(a.ints("padding", rank), extra)]
    return net.conv_transpose(x, w, a["bias"], stride=stride, padding=padding, dilation=dilation, groups=a["groups"])


@_op("linear")
def _linear(net: Layers, a: Arguments) -> Value:
    return net.linear(a.x, a.value("weight"), a["bias"])


@_op("matmul", "mm", "bmm")
def _matmul(net: Layers, a: Arguments) -> Value:
    left, right = a
    return net.matmul(left, right)


@_op("addmm", "baddbmm")
def _addmm(net: Layers, a: Arguments) -> Value:
    bias, left, right, beta, alpha = a
    plain = left.rank == 2 and right.is_constant and (beta, alpha) == (1, 1)
    if plain and bias.is_constant and bias.shape == (right.shape[1],):
        return net.linear(left, net.transpose(right, (1, 0)), bias)
    product = _scaled(net, net.matmul(left, right), alpha)
    return net.binary(BinaryKind.ADD, product, _scaled(net, bias, beta)) if beta else product


def _scaled(net: Layers, x: Value, factor: float) -> Value:
    if factor == 1:
        return x
    if x.is_constant:
        return constant(x.real * np.float32(factor))
    return net.binary(BinaryKind.MUL, x, constant(np.float32(factor).reshape(1)))


@_op("scaled_dot_product_attention")
def _attention(net: Layers, a: Arguments) -> Value:
    """softmax(q kᵀ * scale + mask) v (Vaswani et al. 2017)."""
    q, k, v = (a.value(n) for n in ("query", "key", "value"))
    if a.get("enable_gqa", False):
        raise CannotLower("grouped-query attention is not supported")
    scale = a.get("scale", 1 / math.sqrt(q.shape[-1]))
    swap = (*range(k.rank - 2), k.rank - 1, k.rank - 2)
    scores = _scaled(net, net.matmul(q, net.transpose(k, swap)), scale)
    mask = a.get("attn_mask")
    if a.get("is_causal", False):
        shape = (q.shape[-2], k.shape[-2])
        mask = constant(np.where(np.tril(np.ones(shape)) > 0, 0, -1e9).astype(np.float32))
    elif mask is not None and net.dtype(mask) is DType.BOOL:
        mask = constant(np.where(mask.real, 0, -1e9).astype(np.float32))
    elif mask is not None and mask.is_constant:
        mask = constant(np.maximum(mask.real, np.float32(-1e9)))
    if mask is not None:
        scores = net.binary(BinaryKind.ADD, scores, mask)
    return net.matmul(net.softmax(scores, -1), v)


# ---- elementwise ----------------------------------------------------------------------------------------------


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


def _binary(net: Layers, op: BinaryKind, left: Any, right: Any) -> Value:
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
            right = _scaled(net, right, alpha) if isinstance(right, Value) else right * alpha
        return _binary(net, op, right, left) if reverse else _binary(net, op, left, right)

    return lower


OPERATORS.update(add=_sum_of(BinaryKind.ADD), sub=_sum_of(BinaryKind.SUB), rsub=_sum_of(BinaryKind.SUB, True))


def _pair(op: BinaryKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        left, right, *_ = a
        if a.get("rounding_mode"):
            raise CannotLower(f"division with rounding_mode={a['rounding_mode']}")
        if op is BinaryKind.DIV and not isinstance(right, Value):
            return _binary(net, BinaryKind.MUL, left, 1 / right)
        return _binary(net, op, left, right)

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


@_op("where")
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


@_op("gelu")
def _gelu(net: Layers, a: Arguments) -> Value:
    return net.unary(UnaryKind.GELU_TANH if a["approximate"] == "tanh" else UnaryKind.GELU, a.x)


@_op("elu")
def _elu(net: Layers, a: Arguments) -> Value:
    """scale * (x if x > 0 else alpha * (exp(x * input_scale) - 1)); celu has input_scale = 1 / alpha."""
    alpha, scale, input_scale = float(a["alpha"]), float(a["scale"]), float(a["input_scale"])
    if input_scale == 1:
        return _scaled(net, net.unary(UnaryKind.ELU, a.x, alpha), scale)
    if not math.isclose(input_scale * alpha, 1):
        raise CannotLower("an elu whose input scale is not 1 / alpha")
    return _scaled(net, net.unary(UnaryKind.ELU, _scaled(net, a.x, input_scale), 1.0), scale * alpha)


@_op("celu")
def _celu(net: Layers, a: Arguments) -> Value:
    alpha = float(a["alpha"])
    return _scaled(net, net.unary(UnaryKind.ELU, _scaled(net, a.x, 1 / alpha), 1.0), alpha)


@_op("log_sigmoid")
def _log_sigmoid(net: Layers, a: Arguments) -> Value:
    return net.unary(UnaryKind.NEG, net.unary(UnaryKind.SOFTPLUS, net.unary(UnaryKind.NEG, a.x)))


@_op("softplus")
def _softplus(net: Layers, a: Arguments) -> Value:
    beta = float(a["beta"])
    return _scaled(net, net.unary(UnaryKind.SOFTPLUS, _scaled(net, a.x, beta)), 1 / beta)


@_op("mish")
def _mish(net: Layers, a: Arguments) -> Value:
    gate = net.unary(UnaryKind.TANH, net.unary(UnaryKind.SOFTPLUS, a.x))
    return net.binary(BinaryKind.MUL, a.x, gate)


@_op("leaky_relu")
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


@_op("prelu", "_prelu_kernel")
def _prelu(net: Layers, a: Arguments) -> Value:
    alpha = a.value("weight")
    if alpha.rank == 1 and a.x.rank > 1:
        alpha = net.reshape(alpha, (alpha.size, *(1,) * (a.x.rank - 2)))
    return net.prelu(a.x, alpha)


@_op("pow")
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


@_op("reciprocal")
def _reciprocal(net: Layers, a: Arguments) -> Value:
    return net.binary(BinaryKind.DIV, constant(np.ones(1, np.float32)), a.x)


# ---- normalisation --------------------------------------------------------------------------------------------


@_op("_native_batch_norm_legit_no_training", "batch_norm", "native_batch_norm")
def _batch_norm(net: Layers, a: Arguments) -> Result:
    if a.get("training", False) or a.get("running_mean") is None:
        raise CannotLower("normalises with the statistics of the batch (no running statistics)")
    y = net.batch_norm(a.x, a["weight"], a["bias"], a.value("running_mean"), a.value("running_var"), float(a["eps"]))
    return [y, None, None]


@_op("layer_norm", "native_layer_norm")
def _layer_norm(net: Layers, a: Arguments) -> Result:
    y = net.layer_norm(a.x, len(a["normalized_shape"]), a["weight"], a["bias"], float(a["eps"]))
    return [y, None, None]


@_op("group_norm")
def _group_norm(net: Layers, a: Arguments) -> Value:
    return net.group_norm(a.x, a["num_groups"], a["weight"], a["bias"], float(a["eps"]))


@_op("instance_norm")
def _instance_norm(net: Layers, a: Arguments) -> Value:
    if not a["use_input_stats"]:
        y = net.batch_norm(
            a.x, a["weight"], a["bias"], a.value("running_mean"), a.value("running_var"), float(a["eps"])
        )
        return y
    return net.group_norm(a.x, a.x.shape[1], a["weight"], a["bias"], float(a["eps"]))


for _name in ("softmax", "_softmax"):
    OPERATORS[_name] = lambda net, a: net.softmax(a.x, a["dim"])
    OPERATORS[_name.replace("softmax", "log_softmax")] = lambda net, a: net.softmax(a.x, a["dim"], log=True)


# ---- pooling and reductions -----------------------------------------------------------------------------------


def _pooling(rank: int, maximum: bool) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        x = a.x
        unbatched = x.rank == rank + 1
        if unbatched:
            x = net.reshape(x, (1, *x.shape))
        if a.get("divisor_override"):
            raise CannotLower("an average with divisor_override")
        kernel = a.ints("kernel_size", rank)
        y = net.pool(
            x,
            maximum=maximum,
            kernel=kernel,
            stride=a.ints("stride", rank) or kernel,
            padding=[(p, p) for p in a.ints("padding", rank)],
            dilation=a.ints("dilation", rank) if maximum else (1,),
            ceil_mode=bool(a["ceil_mode"]),
            count_padding=bool(a.get("count_include_pad", False)),
        )
        y = net.reshape(y, y.shape[1:]) if unbatched else y
        return [y, None] if maximum else y

    return lower


for _rank in (1, 2):
    OPERATORS[f"max_pool{_rank}d"] = OPERATORS[f"max_pool{_rank}d_with_indices"] = _pooling(_rank, True)
    OPERATORS[f"avg_pool{_rank}d"] = _pooling(_rank, False)


def _adaptive(rank: int, maximum: bool) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        sizes = [n if n is not None else d for n, d in zip(a["output_size"], a.x.shape[-rank:])]
        y = net.adaptive_pool(a.x, sizes, maximum=maximum)
        return [y, None] if maximum else y

    return lower


for _rank in (1, 2):
    OPERATORS[f"adaptive_avg_pool{_rank}d"] = OPERATORS[f"_adaptive_avg_pool{_rank}d"] = _adaptive(_rank, False)
    OPERATORS[f"adaptive_max_pool{_rank}d"] = _adaptive(_rank, True)


def _reduction(op: ReduceKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Value:
        dims = a.get("dim", [])
        dims = [dims] if isinstance(dims, int) else list(dims)
        return net.reduce(op, a.x, dims or range(a.x.rank), bool(a.get("keepdim", False)))

    return lower


OPERATORS.update(
    mean=_reduction(ReduceKind.MEAN),
    sum=_reduction(ReduceKind.SUM),
    amax=_reduction(ReduceKind.MAX),
    amin=_reduction(ReduceKind.MIN),
)


def _extremes(op: ReduceKind, pair: BinaryKind) -> Lowering:
    def lower(net: Layers, a: Arguments) -> Result:
        if isinstance(a.get("other"), Value):
            return _binary(net, pair, a.x, a["other"])
        if a.get("dim") is None:
            return net.reduce(op, a.x, range(a.x.rank), False)
        values = net.reduce(op, a.x, [a["dim"]], bool(a["keepdim"]))
        source = a.x if op is ReduceKind.MAX else net.unary(UnaryKind.NEG, a.x)
        return [values, net.argmax(source, a["dim"], bool(a["keepdim"]))]

    return lower


OPERATORS.update(max=_extremes(ReduceKind.MAX, BinaryKind.MAXIMUM), min=_extremes(ReduceKind.MIN, BinaryKind.MINIMUM))


def _spread(root: bool) -> Lowering:
    """Variance or standard deviation."""

    def lower(net: Layers, a: Arguments) -> Value:
        dims = a.get("dim")
        axes = list(range(a.x.rank)) if not dims else [dims] if isinstance(dims, int) else list(dims)
        correction = a.get("correction", 1 if a.get("unbiased", True) else 0)
        count = math.prod(a.x.shape[axis] for axis in axes)
        if count <= correction:
            raise CannotLower(f"the variance of {count} element(s)")
        centred = net.binary(BinaryKind.SUB, a.x, net.reduce(ReduceKind.MEAN, a.x, axes, True))
        total = net.reduce(ReduceKind.SUM, net.unary(UnaryKind.SQUARE, centred), axes, bool(a.get("keepdim", False)))
        variance = _scaled(net, total, 1 / (count - correction))
        return net.unary(UnaryKind.SQRT, variance) if root else variance

    return lower


OPERATORS.update(var=_spread(False), std=_spread(True))


@_op("linalg_vector_norm")
def _norm(net: Layers, a: Arguments) -> Value:
    axes = a.get("dim") or range(a.x.rank)
    keep = bool(a["keepdim"])
    if a["ord"] == 2:
        total = net.reduce(ReduceKind.SUM, net.unary(UnaryKind.SQUARE, a.x), axes, keep)
        return net.unary(UnaryKind.SQRT, total)
    if a["ord"] == 1:
        return net.reduce(ReduceKind.SUM, net.unary(UnaryKind.ABS, a.x), axes, keep)
    raise CannotLower(f"a norm of order {a['ord']}")


@_op("argmax")
def _argmax(net: Layers, a: Arguments) -> Value:
    if a.get("dim") is None:
        flat = net.argmax(net.reshape(a.x, (a.x.size,)), 0, False)
        return net.reshape(flat, (1,) * a.x.rank) if a["keepdim"] else flat
    return net.argmax(a.x, a["dim"], bool(a["keepdim"]))


# ---- recurrent ------------------------------------------------------------------------------------------------


def _recurrent_layers(gates: int) -> Lowering:
    """``gates`` 4: LSTM, 3: GRU; stacked and bidirectional."""

    def lower(net: Layers, a: Arguments) -> Result:
        first = a.get("batch_first", False)
        x = a.x if first else net.transpose(a.x, (1, 0, 2))
        directions = 2 if a["bidirectional"] else 1
        hidden = a["hx"] if gates == 4 else [a["hx"]]
        count = 4 if a["has_biases"] else 2
        parameters = list(a["params"])
        if len(parameters) != count * directions * a["num_layers"]:
            raise CannotLower("projected LSTMs (proj_size) are not supported")
        final: list[list[Value]] = [[] for _ in hidden]
        for layer in range(a["num_layers"]):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                w, r, *biases = (p.real for p in parameters[index * count : (index + 1) * count])
                b, rb = biases or (np.zeros(len(w), np.float32),) * 2
                states = [net.reshape(net.cut(h, 0, index, index + 1), h.shape[1:]) for h in hidden]
                if gates == 4:
                    y, *last = net.lstm(x, w, r, b + rb, states[0], states[1], reverse=direction == 1)
                else:
                    y, *last = net.gru(x, w, r, b, rb, states[0], reverse=direction == 1, linear_before_reset=True)
                outputs.append(y)
                for store, value in zip(final, last):
                    store.append(net.reshape(value, (1, *value.shape)))
            x = net.concat(outputs, 2)
        y = x if first else net.transpose(x, (1, 0, 2))
        return [y, *(net.concat(values, 0) for values in final)]

    return lower


OPERATORS.update(lstm=_recurrent_layers(4), gru=_recurrent_layers(3))
