"""Facts about pooling, reduction, softmax and normalisation that TensorFlow Lite Micro does not decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from kernels.cases.normalisation import CASES
from kernels.cases.quantized import single, values
from tinyopt.errors import GraphError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, Quantization, ops

X = Quantization.per_tensor(0.1, -5)


def run(graph: Graph, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random input of the only input tensor, and the output."""
    tensor = graph.tensors[graph.inputs[0]]
    data = values(tensor.dtype, tensor.shape, seed)
    return data, Executor(graph)({tensor.name: data})[graph.outputs[0]]


def steps_off(graph: Graph, got: np.ndarray, real: np.ndarray) -> float:
    """Largest distance between integer results and real values, in output steps."""
    y = graph.tensors[graph.outputs[0]]
    return float(np.max(np.abs(got - np.clip(real / y.scale + y.zero_point, -128, 127))))


def test_average_pooling_to_another_scale_rounds_once() -> None:
    y = Quantization.per_tensor(0.06, 3)
    graph = single(ops.AveragePool2d((3, 3), (1, 1), ops.Padding(1, 1, 1, 1)), [((1, 5, 5, 2), X)], DType.INT8, y)
    data, got = run(graph)
    real = X.dequantize(data).astype(np.float64)
    padded = np.pad(real, ((0, 0), (1, 1), (1, 1), (0, 0)))
    counts = np.pad(np.ones((5, 5)), 1)
    wanted = np.zeros_like(real)
    for i in range(5):
        for j in range(5):
            wanted[0, i, j] = padded[0, i : i + 3, j : j + 3].sum((0, 1)) / counts[i : i + 3, j : j + 3].sum()
    assert steps_off(graph, got, wanted) <= 0.51


def test_maximum_over_axes_may_change_the_scale() -> None:
    y = Quantization.per_tensor(0.2, 0)
    graph = single(ops.Reduce(ops.ReduceKind.MAX, (1,)), [((4, 9), X)], DType.INT8, y)
    data, got = run(graph)
    assert steps_off(graph, got, X.dequantize(data).max(1)) <= 0.5


def test_the_first_of_equal_elements_is_the_largest() -> None:
    graph = single(ops.ArgMax(0), [((4,), X)], DType.INT8, None)
    assert Executor(graph)({"x0": np.array([1, 7, 7, 2], np.int8)})[graph.outputs[0]] == 1


@pytest.mark.parametrize("scale", [1 / 255, 1 / 128])
def test_softmax_serves_output_scales_that_tflite_micro_refuses(scale: float) -> None:
    graph = single(ops.Softmax(), [((3, 10), X)], DType.INT8, Quantization.per_tensor(scale, -100))
    data, got = run(graph)
    real = np.exp(X.dequantize(data).astype(np.float64))
    assert steps_off(graph, got, real / real.sum(-1, keepdims=True)) <= 0.51


def test_log_softmax_serves_other_output_scales() -> None:
    graph = single(ops.LogSoftmax(), [((3, 10), X)], DType.INT8, Quantization.per_tensor(0.1, 120))
    data, got = run(graph)
    real = X.dequantize(data).astype(np.float64)
    wanted = real - np.log(np.exp(real).sum(-1, keepdims=True))
    assert steps_off(graph, got, wanted) <= 0.6


def test_softmax_of_many_equal_elements_is_zero_everywhere() -> None:
    graph = single(ops.Softmax(), [((1, 1024), X)], DType.INT8, Quantization.per_tensor(1 / 256, -128))
    assert (Executor(graph)({"x0": np.zeros((1, 1024), np.int8)})[graph.outputs[0]] == -128).all()


def test_softmax_of_too_many_elements_is_refused() -> None:
    graph = single(ops.Softmax(), [((1, 5000), X)], DType.INT8, Quantization.per_tensor(1 / 256, -128))
    with pytest.raises(GraphError, match="5000"):
        run(graph)


@given(CASES["layer_norm_s8"])
def test_integer_layer_normalisation_is_within_one_step_of_real(graph: Graph) -> None:
    data, got = run(graph)
    attributes = graph.operators[0].attributes
    assert isinstance(attributes, ops.LayerNorm)
    x, gamma, beta = graph.ins(graph.operators[0])
    real, g, b = (
        t.quantization.dequantize(a).astype(np.float64)  # type: ignore[union-attr]
        for t, a in ((x, data), (gamma, gamma.value), (beta, beta.value))
    )
    spread = real.var(-1, keepdims=True) + attributes.epsilon
    normalised = np.where(spread > 0, (real - real.mean(-1, keepdims=True)) / np.sqrt(np.maximum(spread, 1e-30)), 0)
    y = graph.outs(graph.operators[0])[0]
    # The normalised value has 12 fractional bits; where the output is finer than that, so is not the result.
    room = 1.0 + 255 * gamma.scale / (4096 * y.scale) + 2e-3 * np.max(np.abs(normalised * g)) / y.scale
    assert steps_off(graph, got, normalised * g + b) <= room


def test_quantized_batch_normalisation_is_refused_with_the_way_out() -> None:
    parameters = [(values(DType.INT8, (3,), i), X) for i in range(4)]
    graph = single(ops.BatchNorm(), [((2, 3), X), *parameters], DType.INT8, X)
    with pytest.raises(GraphError, match="optimise the float model first"):
        run(graph)


def test_layer_normalisation_of_a_constant_row_is_beta() -> None:
    beta = np.array([10, -20, 30], np.int8)
    one = Quantization.per_tensor(0.01, 0)
    graph = single(
        ops.LayerNorm(0.0), [((2, 3), X), (np.array([50, 50, 50], np.int8), one), (beta, one)], DType.INT8, one
    )
    got = Executor(graph)({"x0": np.full((2, 3), 42, np.int8)})[graph.outputs[0]]
    np.testing.assert_array_equal(got, [beta, beta])


def test_reductions_of_unquantized_integers_are_those_of_c() -> None:
    data = np.array([[-7, 2, 3], [2**31 - 1, 1, 1]], np.int32)
    for op, wanted in (
        (ops.ReduceKind.SUM, [-2, -(2**31) + 1]),
        (ops.ReduceKind.MEAN, [0, 715827883]),
        (ops.ReduceKind.MAX, [3, 2**31 - 1]),
        (ops.ReduceKind.MIN, [-7, 1]),
    ):
        graph = single(ops.Reduce(op, (1,)), [((2, 3), None)], DType.INT32, None)
        np.testing.assert_array_equal(Executor(graph)({"x0": data})[graph.outputs[0]], wanted)
