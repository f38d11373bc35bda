"""A float graph becomes an int8 graph that computes nearly the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from tests.optimise.networks import networks
from tests.support.micro import TfliteMicro
from tests.support.tflite_writer import write_tflite
from tinyopt.data import Samples, load_samples
from tinyopt.errors import DataError, ModelError
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.optimise import optimise
from tinyopt.quantize import MaxRange, Percentile, PostTraining, compare_tensors, quantize
from tinyopt.quantize.parameters import activation_quantization, layer_constants

random = np.random.default_rng(2)


def floats(*shape: int, scale: float = 1.0) -> Array:
    return random.normal(0, scale, shape).astype(np.float32)


def small_network() -> Graph:
    """Convolution, depthwise, residual, concatenation, pooling, dense, softmax."""
    b = GraphBuilder("small")
    x = b.input("x", (1, 8, 8, 3), DType.FLOAT32)
    y = b.add(
        ops.Conv2d(activation=ops.RELU), [x, b.constant("w", floats(8, 3, 3, 3, scale=0.3)), b.constant("b", floats(8))]
    )
    z = b.add(ops.DepthwiseConv2d(padding=ops.Padding(1, 1, 1, 1)), [y, b.constant("w", floats(1, 3, 3, 8, scale=0.4))])
    y = b.add(ops.Binary(ops.BinaryKind.ADD), [y, z])
    gate = b.add(ops.Unary(ops.UnaryKind.LOGISTIC), [y], output="gate")
    y = b.add(ops.Concat(3), [y, gate], output="joined")
    y = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [b.add(ops.MaxPool2d((2, 2), (2, 2)), [y])])
    y = b.add(ops.FullyConnected(), [y, b.constant("w", floats(5, 16)), b.constant("b", floats(5))], output="logits")
    b.output(b.add(ops.Softmax(), [y], output="probabilities"))
    return b.build()


def signal_to_noise(graph: Graph, quantized: Graph, samples: Array) -> dict[str, float]:
    return {e.tensor: e.sqnr_db for e in compare_tensors(graph, quantized, samples)}


def test_every_tensor_of_a_network_keeps_more_than_twenty_decibels() -> None:
    graph, data = small_network(), floats(40, 8, 8, 3)
    quantized = quantize(graph, data)
    errors = signal_to_noise(graph, quantized, data[:10])
    assert len(errors) == 10
    assert min(errors.values()) > 20, errors
    assert all(t.dtype is DType.INT8 for o in quantized.operators for t in quantized.outs(o))
    assert "notes" not in quantized.metadata


def test_quantized_graphs_equal_tflite_micro() -> None:
    graph, data = small_network(), floats(20, 8, 8, 3)
    quantized = quantize(graph, data)
    judge, executor = TfliteMicro(write_tflite(quantized)), Executor(quantized)
    for sample in Samples.from_array(data, quantized):
        (wanted,) = judge(sample["x"])
        assert np.array_equal(executor(sample)["probabilities"], wanted)


def test_formats_that_the_specification_fixes() -> None:
    q = quantize(small_network(), floats(10, 8, 8, 3))
    assert q.tensors["probabilities"].quantization == Quantization.per_tensor(1 / 256, -128)
    assert q.tensors["gate"].quantization == Quantization.per_tensor(1 / 256, -128)


def test_weights_are_symmetric_per_channel_and_biases_have_the_scale_of_the_sums() -> None:
    q = quantize(small_network(), floats(10, 8, 8, 3))
    for operator in q.operators:
        if operator.kind in ("Conv2d", "DepthwiseConv2d", "FullyConnected"):
            x, w, *bias = q.ins(operator)
            assert w.quantization is not None and set(w.quantization.zero_points) == {0}
            assert len(w.quantization.scales) == q.outs(operator)[0].shape[-1]
            assert np.abs(w.value.astype(int)).max() == 127
            for b in bias:
                assert b.dtype is DType.INT32 and b.quantization is not None
                assert np.allclose(b.quantization.scales, np.array(w.quantization.scales) * x.scale)
    one = quantize(small_network(), floats(10, 8, 8, 3), PostTraining(per_channel=False))
    scales = [t.quantization.scales for t in one.constants() if t.dtype is DType.INT8 and t.quantization]
    assert all(len(s) == 1 for s in scales)


def test_a_fixed_format_is_requantized_into_a_concatenation() -> None:
    q = quantize(small_network(), floats(10, 8, 8, 3))
    joined = q.producers["joined"]
    first, second = (q.producers[name] for name in joined.inputs)
    assert (first.kind, second.kind) == ("Add", "Quantize")
    assert len({t.quantization for t in (*q.ins(joined), *q.outs(joined))}) == 1


def test_inputs_and_outputs_may_stay_float() -> None:
    graph, data = small_network(), floats(10, 8, 8, 3)
    q = quantize(graph, data, PostTraining(float_io=True))
    assert (q.inputs, q.outputs) == (graph.inputs, graph.outputs)
    assert {q.tensors[n].dtype for n in (*q.inputs, *q.outputs)} == {DType.FLOAT32}
    assert q.operators[0].kind == "Quantize" and q.operators[-1].kind == "Dequantize"
    inner = quantize(graph, data)
    for sample in Samples.from_array(data, graph):
        real = Executor(q)(sample)["probabilities"]
        x = inner.tensors["x"]
        assert x.quantization is not None
        integer = Executor(inner)({"x": x.quantization.quantize(sample["x"], DType.INT8)})["probabilities"]
        assert np.array_equal(real, inner.tensors["probabilities"].quantization.dequantize(integer))  # type: ignore[union-attr]


@pytest.mark.parametrize("float_io", [False, True])
def test_an_operator_without_an_int8_form_stays_float_and_is_named(float_io: bool) -> None:
    b = GraphBuilder("island")
    x = b.input("x", (1, 6), DType.FLOAT32)
    y = b.add(ops.FullyConnected(), [x, b.constant("w", floats(6, 6))])
    gamma = b.add(ops.Unary(ops.UnaryKind.TANH), [y])
    y = b.add(
        ops.Conv2d(), [b.add(ops.Reshape((1, 1, 6, 1)), [y]), b.add(ops.Reshape((1, 1, 6, 1)), [gamma])], name="dynamic"
    )
    b.output(b.add(ops.FullyConnected(), [b.add(ops.Reshape((1, 1)), [y]), b.constant("w", floats(3, 1))], output="y"))
    graph, data = b.build(), floats(30, 6)
    q = quantize(graph, data, PostTraining(float_io=float_io))
    assert "'dynamic' (Conv2d) stays in float32" in q.metadata["notes"]
    assert "Dequantize" in [o.kind for o in q.operators]
    assert signal_to_noise(graph, q, data)["y"] > 20


def test_states_are_quantized_with_what_is_written_to_them() -> None:
    b = GraphBuilder("stream")
    x = b.input("x", (1, 1, 4), DType.FLOAT32)
    past = b.state("past", np.zeros((1, 3, 4), np.float32))
    window = b.add(ops.Concat(1), [past, x])
    b.assign("past", b.add(ops.Slice((0, 1, 0), (1, 3, 4), (1, 1, 1)), [window]))
    y = b.add(ops.FullyConnected(), [b.add(ops.Reshape((1, 16)), [window]), b.constant("w", floats(3, 16))], output="y")
    b.output(y)
    graph, data = b.build(), floats(50, 1, 4)
    q = quantize(graph, data)
    assert q.states[0].initial.dtype == np.int8
    assert signal_to_noise(graph, q, data)["y"] > 25


def test_a_state_that_is_written_by_a_fixed_format_takes_it() -> None:
    b = GraphBuilder("elman")
    x = b.input("x", (1, 4), DType.FLOAT32)
    h = b.state("h", np.zeros((1, 4), np.float32))
    y = b.add(ops.Binary(ops.BinaryKind.ADD), [x, b.add(ops.FullyConnected(), [h, b.constant("w", floats(4, 4))])])
    new = b.add(ops.Unary(ops.UnaryKind.TANH), [y], output="new")
    b.assign("h", new)
    b.output(new)
    graph, data = b.build(), floats(60, 4)
    q = quantize(graph, data)
    assert q.tensors["h"].quantization == Quantization.per_tensor(1 / 128)
    assert signal_to_noise(graph, q, data)["new"] > 20


def test_an_embedding_keeps_its_integer_indices() -> None:
    b = GraphBuilder("embedding")
    index = b.input("index", (1, 4), DType.INT32)
    rows = b.add(ops.Gather(), [b.constant("table", floats(10, 6)), index])
    b.output(b.add(ops.FullyConnected(), [rows, b.constant("w", floats(3, 6))], output="y"))
    graph = b.build()
    samples = load_samples("random:0:40", graph)
    q = quantize(graph, samples)
    assert q.tensors["index"].dtype is DType.INT32
    table = next(t for t in q.constants() if t.name.startswith("table"))
    assert table.dtype is DType.INT8
    assert {e.tensor: e.sqnr_db for e in compare_tensors(graph, q, samples)}["y"] > 25


@settings(max_examples=60)
@given(graph=networks(quantized=False))
def test_any_network_quantizes_to_a_valid_graph_that_optimisation_keeps_exact(graph: Graph) -> None:
    samples = load_samples("random:5:6", graph)
    q = quantize(graph, samples)
    changed = optimise(q)
    first, second = Executor(q), Executor(changed)
    for sample in Samples.from_array(samples.inputs["x"], q):
        wanted, got = first(sample), second(sample)
        assert all(np.array_equal(wanted[name], got[name]) for name in q.outputs)


# ---- parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (-3.0, 0.0), (2.0, 5.0), (-7.0, -2.0), (1e-9, 2e-9)]
)
def test_zero_is_represented_exactly_and_the_range_is_covered(low: float, high: float) -> None:
    q = activation_quantization(low, high)
    assert -128 <= q.zero_point <= 127
    ends = q.dequantize(np.array([-128, 127], np.int8))
    assert ends[0] <= min(low, 0) + q.scale and ends[1] >= max(high, 0) - q.scale


def test_a_tensor_that_was_always_zero_has_a_usable_scale() -> None:
    assert activation_quantization(0.0, 0.0) == Quantization.per_tensor(1.0, 0)


def test_a_huge_bias_raises_the_weight_scale_instead_of_overflowing() -> None:
    c = layer_constants(np.full((2, 4), 1e-6), np.array([1e4, 0.1]), 0, Quantization.per_tensor(1e-3))
    assert c.bias is not None and c.bias_quantization is not None
    assert np.abs(c.bias.astype(np.int64)).max() < 1.001 * (1 << 30)
    assert np.allclose(c.bias_quantization.dequantize(c.bias), [1e4, 0.1], rtol=1e-4)


def test_sums_of_very_many_products_fit_32_bits() -> None:
    c = layer_constants(np.ones((1, 300_000)), None, 0, Quantization.per_tensor(1.0))
    assert int(c.weights.astype(np.int64).sum()) * 255 <= 1 << 30


def test_weights_too_small_to_matter_are_written_as_zero() -> None:
    weights = np.stack([np.full(8, 0.5), np.full(8, 1e-30)])
    c = layer_constants(weights, np.ones(2), 0, Quantization.per_tensor(0.1), output_scale=0.05)
    assert (c.weights[0] == 127).all() and (c.weights[1] == 0).all()
    assert c.weight_quantization.scales[0] == c.weight_quantization.scales[1]


# ---- what is refused ------------------------------------------------------------------------------------------


def test_a_quantized_model_is_not_quantized_again() -> None:
    q = quantize(small_network(), floats(4, 8, 8, 3))
    with pytest.raises(ModelError, match="quantized already"):
        quantize(q, floats(4, 8, 8, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 8, 8), np.float32), "do not fit"),
        (np.zeros((0, 8, 8, 3), np.float32), "no samples"),
        (np.full((2, 8, 8, 3), np.nan, np.float32), "NaN"),
        ([], "no samples"),
        (np.zeros((2, 8, 8, 3), np.uint8), "float32"),
    ],
)
def test_calibration_data_that_do_not_fit_are_explained(data: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        quantize(small_network(), data)


def test_samples_of_another_model_are_refused() -> None:
    graph = small_network()
    other = quantize(graph, floats(4, 8, 8, 3))
    with pytest.raises(DataError, match="must be float32"):
        quantize(graph, Samples.from_array(floats(4, 8, 8, 3), other))


# ---- the official networks ------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("method", [MaxRange(), Percentile(99.99)])
def test_keyword_spotting_loses_less_than_one_percent(mlperf: Path, tmp_path: Path, method: MaxRange) -> None:
    import tarfile

    from tinyopt.importers import load

    with tarfile.open(mlperf / "kws01.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    official, graph = load(mlperf / "kws_ref_model.tflite"), load(mlperf / "kws_ref_model_float32.tflite")
    integers = load_samples(tmp_path / "kws01", official)
    quantization = official.tensors[official.inputs[0]].quantization
    assert quantization is not None and integers.labels is not None
    real = quantization.dequantize(integers.inputs[official.inputs[0]])
    q = quantize(graph, real[:100], PostTraining(method))
    executor = Executor(q)
    hits = [
        int(np.argmax(executor(sample)[q.outputs[0]])) == label
        for sample, label in zip(Samples.from_array(real[:300], q), integers.labels)
    ]
    assert np.mean(hits) > 0.89
