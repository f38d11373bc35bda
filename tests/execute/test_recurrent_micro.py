"""LSTM layers equal TensorFlow Lite Micro: int8 byte for byte, float32 up to rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lstm import float_lstm, lstm_s8
from support.micro import TfliteMicro
from support.tflite_writer import write_tflite
from tinyopt.execute import Executor


@settings(max_examples=60)
@given(st.integers(0, 100_000))
def test_int8_lstm_with_kept_states_equals_tflite_micro(seed: int) -> None:
    model = TfliteMicro(write_tflite(lstm_s8(seed, keep=False)))
    graph = lstm_s8(seed, keep=True)
    executor = Executor(graph)
    random = np.random.default_rng(seed)
    for _ in range(3):
        x = random.integers(-128, 127, graph.tensors["x"].shape, dtype=np.int8, endpoint=True)
        np.testing.assert_array_equal(model(x)[0], executor({"x": x})[graph.outputs[0]])


def test_float_lstm_equals_tflite_micro() -> None:
    graph = float_lstm()
    x = np.random.default_rng(2).normal(size=(1, 7, 5)).astype(np.float32)
    expected = Executor(graph)({"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(TfliteMicro(write_tflite(graph))(x)[0], expected, rtol=1e-5, atol=1e-6)
