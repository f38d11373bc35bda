"""Run-time ranges: int8 weights, float32 between layers, and no calibration data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tinyopt.board import load_board
from tinyopt.bridge import dequantize_graph, to_torch
from tinyopt.build.host import HostModel
from tinyopt.cli.app import app
from tinyopt.errors import DataError, GraphError, ModelError
from tinyopt.execute import Executor
from tinyopt.execute.float import run_batch
from tinyopt.execute.integer.dynamic import quantize_rows
from tinyopt.graph import DType, Graph, GraphBuilder, graph_macs, load_graph, ops, save_graph
from tinyopt.graph.types import Array
from tinyopt.optimise import optimise
from tinyopt.plan import make_plan
from tinyopt.quantize import (
    Budget,
    DynamicRanges,
    Int4,
    Int8,
    PostTraining,
    choose_widths,
    half_weights,
    quantize,
)

random = np.random.default_rng(0)


def network() -> Graph:
    builder = GraphBuilder("floats")

    def weights(*shape: int) -> str:
        return builder.constant("w", (0.3 * random.standard_normal(shape)).astype(np.float32))

    def bias(size: int) -> str:
        return builder.constant("b", random.standard_normal(size).astype(np.float32))

    x = builder.input("x", (1, 6, 6, 3), DType.FLOAT32)
    y = builder.add(
        ops.Conv2d(padding=ops.Padding(1, 1, 1, 1), activation=ops.RELU), [x, weights(8, 3, 3, 3), bias(8)], name="conv"
    )
    y = builder.add(ops.DepthwiseConv2d((2, 2)), [y, weights(1, 3, 3, 8), bias(8)], name="depthwise")
    y = builder.add(ops.Reshape((1, 32)), [y])
    builder.output(builder.add(ops.FullyConnected(), [y, weights(10, 32), bias(10)], name="dense"))
    return builder.build()


NETWORK = network()
INPUT = random.standard_normal((1, 6, 6, 3)).astype(np.float32)


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


def noise(graph: Graph) -> float:
    """Of the output, against the float network's."""
    (wanted,), (got,) = (Executor(g)({"x": INPUT}).values() for g in (NETWORK, graph))
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def test_layers_get_int8_weights_and_activations_stay_float() -> None:
    result = quantize(NETWORK, None, DynamicRanges())
    assert kinds(result) == ["DynamicConv2d", "DynamicDepthwiseConv2d", "Reshape", "DynamicFullyConnected"]
    assert {t.dtype for t in result.tensors.values() if not t.is_constant} == {DType.FLOAT32}
    weights = [result.ins(o)[1] for o in result.operators if isinstance(o.attributes, ops.DynamicRange)]
    assert [(w.dtype, w.quantization.axis) for w in weights if w.quantization] == [
        (DType.INT8, 0),
        (DType.INT8, 3),
        (DType.INT8, 0),
    ]
    assert graph_macs(result) == graph_macs(NETWORK)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_result_is_close_to_the_float_network(per_channel: bool, symmetric: bool) -> None:
    assert 0 < noise(quantize(NETWORK, None, DynamicRanges(per_channel, symmetric))) < 0.02


def test_a_larger_input_is_rounded_as_finely_as_a_small_one() -> None:
    """What calibrated ranges cannot do: scaling the input scales nothing but the rounding with it."""
    builder = GraphBuilder("dense")
    x = builder.input("x", (1, 32), DType.FLOAT32)
    weights = builder.constant("w", random.standard_normal((4, 32)).astype(np.float32))
    builder.output(builder.add(ops.FullyConnected(), [x, weights]))
    graph = quantize(builder.build(), None, DynamicRanges())
    x_value = random.standard_normal((1, 32)).astype(np.float32)
    small, large = (next(iter(Executor(graph)({"x": x_value * np.float32(f)}).values())) for f in (1.0, 1024.0))
    np.testing.assert_array_equal(small * np.float32(1024), large)


