"""The integer executor's convolutions, fully connected layers and matrix products are TensorFlow Lite Micro's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels.cases import convolution as cases
from support.micro import run_tflite_micro
from support.tflite_writer import NotInTflite, write_tflite
from tinyopt.errors import GraphError
from tinyopt.execute import Executor
from tinyopt.execute.integer.convolution import (
    exact_matmul,
    fully_connected_multipliers,
    output_multipliers,
    patches,
    product_multiplier,
)
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, Tensor, ops


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


def families(dtype: DType) -> dict[str, st.SearchStrategy[Graph]]:
    return {
        "conv2d": cases.conv2d(dtype),
        "depthwise_conv2d": cases.depthwise_conv2d(dtype),
        "transpose_conv2d": cases.transpose_conv2d_of_tflite(dtype),
        "fully_connected": cases.fully_connected(dtype),
        "matmul": cases.matmul(dtype),
    }


S8, S16 = families(DType.INT8), families(DType.INT16)


@pytest.mark.parametrize("family", S8)
@given(data=st.data(), seed=st.integers(0, 10**6))
@settings(max_examples=60)
def test_int8_operators_equal_tflite_micro(family: str, data: st.DataObject, seed: int) -> None:
    assert_equals_tflite_micro(data.draw(S8[family]), seed)


@pytest.mark.parametrize("family", S16)
@given(data=st.data(), seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_int16_operators_equal_tflite_micro(family: str, data: st.DataObject, seed: int) -> None:
    graph = data.draw(S16[family])
    # TFLite Micro reads every bias of these two as 64-bit.
    narrow = "bias" in graph.tensors and graph.tensors["bias"].dtype is DType.INT32
    assume(not (narrow and family in ("depthwise_conv2d", "transpose_conv2d")))
    assert_equals_tflite_micro(graph, seed)


def single(
    attributes: ops.Attributes, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, scales: tuple[float, ...]
) -> np.ndarray:
    """Run one operator on int8 numbers; ``scales``: of input, weights and output. Zero points: 5, 0, -3."""
    builder = GraphBuilder("single")
    names = [builder.input("x", x.shape, DType.INT8, Quantization.per_tensor(scales[0], 5))]
    names.append(builder.constant("weights", weights, Quantization.per_tensor(scales[1])))
    if bias is not None:
        names.append(builder.constant("bias", bias, Quantization.per_tensor(scales[0] * scales[1])))
    builder.output(builder.add(attributes, names, output="y", quantization=Quantization.per_tensor(scales[2], -3)))
    return Executor(builder.build())({"x": x})["y"]


def test_padding_adds_nothing() -> None:
    x = np.full((1, 1, 1, 2), 15, np.int8)
    weights = np.ones((1, 3, 3, 2), np.int8)
    result = single(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1)), x, weights, None, (1.0, 1.0, 1.0))
    assert result.tolist() == [[[[2 * (15 - 5) - 3]]]]


def test_a_fused_activation_clamps_real_values() -> None:
    x = np.array([[105]], np.int8)
    weights = np.array([[1], [-1]], np.int8)
    assert single(ops.FullyConnected(ops.RELU6), x, weights, None, (0.1, 1.0, 0.1)).tolist() == [[57, -3]]


def test_a_transposed_convolution_spreads_each_pixel() -> None:
    x = np.array([6, 7], np.int8).reshape(1, 1, 2, 1)
    weights = np.array([1, 10, 100], np.int8).reshape(1, 1, 3, 1)
    attributes = ops.TransposeConv2d(stride=(1, 2), padding=ops.Padding(right=-1))
    result = single(attributes, x, weights, None, (1.0, 1.0, 1.0))
    assert (result.reshape(-1).astype(int) + 3).tolist() == [1, 10, 102, 20, 130, 0]


def test_one_weight_scale_of_a_fully_connected_layer_multiplies_in_float32() -> None:
    scales = (0.1, 0.3, 1.0)
    x, w, y = (Tensor(n, (1, 1), DType.INT8, None, Quantization.per_tensor(s)) for n, s in zip("xwy", scales))
    rounded = float(np.float32(np.float32(0.1) * np.float32(0.3)))
    assert product_multiplier(x.scale, w.scale, y.scale) == rounded
    assert fully_connected_multipliers(x, w, y)[0] != output_multipliers(x, w, y)[0]


def test_the_exact_product_survives_sums_that_single_precision_rounds() -> None:
    a = np.full((1, 4001), -32768, np.int32)
    b = np.full((4001, 1), 127, np.int32)
    assert exact_matmul(a, b, 1 << 22).tolist() == [[-32768 * 127 * 4001]]


def test_patches_read_zero_outside_the_image() -> None:
    image = np.arange(1, 5).reshape(1, 2, 2, 1)
    fields = patches(image, (2, 2), (1, 1), (1, 1), ops.Padding(top=1, left=1))
    assert fields.shape == (1, 2, 2, 2, 2, 1)
    assert fields[0, 0, 0].reshape(-1).tolist() == [0, 0, 0, 1]
    assert fields[0, 1, 1].reshape(-1).tolist() == [1, 2, 3, 4]


def test_scales_along_another_axis_than_the_output_channels_are_refused() -> None:
    builder = GraphBuilder("wrong")
    x = builder.input("x", (1, 4, 4, 2), DType.INT8, Quantization.per_tensor(1.0))
    weights = builder.constant("w", np.ones((3, 1, 1, 2), np.int8), Quantization.per_channel([1.0, 2.0], 3))
    builder.output(builder.add(ops.Conv2d(), [x, weights], quantization=Quantization.per_tensor(1.0)))
    with pytest.raises(GraphError, match="per-channel scales belong to axis 0"):
        builder.build()
