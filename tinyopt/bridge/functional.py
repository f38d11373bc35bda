"""Every operator as a function on torch tensors: the float executor, and the body of a trainable network.

A function takes the attributes and the input tensors (float32, layout as in ``tinyopt.graph.ops``) and returns the
output tensors. All are differentiable where the mathematics is. Samples may be stacked along the leading axis, where
the graph has a batch of one: pass the attributes through ``for_batch`` first; constants that carry a batch axis of one
are stretched. Quantize and Dequantize need the tensors' parameters and live in the executors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyopt.graph import ops
from tinyopt.graph.ops import Attributes, BinaryKind, Clamp, ReduceKind, ResizeMethod, UnaryKind

A = TypeVar("A", bound=Attributes)
Function = Callable[[Any, Sequence[Tensor]], list[Tensor]]
FUNCTIONS: dict[type[Attributes], Function] = {}


def _function(kind: type[A]) -> Callable[[Callable[[A, Sequence[Tensor]], Any]], Callable[[A, Sequence[Tensor]], Any]]:
    """Register an operator; a single returned tensor is wrapped into a list."""

    def register(function: Callable[[A, Sequence[Tensor]], Any]) -> Callable[[A, Sequence[Tensor]], Any]:
        def wrapped(attributes: A, inputs: Sequence[Tensor]) -> list[Tensor]:
            result = function(attributes, inputs)
            return [result] if isinstance(result, Tensor) else list(result)

        FUNCTIONS[kind] = wrapped
        return function

    return register


def clamp(x: Tensor, limits: Clamp) -> Tensor:
    """A fused activation."""
    if limits.low is None and limits.high is None:
        return x
    if limits == ops.RELU:
        return F.relu(x)  # the same values; its gradient takes a tenth of the time of clamp's
    return torch.clamp(x, limits.low, limits.high)


def _to_nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _to_nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _padded(x: Tensor, p: ops.Padding, value: float = 0.0) -> Tensor:
    """An NCHW image with its border."""
    return F.pad(x, (p.left, p.right, p.top, p.bottom), value=value) if p.any else x


# ---- convolutions and matrix products -------------------------------------------------------------------------


def _convolve(a: ops.Conv2d | ops.DepthwiseConv2d, x: Tensor, w: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """x NHWC, w as torch has it → NHWC. An even border is the convolution's own: no padded copy is made."""
    p, images = a.padding, _to_nchw(x)
    even = p.top == p.bottom and p.left == p.right
    y = F.conv2d(
        images if even else _padded(images, p),
        w,
        bias,
        stride=a.stride,
        padding=(p.top, p.left) if even else 0,
        dilation=a.dilation,
        groups=groups,
    )
    return clamp(_to_nhwc(y), a.activation)


@_function(ops.Conv2d)
def _conv2d(a: ops.Conv2d, inputs: Sequence[Tensor]) -> Tensor:
    x, w, *bias = inputs
    return _convolve(a, x, w.permute(0, 3, 1, 2), bias[0] if bias else None, a.groups)


@_function(ops.DepthwiseConv2d)
def _depthwise(a: ops.DepthwiseConv2d, inputs: Sequence[Tensor]) -> Tensor:
    x, w, *bias = inputs
    return _convolve(a, x, w.permute(3, 0, 1, 2), bias[0] if bias else None, x.shape[3])


@_function(ops.TransposeConv2d)
def _transpose_conv2d(a: ops.TransposeConv2d, inputs: Sequence[Tensor]) -> Tensor:
    x, w, *bias = inputs
    full = F.conv_transpose2d(_to_nchw(x), w.permute(3, 0, 1, 2), stride=a.stride, dilation=a.dilation)
    p = a.padding
    y = _to_nhwc(F.pad(full, (-p.left, -p.right, -p.top, -p.bottom)))
    if bias:  # after the cut: rows that a negative padding adds hold the bias alone
        y = y + bias[0]
    return clamp(y, a.activation)


