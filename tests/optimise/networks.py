"""Random small networks, int8 and float32, that hold what the passes look for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.graph.ops import Padding

ACTIVATIONS = (ops.NONE, ops.RELU, ops.RELU6, ops.Clamp(-1.0, 1.0), ops.Clamp(0.5, 3.0))


@dataclass
class Network:
    """Draws operators and adds them to a builder; ``seed`` decides the numbers, hypothesis the structure."""

    draw: Any
    quantized: bool
    builder: GraphBuilder = field(default_factory=lambda: GraphBuilder("network"))

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.draw(st.integers(0, 10_000)))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def quantization(self) -> Quantization | None:
        if not self.quantized:
            return None
        return Quantization.per_tensor(self.pick(0.02, 0.05, 0.11), self.pick(-128, -128, -20, 0, 5))

    def input(self, shape: tuple[int, ...]) -> str:
        kind = DType.INT8 if self.quantized else DType.FLOAT32
        return self.builder.input("x", shape, kind, self.quantization())

    def shape(self, name: str) -> tuple[int, ...]:
        return self.builder.tensor(name).shape

    def add(self, attributes: ops.Attributes, inputs: list[str], *, keeps: bool = False) -> str:
        """``keeps``: the output has the quantization of the input."""
        quantization = self.builder.tensor(inputs[0]).quantization if keeps else self.quantization()
        return self.builder.add(attributes, inputs, quantization=quantization)

    def parameters(self, weights: Array, axis: int, *, bias: bool = True) -> list[str]:
        """Constants of a layer; some output channels have no weights at all, some read only part of the input."""
        channels = weights.shape[axis]
        dead = self.random.random(channels) < self.pick(0.0, 0.4, 0.9)
        if axis == 0:
            weights[..., self.random.random(weights.shape[-1]) < self.pick(0.0, 0.3)] = 0
            weights[dead] = 0
        else:
            weights[..., dead] = 0
        if not self.quantized:
            names = [self.builder.constant("w", weights.astype(np.float32))]
            return names + ([self.builder.constant("b", self.random.normal(0, 1, channels).astype(np.float32))] * bias)
        integers = np.clip(np.rint(weights * 60), -127, 127).astype(np.int8)
        per_channel = Quantization.per_channel(self.random.uniform(0.002, 0.02, channels), axis)
        q = per_channel if self.pick(True, False) else Quantization.per_tensor(0.01)
        names = [self.builder.constant("w", integers, q)]
        values = self.random.integers(-4000, 4000, channels).astype(np.int32)
        return names + ([self.builder.constant("b", values)] * bias)

    # ---- operators; each takes a tensor [1,H,W,C] and gives one ----

    def padding(self) -> Padding:
        return self.pick(Padding(), Padding(1, 1, 1, 1), Padding(0, 1, 1, 0))

    def conv(self, x: str) -> str:
        channels, size = self.draw(st.integers(1, 7)), min(*self.shape(x)[1:3], self.pick(1, 3))
        weights = self.random.normal(0, 0.5, (channels, size, size, self.shape(x)[3]))
        p = self.padding() if size > 1 else Padding()
        a = ops.Conv2d((self.pick(1, 2),) * 2, p, activation=self.pick(*ACTIVATIONS))
        return self.add(a, [x, *self.parameters(weights, 0, bias=self.pick(True, False))])

    def depthwise(self, x: str) -> str:
        multiplier, size = self.pick(1, 1, 2), min(*self.shape(x)[1:3], 3)
        weights = self.random.normal(0, 0.5, (1, size, size, self.shape(x)[3] * multiplier))
        a = ops.DepthwiseConv2d(
            padding=self.padding() if size > 1 else Padding(),
            multiplier=multiplier,
            activation=self.pick(*ACTIVATIONS),
        )
        return self.add(a, [x, *self.parameters(weights, 3)])

    def transposed(self, x: str) -> str:
        weights = self.random.normal(0, 0.5, (self.draw(st.integers(1, 4)), 2, 2, self.shape(x)[3]))
        a = ops.TransposeConv2d((self.pick(1, 2),) * 2, activation=self.pick(*ACTIVATIONS))
        return self.add(a, [x, *self.parameters(weights, 0)])

    def residual(self, x: str) -> str:
        weights = self.random.normal(0, 0.5, (self.shape(x)[3], 1, 1, self.shape(x)[3]))
        y = self.add(ops.Conv2d(activation=self.pick(*ACTIVATIONS)), [x, *self.parameters(weights, 0)])
        kind = self.pick(ops.BinaryKind.ADD, ops.BinaryKind.SUB, ops.BinaryKind.MUL, ops.BinaryKind.MAXIMUM)
        return self.add(ops.Binary(kind, self.pick(*ACTIVATIONS)), [x, y])

    def per_channel(self, x: str) -> str:
        data = self.random.normal(0, 1, self.pick((), (1,), self.shape(x)[3:]))
        kind = self.pick(ops.BinaryKind.ADD, ops.BinaryKind.SUB, ops.BinaryKind.MUL)
        name = self.constant("c", data)
        return self.add(ops.Binary(kind, self.pick(*ACTIVATIONS)), [x, name])

    def constant(self, stem: str, data: Array) -> str:
        if not self.quantized:
            return self.builder.constant(stem, np.asarray(data, np.float32))
        q = Quantization.per_tensor(0.03, 3)
        return self.builder.constant(stem, q.quantize(np.asarray(data), DType.INT8), q)

    def batch_norm(self, x: str) -> str:
        if self.quantized:
            return self.clip(x)
        c = self.shape(x)[3:]
        values = [self.random.normal(1, 0.3, c), self.random.normal(0, 1, c), self.random.normal(0, 1, c)]
        values.append(self.random.uniform(0.3, 2, c))
        names = [self.builder.constant(f"bn{k}", v.astype(np.float32)) for k, v in enumerate(values)]
        return self.add(ops.BatchNorm(1e-3), [x, *names])

    def clip(self, x: str) -> str:
        return self.add(ops.Clip(self.pick(*ACTIVATIONS)), [x], keeps=self.pick(True, True, False))

    def unary(self, x: str) -> str:
        return self.add(ops.Unary(self.pick(ops.UnaryKind.LOGISTIC, ops.UnaryKind.ABS, ops.UnaryKind.NEG)), [x])

    def requantize(self, x: str) -> str:
        return self.add(ops.Quantize(), [x], keeps=self.pick(True, False)) if self.quantized else self.clip(x)

    def pool(self, x: str) -> str:
        size = min(*self.shape(x)[1:3], 2)
        kind = self.pick(ops.MaxPool2d, ops.AveragePool2d)
        p = Padding(1, 0, 0, 1) if size == 2 and self.pick(True, False) else Padding()
        return self.add(kind((size, size), (self.pick(1, 2),) * 2, p, self.pick(*ACTIVATIONS)), [x], keeps=True)

    def pad(self, x: str) -> str:
        value = self.pick(0.0, 0.0, 1.0)
        return self.add(ops.Pad((0, 1, 0, 0), (0, 0, 1, 0), value=value), [x], keeps=True)

    def concat(self, x: str) -> str:
        weights = self.random.normal(0, 0.5, (3, 1, 1, self.shape(x)[3]))
        attributes, inputs = ops.Conv2d(activation=ops.RELU), [x, *self.parameters(weights, 0)]
        q = self.builder.tensor(x).quantization
        y = self.builder.add(attributes, inputs, quantization=q)
        return self.add(ops.Concat(3), [x, y], keeps=True)

    def split(self, x: str) -> str:
        c = self.shape(x)[3]
        if c < 2:
            return x
        q = self.builder.tensor(x).quantization
        names = self.builder.add_multi(ops.Split(3, (1, c - 1)), [x], quantizations=[q])
        return names[1]

    def slice(self, x: str) -> str:
        n, h, w, c = self.shape(x)
        first = self.draw(st.integers(0, c - 1))
        return self.add(ops.Slice((0, 0, 0, first), (n, h, w, c - first), (1, 1, 1, 1)), [x], keeps=True)

    def transposes(self, x: str) -> str:
        y = self.add(ops.Transpose((0, 3, 1, 2)), [x], keeps=True)
        y = self.clip(y) if self.pick(True, False) else y
        return self.add(ops.Transpose((0, 2, 3, 1)), [y], keeps=True)

    def reshapes(self, x: str) -> str:
        n, h, w, c = self.shape(x)
        y = self.add(ops.Reshape((n, h * w, c)), [x], keeps=True)
        y = self.clip(y) if self.pick(True, False) else y
        return self.add(ops.Reshape((n, w, h, c)), [y], keeps=True)

    def resize(self, x: str) -> str:
        method = self.pick(ops.ResizeMethod.NEAREST, ops.ResizeMethod.BILINEAR)
        return self.add(ops.Resize2d((4, 3), method), [x], keeps=True)

    def prelu(self, x: str) -> str:
        return self.add(ops.Prelu(), [x, self.constant("alpha", self.random.normal(0, 0.3, self.shape(x)[3:]))])

    def head(self, x: str) -> str:
        """Reduce or flatten, then a dense layer."""
        if self.pick(True, False):
            x = self.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x])
        else:
            n, h, w, c = self.shape(x)
            if self.pick(True, False):
                x = self.add(ops.Transpose((0, 3, 1, 2)), [x], keeps=True)
            x = self.add(ops.Reshape((n, h * w * c)), [x], keeps=True)
        weights = self.random.normal(0, 0.5, (4, self.shape(x)[-1]))
        return self.add(ops.FullyConnected(), [x, *self.parameters(weights, 0)])


BLOCKS = (
    "conv",
    "conv",
    "depthwise",
    "transposed",
    "residual",
    "per_channel",
    "batch_norm",
    "clip",
    "unary",
    "requantize",
    "pool",
    "pad",
    "concat",
    "split",
    "slice",
    "transposes",
    "reshapes",
    "resize",
    "prelu",
)


@st.composite
def networks(draw: Any, *, quantized: bool) -> Graph:
    """Networks of three to eight blocks on a small image."""
    network = Network(draw, quantized)
    x = network.input((1, 5, 4, 3))
    for name in draw(st.lists(st.sampled_from(BLOCKS), min_size=3, max_size=8)):
        x = getattr(network, name)(x)
    network.builder.output(network.head(x) if draw(st.booleans()) else network.conv(x))
    if draw(st.booleans()):
        network.builder.output(x)
    return network.builder.build()
