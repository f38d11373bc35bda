"""Float layers with int8 weights, whose input is rounded with a range that is taken at run time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from kernels.cases import convolution
from tinyopt.graph import DType, Graph, Quantization, Tensor, ops

_KINDS: dict[type[ops.Attributes], type[ops.DynamicRange]] = {
    ops.Conv2d: ops.DynamicConv2d,
    ops.DepthwiseConv2d: ops.DynamicDepthwiseConv2d,
    ops.FullyConnected: ops.DynamicFullyConnected,
}


@st.composite
def _dynamic(draw, layers: st.SearchStrategy[Graph]) -> Graph:
    """A float layer with weights over the whole range of int8, one scale or one per channel."""
    graph = draw(layers)
    (operator,) = graph.operators
    weights = graph.ins(operator)[1]
    axis = 3 if isinstance(operator.attributes, ops.DepthwiseConv2d) else 0
    channels = weights.shape[axis]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    integers = rng.integers(-128, 128, weights.shape).astype(np.int8)
    if draw(st.booleans()):
        quantization = Quantization.per_channel(0.01 * 2.0 ** rng.uniform(-3, 3, channels), axis)
    else:
        quantization = Quantization.per_tensor(draw(st.sampled_from([0.004, 1.0])))
    attributes = _KINDS[type(operator.attributes)](operator.attributes, draw(st.booleans()))  # type: ignore[call-arg]
    tensor = Tensor(weights.name, weights.shape, DType.INT8, integers, quantization)
    return graph.with_operators([replace(operator, attributes=attributes)], [tensor])


CASES: dict[str, st.SearchStrategy[Graph]] = {
    f"dynamic_{maker.__name__}": _dynamic(maker(DType.FLOAT32))
    for maker in (convolution.conv2d, convolution.depthwise_conv2d, convolution.fully_connected)
}