@_function(ops.FullyConnected)
def _fully_connected(a: ops.FullyConnected, inputs: Sequence[Tensor]) -> Tensor:
    x, w, *bias = inputs
    return clamp(F.linear(x, w, bias[0] if bias else None), a.activation)


@_function(ops.MatMul)
def _matmul(a: ops.MatMul, inputs: Sequence[Tensor]) -> Tensor:
    x, y = inputs
    return torch.matmul(x.mT if a.transpose_a else x, y.mT if a.transpose_b else y)


# ---- elementwise ----------------------------------------------------------------------------------------------


class _Sign(torch.autograd.Function):
    """1 where x >= 0, else -1; the gradient passes where x lies from -1 to 1 (Hubara et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.saved_tensors[0]


class _Signum(_Sign):
    """-1, 0 or 1, with the same gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return torch.sign(x)


_BINARY: dict[BinaryKind, Callable[[Tensor, Tensor], Tensor]] = {
    BinaryKind.ADD: torch.add,
    BinaryKind.SUB: torch.sub,
    BinaryKind.MUL: torch.mul,
    BinaryKind.DIV: torch.div,
    BinaryKind.MINIMUM: torch.minimum,
    BinaryKind.MAXIMUM: torch.maximum,
}

_UNARY: dict[UnaryKind, Callable[[Tensor, float], Tensor]] = {
    UnaryKind.LOGISTIC: lambda x, _: torch.sigmoid(x),
    UnaryKind.TANH: lambda x, _: torch.tanh(x),
    UnaryKind.HARD_SWISH: lambda x, _: F.hardswish(x),
    UnaryKind.HARD_SIGMOID: lambda x, _: F.hardsigmoid(x),
    UnaryKind.GELU: lambda x, _: F.gelu(x),
    UnaryKind.GELU_TANH: lambda x, _: F.gelu(x, approximate="tanh"),
    UnaryKind.SILU: lambda x, _: F.silu(x),
    UnaryKind.ELU: lambda x, alpha: F.elu(x, alpha),
    UnaryKind.SOFTPLUS: lambda x, _: torch.logaddexp(x, torch.zeros_like(x)),
    UnaryKind.LEAKY_RELU: lambda x, alpha: torch.where(x >= 0, x, alpha * x),
    UnaryKind.ABS: lambda x, _: torch.abs(x),
    UnaryKind.NEG: lambda x, _: torch.neg(x),
    UnaryKind.EXP: lambda x, _: torch.exp(x),
    UnaryKind.LOG: lambda x, _: torch.log(x),
    UnaryKind.SQRT: lambda x, _: torch.sqrt(x),
    UnaryKind.RSQRT: lambda x, _: torch.rsqrt(x),
    UnaryKind.SQUARE: lambda x, _: torch.square(x),
    UnaryKind.ERF: lambda x, _: torch.erf(x),
    UnaryKind.SIGN: lambda x, _: _Sign.apply(x),  # type: ignore[no-untyped-call]
    UnaryKind.SIGNUM: lambda x, _: _Signum.apply(x),  # type: ignore[no-untyped-call]
}


@_function(ops.Binary)
def _binary(a: ops.Binary, inputs: Sequence[Tensor]) -> Tensor:
    return clamp(_BINARY[a.op](inputs[0], inputs[1]), a.activation)


@_function(ops.Unary)
def _unary(a: ops.Unary, inputs: Sequence[Tensor]) -> Tensor:
    return _UNARY[a.op](inputs[0], a.alpha)


@_function(ops.Clip)
def _clip(a: ops.Clip, inputs: Sequence[Tensor]) -> Tensor:
    return clamp(inputs[0], a.clamp)


@_function(ops.Prelu)
def _prelu(a: ops.Prelu, inputs: Sequence[Tensor]) -> Tensor:
    x, alpha = inputs
    return torch.where(x >= 0, x, alpha * x)


@_function(ops.BatchNorm)
def _batch_norm(a: ops.BatchNorm, inputs: Sequence[Tensor]) -> Tensor:
    x, gamma, beta, mean, variance = inputs
    return gamma * (x - mean) / torch.sqrt(variance + a.epsilon) + beta


