"""The integer executor's convolutions, fully connected layers and matrix products are TensorFlow Lite Micro's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernels.cases import convolution as cases
from support.micro import run_tflite_micro
from support.tflite_writer import NotInTflite, write_tflite

from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph


def random_inputs(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        low, high = tensor.dtype.limits
        array = rng.integers(low, high + 1, tensor.shape)
        arrays[name] = rng.choice([array, np.full(tensor.shape, low)], p=[0.95, 0.05]).astype(tensor.dtype.numpy)
    return arrays


def assert_equals_tflite_micro(graph: Graph, seed: int) -> None:
    try:
        model = write_tflite(graph)
    except NotInTflite:
        assume(False)
    inputs = random_inputs(graph, seed)
    expected = run_tflite_micro(model, list(inputs.values()))[0]
    np.testing.assert_array_equal(Executor(graph)(inputs)["y"], expected.reshape(graph.tensors["y"].shape))


S8 = {
    "conv2d": cases.conv2d(DType.INT8),
    "depthwise_conv2d": cases.depthwise_conv2d(DType.INT8),
    "transpose_conv2d": cases.transpose_conv2d_of_tflite(DType.INT8),
    "fully_connected": cases.fully_connected(DType.INT8),
    "matmul": cases.matmul(DType.INT8),
}


@pytest.mark.parametrize("family", S8)
@given(data=st.data(), seed=st.integers(0, 10**6))
@settings(max_examples=60)
def test_int8_operators_equal_tflite_micro(family: str, data: st.DataObject, seed: int) -> None:
    assert_equals_tflite_micro(data.draw(S8[family]), seed)
