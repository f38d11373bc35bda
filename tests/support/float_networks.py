"""Random float networks with branches, joins, reshapes and states, for passes that must not change what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.graph.ops import BinaryKind, Clamp, Padding, PadMode, ReduceKind, UnaryKind

RELU = Clamp(0.0, None)
SIZE = 4
WIDTHS = (2, 4, 6)


class Drawing:
    """A graph under construction; images are [1,4,4,C] with C of ``WIDTHS`` or sums of them."""

    def __init__(self, draw: st.DrawFn, seed: int) -> None:
        self.draw, self.random = draw, np.random.default_rng(seed)
        self.builder = GraphBuilder("random")

    def weights(self, name: str, *shape: int) -> str:
        values = self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
        return self.builder.constant(name, values.astype(np.float32))

    def channels(self, name: str) -> int:
        return self.builder.tensor(name).shape[-1]

    def add(self, attributes: ops.Attributes, *inputs: str) -> str:
        return self.builder.add(attributes, inputs)

    def conv(self, x: str, width: int, kernel: int = 1, groups: int = 1, bias: bool = True) -> str:
        w = self.weights("w", width, kernel, kernel, self.channels(x) // groups)
        p = Padding(kernel // 2, (kernel - 1) // 2, kernel // 2, (kernel - 1) // 2)
        parameters = [w, self.weights("b", width)] if bias else [w]
        activation = self.draw(st.sampled_from((Clamp(), RELU)))
        return self.add(ops.Conv2d(padding=p, groups=groups, activation=activation), x, *parameters)

    def batch_norm(self, x: str) -> str:
        c = self.channels(x)
        positive = self.builder.constant("v", (self.random.random(c) + 0.5).astype(np.float32))
        return self.add(
            ops.BatchNorm(), x, self.weights("gamma", c), self.weights("beta", c), self.weights("mean", c), positive
        )


def step(d: Drawing, images: list[str], kind: str = "") -> None:
    """One more image made from those that are there; by an operator of any kind unless it is said."""
    draw = d.draw
    x = draw(st.sampled_from(images))
    c = d.channels(x)
    width = draw(st.sampled_from(WIDTHS))
    twin = draw(st.sampled_from([name for name in images if d.channels(name) == c]))
    kind = kind or draw(st.sampled_from(KINDS))
    if kind == "conv":
        images.append(d.conv(x, width, draw(st.sampled_from((1, 3))), bias=draw(st.booleans())))
    elif kind == "grouped":
        images.append(d.conv(x, 4, 3, groups=2 if c % 2 == 0 else 1))
    elif kind == "depthwise":
        m = draw(st.integers(1, 2))
        attributes = ops.DepthwiseConv2d(padding=Padding(1, 1, 1, 1), multiplier=m)
        images.append(d.add(attributes, x, d.weights("dw", 1, 3, 3, c * m), d.weights("db", c * m)))
    elif kind == "each":
        images.append(d.conv(x, 2 * c, 3, groups=c))
    elif kind == "transposed":
        images.append(d.add(ops.TransposeConv2d(), x, d.weights("tw", width, 1, 1, c)))
    elif kind == "batch_norm":
        images.append(d.batch_norm(x))
    elif kind == "unary":
        op = draw(st.sampled_from((UnaryKind.LOGISTIC, UnaryKind.TANH, UnaryKind.EXP)))
        images.append(d.add(ops.Unary(op), x))
        if op is UnaryKind.EXP:  # keeps the numbers small
            images[-1] = d.add(ops.Unary(UnaryKind.TANH), images[-1])
    elif kind == "join":
        op = draw(st.sampled_from((BinaryKind.ADD, BinaryKind.MUL, BinaryKind.SUB, BinaryKind.MAXIMUM)))
        images.append(d.add(ops.Binary(op), x, twin))
    elif kind == "constant":
        images.append(d.add(ops.Binary(BinaryKind.ADD), x, d.weights("k", *draw(st.sampled_from(((c,), (1,)))))))
    elif kind == "prelu":
        images.append(d.add(ops.Prelu(), x, d.weights("alpha", c)))
    elif kind == "squeeze":
        s = d.add(ops.Reduce(ReduceKind.MEAN, (1, 2), True), x)
        s = d.add(ops.Unary(UnaryKind.LOGISTIC), d.conv(s, c))
        images.append(d.add(ops.Binary(BinaryKind.MUL), s, x))
    elif kind == "concat":
        other = draw(st.sampled_from(images))
        images.append(d.add(ops.Concat(3), x, other))
    elif kind == "rows":
        both = d.add(ops.Concat(1), x, twin)
        images.append(d.add(ops.MaxPool2d((2, 1), (2, 1)), both))
    elif kind == "split":
        images += d.builder.add_multi(ops.Split(3, (1, c - 1)), [x])
    elif kind == "slice":
        images.append(d.add(ops.Slice((0, 0, 0, 1), (1, SIZE, SIZE, c - 1), (1, 1, 1, 1)), x))
    elif kind == "pad":
        images.append(d.add(ops.Pad((0, 0, 0, 1), (0, 0, 0, 2), PadMode.CONSTANT, 0.5), x))
    elif kind == "pool":
        images.append(d.add(ops.AveragePool2d((3, 3), (1, 1), Padding(1, 1, 1, 1)), x))
    elif kind == "turn":
        turned = d.add(ops.Transpose((0, 3, 1, 2)), x)
        images.append(d.add(ops.Transpose((0, 2, 3, 1)), turned))
    elif kind == "shuffle" and c % 2 == 0:
        parts = d.add(ops.Reshape((1, SIZE, SIZE, 2, c // 2)), x)
        images.append(d.add(ops.Reshape((1, SIZE, SIZE, c)), d.add(ops.Transpose((0, 1, 2, 4, 3)), parts)))
    elif kind == "attention":
        flat = d.add(ops.Reshape((1, SIZE * SIZE, c)), x)
        q, k, v = (d.add(ops.FullyConnected(), flat, d.weights("qkv", 4, c), d.weights("b", 4)) for _ in range(3))
        weights = d.add(ops.Softmax(), d.add(ops.MatMul(transpose_b=True), q, k))
        images.append(d.add(ops.Reshape((1, SIZE, SIZE, 4)), d.add(ops.MatMul(), weights, v)))
    elif kind == "recurrent":
        sequence = d.add(ops.Reshape((1, SIZE * SIZE, c)), x)
        zero = np.zeros((1, 4), np.float32)
        h0 = d.builder.constant("h0", zero + 0.1)
        if draw(st.booleans()):
            parameters = [d.weights("lw", 16, c), d.weights("lr", 16, 4), d.weights("lb", 16)]
            y = d.add(ops.Lstm(), sequence, *parameters, h0, d.builder.constant("c0", zero + 0.2))
        else:
            parameters = [d.weights("gw", 12, c), d.weights("gr", 12, 4), d.weights("gb", 12), d.weights("grb", 12)]
            y = d.add(ops.Gru(), sequence, *parameters, h0)
        images.append(d.add(ops.Reshape((1, SIZE, SIZE, 4)), y))


KINDS = (
    *("conv",) * 4,
    *("join",) * 2,
    *("grouped", "depthwise", "each", "transposed", "batch_norm", "unary", "constant", "prelu", "squeeze", "concat"),
    *("rows", "split", "slice", "pad", "pool", "turn", "shuffle", "attention", "recurrent"),
)


@st.composite
def networks_with(draw: st.DrawFn, kind: str) -> Graph:
    """Two convolutions, an operator of one kind that reads one or both of them, and a convolution."""
    d = Drawing(draw, draw(st.integers(0, 1000)))
    x = d.builder.input("x", (1, SIZE, SIZE, 3), DType.FLOAT32)
    images = [d.conv(x, 4, 3), d.conv(x, 4)]
    step(d, images, kind)
    last = images[-1]
    if draw(st.booleans()):
        last = d.add(ops.Binary(BinaryKind.MUL), last, d.conv(last, d.channels(last)))
    d.builder.output(d.conv(last, 2))
    return d.builder.build()


@st.composite
def float_networks(draw: st.DrawFn) -> Graph:
    """A network of one image input, a few operators, perhaps a state, and a dense layer or an image as its output."""
    d = Drawing(draw, draw(st.integers(0, 1000)))
    x = d.builder.input("x", (1, SIZE, SIZE, 3), DType.FLOAT32)
    images = [x, d.conv(x, draw(st.sampled_from(WIDTHS)), 3)]
    state: Any = None
    if draw(st.booleans()):
        state = d.builder.state("memory", np.full((1, SIZE, SIZE, 4), 0.25, np.float32))
        images.append(state)
    for _ in range(draw(st.integers(1, 7))):
        step(d, images)
        images[:] = [name for name in images if 2 <= d.channels(name) <= 24]
    if state is not None:
        d.builder.assign("memory", d.conv(images[-1], 4))
    last = images[-1]
    ending = draw(st.sampled_from(("flatten", "flatten_turned", "mean", "image")))
    if ending == "image":
        d.builder.output(d.conv(last, 2))
        return d.builder.build()
    if ending == "flatten_turned":
        last = d.add(ops.Transpose((0, 3, 1, 2)), last)
    if ending == "mean":
        last = d.add(ops.Reduce(ReduceKind.MEAN, (1, 2)), last)
    features = int(np.prod(d.builder.tensor(last).shape))
    last = d.add(ops.Reshape((1, features)), last)
    hidden = d.add(ops.FullyConnected(activation=RELU), last, d.weights("fw", 6, features), d.weights("fb", 6))
    d.builder.output(d.add(ops.FullyConnected(), hidden, d.weights("ow", 3, 6), d.weights("ob", 3)))
    return d.builder.build()
