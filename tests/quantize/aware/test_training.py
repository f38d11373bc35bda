"""Training for integers: it wins back what rounding lost, keeps what it should, and goes on after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.quantize.aware.conftest import network, stripes
from tinyopt.bridge import to_torch
from tinyopt.compress.distill import DistillSettings
from tinyopt.errors import DataError, ModelError, TrainingError
from tinyopt.execute import Executor
from tinyopt.graph import Array, Graph, ops
from tinyopt.quantize import Binary, Clustered, Int4, Int8, PostTraining, Ternary, WeightFormat, quantize
from tinyopt.quantize.aware import (
    Calibrated,
    FreezeAfter,
    LearnedClipping,
    LearnedStep,
    Observed,
    QuantizationAware,
    convert_trained,
    parameter_groups,
    prepare,
    quantize_aware,
    train_aware,
)
from tinyopt.train import Callback, EpochLog, Position, TrainSettings, fit

torch.set_num_threads(1)
DATA, TEST = stripes(480), stripes(120, seed=1)
SETTINGS = TrainSettings(epochs=4, batch_size=32, learning_rate=0.005, restore_best=False)


def accuracy(quantized: Graph) -> float:
    """Top-1 of the integer executor on the test images."""
    run, q = Executor(quantized), quantized.tensors["x"].quantization
    assert q is not None
    guesses = [
        next(iter(run({"x": q.quantize(x[None], quantized.tensors["x"].dtype)}).values())).argmax() for x in TEST[0]
    ]
    return float((np.array(guesses) == TEST[1]).mean())


def layer_weights(quantized: Graph) -> dict[str, Array]:
    kinds = (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected)
    return {o.name: quantized.ins(o)[1].value for o in quantized.operators if isinstance(o.attributes, kinds)}


@pytest.mark.parametrize("weights", [Ternary(), Binary(), Int4()], ids=str)
def test_training_wins_back_what_rounding_lost(trained: Graph, weights: WeightFormat) -> None:
    before = accuracy(quantize(trained, DATA[0], PostTraining(weights=weights, edges=None)))
    after = accuracy(quantize_aware(trained, DATA, None, QuantizationAware(weights, edges=None), SETTINGS))
    wanted = accuracy(quantize(trained, DATA[0]))
    assert wanted > 0.9
    assert after >= before
    assert after > wanted - 0.05


@pytest.mark.parametrize("ranges", [LearnedStep(), LearnedClipping(), Observed(), Calibrated()], ids=repr)
def test_all_ways_to_find_ranges_train(trained: Graph, ranges: Calibrated) -> None:
    result = train_aware(trained, DATA, TEST, QuantizationAware(activations=ranges), replace(SETTINGS, epochs=1))
    assert result.training.history[-1].validation_accuracy is not None
    assert result.training.history[-1].validation_accuracy > 0.9
    assert accuracy(result.graph) == pytest.approx(result.training.history[-1].validation_accuracy, abs=0.01)
    steps = {m[0]: result.module.quantizer(m[0]).format().quantization.scale for m in result.module.intent.shared}
    before = prepare(trained, DATA[0][:64], QuantizationAware(activations=ranges))
    moved = [before.quantizer(name).format().quantization.scale != step for name, step in steps.items()]
    if not isinstance(ranges, Calibrated):
        assert any(moved)


@pytest.mark.parametrize(
    ("weights", "values"), [(Int8(), 255), (Int4(), 16), (Ternary(), 3), (Binary(), 2), (Clustered(4), 4)], ids=str
)
def test_weights_have_the_values_of_their_format(trained: Graph, weights: WeightFormat, values: int) -> None:
    config = QuantizationAware(weights, edges=Int8(), overrides={"pointwise": Int4()})
    quantized = quantize_aware(trained, DATA, None, config, replace(SETTINGS, epochs=1))
    found = layer_weights(quantized)
    assert len(np.unique(found["depthwise"])) <= values
    assert found["pointwise"].min() >= -8 and found["pointwise"].max() <= 7
    assert np.abs(found["first"]).max() > 8 and np.abs(found["scores"]).max() > 8


def test_pruned_weights_stay_zero(trained: Graph) -> None:
    name = next(o for o in trained.operators if o.name == "pointwise").inputs[1]
    weights = trained.tensors[name].value.copy()
    weights[np.abs(weights) < np.quantile(np.abs(weights), 0.5)] = 0
    pruned = replace(trained, tensors={**trained.tensors, name: replace(trained.tensors[name], data=weights)})
    found = layer_weights(quantize_aware(pruned, DATA, None, None, replace(SETTINGS, epochs=1)))["pointwise"]
    assert (found[weights == 0] == 0).all()
    assert (found != 0).mean() > 0.4
    free = quantize_aware(pruned, DATA, None, QuantizationAware(keep_zeros=False), replace(SETTINGS, epochs=1))
    assert (layer_weights(free)["pointwise"][weights == 0] != 0).any()


def test_ranges_and_batch_norms_freeze_when_they_should(trained: Graph) -> None:
    module = prepare(trained, DATA[0][:64], QuantizationAware(activations=Observed(0.5)))
    seen: list[tuple[float, float]] = []

    class Watch(Callback):
        def on_epoch_end(self, position: Position, log: EpochLog) -> None:
            scale = module.quantizer("sum").format().quantization.scale
            norm = next(o for o in module.graph.operators if isinstance(o.attributes, ops.BatchNorm))
            seen.append((scale, float(module.constant(norm.inputs[3]).sum())))

    callbacks = [FreezeAfter(0.25, 0.5), Watch()]
    fit(module, DATA, None, SETTINGS, callbacks=callbacks, parameters=parameter_groups(module, SETTINGS))
    scales, means = zip(*seen)
    assert scales[0] != scales[1] == scales[2] == scales[3]
    assert means[0] == means[1] == means[2]
    assert not any(q.ratio.requires_grad for q in module.weight_quantizers().values() if q.ratio is not None)


def test_an_interrupted_run_ends_with_the_same_integers(trained: Graph, tmp_path: Path) -> None:
    config = QuantizationAware(Ternary(), freeze_batch_norm=0.25, freeze_ranges=0.5)

    class Interrupt(Callback):
        def on_step_end(self, position: Position) -> None:
            if position.step == 35:
                raise KeyboardInterrupt

    whole = quantize_aware(trained, DATA, None, config, SETTINGS, callbacks=[Callback()])
    with pytest.raises(KeyboardInterrupt):
        quantize_aware(trained, DATA, None, config, SETTINGS, callbacks=[Interrupt()], folder=tmp_path)
    resumed = quantize_aware(trained, DATA, None, config, SETTINGS, callbacks=[Callback()], folder=tmp_path)
    assert [t.name for t in whole.tensors.values()] == [t.name for t in resumed.tensors.values()]
    for a, b in zip(whole.tensors.values(), resumed.tensors.values()):
        assert a.quantization == b.quantization
        assert a.data is None or np.array_equal(a.value, b.value)


def test_a_training_loop_of_ones_own(trained: Graph) -> None:
    module = prepare(to_torch(trained), DATA[0][:100], QuantizationAware(Int4())).train()
    optimiser = torch.optim.AdamW(parameter_groups(module, SETTINGS), 0.003)
    for start in range(0, 480, 32):
        x, y = (torch.from_numpy(part[start : start + 32]) for part in DATA)
        loss = torch.nn.functional.cross_entropy(module.logits(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert accuracy(convert_trained(module.eval())) > 0.9


def test_batch_norms_without_a_layer_of_their_own_are_folded_first() -> None:
    graph = network()
    first = next(o for o in graph.operators if o.name == "first")
    graph = graph.with_operators(graph.operators, outputs=(*graph.outputs, first.outputs[0]))
    module = prepare(graph, DATA[0][:32])
    assert not any(q.factor() is not None for q in module.weight_quantizers().values())
    assert "folded before training" in convert_trained(module).metadata["notes"]


def test_the_float_network_teaches_its_integers(trained: Graph) -> None:
    labels = np.zeros(480, np.int64)  # say nothing: what is learned comes from the teacher
    settings = replace(SETTINGS, epochs=2)
    taught = DistillSettings(temperature=2.0, alpha=1.0)
    result = train_aware(
        trained, (DATA[0], labels), None, QuantizationAware(Int4()), settings, teacher=trained, distillation=taught
    )
    assert accuracy(result.graph) > 0.9


def test_a_range_that_training_made_too_small_for_sums_is_widened_and_noted(trained: Graph) -> None:
    module = prepare(trained, DATA[0][:32])
    with torch.no_grad():
        for parameter in module.quantizer("scores").parameters():
            parameter.fill_(1e-3)
        for name in module.quantized_weights:
            module.weights_behind(name).mul_(1e3)
        for quantizer in module.weight_quantizers().values():
            assert quantizer.ratio is not None
            quantizer.ratio.mul_(1e3)
    quantized = convert_trained(module)
    assert "'scores' was trained with the step" in quantized.metadata["notes"]
    assert quantized.tensors["scores"].scale > module.quantizer("scores").format().quantization.scale


def test_what_does_not_fit_is_refused(trained: Graph) -> None:
    with pytest.raises(ModelError, match="quantized already"):
        prepare(quantize(trained, DATA[0][:20]), DATA[0])
    with pytest.raises(DataError, match="its layers are: first"):
        prepare(trained, DATA[0], QuantizationAware(overrides={"second": Int4()}))
    with pytest.raises(DataError, match="training data"):
        quantize_aware(trained, (DATA[0], DATA[1] + 9))
    with pytest.raises(DataError, match="freeze_ranges"):
        QuantizationAware(freeze_ranges=2)
    with pytest.raises(DataError, match="momentum"):
        Observed(0.0)
    with pytest.raises(DataError, match="decay"):
        LearnedClipping(-1.0)
    with pytest.raises(DataError, match="ranges of activations"):
        QuantizationAware(activations="learned")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="either the teacher or the loss"):
        train_aware(trained, DATA, teacher=trained, loss="mean_squared_error")
    with pytest.raises(TrainingError, match="loop of your own"):
        hints = DistillSettings(hints=(("sum", "sum"),))
        train_aware(trained, DATA, teacher=trained, distillation=hints)
    with pytest.raises(TrainingError, match="prepare"):
        fit(to_torch(trained), DATA, None, SETTINGS, callbacks=[FreezeAfter(0.5, None)])
