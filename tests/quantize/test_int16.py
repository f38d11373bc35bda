"""int16 activations with int8 weights."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.test_post_training import small_network
from tests.quantize.test_techniques import DATA, chain, noise
from tests.support.micro import TfliteMicro
from tests.support.tflite_writer import write_tflite
from tinyopt.board import load_board
from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.optimise import optimise
from tinyopt.plan import make_plan
from tinyopt.quantize import BiasCorrection, Int4, PostTraining, compare_tensors, quantize

WIDE = PostTraining(activations=DType.INT16)


def gates() -> Graph:
    """Sums, products, gates, pooling and means, with constants among them."""
    random = np.random.default_rng(0)
    b = GraphBuilder("gates")
    x = b.input("x", (1, 8, 8, 3), DType.FLOAT32)
    w, bias = random.normal(0, 0.3, (4, 3, 3, 3)), random.normal(size=4)
    y = b.add(ops.Conv2d(), [x, b.constant("w", w.astype(np.float32)), b.constant("b", bias.astype(np.float32))])
    gate = b.add(ops.Unary(ops.UnaryKind.LOGISTIC), [y])
    other = b.add(ops.Unary(ops.UnaryKind.TANH), [y])
    y = b.add(ops.Binary(ops.BinaryKind.MUL), [gate, other])
    y = b.add(ops.Binary(ops.BinaryKind.SUB), [y, b.constant("c", random.normal(size=4).astype(np.float32))])
    y = b.add(ops.AveragePool2d((2, 2), (2, 2)), [y])
    y = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [y])
    b.output(
        b.add(ops.FullyConnected(), [y, b.constant("f", random.normal(size=(5, 4)).astype(np.float32))], output="y")
    )
    return b.build()


@pytest.mark.parametrize("make", [chain, small_network, gates])
def test_every_activation_is_int16_and_close_to_the_float_network(make: object) -> None:
    graph: Graph = make()  # type: ignore[operator]
    wide, narrow = quantize(graph, DATA, WIDE), quantize(graph, DATA)
    assert "notes" not in wide.metadata
    assert {t.dtype for t in wide.tensors.values() if not t.is_constant} == {DType.INT16}
    assert {t.zero_point for t in wide.tensors.values() if not t.is_constant} == {0}
    output = graph.outputs[0]
    errors = [{e.tensor: e.sqnr_db for e in compare_tensors(graph, g, DATA[:8])}[output] for g in (wide, narrow)]
    assert errors[0] > errors[1] + 1  # the weights are rounded alike


@pytest.mark.parametrize("make", [chain, small_network, gates])
def test_int16_graphs_equal_tflite_micro(make: object) -> None:
    quantized = quantize(make(), DATA, WIDE)  # type: ignore[operator]
    judge, executor = TfliteMicro(write_tflite(quantized)), Executor(quantized)
    for sample in Samples.from_array(DATA[:10], quantized):
        (wanted,) = judge(sample["x"])
        assert np.array_equal(executor(sample)[quantized.outputs[0]], wanted)


@pytest.mark.parametrize("make", [chain, small_network, gates])
def test_int16_graphs_have_kernels(make: object) -> None:
    quantized = optimise(quantize(make(), DATA, WIDE))  # type: ignore[operator]
    names = [call.kernel.name for call in make_plan(quantized, load_board("mps2_an386")).calls]
    assert any("s16" in name for name in names)


def test_narrow_weights_and_techniques_go_with_wide_activations() -> None:
    config = PostTraining(weights=Int4(), edges=None, activations=DType.INT16)
    corrected = PostTraining(weights=Int4(), edges=None, activations=DType.INT16, techniques=(BiasCorrection(),))
    assert noise(chain(), corrected) < noise(chain(), config)


def test_operators_without_an_int16_form_stay_float_and_are_named() -> None:
    b = GraphBuilder("norm")
    x = b.input("x", (1, 4, 8), DType.FLOAT32)
    ones = b.constant("g", np.ones(8, np.float32))
    y = b.add(ops.LayerNorm(), [x, ones, b.constant("z", np.zeros(8, np.float32))], name="norm")
    b.output(b.add(ops.FullyConnected(), [y, b.constant("w", np.ones((3, 8), np.float32))], output="y"))
    data = np.random.default_rng(0).normal(size=(10, 4, 8)).astype(np.float32)
    quantized = quantize(b.build(), data, WIDE)
    assert "'norm' (LayerNorm) stays in float32: it has no int16 form" in quantized.metadata["notes"]


def test_other_types_are_refused() -> None:
    with pytest.raises(DataError, match="int8 or int16, not float32"):
        PostTraining(activations=DType.FLOAT32)
