"""The module that is trained computes what the integer graph computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.optimise.networks import networks
from tests.quantize.aware.conftest import network, stripes
from tinyopt.data import Samples
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph
from tinyopt.quantize import Binary, Clustered, Int4, Int8, PostTraining, Ternary, WeightFormat, quantize
from tinyopt.quantize.aware import (
    ActivationRanges,
    AwareModule,
    Calibrated,
    LearnedClipping,
    LearnedStep,
    Observed,
    QuantizationAware,
    convert_trained,
    prepare,
)

torch.set_num_threads(1)
IMAGES, _ = stripes(64)
FORMATS = (Int8(), Int4(), Int4(group=4), Ternary(), Binary(), Clustered(8))


def steps_apart(module: AwareModule, quantized: Graph, samples: Samples) -> dict[str, Array]:
    """Activation → how many steps the two differ by, for all samples together."""
    result: dict[str, list[Array]] = {}
    seen: dict[str, Array] = {}
    run = Executor(quantized, observe=lambda tensor, values: seen.__setitem__(tensor.name, values))
    for sample in samples:
        integers = {}
        for name, values in sample.items():
            q = quantized.tensors[name].quantization
            integers[name] = values if q is None else q.quantize(values, quantized.tensors[name].dtype)
        run(integers)
        names = [n for n in module.activation_hooks if n in seen and quantized.tensors[n].quantization is not None]
        with torch.no_grad():
            real = module.eval().features([torch.from_numpy(v) for v in sample.values()], names)
        for name in names:
            t = quantized.tensors[name]
            wanted = np.rint(real[name].numpy() / np.float32(t.scale)) + t.zero_point
            result.setdefault(name, []).append(np.abs(wanted - seen[name]).reshape(-1))
    return {name: np.concatenate(parts) for name, parts in result.items()}


def samples_of(graph: Graph, images: Array) -> Samples:
    return Samples.from_array(images, graph)


@pytest.mark.parametrize("train_batch_norm", [True, False])
@pytest.mark.parametrize("weights", FORMATS, ids=str)
def test_every_activation_equals_the_integers(weights: WeightFormat, train_batch_norm: bool) -> None:
    graph = network()
    module = prepare(graph, IMAGES, QuantizationAware(weights, edges=None, train_batch_norm=train_batch_norm))
    assert module.intent.notes == ()
    apart = steps_apart(module, convert_trained(module), samples_of(graph, IMAGES[:12]))
    assert {"x", "sum", "pooled", "scores", "probabilities"} <= set(apart)
    assert max(float(d.max()) for d in apart.values()) <= 1
    assert max(float(d.mean()) for d in apart.values()) < 0.004


@pytest.mark.parametrize("weights", FORMATS, ids=str)
def test_weights_that_follow_from_the_real_ones_at_every_step_equal_the_integers_too(weights: WeightFormat) -> None:
    graph = network(1)
    module = prepare(graph, IMAGES, QuantizationAware(weights, learned_weight_scales=False))
    assert all(q.ratio is None for q in module.weight_quantizers().values())
    apart = steps_apart(module, convert_trained(module), samples_of(graph, IMAGES[:6]))
    assert max(float(d.mean()) for d in apart.values()) < 0.004


@pytest.mark.parametrize("ranges", [LearnedStep(), LearnedClipping(), Observed(0.2), Calibrated()], ids=repr)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_trained_ranges_arrive_as_they_are(ranges: ActivationRanges, symmetric: bool, per_channel: bool) -> None:
    graph = network(2)
    config = QuantizationAware(
        activations=ranges, symmetric=symmetric, per_channel=per_channel, learned_weight_scales=per_channel
    )
    module = prepare(graph, IMAGES, config)
    module.train()
    optimiser = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module.logits(torch.from_numpy(IMAGES)), torch.arange(64) % 4).backward()
        optimiser.step()
    quantized = convert_trained(module)
    assert "notes" not in quantized.metadata
    for members in module.intent.shared:
        for name in members:
            tensor = quantized.tensors[name]
            form = module.quantizer(name).format()
            assert (tensor.scale, tensor.zero_point) == (form.quantization.scale, form.quantization.zero_point)
            assert not symmetric or name == "probabilities" or tensor.zero_point == 0
    apart = steps_apart(module, quantized, samples_of(graph, IMAGES[:6]))
    assert np.concatenate(list(apart.values())).mean() < 0.004


def test_before_any_training_the_result_is_that_of_post_training_quantization() -> None:
    graph = network()
    ours = convert_trained(prepare(graph, IMAGES, QuantizationAware(train_batch_norm=False)))
    theirs = quantize(graph, IMAGES, PostTraining())
    assert [o.name for o in ours.operators] == [o.name for o in theirs.operators]
    for operator, other in zip(ours.operators, theirs.operators):
        for a, b in zip((*ours.ins(operator), *ours.outs(operator)), (*theirs.ins(other), *theirs.outs(other))):
            if not a.is_constant:
                assert (a.scale, a.zero_point) == (b.scale, b.zero_point)
            assert a.data is None or np.abs(a.value.astype(int) - b.value).max() <= 1


@settings(max_examples=25)
@given(networks(quantized=False))
def test_networks_of_all_kinds_of_operators_can_be_prepared_and_converted(graph: Graph) -> None:
    random = np.random.default_rng(0)
    arrays = {n: random.standard_normal((12, *graph.tensors[n].shape)).astype(np.float32) for n in graph.inputs}
    samples = Samples.from_arrays(arrays, graph)
    module = prepare(graph, samples).eval()
    apart = steps_apart(module, convert_trained(module), samples.limit(2))
    assert np.mean([d.mean() for d in apart.values()] or [0.0]) < 0.5


def test_float_inputs_and_outputs() -> None:
    module = prepare(network(), IMAGES, QuantizationAware(float_io=True)).eval()
    quantized = convert_trained(module)
    assert quantized.tensors["x"].dtype is DType.FLOAT32
    run = Executor(quantized)
    for image in IMAGES[:5]:
        (got,) = run({"x": image[None]}).values()
        with torch.no_grad():
            assert np.abs(got - module(torch.from_numpy(image[None])).numpy()).max() <= 1 / 256


def test_a_copy_is_a_module_of_its_own() -> None:
    module = prepare(network(), IMAGES)
    other = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    x = torch.from_numpy(IMAGES[:4])
    assert not torch.equal(module.eval()(x), other.eval()(x))
    apart = steps_apart(other, convert_trained(other), samples_of(network(), IMAGES[:4]))
    assert np.concatenate(list(apart.values())).mean() < 0.004
