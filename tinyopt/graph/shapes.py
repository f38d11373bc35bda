"""Output shapes of every operator, from its attributes and input shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.graph import ops
from tinyopt.graph.ops import Attributes, Shape

A = TypeVar("A", bound=Attributes)
_RULES: dict[type[Attributes], Callable[[Any, list[Shape]], list[Shape]]] = {}


def infer_shapes(attributes: Attributes, inputs: list[Shape]) -> list[Shape]:
    """Shapes of the outputs.

    Raises:
        GraphError: when the input shapes do not fit the operator.
    """
    low, high = attributes.inputs
    if len(inputs) < low or (high is not None and len(inputs) > high):
        raise GraphError(f"{attributes.kind} takes {low} to {high or 'any number of'} inputs, got {len(inputs)}")
    rule = _RULES.get(type(attributes))
    if rule is None:
        raise GraphError(f"no shape rule for {attributes.kind}")
    return rule(attributes, inputs)


def _rule(
    kind: type[A],
) -> Callable[[Callable[[A, list[Shape]], list[Shape]]], Callable[[A, list[Shape]], list[Shape]]]:
    def register(
        function: Callable[[A, list[Shape]], list[Shape]],
    ) -> Callable[[A, list[Shape]], list[Shape]]:
        _RULES[kind] = function
        return function

    return register


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


def broadcast(*shapes: Shape) -> Shape:
    """The numpy broadcast shape; raises GraphError when the shapes do not broadcast."""
    try:
        return tuple(int(d) for d in np.broadcast_shapes(*shapes))
    except ValueError:
        raise GraphError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast") from None


def window_output(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output length of a sliding window.

    Raises:
        GraphError: when the window is larger than the padded input.
    """
    _need(kernel >= 1 and stride >= 1 and dilation >= 1, "kernel, stride and dilation must be at least 1")
    _need(before >= 0 and after >= 0, "padding must not be negative")
    reach = (kernel - 1) * dilation + 1
    _need(
        size + before + after >= reach,
        f"a window of {reach} does not fit an input of {size + before + after}",
    )
    return (size + before + after - reach) // stride + 1


def _window2d(
    x: Shape, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], p: ops.Padding
) -> tuple[int, int]:
    _need(len(x) == 4, f"the input must be [N,H,W,C], got {list(x)}")
    _check_padded(x, (x[1] + p.top + p.bottom, x[2] + p.left + p.right))
    return (
        window_output(x[1], kernel[0], stride[0], dilation[0], p.top, p.bottom),
        window_output(x[2], kernel[1], stride[1], dilation[1], p.left, p.right),
    )


def _check_padded(x: Shape, padded: tuple[int, int]) -> None:
    """Only a damaged model pads a small image to a huge one, and no executor should try to hold that."""
    size = x[0] * max(padded[0], 1) * max(padded[1], 1) * x[3]
    _need(
        size <= max(1 << 24, 64 * math.prod(x)),
        f"the padding makes {padded[0]} x {padded[1]} of an image of {x[1]} x {x[2]}",
    )


def _check_bias(inputs: list[Shape], channels: int) -> None:
    if len(inputs) > 2:
        _need(inputs[2] == (channels,), f"the bias must be [{channels}], got {list(inputs[2])}")


@_rule(ops.Conv2d)
def _conv2d(a: ops.Conv2d, inputs: list[Shape]) -> list[Shape]:
    x, w = inputs[0], inputs[1]
    _need(len(x) == 4 and len(w) == 4, f"input and weights must have 4 axes, got {list(x)} and {list(w)}")
    _need(
        a.groups >= 1 and x[3] == w[3] * a.groups,
        f"weights {list(w)} x {a.groups} groups do not fit {x[3]} channels",
    )
    _need(w[0] % a.groups == 0, f"{w[0]} output channels are not a multiple of {a.groups} groups")
    _check_bias(inputs, w[0])
    oh, ow = _window2d(x, (w[1], w[2]), a.stride, a.dilation, a.padding)
    return [(x[0], oh, ow, w[0])]