@_function(ops.LayerNorm)
def _layer_norm(a: ops.LayerNorm, inputs: Sequence[Tensor]) -> Tensor:
    x, gamma, beta = inputs
    return F.layer_norm(x, (x.shape[-1],), gamma, beta, a.epsilon)


# ---- pooling and reductions -----------------------------------------------------------------------------------


@_function(ops.MaxPool2d)
def _max_pool(a: ops.MaxPool2d, inputs: Sequence[Tensor]) -> Tensor:
    x = _padded(_to_nchw(inputs[0]), a.padding, -math.inf)
    return clamp(_to_nhwc(F.max_pool2d(x, a.kernel, a.stride)), a.activation)


@_function(ops.AveragePool2d)
def _average_pool(a: ops.AveragePool2d, inputs: Sequence[Tensor]) -> Tensor:
    x = _to_nchw(inputs[0])
    if not a.padding.any:
        y = F.avg_pool2d(x, a.kernel, a.stride)
    else:
        inside = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
        total, count = (
            F.avg_pool2d(_padded(t, a.padding), a.kernel, a.stride, divisor_override=1) for t in (x, inside)
        )
        y = total / count
    return clamp(_to_nhwc(y), a.activation)


@_function(ops.Reduce)
def _reduce(a: ops.Reduce, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    if not a.axes:
        return x
    if a.op is ReduceKind.MEAN:
        return torch.mean(x, a.axes, a.keep_dims)
    if a.op is ReduceKind.SUM:
        return torch.sum(x, a.axes, a.keep_dims)
    return (torch.amax if a.op is ReduceKind.MAX else torch.amin)(x, a.axes, a.keep_dims)


@_function(ops.Softmax)
def _softmax(a: ops.Softmax, inputs: Sequence[Tensor]) -> Tensor:
    return torch.softmax(inputs[0] * a.beta, -1)


@_function(ops.LogSoftmax)
def _log_softmax(a: ops.LogSoftmax, inputs: Sequence[Tensor]) -> Tensor:
    return torch.log_softmax(inputs[0], -1)


@_function(ops.ArgMax)
def _argmax(a: ops.ArgMax, inputs: Sequence[Tensor]) -> Tensor:
    return torch.argmax(inputs[0], a.axis, a.keep_dims).to(getattr(torch, a.dtype))


# ---- data movement --------------------------------------------------------------------------------------------


@_function(ops.Reshape)
def _reshape(a: ops.Reshape, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].reshape(a.shape)


@_function(ops.Transpose)
def _transpose(a: ops.Transpose, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].permute(a.perm)


@_function(ops.BroadcastTo)
def _broadcast_to(a: ops.BroadcastTo, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].expand(a.shape)


@_function(ops.Concat)
def _concat(a: ops.Concat, inputs: Sequence[Tensor]) -> Tensor:
    if a.axis == 0:
        return torch.cat(list(inputs), 0)
    batch = max(x.shape[0] for x in inputs)
    return torch.cat([x.expand(batch, *x.shape[1:]) for x in inputs], a.axis)


@_function(ops.Split)
def _split(a: ops.Split, inputs: Sequence[Tensor]) -> list[Tensor]:
    return list(torch.split(inputs[0], list(a.sizes), a.axis))


@_function(ops.Slice)
def _slice(a: ops.Slice, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    for axis, (begin, size, stride) in enumerate(zip(a.begin, a.size, a.stride)):
        if (begin, size, stride) != (0, x.shape[axis], 1):
            index = torch.arange(begin, begin + size * stride, stride, device=x.device)
            x = x.index_select(axis, index)
    return x


@_function(ops.Pad)
def _pad(a: ops.Pad, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    if a.mode is ops.PadMode.CONSTANT:
        flat = [n for before, after in zip(reversed(a.before), reversed(a.after)) for n in (before, after)]
        return F.pad(x, flat, value=a.value)
    for axis, (before, after) in enumerate(zip(a.before, a.after)):
        if before or after:
            size = x.shape[axis]
            index = torch.arange(-before, size + after, device=x.device)
            if a.mode is ops.PadMode.EDGE:
                index = index.clamp(0, size - 1)
            else:
                index = (size - 1) - ((size - 1) - index.abs()).abs()
            x = x.index_select(axis, index)
    return x


@_function(ops.Gather)
def _gather(a: ops.Gather, inputs: Sequence[Tensor]) -> Tensor:
    x, indices = inputs
    taken = x.index_select(a.axis, indices.reshape(-1).to(torch.int64))
    return taken.reshape((*x.shape[: a.axis], *indices.shape, *x.shape[a.axis + 1 :]))


def _resize_source(a: ops.Resize2d, size: int, output: int, device: torch.device) -> Tensor:
    """Input coordinate (float) of every output position along one axis."""
    position = torch.arange(output, dtype=torch.float32, device=device)
    scale = (size - 1) / (output - 1) if a.align_corners and output > 1 else size / output
    if a.half_pixel_centers:
        offset = 0.5 if a.method is ResizeMethod.BILINEAR else 0.0
        return (position + 0.5) * scale - offset
    return position * scale


@_function(ops.Resize2d)
def _resize(a: ops.Resize2d, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    for axis, output in ((1, a.size[0]), (2, a.size[1])):
        size = x.shape[axis]
        source = _resize_source(a, size, output, x.device)
        if a.method is ResizeMethod.NEAREST:
            index = (torch.floor(source + 0.5) if a.align_corners else torch.floor(source)).to(torch.int64)
            x = x.index_select(axis, index.clamp(0, size - 1))
            continue
        lower = torch.floor(source).clamp(0, size - 1)
        upper = torch.ceil(source).clamp(0, size - 1)
        fraction = (source - lower).reshape([-1 if i == axis else 1 for i in range(4)])
        low, high = (x.index_select(axis, i.to(torch.int64)) for i in (lower, upper))
        x = low * (1 - fraction) + high * fraction
    return x


@_function(ops.Cast)
def _cast(a: ops.Cast, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0].to(getattr(torch, a.dtype))


# ---- recurrent ------------------------------------------------------------------------------------------------


def _steps(count: int, reverse: bool) -> list[int]:
    return list(range(count - 1, -1, -1)) if reverse else list(range(count))


@_function(ops.Lstm)
def _lstm(a: ops.Lstm, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, w, r, b, h, c = inputs
    h, c = h.expand(x.shape[0], -1), c.expand(x.shape[0], -1)
    projected = F.linear(x, w, b)
    outputs: list[Tensor] = [h] * x.shape[1]
    for step in _steps(x.shape[1], a.reverse):
        i, f, g, o = (projected[:, step] + F.linear(h, r)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if a.cell_clip > 0:
            c = torch.clamp(c, -a.cell_clip, a.cell_clip)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs[step] = h
    return [torch.stack(outputs, 1), h, c]


@_function(ops.Gru)
def _gru(a: ops.Gru, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, w, r, b, rb, h = inputs
    h = h.expand(x.shape[0], -1)
    hidden = h.shape[-1]
    projected = F.linear(x, w, b)
    outputs: list[Tensor] = [h] * x.shape[1]
    for step in _steps(x.shape[1], a.reverse):
        reset, update, new = projected[:, step].chunk(3, -1)
        gates = F.linear(h, r[: 2 * hidden], rb[: 2 * hidden])
        reset = torch.sigmoid(reset + gates[:, :hidden])
        update = torch.sigmoid(update + gates[:, hidden:])
        if a.linear_before_reset:
            candidate = torch.tanh(new + reset * F.linear(h, r[2 * hidden :], rb[2 * hidden :]))
        else:
            candidate = torch.tanh(new + F.linear(reset * h, r[2 * hidden :], rb[2 * hidden :]))
        h = (1 - update) * candidate + update * h
        outputs[step] = h
    return [torch.stack(outputs, 1), h]
