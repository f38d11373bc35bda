"""A binary network that learned handwritten digits, trained here or imported from ONNX, on emulated cores."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinyopt.board import load_board
from tinyopt.data import Samples
from tinyopt.graph import Array, DType, Graph, GraphBuilder, ops
from tinyopt.importers import load
from tinyopt.importers.signs import zero_is_positive
from tinyopt.pipeline import reference_outputs, run_on_board
from tinyopt.plan import make_plan
from tinyopt.quantize import PostTraining, quantize
from tinyopt.quantize.aware import QuantizationAware, train_aware
from tinyopt.report import predictions
from tinyopt.train import TrainSettings

pytestmark = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="needs qemu-system-arm and arm-none-eabi-gcc",
)
BOARDS = ("mps2_an386", "mps2_m0")
Data = tuple[Array, Array]


@pytest.fixture(scope="module")
def digits() -> tuple[Data, Data]:
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    x = (bunch.images[..., None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    first, last = order[:1200], order[1200:]
    labels = bunch.target.astype(np.int64)
    return (x[first], labels[first]), (x[last], labels[last])


def network() -> Graph:
    """8x8 digits: a first layer, two 3x3 layers with a max-pooling in between, and a last layer."""
    random = np.random.default_rng(0)
    builder = GraphBuilder("binary_digits")

    def layer(x: str, attributes: ops.Attributes, name: str, *shape: int) -> str:
        values = (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        return builder.add(attributes, [x, builder.constant("w", values)], name=name)

    def normed(x: str, channels: int) -> str:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        x = builder.add(ops.BatchNorm(1e-3), [x, *(builder.constant("n", v) for v in (ones, zeros, zeros, ones))])
        return builder.add(ops.Clip(), [x])

    same = ops.Padding(1, 1, 1, 1)
    x = builder.input("x", (1, 8, 8, 1), DType.FLOAT32)
    x = normed(layer(x, ops.Conv2d(padding=same), "first", 32, 3, 3, 1), 32)
    x = normed(layer(x, ops.Conv2d(padding=same), "a", 64, 3, 3, 32), 64)
    x = builder.add(ops.MaxPool2d((2, 2), (2, 2)), [x])
    x = normed(layer(x, ops.Conv2d(padding=same), "b", 64, 3, 3, 64), 64)
    x = builder.add(ops.Reshape((1, 16 * 64)), [x])
    builder.output(layer(x, ops.FullyConnected(), "last", 10, 16 * 64))
    return builder.build()


@pytest.fixture(scope="module")
def trained(digits: tuple[Data, Data]) -> Graph:
    settings = TrainSettings(epochs=5, batch_size=32, learning_rate=5e-3, seed=0)
    return train_aware(network(), digits[0], None, QuantizationAware(signs=("*",)), settings, progress=False).graph


def samples_of(graph: Graph, data: Data, count: int) -> Samples:
    (name,) = graph.inputs
    tensor = graph.tensors[name]
    values = data[0][:count, None].reshape(count, *tensor.shape)
    if tensor.quantization is not None:
        values = tensor.quantization.quantize(values, tensor.dtype)
    return Samples({name: values}, data[1][:count], "digits")


def accuracy(graph: Graph, data: Data, count: int) -> float:
    samples = samples_of(graph, data, count)
    outputs = reference_outputs(graph, samples)
    return float(np.mean(predictions(outputs, graph.tensors[graph.outputs[0]]) == samples.labels))


def assert_runs_as_computed(graph: Graph, data: Data) -> None:
    """The outputs of the firmware are the executor's, on a core with and without the DSP extension."""
    samples = samples_of(graph, data, 6)
    for name in BOARDS:
        result = run_on_board(graph, load_board(name), samples)
        assert (result.report.mismatches, result.report.exact) == (0, True)


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators if operator.kind != "Reshape"]


def test_a_network_trained_here_runs_on_bits(trained: Graph, digits: tuple[Data, Data]) -> None:
    plan = make_plan(trained, load_board("mps2_an386"))
    assert kinds(plan.graph)[1:5] == ["PackSigns", "XnorConv2d", "OrPool2d", "XnorConv2d"]
    assert accuracy(trained, digits[1], 200) > 0.9
    assert_runs_as_computed(trained, digits[1])


def exported(random: np.random.Generator) -> onnx.ModelProto:
    """Such a network as a binary framework exports it: signs of latent weights, Sign of ONNX, batch norms."""
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, values: Array) -> str:
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(kind: str, *inputs: str, **attributes: object) -> str:
        output = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def normed(x: str, channels: int, spread: float) -> str:
        gamma = random.uniform(0.5, 1.5, channels) * random.choice([-1, 1], channels)
        values = (gamma, 0.3 * random.standard_normal(channels), np.zeros(channels), np.full(channels, spread))
        return node("BatchNormalization", x, *(constant(f"n{len(constants)}", v) for v in values))

    def binary(x: str, outputs: int, inputs: int) -> str:
        latent = constant(f"latent{len(constants)}", random.standard_normal((outputs, inputs, 3, 3)))
        return node("Conv", node("Sign", x), node("Sign", latent), pads=[1, 1, 1, 1])

    x = node("Conv", "x", constant("first", 0.3 * random.standard_normal((32, 1, 3, 3))), pads=[1, 1, 1, 1])
    x = normed(binary(normed(x, 32, 1.0), 64, 32), 64, 288.0)
    x = node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = normed(binary(x, 64, 64), 64, 576.0)
    x = node("Gemm", node("Flatten", x), constant("last", 0.05 * random.standard_normal((10, 1024))), transB=1)
    graph = helper.make_graph(
        nodes,
        "exported",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 8, 8))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, 10))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_imported_network_runs_on_bits(digits: tuple[Data, Data]) -> None:
    graph = load(exported(np.random.default_rng(3)).SerializeToString(), name="exported")
    assert kinds(graph).count("Signum") == 2  # ONNX's sign of zero is zero, and stays so unless it is given up
    calibration = Samples({graph.inputs[0]: digits[0][0][:32].reshape(32, 1, 1, 8, 8)}, None, "digits")
    exact = quantize(graph, calibration, PostTraining(keep_binary=True))
    plan = make_plan(exact, load_board("mps2_an386"))
    assert "XnorConv2d" not in kinds(plan.graph)
    bits = quantize(zero_is_positive(graph), calibration, PostTraining(keep_binary=True))
    plan = make_plan(bits, load_board("mps2_an386"))
    assert kinds(plan.graph).count("XnorConv2d") == 2 and "OrPool2d" in kinds(plan.graph)
    for form in (exact, bits):
        assert_runs_as_computed(form, digits[1])
