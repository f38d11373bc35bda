"""Single-operator graphs of the convolution family: every tail, stride, padding, dilation, group and number range."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

ZERO_POINTS = st.sampled_from([-128, 127, 0, -1, 3, 57, -77])
ACTIVATIONS = st.sampled_from([ops.NONE, ops.NONE, ops.RELU, ops.RELU6, ops.RELU_N1_TO_1, ops.Clamp(-0.7, 1.3)])
STRIDES = st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (3, 3)])
DILATIONS = st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 2), (1, 2), (3, 1)])
KERNELS = st.sampled_from([(1, 1), (1, 1), (3, 3), (1, 3), (3, 1), (2, 2), (5, 1), (4, 3), (1, 4), (5, 5)])
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 23])
SIZES = st.integers(1, 9)
GAIN = st.sampled_from([0.02, 1.0, 1.0, 1.0, 8.0])
"""How much of the output's range the sums fill: hardly any, all of it, or far more."""


class Maker:
    """Draws the numbers of one operator: data, scales, and an output scale that suits the sums."""

    def __init__(self, draw, dtype: DType, name: str) -> None:
        self.draw = draw
        self.dtype = dtype
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.builder = GraphBuilder(name)
        self.x_scale = float(np.float32(draw(st.sampled_from([1e-4, 0.0173, 0.5, 3.0]))))

    def activation_quantization(self, scale: float) -> Quantization | None:
        if self.dtype is DType.FLOAT32:
            return None
        return Quantization.per_tensor(scale, self.draw(ZERO_POINTS) if self.dtype is DType.INT8 else 0)

    def input(self, shape: tuple[int, ...], name: str = "x") -> str:
        return self.builder.input(name, shape, self.dtype, self.activation_quantization(self.x_scale))

    def parameters(self, shape: tuple[int, ...], axis: int, depth: int) -> tuple[list[str], Quantization | None]:
        """Weights and perhaps a bias; and the quantization of the output. ``depth``: products per sum."""
        channels = shape[axis]
        if self.dtype is DType.FLOAT32:
            weights = (self.rng.standard_normal(shape) / np.sqrt(depth)).astype(np.float32)
            names = [self.builder.constant("weights", weights)]
            if self.draw(st.booleans()):
                names.append(self.builder.constant("bias", self.rng.standard_normal(channels).astype(np.float32)))
            return names, None
        small = self.draw(st.booleans())
        limit = 2 if small else 127
        weights = self.rng.integers(-limit, limit + 1, shape).astype(np.int8)
        if self.draw(st.booleans()):
            weights.flat[self.rng.integers(weights.size)] = -128
        per_channel = self.draw(st.booleans())
        scales = 0.011 * 2.0 ** self.rng.uniform(-3, 3, channels if per_channel else 1)
        quantization = (
            Quantization.per_channel(scales, axis) if per_channel else Quantization.per_tensor(float(scales[0]))
        )
        names = [self.builder.constant("weights", weights, quantization)]
        bias = self.draw(
            st.sampled_from(["bias", "bias", "none"] if self.dtype is DType.INT8 else ["int64", "int32", "none"])
        )
        if bias != "none":
            values = self.rng.integers(-(2**13), 2**13, channels).astype(np.int64 if bias == "int64" else np.int32)
            bias_scales = self.x_scale * np.asarray(quantization.scales)
            names.append(
                self.builder.constant(
                    "bias",
                    values,
                    Quantization.per_channel(bias_scales, 0)
                    if per_channel
                    else Quantization.per_tensor(float(bias_scales[0])),
                )
            )
        return names, self.output_quantization(float(np.max(quantization.scales)), depth, limit)

    def output_quantization(self, other_scale: float, depth: int, limit: int) -> Quantization | None:
        if self.dtype is DType.FLOAT32:
            return None
        spread = np.sqrt(depth) * limit * (100 if self.dtype is DType.INT8 else 2e4) / 3
        gain = self.draw(GAIN)
        if self.dtype is DType.INT8 and limit < 3 and self.draw(st.booleans()):
            multiplier = self.draw(st.sampled_from([1.0, 1.5, 5.0]))  # a left shift
        else:
            multiplier = gain * (100 if self.dtype is DType.INT8 else 2e4) / spread
        return self.activation_quantization(self.x_scale * other_scale / multiplier)

    def finish(self, attributes: ops.Attributes, inputs: list[str], quantization: Quantization | None) -> Graph:
        self.builder.output(self.builder.add(attributes, inputs, name="layer", output="y", quantization=quantization))
        return self.builder.build()


