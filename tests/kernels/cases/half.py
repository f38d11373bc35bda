"""Float layers whose weights are numbers of half precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from kernels.cases import convolution
from tinyopt.graph import DType, Graph


def _rounded(graph: Graph) -> Graph:
    """The weights to half precision, small ones among them that are subnormal there."""
    weights = graph.ins(graph.operators[0])[1]
    data = weights.value.copy()
    data.reshape(-1)[::3] *= np.float32(2.0**-13)
    tensor = replace(weights, data=data.astype(np.float16).astype(np.float32))
    return replace(graph, tensors={**graph.tensors, tensor.name: tensor})


CASES: dict[str, st.SearchStrategy[Graph]] = {
    f"half_{maker.__name__}": maker(DType.FLOAT32).map(_rounded)
    for maker in (convolution.conv2d, convolution.depthwise_conv2d, convolution.fully_connected)
}
