"""Synthetic layers: shapes that the official models do not have, and regular shapes to hold them against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

SCALE, ZERO_POINT = 0.05, -3
PADDED = ops.Padding(1, 1, 1, 1)
LOPSIDED = ops.Padding(0, 1, 2, 0)
Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One operator with random data.

    ``inputs``: shapes of the activations. ``weights``: shape of the weights, the output channels on the axis that the
    operator wants them on; None for operators without. ``regular``: one of the shapes that the others of its family
    are held against.
    """

    name: str
    family: str
    inputs: tuple[tuple[int, ...], ...]
    attributes: ops.Attributes
    weights: tuple[int, ...] | None = None
    regular: bool = False
    dtype: DType = DType.INT8

    def add_to(self, builder: GraphBuilder, random: np.random.Generator) -> None:
        """Add the layer to a graph, with inputs and outputs of its own."""
        quantization = Quantization.per_tensor(SCALE, 0 if self.dtype is DType.INT16 else ZERO_POINT)
        names = [
            builder.input(f"{self.name}.x{index}", shape, self.dtype, quantization)
            for index, shape in enumerate(self.inputs)
        ]
        if self.weights is not None:
            constants, output = self._parameters(builder, random)
            names += constants
        elif isinstance(self.attributes, ops.Softmax):
            output = Quantization.per_tensor(1 / 256, -128)
        elif isinstance(self.attributes, (ops.Binary, ops.Quantize, ops.Reduce)):
            output = Quantization.per_tensor(1.9 * SCALE, 0 if self.dtype is DType.INT16 else 11)
        else:
            output = quantization
        builder.output(builder.add(self.attributes, names, name=self.name, quantization=output))

    def _parameters(self, builder: GraphBuilder, random: np.random.Generator) -> tuple[list[str], Quantization]:
        """Weights per channel, a bias, and an output scale that the sums fill."""
        assert self.weights is not None
        shape, axis = self.weights, 3 if isinstance(self.attributes, ops.DepthwiseConv2d) else 0
        weights = random.integers(-127, 128, shape).astype(np.int8)
        scales = 0.01 * 2.0 ** random.uniform(-1, 1, shape[axis])
        small = self.dtype is DType.INT8
        bias = random.integers(-3000, 3000, shape[axis]).astype(np.int32 if small else np.int64)
        constants = [
            builder.constant(f"{self.name}.weights", weights, Quantization.per_channel(scales, axis)),
            builder.constant(f"{self.name}.bias", bias, Quantization.per_channel(SCALE * scales, 0)),
        ]
        depth = weights.size // shape[axis]
        spread = math.sqrt(depth) * 0.01 * SCALE * 127 / 3 * (1 if small else 256)
        return constants, Quantization.per_tensor(spread, 0 if not small else 5)


