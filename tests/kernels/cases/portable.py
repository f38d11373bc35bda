"""What the kernels for cores without SIMD take: sums of several segments, windows that leave the image, odd sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops

from .blocks import ACTIVATIONS, ZERO_POINTS


def _scale(depth: int) -> float:
    """An output scale that sums of `depth` products of random weights fill, and now and then overflow."""
    return float(np.float32(0.05 * 0.01 * 30 * np.sqrt(depth)))


def _weights(draw, shape: tuple[int, ...], axis: int) -> tuple[Array, Quantization]:
    """Random weights, or the largest of one sign in every channel: sums as far from zero as they can be."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-128, 128, shape)
    if draw(st.booleans()):
        along = np.where(rng.integers(0, 2, shape[axis]) == 0, -128, 127)
        values = np.broadcast_to(along.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    scales = 0.01 * 2.0 ** rng.uniform(-2, 2, shape[axis])
    return values.astype(np.int8), Quantization.per_channel(scales, axis)


def add_layer(
    draw, builder: GraphBuilder, attributes: ops.Attributes, x: str, shape: tuple[int, ...], axis: int
) -> str:
    """A layer with random weights of this shape; returns the output's name."""
    values, quantization = _weights(draw, shape, axis)
    name = f"layer{draw(st.integers(0, 2**31))}"
    weights = builder.constant(f"{name}_weights", values, quantization)
    bias = np.random.default_rng(draw(st.integers(0, 99))).integers(-(2**14), 2**14, shape[axis]).astype(np.int32)
    depth = values.size // shape[axis]
    output = Quantization.per_tensor(_scale(depth), draw(ZERO_POINTS))
    return builder.add(
        attributes,
        [x, weights, builder.constant(f"{name}_bias", bias)],
        name=name,
        output=f"{name}_output",
        quantization=output,
    )


def add_input(draw, builder: GraphBuilder, shape: tuple[int, ...]) -> str:
    return builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, draw(ZERO_POINTS)))


def _paddings(draw, kernel: int, dilation: int) -> tuple[int, int]:
    reach = (kernel - 1) * dilation
    return draw(st.integers(0, min(reach, 2))), draw(st.integers(0, reach))


def _single(draw, attributes: ops.Attributes, x: tuple[int, ...], weights: tuple[int, ...], axis: int) -> Graph:
    builder = GraphBuilder("portable")
    builder.output(add_layer(draw, builder, attributes, add_input(draw, builder, x), weights, axis))
    return builder.build()


@st.composite
def deep(draw) -> Graph:
    """Sums that do not fit one segment."""
    depth, channels = draw(st.integers(63, 400)), draw(st.integers(1, 9))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3)), depth)
    return _single(draw, ops.Conv2d(activation=draw(ACTIVATIONS)), shape, (channels, 1, 1, depth), 0)


@st.composite
def windows(draw) -> Graph:
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    (top, bottom), (left, right) = (_paddings(draw, k, d) for k, d in zip(kernel, dilation))
    size = [
        max((k - 1) * d + 1 - before - after, 1) + draw(st.integers(0, 5))
        for k, d, before, after in zip(kernel, dilation, (top, left), (bottom, right))
    ]
    attributes = ops.Conv2d(
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        dilation=dilation,
        padding=ops.Padding(top, bottom, left, right),
        activation=draw(ACTIVATIONS),
    )
    depth, channels = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return _single(draw, attributes, (draw(st.integers(1, 2)), *size, depth), (channels, *kernel, depth), 0)


@st.composite
def depthwise_lines(draw) -> Graph:
    height, width, channels = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    top, left = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    bottom, right = max(3 - height - top, draw(st.integers(0, 2))), max(3 - width - left, draw(st.integers(0, 2)))
    attributes = ops.DepthwiseConv2d(
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=ops.Padding(top, bottom, left, right),
        activation=draw(ACTIVATIONS),
    )
    shape = (draw(st.integers(1, 2)), height, width, channels)
    return _single(draw, attributes, shape, (1, 3, 3, channels), 3)


@st.composite
def fully_connected(draw) -> Graph:
    inputs, outputs = draw(st.integers(1, 90)), draw(st.integers(1, 11))
    attributes = ops.FullyConnected(activation=draw(ACTIVATIONS))
    return _single(draw, attributes, (draw(st.integers(1, 3)), inputs), (outputs, inputs), 0)


CASES = {
    "portable_deep": deep(),
    "portable_windows": windows(),
    "portable_depthwise": depthwise_lines(),
    "portable_fully_connected": fully_connected(),
}
