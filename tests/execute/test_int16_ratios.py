"""int16 values show the last bits of the ratio of two scales: it is computed in double precision, as the published
TensorFlow Lite Micro interpreter does."""

from __future__ import annotations

import numpy as np
import pytest

from support.micro import run_tflite_micro
from support.tflite_writer import write_tflite
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

OPERATORS: dict[str, ops.Attributes] = {
    "relu": ops.Clip(ops.RELU),
    "leaky_relu": ops.Unary(ops.UnaryKind.LEAKY_RELU, 0.3),
    "abs": ops.Unary(ops.UnaryKind.ABS),
    "add": ops.Binary(ops.BinaryKind.ADD),
    "sub": ops.Binary(ops.BinaryKind.SUB),
    "requantize": ops.Quantize(),
}


def model(attributes: ops.Attributes, seed: int) -> Graph:
    random = np.random.default_rng(seed)
    scale = float(np.exp(random.uniform(-6, -2)))
    builder = GraphBuilder("ratio")
    names = [
        builder.input(name, (1, 20_000), DType.INT16, Quantization.per_tensor(scale * factor))
        for name, factor in zip("xy"[: attributes.inputs[0]], (1.0, random.uniform(0.3, 3)))
    ]
    output = Quantization.per_tensor(scale * random.uniform(0.5, 2))
    builder.output(builder.add(attributes, names, dtype=DType.INT16, quantization=output))
    return builder.build()


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_int16_operator_equals_tflite_micro_to_the_last_bit(operator: str) -> None:
    for seed in range(8):
        graph, random = model(OPERATORS[operator], seed), np.random.default_rng(seed)
        inputs = {name: random.integers(-32768, 32768, (1, 20_000)).astype(np.int16) for name in graph.inputs}
        (got,) = Executor(graph)(inputs).values()
        np.testing.assert_array_equal(got, run_tflite_micro(write_tflite(graph), list(inputs.values()))[0])
