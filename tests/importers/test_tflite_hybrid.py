"""TFLite files with float activations and int8 weights (what a converter's default optimisation writes) compute what
TensorFlow Lite's own hybrid kernels compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.tflite_file import FileSubgraph, serialise
from tinyopt.board import load_board
from tinyopt.bridge import dequantize_graph
from tinyopt.build.host import HostModel
from tinyopt.execute import Executor
from tinyopt.graph import Array, Graph, ops
from tinyopt.importers import load
from tinyopt.importers.tflite import import_tflite
from tinyopt.plan import make_plan
from tinyopt.quantize import PostTraining, quantize

TABLES = {
    "CONV_2D": ("Conv2DOptions", 5),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 6),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 9),
}


def weights(shape: tuple[int, ...], scales: int, axis: int = 0) -> dict[str, Any]:
    values = (np.arange(np.prod(shape)) * 37 % 255 - 127).astype(np.int8).reshape(shape)
    return {
        "data": values,
        "scales": [0.01 * (1 + 0.5 * i) for i in range(scales)],
        "zero_points": [0] * scales,
        "axis": axis,
    }


def hybrid(
    kind: str, x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], scales: int, **options: int
) -> FileSubgraph:
    file = FileSubgraph()
    axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
    inputs = [file.add("x", x, "float32"), file.add("w", w, "int8", **weights(w, scales, axis))]
    inputs.append(file.constant("b", np.linspace(-1, 1, w[axis], dtype=np.float32)))
    output = file.add("y", y, "float32")
    table, version = TABLES[kind]
    if table != "FullyConnectedOptions":
        options |= {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    file.operator(kind, inputs, [output], table, version=version, **options)
    file.inputs, file.outputs = [inputs[0]], [output]
    return file


FILES: dict[str, Callable[[], FileSubgraph]] = {
    "convolution, a scale per channel": lambda: hybrid("CONV_2D", (1, 2, 3, 2), (2, 3, 3, 2), (1, 2, 3, 2), 2),
    "convolution, one scale": lambda: hybrid("CONV_2D", (1, 2, 3, 2), (2, 3, 3, 2), (1, 2, 3, 2), 1),
    "convolution, one channel": lambda: hybrid("CONV_2D", (1, 2, 3, 2), (1, 3, 3, 2), (1, 2, 3, 1), 1),
    "depthwise convolution": lambda: hybrid(
        "DEPTHWISE_CONV_2D", (1, 2, 3, 2), (1, 3, 3, 4), (1, 2, 3, 4), 4, depth_multiplier=2
    ),
    "fully connected, rounded symmetrically": lambda: hybrid("FULLY_CONNECTED", (2, 5), (3, 5), (2, 3), 1),
    "fully connected, whole range": lambda: hybrid(
        "FULLY_CONNECTED", (2, 5), (3, 5), (2, 3), 3, asymmetric_quantize_inputs=1
    ),
}


def samples(shape: tuple[int, ...]) -> Array:
    """Two samples: values of both signs, and values far from zero."""
    flat = np.sin(np.arange(np.prod(shape)) * 1.7).astype(np.float32)
    return np.stack([flat * np.float32(3.1), flat + np.float32(5)]).reshape(2, *shape)


# What LiteRT 2's reference kernels give for `samples` (OpResolverType.BUILTIN_REF).
EXPECTED = {
    "convolution, a scale per channel": """
        -0.27227 9.52152 -8.29175 -8.43967 6.05313 1.57162 -0.53084 -12.75331 -3.45812 13.88645 5.16917 -7.4738
        -19.55912 11.76209 -15.50476 5.39647 -8.86388 22.18406 -6.44725 -13.86708 -19.63901 4.04835 -21.46541
        19.90864
    """,
    "convolution, one scale": """
        -0.26704 6.72109 -8.29665 -5.25459 6.05605 1.36357 -0.53065 -8.17141 -3.50024 9.60305 5.20061 -4.67679
        -19.56378 8.19424 -15.49181 3.94535 -8.87503 15.12099 -6.45477 -8.89332 -19.66002 3.02537 -21.46036
        13.60373
    """,
    "convolution, one channel": """
        -0.26704 -8.29665 6.05605 -0.53065 -3.50024 5.20061 -19.56378 -15.49181 -8.87503 -6.45477 -19.66002
        -21.46036
    """,
    "depthwise convolution": """
        1.57518 6.36828 10.75561 5.69579 -3.03004 -10.24347 -17.08224 -16.48799 1.03407 2.95497 10.66538
        14.26646 3.38511 -4.08534 3.80078 -14.65265 -8.1094 -0.51639 -2.96743 16.59447 3.31412 6.37504 4.87017
        -8.71924 -0.97157 -7.39997 6.23054 -7.73667 0.45938 -2.83503 -7.758 -11.78163 -5.2515 4.46528 -1.99096
        16.69934 0.06041 -10.07613 4.84611 -13.212 -6.89204 -8.28991 -14.50532 -15.27266 -4.06444 6.24587
        -3.0032 -21.56449
    """,
    "fully connected, rounded symmetrically": """
        -2.56225 5.63298 -3.39315 -1.35358 -1.16623 0.14415 -14.76903 -3.43931 2.35638 -14.37088 -5.6271 3.46961
    """,
    "fully connected, whole range": """
        -2.5674 8.41487 -7.78294 -1.36295 -1.73988 -0.69061 -14.75992 -5.14966 3.64291 -14.35016 -8.46373
        5.95065
    """,
}


def imported(file: FileSubgraph) -> Graph:
    return import_tflite(serialise([file]))


@pytest.mark.parametrize("name", sorted(FILES))
def test_outputs_are_those_of_the_hybrid_kernels(name: str) -> None:
    graph = imported(FILES[name]())
    assert [isinstance(o.attributes, ops.DynamicRange) for o in graph.operators] == [True]
    executor = Executor(graph)
    got = [executor({"x": x})["y"] for x in samples(graph.tensors["x"].shape)]
    np.testing.assert_allclose(
        np.concatenate([y.reshape(-1) for y in got]), np.array(EXPECTED[name].split(), float), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_c_kernels_compute_it_too(name: str) -> None:
    graph = imported(FILES[name]())
    x = samples(graph.tensors["x"].shape)[0]
    model = HostModel(make_plan(graph, load_board("host")))
    np.testing.assert_allclose(model.run({"x": x})["y"], Executor(graph)({"x": x})["y"], rtol=1e-5, atol=1e-5)


def test_the_weights_stay_int8_and_the_rest_float() -> None:
    graph = imported(FILES["depthwise convolution"]())
    kinds = {name: tensor.dtype.value for name, tensor in graph.tensors.items()}
    assert kinds == {"x": "float32", "w": "int8", "b": "float32", "y": "float32"}
    assert "notes" not in graph.metadata


def test_how_the_input_is_rounded_follows_the_file() -> None:
    symmetric = {name: imported(make()).operators[0].attributes.symmetric for name, make in FILES.items()}  # type: ignore[attr-defined]
    assert {name for name, value in symmetric.items() if value} == {
        "convolution, one scale",
        "convolution, one channel",
        "fully connected, rounded symmetrically",
    }


def test_weights_that_no_hybrid_kernel_takes_become_float_and_the_user_is_told() -> None:
    file = FILES["fully connected, whole range"]()
    file.tensors[1].zero_points = [3, 0, 0]
    graph = imported(file)
    assert [o.kind for o in graph.operators] == ["FullyConnected"]
    assert "FULLY_CONNECTED 'y' has float activations and int8 weights" in graph.metadata["notes"]


def test_int8_weights_behind_a_dequantize_are_float_weights() -> None:
    """The converter writes them where TensorFlow Lite has no hybrid kernel; the layer computes with floats there."""
    file = FILES["fully connected, whole range"]()
    packed_weights = weights((3, 5), 3)
    packed = file.add("packed", (3, 5), "int8", **packed_weights)
    file.tensors[1] = type(file.tensors[1])("w", (3, 5), "float32")
    file.operators.reverse()
    file.operator("DEQUANTIZE", [packed], [1])
    file.operators.reverse()
    graph = imported(file)
    assert [o.kind for o in graph.operators] == ["FullyConnected"]
    expected = packed_weights["data"] * np.array([[0.01], [0.015], [0.02]])
    np.testing.assert_allclose(graph.tensors["w"].value, expected, rtol=1e-6)


@pytest.mark.data
def test_the_official_keyword_file_is_hybrid_and_can_be_quantized_like_a_float_model(mlperf: Path) -> None:
    graph = load(mlperf / "kws_ref_model_float32.tflite")
    kinds = [o.kind for o in graph.operators]
    assert kinds.count("DynamicConv2d") == 5 and kinds.count("DepthwiseConv2d") == 4
    floats = dequantize_graph(graph)
    assert {t.dtype.value for t in floats.tensors.values()} == {"float32"}
    first, second = (quantize(g, "random:0:4", PostTraining()) for g in (graph, floats))
    assert first.is_quantized and [o.kind for o in first.operators] == [o.kind for o in second.operators]