def convolution(
    name: str,
    size: Pair,
    depth: int,
    channels: int,
    kernel: Pair,
    *,
    family: str = "convolution",
    stride: Pair = (1, 1),
    padding: ops.Padding | None = None,
    dilation: Pair = (1, 1),
    groups: int = 1,
    regular: bool = False,
    dtype: DType = DType.INT8,
) -> Layer:
    """A convolution; without ``padding`` the output of stride 1 is as large as the input."""
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    same = ops.Padding(reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    attributes = ops.Conv2d(stride, same if padding is None else padding, dilation, groups)
    weights = (channels, *kernel, depth // groups)
    return Layer(name, family, ((1, *size, depth),), attributes, weights, regular, dtype)


def depthwise(
    name: str,
    size: Pair,
    channels: int,
    kernel: Pair,
    *,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    multiplier: int = 1,
    padding: ops.Padding | None = None,
    regular: bool = False,
    dtype: DType = DType.INT8,
) -> Layer:
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    same = ops.Padding(reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    attributes = ops.DepthwiseConv2d(stride, same if padding is None else padding, dilation, multiplier)
    weights = (1, *kernel, channels * multiplier)
    return Layer(name, "depthwise", ((1, *size, channels),), attributes, weights, regular, dtype)


def transposed(name: str, size: Pair, depth: int, channels: int, kernel: Pair, stride: Pair) -> Layer:
    attributes = ops.TransposeConv2d(stride, ops.Padding())
    return Layer(name, "convolution", ((1, *size, depth),), attributes, (channels, *kernel, depth))


def dense(name: str, inputs: int, outputs: int, *, regular: bool = False, dtype: DType = DType.INT8) -> Layer:
    shape = (outputs, inputs)
    return Layer(name, "fully connected", ((1, inputs),), ops.FullyConnected(), shape, regular, dtype)


def _convolutions() -> list[Layer]:
    regular = [
        convolution("3x3 16→16, 16x16", (16, 16), 16, 16, (3, 3), regular=True),
        convolution("3x3 32→32, 8x8", (8, 8), 32, 32, (3, 3), regular=True),
        convolution("3x3 16→16, 6x6", (6, 6), 16, 16, (3, 3), regular=True),
    ]
    odd = [convolution(f"3x3 {c}→{c}, 12x12", (12, 12), c, c, (3, 3)) for c in (3, 5, 7, 13, 17, 33)]
    windows = [
        convolution("5x5 16→16, 10x10", (10, 10), 16, 16, (5, 5)),
        convolution("7x7 8→8, 10x10", (10, 10), 8, 8, (7, 7)),
        convolution("1x3 16→16, 16x16", (16, 16), 16, 16, (1, 3)),
        convolution("3x1 16→16, 16x16", (16, 16), 16, 16, (3, 1)),
        convolution("2x2 16→16, 16x16", (16, 16), 16, 16, (2, 2)),
        convolution("3x3 16→16 dilated 2", (16, 16), 16, 16, (3, 3), dilation=(2, 2)),
        convolution("3x3 16→16 dilated 3", (16, 16), 16, 16, (3, 3), dilation=(3, 3)),
        convolution("3x3 16→16 stride 2x1", (16, 16), 16, 16, (3, 3), stride=(2, 1)),
        convolution("3x3 16→16 stride 2", (17, 17), 16, 16, (3, 3), stride=(2, 2), padding=ops.Padding(0, 1, 0, 1)),
        convolution("3x3 16→16 lopsided padding", (16, 16), 16, 16, (3, 3), padding=LOPSIDED),
        convolution("3x3 3→16 stride 2, 32x32", (32, 32), 3, 16, (3, 3), stride=(2, 2), padding=PADDED),
        convolution("5x5 1→8, 20x20", (20, 20), 1, 8, (5, 5)),
        convolution("7x7 3→8 stride 2, 24x24", (24, 24), 3, 8, (7, 7), stride=(2, 2)),
    ]
    lines = [
        convolution("1-D 3 16→16, 512", (1, 512), 16, 16, (1, 3)),
        convolution("1-D 5 13→24, 300", (1, 300), 13, 24, (1, 5)),
        convolution("1-D 9 8→8, 1000", (1, 1000), 8, 8, (1, 9)),
        convolution("1-D 3 16→16 dilated 4", (1, 512), 16, 16, (1, 3), dilation=(1, 4)),
        convolution("1-D 9 1→8 stride 4, 2000", (1, 2000), 1, 8, (1, 9), stride=(1, 4)),
        convolution("1-D 5 16→16 along H, 256", (256, 1), 16, 16, (5, 1)),
    ]
    others = [
        convolution("3x3 32→32 in 2 groups", (10, 10), 32, 32, (3, 3), groups=2),
        convolution("3x3 24→24 in 8 groups", (10, 10), 24, 24, (3, 3), groups=8),
        transposed("transposed 3x3 16→16 stride 2", (8, 8), 16, 16, (3, 3), (2, 2)),
        transposed("transposed 4x4 8→5 stride 2", (9, 9), 8, 5, (4, 4), (2, 2)),
    ]
    return [*regular, *odd, *windows, *lines, *others]


def _pointwise() -> list[Layer]:
    def pointwise(name: str, size: Pair, depth: int, channels: int, *, stride: int = 1, regular: bool = False) -> Layer:
        step = (stride, stride)
        return convolution(name, size, depth, channels, (1, 1), family="pointwise", stride=step, regular=regular)

    return [
        pointwise("1x1 64→64, 8x8", (8, 8), 64, 64, regular=True),
        pointwise("1x1 32→32, 10x10", (10, 10), 32, 32, regular=True),
        *[pointwise(f"1x1 {c}→{c}, 12x12", (12, 12), c, c) for c in (3, 5, 7, 13, 17, 33, 61)],
        pointwise("1x1 8→48, 12x12", (12, 12), 8, 48),
        pointwise("1x1 96→7, 7x7", (7, 7), 96, 7),
        pointwise("1x1 32→32 stride 2, 16x16", (16, 16), 32, 32, stride=2),
        pointwise("1x1 256→64, 1x1", (1, 1), 256, 64),
        pointwise("1x1 64→1, 8x8", (8, 8), 64, 1),
    ]


def _depthwise() -> list[Layer]:
    return [
        depthwise("3x3 of 32, 16x16", (16, 16), 32, (3, 3), regular=True),
        depthwise("3x3 of 64, 5x5", (5, 5), 64, (3, 3), regular=True),
        *[depthwise(f"3x3 of {c}, 12x12", (12, 12), c, (3, 3)) for c in (3, 7, 17, 61)],
        depthwise("3x3 of 16 stride 2, 24x24", (24, 24), 16, (3, 3), stride=(2, 2), padding=ops.Padding(0, 1, 0, 1)),
        depthwise("3x3 of 16 stride 2x1", (24, 12), 16, (3, 3), stride=(2, 1)),
        depthwise("3x3 of 16 dilated 2", (12, 12), 16, (3, 3), dilation=(2, 2)),
        depthwise("5x5 of 16, 12x12", (12, 12), 16, (5, 5)),
        depthwise("7x7 of 8, 12x12", (12, 12), 8, (7, 7)),
        depthwise("1x9 of 16, 1x256", (1, 256), 16, (1, 9)),
        depthwise("3x1 of 16, 24x8", (24, 8), 16, (3, 1)),
        depthwise("10x4 of 8 from 1, 25x5", (25, 5), 1, (10, 4), multiplier=8),
        depthwise("3x3 of 16 times 2", (12, 12), 16, (3, 3), multiplier=2),
    ]


def _dense() -> list[Layer]:
    return [
        dense("256→128", 256, 128, regular=True),
        dense("64→64", 64, 64, regular=True),
        dense("1024→256", 1024, 256),
        dense("10→3", 10, 3),
        dense("33→17", 33, 17),
        dense("129→61", 129, 61),
        dense("7→200", 7, 200),
        dense("500→1", 500, 1),
        Layer("12 rows of 64→64", "fully connected", ((1, 12, 64),), ops.FullyConnected(), (64, 64)),
        Layer("matmul 16x32x16", "fully connected", ((1, 16, 32), (1, 32, 16)), ops.MatMul()),
    ]


def _others() -> list[Layer]:
    image, odd = (1, 16, 16, 16), (1, 13, 13, 7)
    add, mul = ops.Binary(ops.BinaryKind.ADD), ops.Binary(ops.BinaryKind.MUL)
    halves = {"kernel": (2, 2), "stride": (2, 2)}
    return [
        Layer("max 2x2 of 16", "max pooling", (image,), ops.MaxPool2d(**halves), regular=True),
        Layer(
            "max 3x3 of 16 stride 2", "max pooling", (image,), ops.MaxPool2d((3, 3), (2, 2), ops.Padding(0, 1, 0, 1))
        ),
        Layer("max 2x2 of 7", "max pooling", (odd,), ops.MaxPool2d(**halves)),
        Layer("max 1x4 of 16, 1x512", "max pooling", ((1, 1, 512, 16),), ops.MaxPool2d((1, 4), (1, 4))),
        Layer("average 2x2 of 16", "average pooling", (image,), ops.AveragePool2d(**halves), regular=True),
        Layer("average 3x3 of 16", "average pooling", (image,), ops.AveragePool2d((3, 3), (1, 1), PADDED)),
        Layer("average of all, 7x7 of 61", "average pooling", ((1, 7, 7, 61),), ops.AveragePool2d((7, 7))),
        Layer("mean of 8x8 of 64", "average pooling", ((1, 8, 8, 64),), ops.Reduce(ops.ReduceKind.MEAN, (1, 2))),
        Layer("add", "elementwise", (image, image), add, regular=True),
        Layer("add of 7 channels", "elementwise", (odd, odd), add),
        Layer("mul", "elementwise", (image, image), mul),
        Layer("mul by a channel's factor", "elementwise", (image, (1, 1, 1, 16)), mul),
        Layer("requantize", "elementwise", (image,), ops.Quantize()),
        Layer("leaky relu", "elementwise", (image,), ops.Unary(ops.UnaryKind.LEAKY_RELU, 0.1)),
        Layer("softmax of 10", "softmax", ((1, 10),), ops.Softmax()),
        Layer("softmax of 1000", "softmax", ((1, 1000),), ops.Softmax(), regular=True),
        Layer("softmax of 64 rows of 5", "softmax", ((1, 64, 5),), ops.Softmax()),
        Layer("concat of channels", "movement", ((1, 16, 16, 8), (1, 16, 16, 8)), ops.Concat(3), regular=True),
        Layer("concat of 3 and 5 channels", "movement", ((1, 16, 16, 3), (1, 16, 16, 5)), ops.Concat(3)),
        Layer("pad by 1", "movement", (image,), ops.Pad((0, 1, 1, 0), (0, 1, 1, 0))),
        Layer("resize to 32x32, nearest", "movement", ((1, 16, 16, 8),), ops.Resize2d((32, 32))),
    ]


def _sixteen_bits() -> list[Layer]:
    return [
        convolution("3x3 16→16, 8x8, int16", (8, 8), 16, 16, (3, 3), dtype=DType.INT16),
        depthwise("3x3 of 16, 8x8, int16", (8, 8), 16, (3, 3), dtype=DType.INT16),
        dense("128→64, int16", 128, 64, dtype=DType.INT16),
        Layer("add, int16", "elementwise", ((1, 8, 8, 16),) * 2, ops.Binary(ops.BinaryKind.ADD), dtype=DType.INT16),
    ]


LAYERS: tuple[Layer, ...] = (
    *_convolutions(),
    *_pointwise(),
    *_depthwise(),
    *_dense(),
    *_others(),
    *_sixteen_bits(),
)


def graph_of(layers: Sequence[Layer], seed: int = 0) -> Graph:
    """A model of unrelated layers side by side."""
    builder = GraphBuilder("synthetic")
    random = np.random.default_rng(seed)
    for layer in layers:
        layer.add_to(builder, random)
    return builder.build()


def float_graph() -> Graph:
    """Layers of floats whose weights half precision holds, each with inputs and outputs of its own."""
    builder, random = GraphBuilder("float layers"), np.random.default_rng(0)

    def add(
        name: str, inputs: tuple[int, ...], attributes: ops.Attributes, weights: tuple[int, ...], axis: int
    ) -> None:
        x = builder.input(f"{name}.x", inputs, DType.FLOAT32)
        values = random.standard_normal(weights).astype(np.float16).astype(np.float32)
        bias = random.standard_normal(weights[axis]).astype(np.float32)
        names = [x, builder.constant(f"{name}.weights", values), builder.constant(f"{name}.bias", bias)]
        builder.output(builder.add(attributes, names, name=name))

    add("3x3 16→16", (1, 12, 12, 16), ops.Conv2d((1, 1), PADDED), (16, 3, 3, 16), 0)
    add("1x1 16→32", (1, 12, 12, 16), ops.Conv2d(), (32, 1, 1, 16), 0)
    add("3x3 of 16", (1, 12, 12, 16), ops.DepthwiseConv2d((1, 1), PADDED), (1, 3, 3, 16), 3)
    add("256→64", (1, 256), ops.FullyConnected(), (64, 256), 0)
    return builder.build()