@_rule(ops.DepthwiseConv2d)
def _depthwise(a: ops.DepthwiseConv2d, inputs: list[Shape]) -> list[Shape]:
    x, w = inputs[0], inputs[1]
    _need(len(x) == 4 and len(w) == 4 and w[0] == 1, f"weights must be [1,KH,KW,O], got {list(w)}")
    _need(a.multiplier >= 1 and w[3] == x[3] * a.multiplier, f"weights {list(w)} do not fit {x[3]} channels")
    _check_bias(inputs, w[3])
    oh, ow = _window2d(x, (w[1], w[2]), a.stride, a.dilation, a.padding)
    return [(x[0], oh, ow, w[3])]


@_rule(ops.TransposeConv2d)
def _transpose_conv2d(a: ops.TransposeConv2d, inputs: list[Shape]) -> list[Shape]:
    x, w = inputs[0], inputs[1]
    _need(len(x) == 4 and len(w) == 4 and x[3] == w[3], f"weights {list(w)} do not fit input {list(x)}")
    _check_bias(inputs, w[0])
    _need(min(*a.stride, *a.dilation) >= 1, "stride and dilation must be at least 1")
    p = a.padding
    full = [(x[1 + i] - 1) * a.stride[i] + (w[1 + i] - 1) * a.dilation[i] + 1 for i in (0, 1)]
    oh, ow = full[0] - p.top - p.bottom, full[1] - p.left - p.right
    _check_padded((x[0], max(oh, 1), max(ow, 1), w[0]), (full[0], full[1]))
    _need(oh >= 1 and ow >= 1, "the padding leaves no output")
    return [(x[0], oh, ow, w[0])]


@_rule(ops.FullyConnected)
def _fully_connected(a: ops.FullyConnected, inputs: list[Shape]) -> list[Shape]:
    x, w = inputs[0], inputs[1]
    _need(len(w) == 2 and len(x) >= 1 and x[-1] == w[1], f"weights {list(w)} do not fit input {list(x)}")
    _check_bias(inputs, w[0])
    return [(*x[:-1], w[0])]


def _dynamic(a: ops.DynamicRange, inputs: list[Shape]) -> list[Shape]:
    return infer_shapes(a.layer, inputs)


_RULES |= dict.fromkeys((ops.DynamicConv2d, ops.DynamicDepthwiseConv2d, ops.DynamicFullyConnected), _dynamic)


@_rule(ops.MatMul)
def _matmul(a: ops.MatMul, inputs: list[Shape]) -> list[Shape]:
    x, y = inputs
    _need(len(x) >= 2 and len(y) >= 2, "both operands must have at least two axes")
    m, k = (x[-1], x[-2]) if a.transpose_a else (x[-2], x[-1])
    k2, n = (y[-1], y[-2]) if a.transpose_b else (y[-2], y[-1])
    _need(k == k2, f"inner sizes {k} and {k2} differ")
    return [(*broadcast(x[:-2], y[:-2]), m, n)]


