"""The float graph of a quantized one: the same network in real numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyopt.bridge import dequantize_graph, to_torch
from tinyopt.errors import ModelError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.importers import load


def quantized() -> Graph:
    b = GraphBuilder("quantized")
    x = b.input("x", (1, 4), DType.FLOAT32)
    q = b.add(ops.Quantize(), [x], dtype=DType.INT8, quantization=Quantization.per_tensor(0.5, -3))
    w = b.constant("w", np.array([[1, 2, 3, 4], [-4, 0, 0, 2]], np.int8), Quantization.per_channel([0.1, 0.2], 0))
    bias = b.constant("bias", np.array([10, -20], np.int32))
    y = b.add(ops.FullyConnected(), [q, w, bias], quantization=Quantization.per_tensor(0.25, 5))
    b.output(b.add(ops.Dequantize(), [y], output="y"))
    return b.build()


def test_weights_and_biases_are_what_their_integers_stand_for() -> None:
    graph = dequantize_graph(quantized())
    (layer,) = graph.operators
    assert layer.inputs == ("x", "w", "bias") and not graph.is_quantized
    np.testing.assert_allclose(graph.tensors["w"].value[1], [-0.8, 0, 0, 0.4], rtol=1e-6)
    np.testing.assert_allclose(graph.tensors["bias"].value, [10 * 0.5 * 0.1, -20 * 0.5 * 0.2], rtol=1e-6)


def test_a_float_graph_is_its_own_float_graph() -> None:
    graph = dequantize_graph(quantized())
    assert dequantize_graph(graph) is graph


def test_quantized_graphs_are_pointed_to_it() -> None:
    with pytest.raises(ModelError, match="dequantize_graph"):
        to_torch(quantized())


@pytest.mark.data
@pytest.mark.parametrize("model", ["kws_ref_model", "pretrainedResnet_quant", "ad01_int8", "vww_96_int8"])
def test_the_official_int8_networks_are_close_to_their_float_graphs(model: str, mlperf: Path) -> None:
    graph = load(mlperf / f"{model}.tflite")
    real = dequantize_graph(graph)
    (name,) = graph.inputs
    tensor = graph.tensors[name]
    random = np.random.default_rng(0)
    given = random.integers(-128, 128, tensor.shape).astype(np.int8)
    assert tensor.quantization is not None
    (expected,) = Executor(graph)({name: given}).values()
    (got,) = Executor(real)({name: tensor.quantization.dequantize(given)}).values()
    output = graph.tensors[graph.outputs[0]]
    assert output.quantization is not None
    wanted = output.quantization.dequantize(expected)
    error = np.abs(got - wanted).max() / max(float(np.abs(wanted).max()), 1e-6)
    assert error < 0.15
