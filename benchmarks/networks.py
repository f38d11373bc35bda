"""Networks to train from scratch, with batch norms, as graphs. Weights start as in He et al. 2015."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.graph.ops import Padding


class _Layers:
    """A builder that adds layers by their usual names."""

    def __init__(self, name: str, shape: tuple[int, int, int], seed: int) -> None:
        self.builder = GraphBuilder(name)
        self.random = np.random.default_rng(seed)
        self.x = self.builder.input("input", (1, *shape), DType.FLOAT32)

    def _weights(self, name: str, shape: tuple[int, ...], inputs: int) -> str:
        values = self.random.standard_normal(shape) * np.sqrt(2 / inputs)
        return self.builder.constant(f"{name}/weights", values.astype(np.float32))

    def channels(self, x: str) -> int:
        return self.builder.tensor(x).shape[-1]

    def _same(self, x: str, kernel: tuple[int, int], stride: tuple[int, int]) -> Padding:
        """Padding that keeps the size, divided by the stride; the odd row goes to the end."""
        ends = []
        for size, k, s in zip(self.builder.tensor(x).shape[1:3], kernel, stride):
            total = max((-(-size // s) - 1) * s + k - size, 0)
            ends += [total // 2, total - total // 2]
        return Padding(*ends)

    def norm(self, name: str, x: str, *, relu: bool = True) -> str:
        c = self.channels(x)
        start = {"gamma": np.ones(c), "beta": np.zeros(c), "mean": np.zeros(c), "variance": np.ones(c)}
        constants = [self.builder.constant(f"{name}/{k}", v.astype(np.float32)) for k, v in start.items()]
        y = self.builder.add(ops.BatchNorm(1e-3), [x, *constants], output=f"{name}/norm")
        return self.builder.add(ops.Clip(), [y], output=f"{name}/relu") if relu else y

    def convolution(self, name: str, x: str, channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> str:
        c = self.channels(x)
        weights = self._weights(name, (channels, *kernel, c), kernel[0] * kernel[1] * c)
        return self.builder.add(ops.Conv2d(stride, self._same(x, kernel, stride)), [x, weights], output=name)

    def depthwise(self, name: str, x: str) -> str:
        weights = self._weights(name, (1, 3, 3, self.channels(x)), 9)
        return self.builder.add(ops.DepthwiseConv2d(padding=Padding(1, 1, 1, 1)), [x, weights], output=name)

    def classifier(self, x: str, classes: int) -> Graph:
        b = self.builder
        pooled = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x], output="pooled")
        weights = self._weights("dense", (classes, self.channels(x)), 2 * self.channels(x))
        bias = b.constant("dense/bias", np.zeros(classes, np.float32))
        b.output(b.add(ops.FullyConnected(), [pooled, weights, bias], output="scores"))
        return b.build()


def ds_cnn(
    classes: int = 10, *, shape: tuple[int, int, int] = (49, 10, 1), channels: int = 64, blocks: int = 4, seed: int = 0
) -> Graph:
    """The depthwise-separable keyword network (Zhang et al. 2017), as in MLPerf Tiny: 2.66 M MACs with the defaults."""
    layers = _Layers("ds_cnn", shape, seed)
    x = layers.norm("first", layers.convolution("first", layers.x, channels, (10, 4), (2, 2)))
    for block in range(1, blocks + 1):
        x = layers.norm(f"depthwise_{block}", layers.depthwise(f"depthwise_{block}", x))
        x = layers.norm(f"pointwise_{block}", layers.convolution(f"pointwise_{block}", x, channels, (1, 1), (1, 1)))
    return layers.classifier(x, classes)


def resnet8(classes: int = 10, *, shape: tuple[int, int, int] = (32, 32, 3), width: int = 16, seed: int = 0) -> Graph:
    """The residual network of eight layers of MLPerf Tiny (after He et al. 2016): 12.5 M MACs with the defaults."""
    layers = _Layers("resnet8", shape, seed)
    x = layers.norm("first", layers.convolution("first", layers.x, width, (3, 3), (1, 1)))
    for stage, (channels, stride) in enumerate([(width, 1), (2 * width, 2), (4 * width, 2)], 1):
        name = f"stage_{stage}"
        y = layers.norm(f"{name}a", layers.convolution(f"{name}a", x, channels, (3, 3), (stride, stride)))
        y = layers.norm(f"{name}b", layers.convolution(f"{name}b", y, channels, (3, 3), (1, 1)), relu=False)
        if stride != 1:
            x = layers.convolution(f"{name}/shortcut", x, channels, (1, 1), (stride, stride))
        x = layers.builder.add(ops.Binary(ops.BinaryKind.ADD, ops.RELU), [x, y], output=f"{name}/sum")
    return layers.classifier(x, classes)


def convolutions(
    classes: int = 10,
    *,
    shape: tuple[int, int, int] = (49, 10, 1),
    widths: tuple[int, int, int] = (32, 48, 64),
    seed: int = 0,
) -> Graph:
    """Three k x k convolutions and a dense layer for keywords: 2.97 M MACs with the defaults."""
    layers = _Layers("convolutions", shape, seed)
    x = layers.norm("first", layers.convolution("first", layers.x, widths[0], (10, 4), (2, 2)))
    x = layers.norm("second", layers.convolution("second", x, widths[1], (3, 3), (1, 1)))
    x = layers.norm("third", layers.convolution("third", x, widths[2], (3, 3), (2, 2)))
    return layers.classifier(x, classes)


def handwriting(channels: tuple[int, int], classes: int = 10, *, seed: int = 0) -> Graph:
    """Two convolutions and a dense layer for handwritten digits of 8x8, without batch norms."""
    layers = _Layers("handwriting", (8, 8, 1), seed)
    b, x = layers.builder, layers.x
    for name, count, stride in (("first", channels[0], 1), ("second", channels[1], 2)):
        x = layers.convolution(name, x, count, (3, 3), (stride, stride))
        x = b.add(ops.Clip(), [x], output=f"{name}/relu")
    x = b.add(ops.Reshape((1, 16 * channels[1])), [x], output="flat")
    weights = layers._weights("dense", (classes, 16 * channels[1]), 16 * channels[1])
    bias = b.constant("dense/bias", np.zeros(classes, np.float32))
    b.output(b.add(ops.FullyConnected(), [x, weights, bias], output="scores"))
    return b.build()
