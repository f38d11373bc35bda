"""Weights in half precision: half the flash of a float network, found by the planner from the values alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tinyopt.board import load_board
from tinyopt.build.host import HostModel
from tinyopt.cli.app import app
from tinyopt.errors import ModelError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, load_graph, ops, save_graph
from tinyopt.plan import make_plan
from tinyopt.quantize import PostTraining, half_weights, quantize


def network() -> Graph:
    random = np.random.default_rng(0)
    builder = GraphBuilder("floats")

    def weights(*shape: int) -> str:
        return builder.constant("w", (0.3 * random.standard_normal(shape)).astype(np.float32))

    def bias(size: int) -> str:
        return builder.constant("b", random.standard_normal(size).astype(np.float32))

    x = builder.input("x", (1, 6, 6, 3), DType.FLOAT32)
    y = builder.add(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1), activation=ops.RELU), [x, weights(8, 3, 3, 3), bias(8)])
    y = builder.add(ops.DepthwiseConv2d((2, 2)), [y, weights(1, 3, 3, 8), bias(8)])
    y = builder.add(ops.Reshape((1, 32)), [y])
    builder.output(builder.add(ops.FullyConnected(), [y, weights(10, 32), bias(10)]))
    return builder.build()


def used(graph: Graph, objective: str) -> set[str]:
    return {call.kernel.name for call in make_plan(graph, load_board("mps2_an386"), objective=objective).calls}


def test_weights_are_rounded_and_nothing_else() -> None:
    graph = network()
    result = half_weights(graph)
    for name, tensor in result.tensors.items():
        if tensor.data is not None:
            rounded = len(tensor.shape) > 1
            wanted = graph.tensors[name].value
            expected = wanted.astype(np.float16).astype(np.float32) if rounded else wanted
            np.testing.assert_array_equal(tensor.value, expected)


def test_the_planner_stores_them_in_two_bytes_where_flash_counts() -> None:
    graph, result = network(), half_weights(network())
    half = {"half_conv2d_f32_ref", "half_fully_connected_f32_ref"}
    # The depthwise layer has so few weights that the code would take more than they save.
    assert half | {"depthwise_conv2d_f32_ref"} == used(result, "flash")
    assert not half & used(result, "latency") and not half & used(graph, "flash")
    board = load_board("mps2_an386")
    plans = [make_plan(g, board, objective="flash") for g in (graph, result)]
    assert plans[0].weights_bytes - plans[1].weights_bytes == 2 * (8 * 3 * 3 * 3 + 10 * 32)


def test_what_runs_is_the_rounded_network() -> None:
    result = half_weights(network())
    x = np.random.default_rng(1).standard_normal((1, 6, 6, 3)).astype(np.float32)
    (expected,) = Executor(result)({"x": x}).values()
    (got,) = HostModel(make_plan(result, load_board("host"), objective="flash")).run({"x": x}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_weights_beyond_half_precision_and_integers_are_refused() -> None:
    graph = network()
    name = graph.operators[0].inputs[1]
    large = replace(graph.tensors[name], data=graph.tensors[name].value * np.float32(1e6))
    with pytest.raises(ModelError, match="half precision ends at 65504"):
        half_weights(replace(graph, tensors={**graph.tensors, name: large}))
    samples = np.random.default_rng(0).standard_normal((4, 6, 6, 3)).astype(np.float32)
    with pytest.raises(ModelError, match="quantized already"):
        half_weights(quantize(graph, samples, PostTraining()))


def test_the_command_needs_no_calibration(tmp_path: Path) -> None:
    save_graph(network(), tmp_path / "model.tinyopt")
    model, output = str(tmp_path / "model.tinyopt"), str(tmp_path / "half.tinyopt")
    result = CliRunner().invoke(app, ["quantize", model, "--weights", "fp16", "-o", output, "--json"])
    assert result.exit_code == 0, result.output
    assert '"half_parameter_bytes"' in result.stdout
    assert half_weights(network()).tensors.keys() == load_graph(output).tensors.keys()
    refused = CliRunner().invoke(app, ["quantize", model, "-o", output])
    assert refused.exit_code != 0