def _fit(size: int, reach: int, before: int, after: int) -> tuple[int, int]:
    """The padding, grown at the end until the window fits."""
    return before, max(after, reach - size - before)


def _window(draw) -> dict:
    kernel, stride, dilation = draw(KERNELS), draw(STRIDES), draw(DILATIONS)
    height, width = draw(SIZES), draw(SIZES)
    shape = draw(st.sampled_from(["image", "image", "image", "row", "column"]))
    if shape == "row":
        height, kernel, dilation = 1, (1, kernel[1]), (1, dilation[1])
    elif shape == "column":
        width, kernel, dilation = 1, (kernel[0], 1), (dilation[0], 1)
    pads = draw(st.sampled_from([(0, 0, 0, 0), (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 2, 1), (2, 3, 0, 2)]))
    top, bottom = _fit(height, (kernel[0] - 1) * dilation[0] + 1, *pads[:2])
    left, right = _fit(width, (kernel[1] - 1) * dilation[1] + 1, *pads[2:])
    return {
        "kernel": kernel,
        "size": (height, width),
        "attributes": {"stride": stride, "dilation": dilation, "padding": ops.Padding(top, bottom, left, right)},
    }


@st.composite
def conv2d(draw, dtype: DType) -> Graph:
    maker, window = Maker(draw, dtype, "conv2d"), _window(draw)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depth, per_group = draw(CHANNELS), draw(CHANNELS)
    kernel = window["kernel"]
    x = maker.input((draw(st.sampled_from([1, 1, 2])), *window["size"], depth * groups))
    names, quantization = maker.parameters((per_group * groups, *kernel, depth), 0, kernel[0] * kernel[1] * depth)
    attributes = ops.Conv2d(groups=groups, activation=draw(ACTIVATIONS), **window["attributes"])
    return maker.finish(attributes, [x, *names], quantization)


@st.composite
def depthwise_conv2d(draw, dtype: DType) -> Graph:
    maker, window = Maker(draw, dtype, "depthwise_conv2d"), _window(draw)
    multiplier, channels, kernel = draw(st.sampled_from([1, 1, 1, 2, 3, 8])), draw(CHANNELS), window["kernel"]
    x = maker.input((draw(st.sampled_from([1, 1, 2])), *window["size"], channels))
    names, quantization = maker.parameters((1, *kernel, channels * multiplier), 3, kernel[0] * kernel[1])
    attributes = ops.DepthwiseConv2d(multiplier=multiplier, activation=draw(ACTIVATIONS), **window["attributes"])
    return maker.finish(attributes, [x, *names], quantization)


