"""Batch norms put back: the same outputs, and a network that trains."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.bridge import dequantize_graph, to_torch
from tinyopt.data import Samples
from tinyopt.errors import DataError, ModelError, TinyoptError
from tinyopt.graph import DType, Graph, GraphBuilder, Tensor, ops
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.quantize import quantize
from tinyopt.train import insert_batch_norms

SAME = ops.Padding(1, 1, 1, 1)
RELU6 = ops.Clamp(0.0, 6.0)


class Net:
    """A builder with random weights of any size."""

    def __init__(self, shape: tuple[int, ...], size: float = 1.0, seed: int = 0) -> None:
        self.b, self.random, self.size = GraphBuilder("net"), np.random.default_rng(seed), size
        self.x = self.b.input("x", (1, *shape), DType.FLOAT32)

    def constant(self, name: str, *shape: int) -> str:
        return self.b.constant(name, (self.size * self.random.standard_normal(shape)).astype(np.float32))

    def channels(self, x: str) -> int:
        return self.b.tensor(x).shape[-1]

    def conv(
        self, x: str, name: str, out: int, activation: ops.Clamp = ops.NONE, groups: int = 1, bias: bool = True
    ) -> str:
        inputs = [x, self.constant(f"{name}_w", out, 3, 3, self.channels(x) // groups)]
        inputs += [self.constant(f"{name}_b", out)] if bias else []
        return self.b.add(ops.Conv2d(padding=SAME, activation=activation, groups=groups), inputs, name=name)

    def depthwise(self, x: str, name: str, activation: ops.Clamp = ops.NONE) -> str:
        c = self.channels(x)
        inputs = [x, self.constant(f"{name}_w", 1, 3, 3, c), self.constant(f"{name}_b", c)]
        return self.b.add(ops.DepthwiseConv2d(padding=SAME, activation=activation), inputs, name=name)

    def dense(self, x: str, name: str, out: int, activation: ops.Clamp = ops.NONE) -> str:
        inputs = [x, self.constant(f"{name}_w", out, self.channels(x)), self.constant(f"{name}_b", out)]
        return self.b.add(ops.FullyConnected(activation=activation), inputs, name=name)

    def finish(self, x: str, classes: int = 3) -> Graph:
        """Pooled, a hidden dense layer, a classifier and a softmax."""
        pooled = self.b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x])
        hidden = self.dense(pooled, "hidden", 5, ops.RELU)
        self.b.output(self.b.add(ops.Softmax(), [self.dense(hidden, "scores", classes)]))
        return self.b.build()


def samples(graph: Graph, count: int = 32, seed: int = 1, scale: float = 1.0) -> np.ndarray:
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    return (scale * np.random.default_rng(seed).standard_normal((count, *shape))).astype(np.float32)


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = to_torch(graph).eval().logits(torch.from_numpy(x)).numpy()
    return result


def same(one: Graph, other: Graph, x: np.ndarray) -> None:
    expected = outputs(one, x)
    np.testing.assert_allclose(
        outputs(other, x), expected, rtol=1e-4, atol=2e-5 * max(float(np.abs(expected).max()), 1)
    )


def normed(graph: Graph) -> set[str]:
    """Layers that a batch norm follows."""
    return {graph.producers[o.inputs[0]].name for o in graph.operators if isinstance(o.attributes, ops.BatchNorm)}


def residual(seed: int = 0, size: float = 1.0, groups: int = 1) -> Graph:
    net = Net((6, 6, 4), size, seed)
    x = net.conv(net.x, "first", 8, ops.RELU)
    y = net.conv(net.depthwise(x, "depthwise", RELU6), "grouped", 8, groups=groups, bias=False)
    x = net.b.add(ops.Binary(ops.BinaryKind.ADD, ops.RELU), [x, y], name="sum")
    return net.finish(x)


def test_every_layer_but_the_classifier_gets_one_and_the_scores_are_the_same() -> None:
    graph = residual()
    x = samples(graph)
    trainable = insert_batch_norms(graph, x)
    assert normed(trainable) == {"first", "depthwise", "grouped", "hidden"}
    same(graph, trainable, x)
    same(graph, trainable, samples(graph, seed=9))
    assert {o.name for o in graph.operators} <= {o.name for o in trainable.operators}
    assert [o.inputs[2:] for o in trainable.operators if o.name in normed(trainable)] == [()] * 4
    assert len(optimise(trainable).operators) == len(graph.operators)
    same(graph, optimise(trainable), x)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 99), st.sampled_from([1e-4, 1.0, 30.0]), st.sampled_from([1, 2, 4]), st.booleans())
def test_outputs_stay_whatever_the_size_of_weights_and_the_groups(
    seed: int, size: float, groups: int, rescale: bool
) -> None:
    graph = residual(seed, size, groups)
    x = samples(graph, seed=seed)
    trainable = insert_batch_norms(graph, x, rescale=rescale)
    expected, found = outputs(graph, x), outputs(trainable, x)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
    for name in normed(trainable) - {"depthwise"}:
        weights = trainable.tensors[f"{name}_w"].value
        wanted = np.sqrt(2 / weights[0].size)
        rows = np.sqrt(np.square(weights.reshape(len(weights), -1)).mean(1))
        assert not rescale or np.allclose(rows, wanted, rtol=1e-4)
        assert rescale or np.array_equal(weights, graph.tensors[f"{name}_w"].value)


def test_statistics_are_those_of_the_data() -> None:
    """In training mode, with all the data as one batch, the network still computes the same."""
    graph = residual()
    x = samples(graph, 48)
    trainable = insert_batch_norms(graph, x, epsilon=1e-5)
    module = to_torch(trainable).train()
    with torch.no_grad():
        found = module.logits(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, outputs(graph, x), rtol=1e-3, atol=1e-3)


def test_activations_that_are_operators_of_their_own_and_linear_layers() -> None:
    net = Net((4, 4, 3))
    x = net.b.add(ops.Clip(RELU6), [net.conv(net.x, "one", 4)])
    x = net.b.add(ops.Unary(ops.UnaryKind.HARD_SWISH), [net.conv(x, "two", 4)])
    x = net.conv(net.conv(x, "linear", 4), "after", 4, ops.RELU)
    graph = net.finish(x)
    trainable = insert_batch_norms(graph, samples(graph), skip=("af*",))
    assert normed(trainable) == {"one", "two", "linear", "hidden"}
    same(graph, trainable, samples(graph))


def test_dead_and_constant_channels_are_no_obstacle() -> None:
    """Channel 0 has no weights, channel 1 is cut off by its bias: no variance behind the first, none of use later."""
    graph = residual()
    weights, bias = graph.tensors["first_w"].value.copy(), graph.tensors["first_b"].value.copy()
    weights[0], bias[1] = 0, -1000
    graph = graph.with_operators(
        graph.operators, [Tensor.constant("first_w", weights), Tensor.constant("first_b", bias)]
    )
    x = samples(graph)
    trainable = insert_batch_norms(graph, x)
    same(graph, trainable, x)
    module = to_torch(trainable).train()
    module.logits(torch.from_numpy(x)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("both", [True, False])
def test_shared_weights_stay_shared(both: bool) -> None:
    """They are scaled where every reader gets a batch norm; one that does not keeps them as they are."""
    net = Net((4, 4, 4))
    w = net.constant("w", 4, 3, 3, 4)
    x = net.x
    for name in ("one", "two"):
        attributes = ops.Conv2d(padding=SAME, activation=ops.RELU)
        x = net.b.add(attributes, [x, w, net.constant(f"{name}_b", 4)], name=name)
    graph = net.finish(x)
    trainable = insert_batch_norms(graph, samples(graph), skip=() if both else ("two",))
    readers = [o for o in trainable.operators if o.name in ("one", "two")]
    assert [o.inputs[1] for o in readers] == ["w", "w"]
    assert np.array_equal(trainable.tensors["w"].value, graph.tensors["w"].value) == (not both)
    same(graph, trainable, samples(graph))


def test_layers_that_have_a_normalisation_are_left_and_a_second_call_says_so() -> None:
    graph = residual()
    trainable = insert_batch_norms(graph, samples(graph))
    with pytest.raises(TinyoptError, match=r"no layer that takes a batch norm .*'first': it has a normalisation"):
        insert_batch_norms(trainable, samples(graph))


def test_data_without_labels_and_data_that_do_not_fit() -> None:
    graph = residual()
    x = samples(graph)
    one = insert_batch_norms(graph, Samples.from_array(x, graph))
    other = insert_batch_norms(graph, (x, np.zeros(len(x), np.int64)))
    assert all(np.array_equal(t.value, other.tensors[t.name].value) for t in one.constants())
    with pytest.raises(DataError, match="data for batch norms"):
        insert_batch_norms(graph, x[:, :, :, :2])
    with pytest.raises(TinyoptError, match="'conv9' fits no layer"):
        insert_batch_norms(graph, x, skip=("conv9",))
    with pytest.raises(ModelError, match="quantized"):
        insert_batch_norms(quantize(graph, Samples.from_array(x, graph)), x)


def test_a_network_that_has_no_batches_is_refused() -> None:
    b = GraphBuilder("flat")
    x = b.input("x", (4, 3), DType.FLOAT32)
    w = b.constant("w", np.ones((3, 4), np.float32))
    b.output(b.add(ops.MatMul(), [w, x]))
    with pytest.raises(ModelError, match="batches"):
        insert_batch_norms(b.build(), np.zeros((1, 4, 3), np.float32))


@pytest.mark.parametrize(
    ("model", "layers"), [("kws_ref_model_float32", 9), ("vww_96_float", 27), ("pretrainedResnet", 9)]
)
def test_official_networks_compute_the_same_with_their_batch_norms(model: str, layers: int) -> None:
    folder = Path(os.environ.get("TINYOPT_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
    path = folder / "mlperf-tiny" / f"{model}.tflite"
    if not path.is_file():
        pytest.skip(f"no benchmark data: '{path}' is absent (set TINYOPT_DATA)")
    graph = dequantize_graph(load(path))  # the keyword network has layers with run-time ranges
    x = np.abs(samples(graph, 16, scale=100.0 if "Resnet" in model else 0.5))
    trainable = insert_batch_norms(graph, x)
    assert len(normed(trainable)) == layers
    same(graph, trainable, x)
