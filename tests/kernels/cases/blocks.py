"""What the register-blocked kernels take: weights without -128, shifts to the right, their own sizes and tails."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

ZERO_POINTS = st.sampled_from([-128, 127, 0, 5, -31])
ACTIVATIONS = st.sampled_from([ops.NONE, ops.RELU, ops.RELU6])


def _finish(draw, builder: GraphBuilder, attributes: ops.Attributes, x: str, weights: np.ndarray, axis: int) -> Graph:
    """Weights and bias as constants, an output scale that the sums fill, and the operator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = weights.shape[axis]
    scales = 0.01 * 2.0 ** rng.uniform(-2, 2, channels)
    names = [x, builder.constant("weights", weights, Quantization.per_channel(scales, axis))]
    names.append(builder.constant("bias", rng.integers(-(2**12), 2**12, channels).astype(np.int32)))
    depth = weights.size / channels
    scale = float(np.float32(0.05 * 0.02 * 40 * np.sqrt(depth)))
    output = Quantization.per_tensor(scale, draw(ZERO_POINTS))
    builder.output(builder.add(attributes, names, name="layer", output="y", quantization=output))
    return builder.build()


def _weights(draw, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-127, 128, shape).astype(np.int8)


def _input(draw, name: str, shape: tuple[int, ...]) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder(name)
    return builder, builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, draw(ZERO_POINTS)))


@st.composite
def depthwise_3x3(draw) -> Graph:
    height, width, channels = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    top, left = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    bottom, right = max(3 - height - top, draw(st.integers(0, 2))), max(3 - width - left, draw(st.integers(0, 2)))
    builder, x = _input(draw, "depthwise", (draw(st.integers(1, 2)), height, width, channels))
    stride = draw(st.integers(1, 2))
    attributes = ops.DepthwiseConv2d(
        stride=(stride, stride), padding=ops.Padding(top, bottom, left, right), activation=draw(ACTIVATIONS)
    )
    return _finish(draw, builder, attributes, x, _weights(draw, (1, 3, 3, channels)), 3)


@st.composite
def pointwise(draw) -> Graph:
    depth, channels = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    builder, x = _input(draw, "pointwise", (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)), depth))
    attributes = ops.Conv2d(activation=draw(ACTIVATIONS))
    return _finish(draw, builder, attributes, x, _weights(draw, (channels, 1, 1, depth)), 0)


@st.composite
def fully_connected_8(draw) -> Graph:
    inputs, outputs = 4 * draw(st.integers(1, 24)), 8 * draw(st.integers(1, 4))
    builder, x = _input(draw, "fully_connected", (draw(st.integers(1, 2)), inputs))
    attributes = ops.FullyConnected(activation=draw(ACTIVATIONS))
    return _finish(draw, builder, attributes, x, _weights(draw, (outputs, inputs)), 0)


CASES = {
    "blocks_depthwise_3x3": depthwise_3x3(),
    "blocks_pointwise": pointwise(),
    "blocks_fully_connected": fully_connected_8(),
}
