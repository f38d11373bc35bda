"""Layers whose weights have few different values: int4, ternary, binary, codebooks; every size and tail."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

ZERO_POINTS = st.sampled_from([-128, 127, 0, 5, -31])
ACTIVATIONS = st.sampled_from([ops.NONE, ops.RELU, ops.RELU6])
KERNELS = st.sampled_from([(1, 1), (1, 1), (3, 3), (3, 3), (1, 3), (2, 2), (5, 1)])
FORMATS = ("int4", "ternary", "binary", "two bits", "codebook 16", "codebook 4", "int4, every third")


def packable(rng: np.random.Generator, form: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random weights of a format, all of its values among them where there is room."""
    codebook = rng.permutation(np.setdiff1d(np.arange(-127, 128), [0]))[:15]
    values = {
        "int4": np.arange(-8, 8),
        "ternary": np.array([-1, 0, 1]),
        "binary": np.array([-1, 1]),
        "two bits": np.array([-2, -1, 0, 1]),
        "codebook 16": np.append(codebook, 0),
        "codebook 4": np.append(codebook[:3], 0),
        "int4, every third": 3 * np.arange(-8, 8),
    }[form]
    return rng.choice(values, shape).astype(np.int8)


def grouped(rng: np.random.Generator, shape: tuple[int, ...], group: int) -> np.ndarray:
    """Rows of -8 … 7 times a multiplier that ``group`` weights share."""
    multipliers = rng.integers(1, 16, (shape[0], -(-shape[1] // group)))
    return (rng.integers(-8, 8, shape) * np.repeat(multipliers, group, axis=1)[:, : shape[1]]).astype(np.int8)


class Maker:
    """Draws a layer's numbers, with an output scale that the sums fill."""

    def __init__(
        self, draw, name: str, shape: tuple[int, ...], weights: tuple[int, ...], axis: int, group: int = 0
    ) -> None:
        self.draw = draw
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.builder = GraphBuilder(name)
        x = self.builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, draw(ZERO_POINTS)))
        data = packable(rng, draw(st.sampled_from(FORMATS)), weights) if not group else grouped(rng, weights, group)
        channels = weights[axis]
        if draw(st.booleans()):
            quantization = Quantization.per_channel(0.01 * 2.0 ** rng.uniform(-2, 2, channels), axis)
        else:
            quantization = Quantization.per_tensor(0.01)
        self.names = [x, self.builder.constant("weights", data, quantization)]
        if draw(st.booleans()):
            bias = rng.integers(-(2**9), 2**9, channels).astype(np.int32)
            self.names.append(self.builder.constant("bias", bias))
        reach = float(np.sqrt(data.size / channels) * max(np.abs(data.astype(int)).mean(), 0.1) * 60)
        left = draw(st.sampled_from([1.0, 1.0, 0.3, 0.01]))
        scale = float(np.float32(left * 0.05 * 0.02 * reach / 60))
        self.output = Quantization.per_tensor(scale, draw(ZERO_POINTS))

    def finish(self, attributes: ops.Attributes) -> Graph:
        added = self.builder.add(attributes, self.names, name="layer", output="y", quantization=self.output)
        self.builder.output(added)
        return self.builder.build()


@st.composite
def fully_connected(draw) -> Graph:
    inputs, outputs = draw(st.integers(1, 150)), draw(st.integers(1, 40))
    if draw(st.booleans()):
        inputs, outputs = -(-inputs // 16) * 16, -(-outputs // 8) * 8
    maker = Maker(draw, "fully_connected", (draw(st.integers(1, 2)), inputs), (outputs, inputs), 0)
    return maker.finish(ops.FullyConnected(activation=draw(ACTIVATIONS)))


@st.composite
def long_fully_connected(draw) -> Graph:
    """More inputs than partial sums in half a word can take."""
    inputs, outputs = draw(st.integers(500, 700)), draw(st.integers(1, 20))
    maker = Maker(draw, "fully_connected", (1, inputs), (outputs, inputs), 0)
    return maker.finish(ops.FullyConnected(activation=draw(ACTIVATIONS)))


def window_of(draw, kernel: tuple[int, int]) -> tuple[tuple[int, int], dict]:
    stride, dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2)])), draw(st.sampled_from([1, 1, 1, 2]))
    top, bottom, left, right = draw(st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)]))
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    reach = [(taps - 1) * dilation + 1 for taps in kernel]
    padding = ops.Padding(top, max(bottom, reach[0] - size[0] - top), left, max(right, reach[1] - size[1] - left))
    return size, {"stride": stride, "dilation": (dilation, dilation), "padding": padding}


@st.composite
def conv2d(draw) -> Graph:
    kernel, groups = draw(KERNELS), draw(st.sampled_from([1, 1, 1, 1, 2]))
    size, window = window_of(draw, kernel)
    depth, channels = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    shape = (draw(st.integers(1, 2)), *size, groups * depth)
    maker = Maker(draw, "conv2d", shape, (groups * channels, *kernel, depth), 0)
    return maker.finish(ops.Conv2d(**window, groups=groups, activation=draw(ACTIVATIONS)))


@st.composite
def pointwise(draw) -> Graph:
    depth, channels = draw(st.integers(1, 70)), draw(st.integers(1, 20))
    shape = (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)), depth)
    return Maker(draw, "pointwise", shape, (channels, 1, 1, depth), 0).finish(ops.Conv2d(activation=draw(ACTIVATIONS)))


@st.composite
def depthwise(draw) -> Graph:
    kernel, multiplier = draw(KERNELS), draw(st.sampled_from([1, 1, 1, 2]))
    size, window = window_of(draw, kernel)
    channels = draw(st.integers(1, 20))
    maker = Maker(draw, "depthwise", (1, *size, channels), (1, *kernel, channels * multiplier), 3)
    return maker.finish(ops.DepthwiseConv2d(**window, multiplier=multiplier, activation=draw(ACTIVATIONS)))


@st.composite
def depthwise_3x3(draw) -> Graph:
    stride, (size, window) = draw(st.integers(1, 2)), window_of(draw, (3, 3))
    window.update(stride=(stride, stride), dilation=(1, 1))
    channels = draw(st.integers(4, 12))
    maker = Maker(draw, "depthwise", (1, *size, channels), (1, 3, 3, channels), 3)
    return maker.finish(ops.DepthwiseConv2d(**window, activation=draw(ACTIVATIONS)))


@st.composite
def grouped_fully_connected(draw) -> Graph:
    """Groups of weights that share a multiplier, the last group perhaps shorter."""
    group = draw(st.sampled_from([8, 16, 24, 32, 64]))
    inputs, outputs = group * draw(st.integers(1, 4)) + draw(st.integers(1, 20)), draw(st.integers(1, 30))
    maker = Maker(draw, "fully_connected", (draw(st.integers(1, 2)), inputs), (outputs, inputs), 0, group)
    return maker.finish(ops.FullyConnected(activation=draw(ACTIVATIONS)))


CASES = {
    "packed_fully_connected": fully_connected(),
    "packed_long_fully_connected": long_fully_connected(),
    "packed_grouped_fully_connected": grouped_fully_connected(),
    "packed_conv2d": conv2d(),
    "packed_pointwise": pointwise(),
    "packed_depthwise": depthwise(),
    "packed_depthwise_3x3": depthwise_3x3(),
}
