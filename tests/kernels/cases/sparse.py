"""Weights with zeros in every pattern that has a format: single ones, blocks, N of M; tails, empty rows, wide gaps."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops

from .blocks import ACTIVATIONS, ZERO_POINTS

PATTERNS = ("single", "1x4", "4x1", "1of4", "2of4")


def _mask(rng: np.random.Generator, pattern: str, outputs: int, taps: int, zeros: float) -> Array:
    """Which weights may be other than zero, [outputs, taps]."""
    if pattern == "1x4":
        return np.repeat(rng.random((outputs, taps // 4)) >= zeros, 4, axis=1)
    if pattern == "4x1":
        return np.repeat(rng.random((-(-outputs // 4), taps)) >= zeros, 4, axis=0)[:outputs]
    if pattern in ("1of4", "2of4"):
        ranks = rng.random((outputs, taps // 4, 4)).argsort(axis=2)
        return (ranks < int(pattern[0])).reshape(outputs, taps)
    return rng.random((outputs, taps)) >= zeros


def _weights(draw, pattern: str, outputs: int, taps: int) -> Array:
    """int8 [outputs, taps]; some rows are empty, some have the largest values of one sign."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-128, 128, (outputs, taps))
    if draw(st.booleans()):
        values = np.broadcast_to(rng.choice([-128, 127], (outputs, 1)), (outputs, taps))
    mask = _mask(rng, pattern, outputs, taps, draw(st.sampled_from([0.5, 0.6, 0.9, 0.99])))
    if draw(st.booleans()):
        mask[rng.random(outputs) < 0.3] = False
    return (values * mask).astype(np.int8)


def _layer(draw, attributes: ops.Attributes, shape: tuple[int, ...], weights: Array) -> Graph:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    builder = GraphBuilder("sparse")
    x = builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, draw(ZERO_POINTS)))
    outputs = weights.shape[0]
    if draw(st.booleans()):
        quantization = Quantization.per_channel(0.01 * 2.0 ** rng.uniform(-2, 2, outputs), 0)
    else:
        quantization = Quantization.per_tensor(0.01)
    names = [x, builder.constant("weights", weights, quantization)]
    names.append(builder.constant("bias", rng.integers(-(2**12), 2**12, outputs).astype(np.int32)))
    depth = max(1, np.count_nonzero(weights) // outputs)
    output = Quantization.per_tensor(float(np.float32(0.05 * 0.01 * 40 * np.sqrt(depth))), draw(ZERO_POINTS))
    builder.output(builder.add(attributes, names, name="layer", output="y", quantization=output))
    return builder.build()


@st.composite
def fully_connected(draw, pattern: str) -> Graph:
    if pattern in ("single", "4x1"):
        inputs = draw(st.one_of(st.integers(2, 40), st.integers(200, 700)))
    else:
        inputs = 4 * draw(st.one_of(st.integers(1, 12), st.integers(50, 300)))
    outputs = draw(st.integers(4, 13))
    attributes = ops.FullyConnected(activation=draw(ACTIVATIONS))
    weights = _weights(draw, pattern, outputs, inputs)
    return _layer(draw, attributes, (draw(st.integers(1, 2)), inputs), weights)


@st.composite
def convolution(draw, pattern: str) -> Graph:
    pointwise = draw(st.booleans())
    kernel = (1, 1) if pointwise else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    top, left = draw(st.integers(0, min(2, reach[0]))), draw(st.integers(0, min(2, reach[1])))
    bottom, right = draw(st.integers(0, reach[0])), draw(st.integers(0, reach[1]))
    size = [
        max(r + 1 - before - after, 1) + draw(st.integers(0, 4))
        for r, before, after in zip(reach, (top, left), (bottom, right))
    ]
    depth = draw(st.integers(1, 9)) * (1 if pattern in ("single", "4x1") else 4)
    if pointwise and draw(st.booleans()):
        depth *= 12
    channels = draw(st.integers(4, 11))
    attributes = ops.Conv2d(
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        dilation=dilation,
        padding=ops.Padding(top, bottom, left, right),
        activation=draw(ACTIVATIONS),
    )
    weights = _weights(draw, pattern, channels, kernel[0] * kernel[1] * depth)
    return _layer(draw, attributes, (draw(st.integers(1, 2)), *size, depth), weights.reshape(channels, *kernel, depth))


@st.composite
def frequent(draw, kind: str) -> Graph:
    """Weights around zero, or of one value: some codes are short, others as long as they can be."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outputs = draw(st.integers(1, 9))
    depth = draw(st.integers(60, 300))
    kernel = (1, 1) if kind == "fully_connected" else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    shape = (outputs, *kernel, depth if kernel == (1, 1) else draw(st.integers(8, 40)))
    spread = draw(st.sampled_from([0.0, 0.6, 6.0, 15.0]))
    weights = np.clip(np.round(rng.laplace(0, spread, shape) if spread else np.full(shape, -77)), -127, 127)
    weights.flat[rng.integers(weights.size)] = -128
    values = weights.reshape(outputs, -1).astype(np.int8)
    activation = draw(ACTIVATIONS)
    if kind == "fully_connected":
        return _layer(
            draw, ops.FullyConnected(activation=activation), (draw(st.integers(1, 2)), values.shape[1]), values
        )
    padding = ops.Padding(kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2)
    attributes = ops.Conv2d(padding=padding, activation=activation)
    size = draw(st.integers(3, 5)), draw(st.integers(3, 5))
    return _layer(draw, attributes, (1, *size, shape[3]), values.reshape(shape))


CASES = {
    "coded_fully_connected": frequent("fully_connected"),
    "coded_convolution": frequent("convolution"),
    **{f"sparse_fully_connected_{pattern}": fully_connected(pattern) for pattern in PATTERNS},
    **{f"sparse_convolution_{pattern}": convolution(pattern) for pattern in PATTERNS},
}