def test_what_c_computes_is_what_the_executor_computes() -> None:
    for config in (DynamicRanges(), DynamicRanges(symmetric=True, per_channel=False)):
        result = quantize(NETWORK, None, config)
        (expected,) = Executor(result)({"x": INPUT}).values()
        (got,) = HostModel(make_plan(result, load_board("host"))).run({"x": INPUT}).values()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_samples_in_a_batch_have_ranges_of_their_own() -> None:
    result = quantize(NETWORK, None, DynamicRanges())
    batch = np.concatenate([INPUT, 100 * INPUT, 0 * INPUT])
    (together,) = run_batch(result, {"x": batch}).values()
    alone = [next(iter(Executor(result)({"x": batch[i : i + 1]}).values())) for i in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_a_network_of_zeros_gives_the_biases_and_nan_gives_nan() -> None:
    builder = GraphBuilder("dense")
    x = builder.input("x", (2, 8), DType.FLOAT32)
    weights = builder.constant("w", random.standard_normal((4, 8)).astype(np.float32))
    bias = builder.constant("b", np.arange(4, dtype=np.float32))
    builder.output(builder.add(ops.FullyConnected(), [x, weights, bias], output="y"))
    graph = quantize(builder.build(), None, DynamicRanges())
    model = HostModel(make_plan(graph, load_board("host")))
    value = np.zeros((2, 8), np.float32)
    for infinite in (np.nan, np.inf, -np.inf):
        value[1, 3] = infinite
        for y in (Executor(graph)({"x": value})["y"], model.run({"x": value})["y"]):
            np.testing.assert_array_equal(y[0], [0, 1, 2, 3])
            assert np.isnan(y[1]).all()


def test_layers_stay_float_by_name_and_by_size() -> None:
    assert kinds(quantize(NETWORK, None, DynamicRanges(float_layers=("d*",))))[1:] == [
        "DepthwiseConv2d",
        "Reshape",
        "FullyConnected",
    ]
    result = quantize(NETWORK, None, DynamicRanges(least_weights=100))
    assert kinds(result) == ["DynamicConv2d", "DepthwiseConv2d", "Reshape", "DynamicFullyConnected"]
    assert (
        "'depthwise' (DepthwiseConv2d) stays in float32: it has 72 weights, fewer than 100" in result.metadata["notes"]
    )


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(
        DataError, match="no layer of 'floats' is called 'x\\*'; its layers are: conv, depthwise, dense"
    ):
        quantize(NETWORK, None, DynamicRanges(float_layers=("x*",)))
    with pytest.raises(DataError, match="need no calibration data"):
        quantize(NETWORK, INPUT, DynamicRanges())
    with pytest.raises(DataError, match="calibration data are missing"):
        quantize(NETWORK, None)
    with pytest.raises(DataError, match="least_weights starts at 0"):
        DynamicRanges(least_weights=-1)
    with pytest.raises(ModelError, match="no layer of 'floats' can have a run-time range"):
        quantize(NETWORK, None, DynamicRanges(least_weights=1000))
    integers = quantize(NETWORK, INPUT, PostTraining())
    with pytest.raises(ModelError, match="quantized already"):
        quantize(integers, None, DynamicRanges())


def test_a_graph_with_other_types_is_refused() -> None:
    result = quantize(NETWORK, None, DynamicRanges())
    bias = result.ins(result.operators[0])[2]
    wrong = replace(bias, data=bias.value.astype(np.int32), dtype=DType.INT32)
    with pytest.raises(GraphError, match="input, bias and output of a layer with a run-time range are float32"):
        replace(result, tensors={**result.tensors, bias.name: wrong})


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    result = quantize(NETWORK, None, DynamicRanges(symmetric=True))
    save_graph(result, tmp_path / "dynamic.tinyopt")
    loaded = load_graph(tmp_path / "dynamic.tinyopt")
    assert loaded.operators == result.operators
    np.testing.assert_array_equal(*(next(iter(Executor(g)({"x": INPUT}).values())) for g in (loaded, result)))


def test_verbs_that_want_a_float_network_take_it() -> None:
    result = quantize(NETWORK, None, DynamicRanges())
    floats = dequantize_graph(result)
    assert kinds(floats) == kinds(NETWORK) and {t.dtype for t in floats.tensors.values()} == {DType.FLOAT32}
    assert kinds(to_torch(result).graph) == kinds(NETWORK)
    assert quantize(result, INPUT, PostTraining()).is_quantized
    widths = choose_widths(result, INPUT, Budget(weight_bytes=600), formats=(Int8(), Int4()))
    assert list(widths.formats) == ["conv", "depthwise", "dense"]
    assert kinds(half_weights(result)) == kinds(optimise(NETWORK))


def test_the_planner_takes_less_flash_and_memory_for_it() -> None:
    board = load_board("mps2_an386")
    floats, integers = make_plan(NETWORK, board), make_plan(quantize(NETWORK, None, DynamicRanges()), board)
    assert integers.weights_bytes < 0.4 * floats.weights_bytes
    assert {call.kernel.name for call in integers.calls if "dynamic" in call.kernel.name} == {
        "dynamic_conv2d_f32_dsp",
        "dynamic_depthwise_conv2d_f32_dsp",
    }


# ---- the rounding ---------------------------------------------------------------------------------------------


def rows(*values: float) -> Array:
    return np.array([values], np.float32)


def test_a_symmetric_range_is_that_of_the_largest_magnitude() -> None:
    integers, scales = quantize_rows(rows(-2.0, 0.5, 1.0), symmetric=True)
    assert integers.tolist() == [[-127, 32, 64]] and scales[0] == np.float32(2.0 / 127)


def test_an_asymmetric_range_uses_all_of_int8_where_values_have_one_sign() -> None:
    integers, scales = quantize_rows(rows(0.0, 1.0, 2.55), symmetric=False)
    assert integers.tolist() == [[0, 100, 255]] and scales[0] == np.float32(np.float32(2.55) / 255)


def test_ranges_of_nothing_are_zeros() -> None:
    for value in (0.0, 1e-30, -1e-38):
        integers, scales = quantize_rows(rows(value, 0.0), symmetric=False)
        assert integers.tolist() == [[0, 0]] and scales[0] == 1


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=20), st.booleans())
def test_no_value_is_further_from_its_integer_than_half_a_step_and_the_zero_point_allow(
    values: list[float], symmetric: bool
) -> None:
    x = rows(*values)
    integers, scales = quantize_rows(x, symmetric)
    if np.abs(x).max() < 1e-25:
        return
    assert integers.min() >= -255 and integers.max() <= 255
    error = np.abs(integers * scales[:, None].astype(np.float64) - x)
    # The zero point is rounded, too, so that a value at the end of an asymmetric range may be cut by half a step.
    assert error.max() <= scales[0] * (0.51 if symmetric else 1.01)


# ---- the command line -----------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    save_graph(NETWORK, tmp_path / "model.tinyopt")
    model, output = str(tmp_path / "model.tinyopt"), str(tmp_path / "dynamic.tinyopt")
    done = CliRunner().invoke(
        app, ["quantize", model, "--dynamic", "--layer", "dense=float32", "-o", output, "-d", "random:0:4", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert '"sqnr_db"' in done.stdout
    assert kinds(load_graph(output))[-1] == "FullyConnected"
    for wrong in (["-c", "random:0:4"], ["--weights", "int4"], ["--max-bytes", "9"], ["--layer", "dense=int4"]):
        refused = CliRunner().invoke(app, ["quantize", model, "--dynamic", "-o", output, *wrong])
        assert refused.exit_code != 0, wrong
