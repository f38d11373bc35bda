"""A float graph as a torch module computes what the float executor computes, trains, and comes back."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kernels import cases
from tinyopt.bridge import GraphModule, dequantize_graph, to_graph, to_torch
from tinyopt.errors import DataError, GraphError, ModelError
from tinyopt.execute import Executor
from tinyopt.execute.float import run_batch
from tinyopt.graph import DType, Graph, GraphBuilder, dump, ops
from tinyopt.graph.ops import Attributes, Padding
from tinyopt.graph.types import Array
from tinyopt.importers import load
from tinyopt.optimise import optimise

CORPUS = Path(__file__).resolve().parent.parent / "importers" / "corpus"
FLOAT_MODELS = ["pretrainedResnet", "kws_ref_model_float32", "vww_96_float", "ad01_fp32"]


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def outputs(module: GraphModule, inputs: dict[str, Array]) -> dict[str, Array]:
    with torch.no_grad():
        values = [torch.from_numpy(inputs[name]) for name in module.graph.inputs]
        return {name: value.numpy() for name, value in module.features(values, module.graph.outputs).items()}


def network(*, batch_norm: bool = True) -> Graph:
    """Convolution, batch norm, activation, depthwise, residual sum, mean, dense layer, softmax."""
    b = GraphBuilder("network")
    x = b.input("x", (1, 6, 6, 3), DType.FLOAT32)
    w = b.constant("first.weight", floats(8, 3, 3, 3, seed=1))
    y = b.add(ops.Conv2d(padding=Padding(1, 1, 1, 1)), [x, w], output="first")
    if batch_norm:
        constants = [np.ones(8), np.zeros(8), np.full(8, 0.25), np.full(8, 2.0)]
        names = ["gamma", "beta", "mean", "variance"]
        parts = [b.constant(n, c.astype(np.float32)) for n, c in zip(names, constants)]
        y = b.add(ops.BatchNorm(), [y, *parts], output="normed")
    y = b.add(ops.Clip(), [y], output="relu")
    d = b.add(
        ops.DepthwiseConv2d(padding=Padding(1, 1, 1, 1)),
        [y, b.constant("half", floats(1, 3, 3, 8, seed=2)), b.constant("depthwise/bias", floats(8))],
        output="depthwise",
    )
    y = b.add(ops.Binary(ops.BinaryKind.ADD, ops.RELU), [y, d], output="sum")
    y = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [y], output="pooled")
    y = b.add(ops.FullyConnected(), [y, b.constant("dense", floats(4, 8, seed=3))], output="scores")
    b.output(b.add(ops.Softmax(), [y], output="probabilities"))
    return b.build()


def all_cases() -> dict[str, st.SearchStrategy[Graph]]:
    names = [m.name for m in pkgutil.iter_modules(cases.__path__) if m.name != "signs"]  # bits have no float form
    modules = [importlib.import_module(f"{cases.__name__}.{name}") for name in names]
    return {name: strategy for module in modules for name, strategy in module.CASES.items()}


SWEPT: set[type[Attributes]] = set()


def random_inputs(graph: Graph, seed: int, count: int | None = None) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    inputs = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        shape = tensor.shape if count is None else (count, *tensor.shape[1:])
        is_float = tensor.dtype is DType.FLOAT32
        values = random.standard_normal(shape) if is_float else np.zeros(shape)
        inputs[name] = values.astype(tensor.dtype.numpy)
    return inputs


def assert_close(got: dict[str, Array], expected: dict[str, Array], graph: Graph) -> None:
    for name in graph.outputs:
        np.testing.assert_allclose(got[name], expected[name], 1e-5, 1e-5, equal_nan=True, err_msg=dump(graph))


@pytest.mark.parametrize("case", sorted(all_cases()))
def test_the_module_of_one_operator_is_the_float_executor(case: str) -> None:
    @settings(max_examples=5)
    @given(all_cases()[case], st.integers(0, 2**31))
    def check(graph: Graph, seed: int) -> None:
        graph = dequantize_graph(graph)
        SWEPT.update(type(o.attributes) for o in graph.operators)
        module = to_torch(graph).eval()
        inputs = random_inputs(graph, seed)
        with np.errstate(all="ignore"):
            assert_close(outputs(module, inputs), Executor(graph)(inputs), graph)
            if all(graph.tensors[name].shape[:1] == (1,) for name in graph.inputs):
                batch = random_inputs(graph, seed, 3)
                assert_close(outputs(module, batch), run_batch(graph, batch), graph)
        assert to_graph(module).tensors == graph.tensors

        values = module.features([torch.from_numpy(x) for x in inputs.values()], graph.outputs)
        results = [value for value in values.values() if value.requires_grad]
        if results:
            sum((value.sum() for value in results), torch.zeros(())).backward()
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None, f"{name} of\n{dump(graph)}"

    check()


def test_every_operator_kind_was_among_them() -> None:
    kinds = {k for k in vars(ops).values() if isinstance(k, type) and issubclass(k, Attributes) and k is not Attributes}
    kinds = {k for k in kinds if not issubclass(k, ops.DynamicRange)}  # they round to integers at run time
    if SWEPT:
        assert kinds - SWEPT == {ops.Quantize, ops.Dequantize, ops.PackSigns, ops.XnorConv2d, ops.OrPool2d}


@pytest.mark.data
@pytest.mark.parametrize("model", FLOAT_MODELS)
def test_the_official_float_networks_are_the_same_as_modules(model: str, mlperf: Path) -> None:
    for graph in (imported := dequantize_graph(load(mlperf / f"{model}.tflite")), optimise(imported)):
        module = to_torch(graph).eval()
        assert module.stackable
        x = floats(5, *graph.tensors[graph.inputs[0]].shape[1:])
        expected = run_batch(graph, {graph.inputs[0]: x})
        for name, got in outputs(module, {graph.inputs[0]: x}).items():
            np.testing.assert_allclose(got, expected[name], rtol=1e-5, atol=1e-5)
        assert to_graph(module).tensors == graph.tensors


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(6 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.body(x).flatten(1))
        return result


def test_an_imported_torch_network_gives_its_own_results() -> None:
    torch.manual_seed(0)
    original = Small().eval()
    graph = load(torch.export.export(original, (torch.randn(1, 2, 8, 8),)))
    module = to_torch(graph).eval()
    images = torch.randn(7, 2, 8, 8)
    channels_last = graph.tensors[graph.inputs[0]].shape != (1, 2, 8, 8)
    given_inputs = images.permute(0, 2, 3, 1) if channels_last else images
    torch.testing.assert_close(module(given_inputs), original(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("file", ["image.onnx", "recurrent.onnx", "convolutions_f32.tflite", "lstm_f32.tflite"])
def test_imported_files_are_the_same_as_modules(file: str) -> None:
    graph = load(CORPUS / file)
    module = to_torch(graph).eval()
    inputs = {name: floats(*graph.tensors[name].shape) for name in graph.inputs}
    expected = Executor(graph)(inputs)
    for name, got in outputs(module, inputs).items():
        np.testing.assert_allclose(got, expected[name], rtol=1e-5, atol=1e-5)
    assert to_graph(module).tensors == graph.tensors


def test_trained_values_come_back_in_the_same_structure() -> None:
    graph = network()
    module = to_torch(graph)
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    x, y = torch.from_numpy(floats(16, 6, 6, 3)), torch.arange(16) % 4
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(module.logits(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    trained = to_graph(module)
    assert trained.operators == graph.operators
    changed = {name for name in graph.tensors if trained.tensors[name] is not graph.tensors[name]}
    assert changed == {"first.weight", "gamma", "beta", "mean", "variance", "half", "depthwise/bias", "dense"}
    module.eval()
    expected = run_batch(trained, {"x": x.numpy()})["probabilities"]
    assert np.array_equal(outputs(module, {"x": x.numpy()})["probabilities"], expected)
    again = to_graph(to_torch(trained))
    assert all(again.tensors[name] is trained.tensors[name] for name in trained.tensors)


def test_names_that_torch_forbids_are_written_another_way() -> None:
    module = to_torch(network())
    assert module.attribute("first.weight") == "first_weight" and module.attribute("half") == "half_"
    assert set(module.parameter_names) == {"first.weight", "gamma", "beta", "half", "depthwise/bias", "dense"}
    with pytest.raises(GraphError, match="no constant 'x'"):
        module.attribute("x")


def test_running_statistics_follow_the_batches() -> None:
    x = torch.from_numpy(floats(32, 6, 6, 3))
    module = to_torch(network())
    module.batch_norm_momentum = 0.5
    module(x)
    first = module.eval().features(x, ["first"])["first"]
    expected_mean = 0.5 * 0.25 + 0.5 * first.mean((0, 1, 2))
    expected_variance = 0.5 * 2.0 + 0.5 * first.var((0, 1, 2))
    torch.testing.assert_close(module.constant("mean"), expected_mean.detach())
    torch.testing.assert_close(module.constant("variance"), expected_variance.detach())


def test_frozen_statistics_are_used_and_kept() -> None:
    x = torch.from_numpy(floats(4, 6, 6, 3))
    module = to_torch(network())
    module.batch_norm_momentum = None
    training = module(x)
    torch.testing.assert_close(training, module.eval()(x))
    assert float(module.constant("mean")[0]) == 0.25


class Mask(nn.Module):
    def __init__(self, keep: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.keep


def test_a_parametrized_constant_is_seen_by_the_network_and_by_the_graph() -> None:
    module = to_torch(network())
    keep = torch.zeros(4, 8)
    keep[:, :3] = 1
    module.parametrize("dense", Mask(keep))
    (behind,) = [p for name, p in module.named_parameters() if "dense" in name]
    module.logits(torch.from_numpy(floats(2, 6, 6, 3))).sum().backward()
    assert behind.grad is not None and (behind.grad[:, 3:] == 0).all() and (behind.grad[:, :3] != 0).any()
    exported = to_graph(module).tensors["dense"].value
    assert (exported[:, 3:] == 0).all() and (exported[:, :3] != 0).all()
    module.remove_parametrizations("dense")
    assert np.array_equal(to_graph(module).tensors["dense"].value, exported)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value * self.factor


def test_an_activation_can_be_transformed() -> None:
    x = torch.from_numpy(floats(3, 6, 6, 3))
    module = to_torch(network()).eval()
    plain = module.logits(x)
    module.activation_hooks["scores"] = lambda value: value + 1
    torch.testing.assert_close(module.logits(x), plain + 1)
    module.activation_hooks["scores"] = Scale()
    torch.testing.assert_close(module.logits(x), plain * 2)
    assert list(module.activation_hooks) == ["scores"]
    assert "activation_hooks.scores.factor" in module.state_dict()
    clone = copy.deepcopy(module)
    with torch.no_grad():
        clone.activation_hooks["scores"].factor.fill_(3)  # type: ignore[union-attr]
    torch.testing.assert_close(module.logits(x), plain * 2)
    torch.testing.assert_close(clone.logits(x), plain * 3)
    del module.activation_hooks["scores"]
    torch.testing.assert_close(module.logits(x), plain)
    with pytest.raises(GraphError, match="no activation 'dense'"):
        module.activation_hooks["dense"] = Scale()


def test_inputs_are_activations_too() -> None:
    x = torch.from_numpy(floats(3, 6, 6, 3))
    module = to_torch(network()).eval()
    expected = module(x / 2)
    module.activation_hooks["x"] = lambda value: value / 2
    torch.testing.assert_close(module(x), expected)


def test_features_are_the_activations_and_carry_gradients() -> None:
    x = torch.from_numpy(floats(3, 6, 6, 3))
    module = to_torch(network()).eval()
    seen: dict[str, Array] = {}
    run_batch(module.graph, {"x": x.numpy()}, observe=lambda t, a: seen.update({t.name: a}))
    taps = module.features(x, ["relu", "pooled"])
    for name, value in taps.items():
        np.testing.assert_allclose(value.detach().numpy(), seen[name], rtol=1e-5, atol=1e-6)
    taps["relu"].sum().backward()
    assert module.constant("first.weight").grad is not None and module.constant("dense").grad is None
    with pytest.raises(GraphError, match="no tensor 'nothing'"):
        module.features(x, ["nothing"])


def test_logits_stand_before_the_last_softmax() -> None:
    module = to_torch(network()).eval()
    x = torch.from_numpy(floats(3, 6, 6, 3))
    torch.testing.assert_close(torch.softmax(module.logits(x), -1), module(x))


def test_logits_are_found_behind_a_reshape() -> None:
    b = GraphBuilder("squeezed")
    y = b.add(ops.Softmax(beta=2.0), [b.input("x", (1, 1, 1, 5), DType.FLOAT32)])
    b.output(b.add(ops.Reshape((1, 5)), [y]))
    module = to_torch(b.build())
    x = torch.from_numpy(floats(3, 1, 1, 5))
    torch.testing.assert_close(module.logits(x), 2 * x.reshape(3, 5))
    torch.testing.assert_close(torch.softmax(module.logits(x), -1), module(x))


def test_graphs_that_mix_the_batch_axis_run_sample_by_sample() -> None:
    b = GraphBuilder("mixing")
    y = b.add(ops.Reshape((2, 3)), [b.input("x", (1, 6), DType.FLOAT32)])
    y = b.add(ops.FullyConnected(), [y, b.constant("w", floats(4, 3))])
    b.output(b.add(ops.Reshape((1, 8)), [y]))
    graph = b.build()
    module = to_torch(graph)
    x = floats(5, 6)
    assert not module.stackable
    (expected,) = run_batch(graph, {"x": x}).values()
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-6)


def test_inputs_that_do_not_fit_are_refused() -> None:
    module = to_torch(network())
    with pytest.raises(DataError, match=r"input 'x' must be \[batch, 6, 6, 3\], got \[2, 3, 6, 6\]"):
        module(torch.zeros(2, 3, 6, 6))
    with pytest.raises(DataError, match=r"has 1 inputs \(x\), got 2"):
        module(torch.zeros(1, 6, 6, 3), torch.zeros(1))


def streaming() -> Graph:
    b = GraphBuilder("streaming")
    x = b.input("x", (1, 4), DType.FLOAT32)
    memory = b.state("memory", np.full((1, 4), 0.5, np.float32))
    mixed = b.add(ops.FullyConnected(), [memory, b.constant("w", floats(4, 4, seed=5) / 4)])
    y = b.add(ops.Binary(ops.BinaryKind.ADD), [x, mixed], output="y")
    b.assign("memory", y)
    b.output(y)
    return b.build()


def test_a_streaming_network_starts_every_sample_from_its_initial_state() -> None:
    graph = streaming()
    x = floats(3, 4)
    expected = np.concatenate([Executor(graph)({"x": sample[None]})["y"] for sample in x])
    np.testing.assert_allclose(outputs(to_torch(graph), {"x": x})["y"], expected, rtol=1e-5)


def test_a_streaming_network_is_trained_on_sequences() -> None:
    graph = streaming()
    module = to_torch(graph)
    x = floats(2, 5, 4)
    y = module.sequence(torch.from_numpy(x))
    assert isinstance(y, torch.Tensor) and y.shape == (2, 5, 4)
    for sample, result in zip(x, y.detach().numpy()):
        executor = Executor(graph)
        for step, expected in zip(sample, result):
            np.testing.assert_allclose(executor({"x": step[None]})["y"][0], expected, rtol=1e-4, atol=1e-6)
    y[:, -1].sum().backward()
    gradient = module.constant("w").grad
    assert gradient is not None and (gradient != 0).all()
    assert to_graph(module).states == graph.states
    with pytest.raises(DataError, match="as many steps"):
        module.sequence(torch.zeros(3))


def test_graphs_and_modules_can_be_sent_to_another_process() -> None:
    module = to_torch(network()).eval()
    received = pickle.loads(pickle.dumps(module))
    x = torch.from_numpy(floats(2, 6, 6, 3))
    torch.testing.assert_close(received(x), module(x))
    assert str(received.graph) == str(module.graph)
    assert not received.graph.tensors["dense"].value.flags.writeable


def test_values_that_are_no_numbers_do_not_come_back() -> None:
    module = to_torch(network())
    with torch.no_grad():
        module.constant("dense")[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinite values in 'dense'"):
        to_graph(module)