@st.composite
def transpose_conv2d(draw, dtype: DType) -> Graph:
    maker = Maker(draw, dtype, "transpose_conv2d")
    kernel, stride = draw(KERNELS), draw(STRIDES)
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    depth, channels = draw(CHANNELS), draw(CHANNELS)
    sides = []
    for axis, size in enumerate((height, width)):
        full = (size - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        before = draw(st.integers(0, min(2, full - 1)))
        sides += [before, draw(st.integers(-1, min(2, full - 1 - before)))]
    x = maker.input((1, height, width, depth))
    names, quantization = maker.parameters((channels, *kernel, depth), 0, kernel[0] * kernel[1] * depth)
    attributes = ops.TransposeConv2d(stride, ops.Padding(*sides), dilation, draw(ACTIVATIONS))
    return maker.finish(attributes, [x, *names], quantization)


@st.composite
def transpose_conv2d_of_tflite(draw, dtype: DType) -> Graph:
    """Transposed convolutions that the TFLite format can express: SAME or VALID, no dilation, no output padding."""
    maker = Maker(draw, dtype, "transpose_conv2d")
    kernel, stride = draw(KERNELS), draw(STRIDES)
    size, depth, channels = (draw(st.integers(1, 6)), draw(st.integers(1, 6))), draw(CHANNELS), draw(CHANNELS)
    sides = [0, 0, 0, 0]
    if draw(st.booleans()):
        for axis in (0, 1):
            cut = kernel[axis] - stride[axis]  # SAME: the output is size * stride
            sides[2 * axis : 2 * axis + 2] = [max(cut, 0) // 2, cut - max(cut, 0) // 2]
    x = maker.input((1, *size, depth))
    names, quantization = maker.parameters((channels, *kernel, depth), 0, kernel[0] * kernel[1] * depth)
    attributes = ops.TransposeConv2d(stride, ops.Padding(*sides), (1, 1), draw(ACTIVATIONS))
    return maker.finish(attributes, [x, *names], quantization)


@st.composite
def fully_connected(draw, dtype: DType) -> Graph:
    maker = Maker(draw, dtype, "fully_connected")
    inputs = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 31, 64, 129, 640]))
    outputs = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 10, 33]))
    lead = draw(st.sampled_from([(1,), (1,), (3,), (1, 2), (2, 1, 2)]))
    x = maker.input((*lead, inputs))
    names, quantization = maker.parameters((outputs, inputs), 0, inputs)
    return maker.finish(ops.FullyConnected(draw(ACTIVATIONS)), [x, *names], quantization)


@st.composite
def matmul(draw, dtype: DType) -> Graph:
    maker = Maker(draw, dtype, "matmul")
    m, k, n = (draw(st.sampled_from([1, 2, 3, 5, 8, 13])) for _ in range(3))
    lead_a, lead_b = draw(
        st.sampled_from(
            [((), ()), ((1,), (1,)), ((2,), (2,)), ((3,), (1,)), ((1,), (4,)), ((2, 3), (1, 3)), ((2,), ())]
        )
    )
    transpose_a, transpose_b = draw(st.booleans()), draw(st.booleans())
    constant = draw(st.sampled_from(["none", "none", "first", "second"]))
    names, scales = [], []
    for index, (lead, rows, columns, transpose) in enumerate(
        ((lead_a, m, k, transpose_a), (lead_b, k, n, transpose_b))
    ):
        shape = (*lead, columns, rows) if transpose else (*lead, rows, columns)
        scale = maker.x_scale if index == 0 else 0.021
        scales.append(scale)
        if constant == ("first", "second")[index]:
            if dtype is DType.FLOAT32:
                data = maker.rng.standard_normal(shape).astype(np.float32)
            else:
                low, high = dtype.limits
                data = maker.rng.integers(low, high + 1, shape).astype(dtype.numpy)
            names.append(maker.builder.constant("c", data, maker.activation_quantization(scale)))
        else:
            quantization = maker.activation_quantization(scale)
            names.append(maker.builder.input(f"x{index}", shape, dtype, quantization))
    quantization = maker.output_quantization(scales[1], k, 127 if dtype is DType.INT8 else 20000)
    return maker.finish(ops.MatMul(transpose_a, transpose_b), names, quantization)


CASES = {
    f"{maker.__name__}_{suffix}": maker(dtype)
    for maker in (conv2d, depthwise_conv2d, transpose_conv2d, fully_connected, matmul)
    for suffix, dtype in (("s8", DType.INT8), ("s16", DType.INT16), ("f32", DType.FLOAT32))
}
