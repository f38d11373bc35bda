"""ONNX operators that compute: convolutions, products, pooling, normalisation, activations, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinyopt.graph import DType, ops
from tinyopt.graph.ops import BinaryKind, ReduceKind, UnaryKind
from tinyopt.importers.layers import Layers
from tinyopt.importers.onnx.node import OPERATORS, Lowering, Node, Result, lowers
from tinyopt.importers.signs import compare, inverted, select
from tinyopt.importers.values import CannotLower, Value, constant, normal_axis


def number(value: float) -> Value:
    """A constant that broadcasts to anything."""
    return constant(np.float32(value).reshape(1))


# ---- windows --------------------------------------------------------------------------------------------------


def _pads(
    node: Node, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) per spatial axis, with ``auto_pad`` worked out."""
    rank = len(kernel)
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        result = []
        for extent, k, s, d in zip(size, kernel, stride, dilation):
            total = max((-(-extent // s) - 1) * s + (k - 1) * d + 1 - extent, 0)
            small, large = total // 2, total - total // 2
            result.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return result
    if mode == "VALID":
        return [(0, 0)] * rank
    flat = node.ints("pads", [0] * (2 * rank))
    if len(flat) != 2 * rank:
        raise CannotLower(f"{len(flat)} pads for {rank} spatial axes")
    return list(zip(flat[:rank], flat[rank:]))


@lowers("Conv", "FusedConv")
def _conv(net: Layers, node: Node) -> Value:
    x, w = node.x, node.input(1)
    rank = w.rank - 2
    stride, dilation = node.ints("strides", [1] * rank), node.ints("dilations", [1] * rank)
    padding = _pads(node, x.shape[2:], w.shape[2:], stride, dilation)
    before = [0, 0, *(max(b, 0) for b, _ in padding)]
    if any(n < 0 for pair in padding for n in pair):
        raise CannotLower(f"negative padding {before}")
    y = net.conv(
        x,
        w,
        node.optional(2),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=int(node.attribute("group", 1)),
    )
    activation = node.attribute("activation")
    if activation is None:
        return y
    if activation not in OPERATORS:
        raise CannotLower(f"fused activation {activation}")
    parameters = [float(p) for p in node.attribute("activation_params", [])]
    names = {"LeakyRelu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}.get(activation, ())
    inner = Node(activation, node.name, [y], dict(zip(names, parameters)), min(node.opset, 10), node.outputs)
    return _one(OPERATORS[activation](net, inner))


def _one(result: Result) -> Value:
    if isinstance(result, Value):
        return result
    assert result[0] is not None
    return result[0]


@lowers("ConvTranspose")
def _conv_transpose(net: Layers, node: Node) -> Value:
    x, w = node.x, node.input(1)
    rank = w.rank - 2
    stride, dilation = node.ints("strides", [1] * rank), node.ints("dilations", [1] * rank)
    extra = node.ints("output_padding", [0] * rank)
    mode = node.attribute("auto_pad", "NOTSET")
    wanted = node.attribute("output_shape")
    if wanted is None and mode.startswith("SAME"):
        wanted = [d * s for d, s in zip(x.shape[2:], stride)]
    if wanted is None:
        flat = node.ints("pads", [0] * (2 * rank)) if mode == "NOTSET" else [0] * (2 * rank)
        padding = [(b, e - o) for b, e, o in zip(flat[:rank], flat[rank:], extra)]
    else:
        padding = []
        for d, s, k, dil, o, out in zip(x.shape[2:], stride, w.shape[2:], dilation, extra, list(wanted)[-rank:]):
            full = s * (d - 1) + (k - 1) * dil + 1
            total = full + o - int(out)
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
            padding.append((max(before, 0), full - int(out) - max(before, 0)))
    groups = int(node.attribute("group", 1))
    return net.conv_transpose(x, w, node.optional(2), stride=stride, padding=padding, dilation=dilation, groups=groups)


def _pool(maximum: bool) -> Lowering:
    def lower(net: Layers, node: Node) -> Result:
        kernel = node.ints("kernel_shape", [])
        if not kernel or len(kernel) != node.x.rank - 2:
            raise CannotLower(f"kernel {kernel} for an input of {node.x.rank} axes")
        if any(node.outputs[1:]):
            raise CannotLower("the indices of a maximum pooling are not available")
        stride, dilation = node.ints("strides", [1] * len(kernel)), node.ints("dilations", [1] * len(kernel))
        return net.pool(
            node.x,
            maximum=maximum,
            kernel=kernel,
            stride=stride,
            padding=_pads(node, node.x.shape[2:], kernel, stride, dilation),
            dilation=dilation,
            ceil_mode=bool(node.attribute("ceil_mode", 0)),
            count_padding=bool(node.attribute("count_include_pad", 0)),
        )

    return lower


OPERATORS.update(MaxPool=_pool(True), AveragePool=_pool(False))


def _global_pool(op: ReduceKind) -> Lowering:
    return lambda net, node: net.reduce(op, node.x, range(2, node.x.rank), keep_dims=True)


OPERATORS.update(GlobalAveragePool=_global_pool(ReduceKind.MEAN), GlobalMaxPool=_global_pool(ReduceKind.MAX))


# ---- matrix products ------------------------------------------------------------------------------------------


@lowers("MatMul")
def _matmul(net: Layers, node: Node) -> Value:
    return net.matmul(node.x, node.input(1))


@lowers("Gemm")
def _gemm(net: Layers, node: Node) -> Value:
    a, b, c = node.x, node.input(1), node.optional(2)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if a.rank != 2 or b.rank != 2:
        raise CannotLower(f"operands of {a.rank} and {b.rank} axes")
    if node.attribute("transA", 0):
        a = net.transpose(a, (1, 0))
    if not node.attribute("transB", 0):
        b = net.transpose(b, (1, 0))
    if b.is_constant and alpha == 1 and beta == 1 and (c is None or (c.is_constant and c.size == b.shape[0])):
        return net.linear(a, b, None if c is None else net.reshape(c, (c.size,)))
    y = scaled(net, net.linear(a, b, None), alpha)
    return y if c is None or beta == 0 else net.binary(BinaryKind.ADD, y, scaled(net, c, beta))


def scaled(net: Layers, x: Value, factor: float) -> Value:
    if factor == 1:
        return x
    if x.is_constant:
        return constant(x.real * np.float32(factor))
    return net.binary(BinaryKind.MUL, x, number(factor))


# ---- elementwise ----------------------------------------------------------------------------------------------


def _floats(net: Layers, *values: Value) -> None:
    """Arithmetic that depends on the input must be in float32."""
    for value in values:
        if net.dtype(value) is not DType.FLOAT32:
            raise CannotLower(f"arithmetic on {net.dtype(value).value} that depends on the input")


def _binary(op: BinaryKind) -> Lowering:
    def lower(net: Layers, node: Node) -> Value:
        result = node.x
        for index in range(1, len(node.inputs)):
            _floats(net, result, node.input(index))
            result = net.binary(op, result, node.input(index))
        return result

    return lower


OPERATORS.update(
    Add=_binary(BinaryKind.ADD),
    Sub=_binary(BinaryKind.SUB),
    Mul=_binary(BinaryKind.MUL),
    Div=_binary(BinaryKind.DIV),
    Min=_binary(BinaryKind.MINIMUM),
    Max=_binary(BinaryKind.MAXIMUM),
    Sum=_binary(BinaryKind.ADD),
)


@lowers("Mean")
def _mean(net: Layers, node: Node) -> Value:
    return scaled(net, _one(OPERATORS["Sum"](net, node)), 1 / len(node.inputs))


def _unary(op: UnaryKind) -> Lowering:
    def lower(net: Layers, node: Node) -> Value:
        _floats(net, node.x)
        return net.unary(op, node.x)

    return lower


OPERATORS.update(
    Sigmoid=_unary(UnaryKind.LOGISTIC),
    Tanh=_unary(UnaryKind.TANH),
    HardSwish=_unary(UnaryKind.HARD_SWISH),
    Softplus=_unary(UnaryKind.SOFTPLUS),
    Abs=_unary(UnaryKind.ABS),
    Neg=_unary(UnaryKind.NEG),
    Exp=_unary(UnaryKind.EXP),
    Log=_unary(UnaryKind.LOG),
    Sqrt=_unary(UnaryKind.SQRT),
    Erf=_unary(UnaryKind.ERF),
    Sign=_unary(UnaryKind.SIGNUM),
    FastGelu=_unary(UnaryKind.GELU_TANH),
)


@lowers("Relu")
def _relu(net: Layers, node: Node) -> Value:
    return net.clip(node.x, 0.0, None)


@lowers("Clip")
def _clip(net: Layers, node: Node) -> Value:
    return net.clip(node.x, node.scalar(1, "min"), node.scalar(2, "max"))


@lowers("LeakyRelu")
def _leaky_relu(net: Layers, node: Node) -> Value:
    return net.unary(UnaryKind.LEAKY_RELU, node.x, float(node.attribute("alpha", 0.01)))


@lowers("PRelu")
def _prelu(net: Layers, node: Node) -> Value:
    return net.prelu(node.x, node.input(1))


@lowers("Elu")
def _elu(net: Layers, node: Node) -> Value:
    return net.unary(UnaryKind.ELU, node.x, float(node.attribute("alpha", 1.0)))


@lowers("Selu")
def _selu(net: Layers, node: Node) -> Value:
    alpha = float(node.attribute("alpha", 1.6732632423543772))
    return scaled(net, net.unary(UnaryKind.ELU, node.x, alpha), float(node.attribute("gamma", 1.0507009873554805)))


@lowers("Celu")
def _celu(net: Layers, node: Node) -> Value:
    alpha = float(node.attribute("alpha", 1.0))
    return scaled(net, net.unary(UnaryKind.ELU, scaled(net, node.x, 1 / alpha), 1.0), alpha)


@lowers("HardSigmoid")
def _hard_sigmoid(net: Layers, node: Node) -> Value:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return net.unary(UnaryKind.HARD_SIGMOID, node.x)
    return net.clip(net.binary(BinaryKind.ADD, scaled(net, node.x, alpha), number(beta)), 0.0, 1.0)


@lowers("Softsign")
def _softsign(net: Layers, node: Node) -> Value:
    below = net.binary(BinaryKind.ADD, net.unary(UnaryKind.ABS, node.x), number(1.0))
    return net.binary(BinaryKind.DIV, node.x, below)


@lowers("Mish")
def _mish(net: Layers, node: Node) -> Value:
    gate = net.unary(UnaryKind.TANH, net.unary(UnaryKind.SOFTPLUS, node.x))
    return net.binary(BinaryKind.MUL, node.x, gate)


@lowers("Swish", "QuickGelu")
def _swish(net: Layers, node: Node) -> Value:
    alpha = float(node.attribute("alpha", 1.702 if node.operator == "QuickGelu" else 1.0))
    if alpha == 1:
        return net.unary(UnaryKind.SILU, node.x)
    return net.binary(BinaryKind.MUL, node.x, net.unary(UnaryKind.LOGISTIC, scaled(net, node.x, alpha)))


@lowers("Gelu", "BiasGelu")
def _gelu(net: Layers, node: Node) -> Value:
    x = node.x
    if node.operator == "BiasGelu":
        x = net.binary(BinaryKind.ADD, x, node.input(1))
    kind = UnaryKind.GELU_TANH if node.attribute("approximate", "none") == "tanh" else UnaryKind.GELU
    return net.unary(kind, x)


@lowers("Reciprocal")
def _reciprocal(net: Layers, node: Node) -> Value:
    return net.binary(BinaryKind.DIV, number(1.0), node.x)


@lowers("Pow")
def _pow(net: Layers, node: Node) -> Value:
    exponent = node.scalar(1)
    kinds = {2.0: UnaryKind.SQUARE, 0.5: UnaryKind.SQRT, -0.5: UnaryKind.RSQRT}
    if exponent in kinds:
        return net.unary(kinds[exponent], node.x)
    if exponent == 1:
        return node.x
    if exponent == 3:
        return net.binary(BinaryKind.MUL, net.unary(UnaryKind.SQUARE, node.x), node.x)
    raise CannotLower("only the powers 1, 2, 3, 0.5 and -0.5 are supported")


@lowers("Where")
def _where(net: Layers, node: Node) -> Value:
    """A constant condition selects by multiplication; an input of -inf (masks) becomes a large finite number."""
    chosen, other = node.input(1), node.input(2)
    if not node.x.is_constant:
        return select(net, node.x, chosen, other)
    condition = node.x.real.astype(bool)
    if condition.all() or not condition.any():
        value = chosen if condition.all() else other
        return net.expand(value, np.broadcast_shapes(condition.shape, chosen.shape, other.shape))
    parts = []
    for value, mask in ((chosen, condition), (other, ~condition)):
        weight = constant(mask.astype(np.float32))
        if value.is_constant:
            parts.append(constant(np.clip(value.real, -1e9, 1e9).astype(np.float32) * weight.real))
        else:
            _floats(net, value)
            parts.append(net.binary(BinaryKind.MUL, value, weight))
    return net.binary(BinaryKind.ADD, *parts)


def _comparison(name: str) -> Lowering:
    return lambda net, node: compare(net, name, node.x, node.input(1))


OPERATORS.update(
    Greater=_comparison("greater"),
    GreaterOrEqual=_comparison("greater_or_equal"),
    Less=_comparison("less"),
    LessOrEqual=_comparison("less_or_equal"),
    Equal=_comparison("equal"),
    Not=lambda net, node: inverted(net, node.x),
)


# ---- normalisation and softmax --------------------------------------------------------------------------------


@lowers("BatchNormalization")
def _batch_norm(net: Layers, node: Node) -> Result:
    if node.attribute("training_mode", 0) or any(node.outputs[1:]):
        raise CannotLower("runs in training mode; export the model for inference")
    gamma, beta, mean, variance = (node.input(i) for i in range(1, 5))
    return net.batch_norm(node.x, gamma, beta, mean, variance, float(node.attribute("epsilon", 1e-5)))


@lowers("InstanceNormalization")
def _instance_norm(net: Layers, node: Node) -> Value:
    epsilon = float(node.attribute("epsilon", 1e-5))
    return net.group_norm(node.x, node.x.shape[1], node.input(1), node.input(2), epsilon)


@lowers("GroupNormalization")
def _group_norm(net: Layers, node: Node) -> Value:
    groups = int(node.attribute("num_groups", 0))
    gamma, beta = node.input(1), node.input(2)
    if node.opset < 21:  # one scale per group
        repeat = node.x.shape[1] // max(groups, 1)
        gamma, beta = constant(np.repeat(gamma.real, repeat)), constant(np.repeat(beta.real, repeat))
    return net.group_norm(node.x, groups, gamma, beta, float(node.attribute("epsilon", 1e-5)))


@lowers("LayerNormalization")
def _layer_norm(net: Layers, node: Node) -> Value:
    if any(node.outputs[1:]):
        raise CannotLower("the mean and deviation of a layer normalisation are not available")
    axes = node.x.rank - normal_axis(int(node.attribute("axis", -1)), node.x.rank)
    return net.layer_norm(node.x, axes, node.input(1), node.optional(2), float(node.attribute("epsilon", 1e-5)))


@lowers("RMSNormalization")
def _rms_norm(net: Layers, node: Node) -> Value:
    """x / sqrt(mean(x²) + epsilon) * scale (Zhang and Sennrich 2019)."""
    axes = range(normal_axis(int(node.attribute("axis", -1)), node.x.rank), node.x.rank)
    mean = net.reduce(ReduceKind.MEAN, net.unary(UnaryKind.SQUARE, node.x), axes, True)
    shifted = net.binary(BinaryKind.ADD, mean, number(float(node.attribute("epsilon", 1e-5))))
    normal = net.binary(BinaryKind.MUL, node.x, net.unary(UnaryKind.RSQRT, shifted))
    return net.binary(BinaryKind.MUL, normal, node.input(1))


@lowers("Softmax", "LogSoftmax")
def _softmax(net: Layers, node: Node) -> Value:
    """Before opset 13 the input is taken as a matrix: the axes from ``axis`` on are one."""
    x, log = node.x, node.operator == "LogSoftmax"
    if node.opset >= 13:
        return net.softmax(x, int(node.attribute("axis", -1)), log=log)
    axis = normal_axis(int(node.attribute("axis", 1)), x.rank)
    if math.prod(x.shape[axis + 1 :]) == 1:
        return net.softmax(x, axis, log=log)
    flat = net.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
    return net.reshape(net.softmax(flat, 1, log=log), x.shape)


# ---- reductions -----------------------------------------------------------------------------------------------


def _reduced_axes(node: Node) -> list[int] | None:
    """None: nothing is reduced."""
    axes = node.numbers(1, "axes")
    if not axes:
        return None if node.attribute("noop_with_empty_axes", 0) else list(range(node.x.rank))
    return axes


def _reduce(op: ReduceKind, before: UnaryKind | None = None, after: UnaryKind | None = None) -> Lowering:
    def lower(net: Layers, node: Node) -> Value:
        axes = _reduced_axes(node)
        x = node.x if before is None else net.unary(before, node.x)
        if axes is not None:
            x = net.reduce(op, x, axes, bool(node.attribute("keepdims", 1)))
        return x if after is None else net.unary(after, x)

    return lower


OPERATORS.update(
    ReduceMean=_reduce(ReduceKind.MEAN),
    ReduceSum=_reduce(ReduceKind.SUM),
    ReduceMax=_reduce(ReduceKind.MAX),
    ReduceMin=_reduce(ReduceKind.MIN),
    ReduceL1=_reduce(ReduceKind.SUM, UnaryKind.ABS),
    ReduceL2=_reduce(ReduceKind.SUM, UnaryKind.SQUARE, UnaryKind.SQRT),
    ReduceSumSquare=_reduce(ReduceKind.SUM, UnaryKind.SQUARE),
    ReduceLogSum=_reduce(ReduceKind.SUM, None, UnaryKind.LOG),
    ReduceLogSumExp=_reduce(ReduceKind.SUM, UnaryKind.EXP, UnaryKind.LOG),
)


@lowers("ArgMax", "ArgMin")
def _argmax(net: Layers, node: Node) -> Value:
    if node.attribute("select_last_index", 0):
        raise CannotLower("select_last_index=1")
    x = node.x if node.operator == "ArgMax" else net.unary(UnaryKind.NEG, node.x)
    return net.argmax(x, int(node.attribute("axis", 0)), bool(node.attribute("keepdims", 1)))


@lowers("LpNormalization")
def _lp_norm(net: Layers, node: Node) -> Value:
    axis, order = int(node.attribute("axis", -1)), int(node.attribute("p", 2))
    inner = UnaryKind.SQUARE if order == 2 else UnaryKind.ABS
    total = net.reduce(ReduceKind.SUM, net.unary(inner, node.x), [axis], True)
    norm = net.unary(UnaryKind.SQRT, total) if order == 2 else total
    return net.binary(BinaryKind.DIV, node.x, net.binary(BinaryKind.MAXIMUM, norm, number(1e-12)))


@lowers("Cast", "CastLike")
def _cast(net: Layers, node: Node) -> Value:
    from onnx import helper

    if node.operator == "CastLike":
        wanted = net.dtype(node.input(1))
    else:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(int(node.attribute("to", 1)))).name
        kind = "float32" if kind in ("float16", "float64", "bfloat16") else kind
        try:
            wanted = DType(kind)
        except ValueError:
            raise CannotLower(f"a conversion to {kind}") from None
    return node.x if wanted is net.dtype(node.x) else net.elementwise(ops.Cast(wanted.value), node.x)
