"""Binary activations: layers that read signs, trained as the integers that run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.quantize.aware.conftest import stripes
from tests.quantize.aware.test_equality import samples_of, steps_apart
from tinyopt.board import load_board
from tinyopt.errors import DataError
from tinyopt.execute import Executor
from tinyopt.execute.float import run_batch
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.plan import make_plan
from tinyopt.quantize import Binary, Int8
from tinyopt.quantize.aware import QuantizationAware, convert_trained, prepare, train_aware
from tinyopt.quantize.aware.signs import layers_of_signs, with_signs
from tinyopt.train import TrainSettings

torch.set_num_threads(1)
IMAGES, LABELS = stripes(600)
SAME = ops.Padding(1, 1, 1, 1)


def network(seed: int = 0, *, norms: bool = True, pool: bool = False) -> Graph:
    """Convolutions ``first``, ``a``, ``b`` with ReLU, a dense layer ``c`` and the ``last`` one."""
    random = np.random.default_rng(seed)
    builder = GraphBuilder("signs")

    def weights(*shape: int) -> str:
        return builder.constant("w", (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("f4"))

    def layer(x: str, attributes: ops.Attributes, name: str, *shape: int, relu: bool = True) -> str:
        y = builder.add(attributes, [x, weights(*shape)], name=name)
        if norms:
            ones, zeros = np.ones(shape[0], np.float32), np.zeros(shape[0], np.float32)
            y = builder.add(ops.BatchNorm(1e-3), [y, *(builder.constant("n", v) for v in (ones, zeros, zeros, ones))])
        return builder.add(ops.Clip(), [y]) if relu else y

    x = builder.input("x", (1, 8, 8, 1), DType.FLOAT32)
    y = layer(x, ops.Conv2d((2, 2), SAME), "first", 16, 3, 3, 1)
    y = layer(y, ops.Conv2d(padding=SAME), "a", 40, 3, 3, 16)
    if pool:
        y = builder.add(ops.MaxPool2d((2, 2), (2, 2)), [y])
    y = layer(y, ops.Conv2d(), "b", 24, 1, 1, 40)
    y = builder.add(ops.Reshape((1, builder.tensor(y).size)), [y])
    y = layer(y, ops.FullyConnected(), "c", 32, builder.tensor(y).size)
    builder.output(layer(y, ops.FullyConnected(), "last", 4, 32, relu=False))
    return builder.build()


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators]


def test_a_pattern_leaves_out_the_edges_and_what_cannot_read_signs() -> None:
    graph = network()
    assert layers_of_signs(graph, ["*"]) == ("a", "b", "c")
    assert layers_of_signs(graph, ["b", "c"]) == ("b", "c")
    assert layers_of_signs(graph, ["last"]) == ("last",)
    with pytest.raises(DataError, match=r"called 'x\*'.*: a, b, c"):
        layers_of_signs(graph, ["x*"])
    with pytest.raises(DataError, match=r"\('b',\), not 'b'"):
        QuantizationAware(signs="b")  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", [False, True])
def test_signs_are_taken_in_front_of_a_relu(pool: bool) -> None:
    graph = network(norms=False, pool=pool)
    result = with_signs(graph, ["b", "c"])
    assert kinds(result).count("Sign") == 2
    assert kinds(result).count("Clip") == 2  # behind the first layer, and in front of the last
    x = np.random.default_rng(0).standard_normal((3, 8, 8, 1)).astype(np.float32)
    seen: dict[str, np.ndarray] = {}
    run_batch(result, {"x": x}, observe=lambda tensor, values: seen.__setitem__(tensor.name, values))
    for operator in result.operators:
        if operator.kind == "Sign":
            signs = seen[operator.outputs[0]]
            assert {-1.0, 1.0} == set(np.unique(signs))


def test_what_else_reads_a_relu_still_does() -> None:
    builder = GraphBuilder("residual")
    x = builder.input("x", (1, 4, 4, 8), DType.FLOAT32)
    w = builder.constant("w", np.random.default_rng(0).standard_normal((8, 1, 1, 8)).astype(np.float32))
    y = builder.add(ops.Conv2d(activation=ops.RELU), [x, w], name="one")
    z = builder.add(ops.Conv2d(), [y, w], name="two")
    builder.output(builder.add(ops.Binary(ops.BinaryKind.ADD), [y, z]))
    graph = builder.build()
    result = with_signs(graph, ["two"])
    assert sorted(kinds(result)) == ["Add", "Clip", "Conv2d", "Conv2d", "Sign"]
    values = np.random.default_rng(1).standard_normal((1, 4, 4, 8)).astype(np.float32)
    kept: dict[str, np.ndarray] = {}
    run_batch(result, {"x": values}, observe=lambda tensor, v: kept.__setitem__(tensor.name, v))
    wanted: dict[str, np.ndarray] = {}
    run_batch(graph, {"x": values}, observe=lambda tensor, v: wanted.__setitem__(tensor.name, v))
    np.testing.assert_allclose(kept[y], wanted[y], rtol=1e-6)


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("pool", [False, True])
def test_the_module_computes_what_the_integers_do(norms: bool, pool: bool) -> None:
    graph = network(norms=norms, pool=pool)
    module = prepare(graph, IMAGES[:64], QuantizationAware(signs=("*",)))
    assert [str(module.intent.weights[name]) for name in ("first", "a", "b", "c", "last")] == [
        "int8", "binary", "binary", "binary", "int8",
    ]  # fmt: skip
    apart = steps_apart(module, convert_trained(module), samples_of(graph, IMAGES[:12]))
    # A sum that ends within a rounding of zero may turn a sign, and what follows from it.
    assert max(float(d.mean()) for d in apart.values()) < 0.2
    assert max(float(d.mean()) for name, d in apart.items() if name.endswith("_sign")) < 0.02


def test_trained_signs_are_planned_as_bits_and_learn_the_task() -> None:
    settings = TrainSettings(epochs=4, batch_size=32, learning_rate=5e-3, seed=0)
    config = QuantizationAware(signs=("*",), overrides={"c": Int8()})
    result = train_aware(network(), (IMAGES, LABELS), None, config, settings, progress=False)
    assert isinstance(result.module.intent.weights["b"], Binary)
    quantized = result.graph
    run = Executor(quantized)
    x = quantized.tensors["x"]
    assert x.quantization is not None
    images, labels = stripes(100, seed=7)
    right = 0
    for image, label in zip(images, labels):
        (scores,) = run({"x": x.quantization.quantize(image[None], x.dtype)}).values()
        right += int(np.argmax(scores) == label)
    assert right >= 70
    plan = make_plan(quantized, load_board("mps2_an386"), objective="flash")
    used = [call.kernel.name for call in plan.calls]
    assert "xnor_conv2d_bits_ref" in used  # layer a, whose results are signs for layer b
    assert any("fully_connected" in name for name in used)  # layer c keeps int8 weights