@_rule(ops.PackSigns)
def _pack_signs(a: ops.PackSigns, inputs: list[Shape]) -> list[Shape]:
    _need(len(inputs[0]) >= 1, "signs are packed along an axis, and a scalar has none")
    return [(*inputs[0][:-1], -(-inputs[0][-1] // 32))]


@_rule(ops.XnorConv2d)
def _xnor_conv2d(a: ops.XnorConv2d, inputs: list[Shape]) -> list[Shape]:
    x, w = inputs[0], inputs[1]
    _need(len(x) == 4 and len(w) == 4, f"input and weights must have 4 axes, got {list(x)} and {list(w)}")
    words = -(-a.channels // 32)
    _need(x[3] == w[3] == words, f"{a.channels} signs take {words} words, got {x[3]} and weights with {w[3]}")
    _check_bias(inputs, w[0])
    height, width = _window2d(x, (w[1], w[2]), a.stride, a.dilation, a.padding)
    return [(x[0], height, width, -(-w[0] // 32) if a.packed else w[0])]


@_rule(ops.Binary)
def _binary(a: ops.Binary, inputs: list[Shape]) -> list[Shape]:
    return [broadcast(*inputs)]


def _same(a: Attributes, inputs: list[Shape]) -> list[Shape]:
    return [inputs[0]]


for _kind in (ops.Unary, ops.Clip, ops.Quantize, ops.Dequantize, ops.Cast, ops.Softmax, ops.LogSoftmax):
    _RULES[_kind] = _same


@_rule(ops.Prelu)
def _prelu(a: ops.Prelu, inputs: list[Shape]) -> list[Shape]:
    _need(broadcast(*inputs) == inputs[0], f"alpha {list(inputs[1])} does not broadcast to {list(inputs[0])}")
    return [inputs[0]]


@_rule(ops.BatchNorm)
def _batch_norm(a: ops.BatchNorm, inputs: list[Shape]) -> list[Shape]:
    _need(len(inputs[0]) >= 1 and all(s == inputs[0][-1:] for s in inputs[1:]), "the parameters must be [C]")
    return [inputs[0]]


_RULES[ops.LayerNorm] = lambda a, inputs: _batch_norm(a, inputs)


def _pool(a: Any, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    oh, ow = _window2d(x, a.kernel, a.stride, (1, 1), a.padding)
    p = a.padding
    _need(p.top < a.kernel[0] and p.left < a.kernel[1], "padding must be smaller than the kernel")
    _need(
        (oh - 1) * a.stride[0] - p.top < x[1] and (ow - 1) * a.stride[1] - p.left < x[2],
        "a window lies in the padding",
    )
    return [(x[0], oh, ow, x[3])]


_RULES[ops.MaxPool2d] = _pool
_RULES[ops.OrPool2d] = _pool
_RULES[ops.AveragePool2d] = _pool


def _check_axes(axes: tuple[int, ...], rank: int) -> None:
    _need(all(0 <= axis < rank for axis in axes), f"axes {list(axes)} are out of range for {rank} axes")
    _need(len(set(axes)) == len(axes), f"axes {list(axes)} repeat")


@_rule(ops.Reduce)
def _reduce(a: ops.Reduce, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _check_axes(a.axes, len(x))
    if a.keep_dims:
        return [tuple(1 if i in a.axes else d for i, d in enumerate(x))]
    return [tuple(d for i, d in enumerate(x) if i not in a.axes)]


@_rule(ops.ArgMax)
def _argmax(a: ops.ArgMax, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _check_axes((a.axis,), len(x))
    _need(a.dtype in ("int32", "int64"), "the output of ArgMax is int32 or int64")
    return [tuple(1 if i == a.axis else d for i, d in enumerate(x) if a.keep_dims or i != a.axis)]


@_rule(ops.Reshape)
def _reshape(a: ops.Reshape, inputs: list[Shape]) -> list[Shape]:
    _need(math.prod(a.shape) == math.prod(inputs[0]), f"cannot reshape {list(inputs[0])} to {list(a.shape)}")
    return [a.shape]


@_rule(ops.Transpose)
def _transpose(a: ops.Transpose, inputs: list[Shape]) -> list[Shape]:
    _need(
        sorted(a.perm) == list(range(len(inputs[0]))),
        f"{list(a.perm)} is no permutation of {len(inputs[0])} axes",
    )
    return [tuple(inputs[0][i] for i in a.perm)]


@_rule(ops.BroadcastTo)
def _broadcast_to(a: ops.BroadcastTo, inputs: list[Shape]) -> list[Shape]:
    _need(broadcast(inputs[0], a.shape) == a.shape, f"{list(inputs[0])} does not broadcast to {list(a.shape)}")
    return [a.shape]


@_rule(ops.Concat)
def _concat(a: ops.Concat, inputs: list[Shape]) -> list[Shape]:
    first = inputs[0]
    _check_axes((a.axis,), len(first))
    for other in inputs[1:]:
        same = len(other) == len(first) and all(i == a.axis or p == q for i, (p, q) in enumerate(zip(first, other)))
        _need(same, f"cannot join {list(first)} and {list(other)} along axis {a.axis}")
    return [tuple(sum(s[i] for s in inputs) if i == a.axis else d for i, d in enumerate(first))]


@_rule(ops.Split)
def _split(a: ops.Split, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _check_axes((a.axis,), len(x))
    _need(sum(a.sizes) == x[a.axis] and min(a.sizes) >= 1, f"sizes {list(a.sizes)} do not make {x[a.axis]}")
    return [tuple(size if i == a.axis else d for i, d in enumerate(x)) for size in a.sizes]


@_rule(ops.Slice)
def _slice(a: ops.Slice, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _need(
        len(a.begin) == len(a.size) == len(a.stride) == len(x),
        "begin, size and stride need one entry per axis",
    )
    for begin, size, stride, extent in zip(a.begin, a.size, a.stride, x):
        last = begin + (size - 1) * stride
        _need(
            stride != 0 and size >= 1 and 0 <= begin < extent and 0 <= last < extent,
            f"the slice begin={list(a.begin)} size={list(a.size)} stride={list(a.stride)} leaves {list(x)}",
        )
    return [a.size]


@_rule(ops.Pad)
def _pad(a: ops.Pad, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _need(len(a.before) == len(a.after) == len(x), "before and after need one entry per axis")
    _need(min((*a.before, *a.after, 0)) >= 0, "padding must not be negative")
    if a.mode is ops.PadMode.REFLECT:
        _need(all(max(b, e) < d for b, e, d in zip(a.before, a.after, x)), "reflection needs padding < size")
    return [tuple(b + d + e for b, d, e in zip(a.before, x, a.after))]


@_rule(ops.Gather)
def _gather(a: ops.Gather, inputs: list[Shape]) -> list[Shape]:
    x, indices = inputs
    _check_axes((a.axis,), len(x))
    return [(*x[: a.axis], *indices, *x[a.axis + 1 :])]


@_rule(ops.Resize2d)
def _resize(a: ops.Resize2d, inputs: list[Shape]) -> list[Shape]:
    x = inputs[0]
    _need(len(x) == 4 and min(a.size) >= 1, f"the input must be [N,H,W,C], got {list(x)}")
    return [(x[0], a.size[0], a.size[1], x[3])]


@_rule(ops.Lstm)
def _lstm(a: ops.Lstm, inputs: list[Shape]) -> list[Shape]:
    x, w, r, b, h, c = inputs
    _need(len(x) == 3 and len(r) == 2, f"the input must be [N,T,I], got {list(x)}")
    hidden = r[1]
    _need(
        w == (4 * hidden, x[2]) and r[0] == 4 * hidden and b == (4 * hidden,),
        "the weights do not fit 4 gates",
    )
    _need(h == (x[0], hidden) and c == (x[0], hidden), f"the states must be [{x[0]},{hidden}]")
    return [(x[0], x[1], hidden), (x[0], hidden), (x[0], hidden)]


@_rule(ops.Gru)
def _gru(a: ops.Gru, inputs: list[Shape]) -> list[Shape]:
    x, w, r, b, rb, h = inputs
    _need(len(x) == 3 and len(r) == 2, f"the input must be [N,T,I], got {list(x)}")
    hidden = r[1]
    _need(w == (3 * hidden, x[2]) and r[0] == 3 * hidden, "the weights do not fit 3 gates")
    _need(
        b == (3 * hidden,) and rb == (3 * hidden,) and h == (x[0], hidden),
        "bias or state has the wrong shape",
    )
    return [(x[0], x[1], hidden), (x[0], hidden)]
