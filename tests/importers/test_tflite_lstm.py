"""TFLite's LSTM, float and int8, becomes a layer whose states are kept as TensorFlow Lite Micro keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from support.lstm import float_lstm, lstm_s8
from support.micro import TfliteMicro
from support.tflite_writer import write_tflite
from tinyopt.errors import UnsupportedOperatorsError
from tinyopt.execute import Executor
from tinyopt.importers.tflite import import_tflite
from tinyopt.optimise import optimise


@pytest.mark.parametrize("seed", range(8))
def test_an_imported_int8_lstm_equals_tflite_micro_over_many_inferences(seed: int) -> None:
    file = write_tflite(lstm_s8(seed, keep=False))
    graph = optimise(import_tflite(file))
    assert len(graph.states) == 2
    model, executor, random = TfliteMicro(file), Executor(graph), np.random.default_rng(seed)
    for _ in range(4):
        x = random.integers(-128, 127, graph.tensors["x"].shape, dtype=np.int8, endpoint=True)
        np.testing.assert_array_equal(executor({"x": x})[graph.outputs[0]], model(x)[0])


def test_an_imported_float_lstm_equals_tflite_micro_over_many_inferences() -> None:
    file = write_tflite(float_lstm())
    graph = optimise(import_tflite(file))
    model, executor, random = TfliteMicro(file), Executor(graph), np.random.default_rng(0)
    for _ in range(4):
        x = random.normal(size=graph.tensors["x"].shape).astype(np.float32)
        np.testing.assert_allclose(executor({"x": x})[graph.outputs[0]], model(x)[0], rtol=1e-5, atol=1e-6)


def test_a_cell_state_whose_scale_is_no_power_of_two_is_reported() -> None:
    graph = lstm_s8(0, keep=False)
    scale = np.float32(graph.tensors["c0"].scale).tobytes()
    file = write_tflite(graph)
    assert file.count(scale) >= 1
    with pytest.raises(UnsupportedOperatorsError, match="no power of two"):
        import_tflite(file.replace(scale, np.float32(0.0003).tobytes()))
