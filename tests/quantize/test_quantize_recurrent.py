"""Quantized recurrent layers stay close to the float layers they come from."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.errors import DataError
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, Tensor, ops
from tinyopt.quantize.recurrent import QuantizedLayer, cell_exponent, cell_limit, quantize_gru, quantize_lstm

STEPS, INPUTS, HIDDEN = 30, 8, 16
X_SCALE = Quantization.per_tensor(8 / 255)
Y_SCALE = Quantization.per_tensor(2 / 255)


def parameters(kind: str, seed: int = 0) -> list[Tensor]:
    random = np.random.default_rng(seed)
    rows = {"lstm": 4, "gru": 3}[kind] * HIDDEN
    shapes = [(rows, INPUTS), (rows, HIDDEN), (rows,), (rows,)][: 3 if kind == "lstm" else 4]
    return [Tensor.constant(f"p{i}", random.uniform(-0.5, 0.5, s).astype(np.float32)) for i, s in enumerate(shapes)]


def samples(seed: int = 1) -> Array:
    """Smooth sequences, as sensors give."""
    noise = np.random.default_rng(seed).normal(size=(1, STEPS, INPUTS))
    return np.cumsum(noise, axis=1).clip(-3.9, 3.9).astype(np.float32)


def float_layer(attributes: ops.Attributes, constants: list[Tensor], states: int) -> Graph:
    builder = GraphBuilder("float")
    names = [builder.input("x", (1, STEPS, INPUTS), DType.FLOAT32)]
    names += [builder.constant(t.name, t.value) for t in constants]
    names += [builder.constant(f"s{i}", np.zeros((1, HIDDEN), np.float32)) for i in range(states)]
    builder.output(builder.add_multi(attributes, names)[0])
    return builder.build()


def integer_layer(layer: QuantizedLayer) -> Graph:
    builder = GraphBuilder("integer")
    names = [builder.input("x", (1, STEPS, INPUTS), DType.INT8, X_SCALE)]
    names += [builder.constant(t.name, t.value, t.quantization) for t in layer.constants]
    for index, (_, quantization) in enumerate(layer.output_types[1:]):
        zero = layer.quantize_state(index, np.zeros((1, HIDDEN), np.float32))
        names.append(builder.constant(f"s{index}", zero, quantization))
    dtypes, quantizations = zip(*layer.output_types)
    builder.output(builder.add_multi(layer.attributes, names, dtype=dtypes, quantizations=quantizations)[0])
    return builder.build()


def outputs(floating: Graph, integer: Graph, x: Array) -> tuple[Array, Array]:
    expected = Executor(floating)({"x": x})[floating.outputs[0]]
    got = Executor(integer)({"x": X_SCALE.quantize(x, DType.INT8)})[integer.outputs[0]]
    return expected, Y_SCALE.dequantize(got)


@pytest.mark.parametrize("reverse", [False, True])
def test_int8_lstm_follows_the_float_lstm(reverse: bool) -> None:
    attributes, constants, x = ops.Lstm(reverse), parameters("lstm"), samples()
    zero = np.zeros((1, HIDDEN), np.float32)
    weights = tuple(t.value for t in constants)
    limit = cell_limit(attributes, weights, [(x, zero, zero)])
    layer = quantize_lstm(attributes, tuple(constants), X_SCALE, Y_SCALE, limit)
    expected, got = outputs(float_layer(attributes, constants, 2), integer_layer(layer), x)
    assert np.abs(expected).max() > 0.5
    assert np.abs(got - expected).max() < 0.05
    assert np.abs(got - expected).mean() < 0.01


@pytest.mark.parametrize("linear_before_reset", [False, True])
def test_int8_gru_follows_the_float_gru(linear_before_reset: bool) -> None:
    attributes, constants, x = ops.Gru(False, linear_before_reset), parameters("gru"), samples()
    layer = quantize_gru(attributes, tuple(constants), X_SCALE, Y_SCALE)
    expected, got = outputs(float_layer(attributes, constants, 1), integer_layer(layer), x)
    assert np.abs(expected).max() > 0.5
    assert np.abs(got - expected).max() < 0.05
    assert np.abs(got - expected).mean() < 0.01


def test_the_cell_scale_is_the_smallest_power_of_two_that_holds_the_range_but_at_least_one() -> None:
    assert cell_exponent(0.1) == cell_exponent(0.99) == -15
    assert cell_exponent(1.5) == -14
    assert cell_exponent(16.0) == -10


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), 1e9])
def test_a_diverging_cell_state_is_refused(limit: float) -> None:
    with pytest.raises(DataError, match="cell state"):
        cell_exponent(limit)


def test_a_large_bias_over_small_weights_fits_32_bits() -> None:
    constants = parameters("lstm")
    bias = constants[2].value.copy()
    bias[0] = 1e6
    weights = constants[0].value.copy()
    weights[0] *= 1e-9
    tensors = (Tensor.constant("w", weights), constants[1], Tensor.constant("b", bias))
    stored = quantize_lstm(ops.Lstm(), tensors, X_SCALE, Y_SCALE, 1.0).constants[2]
    assert stored.quantization is not None
    np.testing.assert_allclose(stored.quantization.dequantize(stored.value)[0], 1e6, rtol=1e-3)
