"""Weights in half precision: a float32 network at half the flash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.bridge import dequantize_graph
from tinyopt.errors import ModelError
from tinyopt.graph import DType, Graph, ops
from tinyopt.optimise import optimise

_LAYERS = (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected)


def half_weights(graph: Graph) -> Graph:
    """A float32 graph whose convolutions and fully connected layers have weights of IEEE half precision (binary16).

    The graph is optimised first (batch norms folded), since the rounded weights are those that are stored. Tensors stay
    float32; the planner sees from the values that two bytes hold each of them, and kernels widen them again. Biases,
    activations and other operators are as before.

    Raises:
        ModelError: when the graph is quantized, or a weight lies beyond 65504, the largest number of half precision.
    """
    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; half precision is for float models")
    graph = optimise(dequantize_graph(graph))  # layers with run-time ranges
    tensors = dict(graph.tensors)
    for operator in graph.operators:
        if not isinstance(operator.attributes, _LAYERS):
            continue
        weights = tensors[operator.inputs[1]]
        if weights.data is None or weights.dtype is not DType.FLOAT32:
            continue
        with np.errstate(over="ignore"):
            rounded = weights.data.astype(np.float16).astype(np.float32)
        if not np.isfinite(rounded).all():
            largest = float(np.abs(weights.data).max())
            raise ModelError(
                f"the weights of '{operator.name}' reach {largest:.6g}, and half precision ends at 65504; scale "
                "the layer down, or keep float32"
            )
        tensors[weights.name] = replace(weights, data=rounded)
    return replace(graph, tensors=tensors)
