"""Training: it learns, stops, is interrupted and goes on as if nothing had happened."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.data import Samples
from tinyopt.errors import DataError, TrainingError
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.train import (
    Callback,
    CrossEntropy,
    Dataset,
    EpochLog,
    Noise,
    Position,
    TrainResult,
    TrainSettings,
    evaluate,
    fit,
)
from tinyopt.train.log import describe

SETTINGS = TrainSettings(epochs=4, batch_size=16, learning_rate=0.02)


def blobs(count: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points in four dimensions."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(99).standard_normal((3, 4)) * 2
    return (centres[labels] + random.standard_normal((count, 4))).astype(np.float32), labels


def network(seed: int = 0) -> Graph:
    random = np.random.default_rng(seed)
    b = GraphBuilder("dense")
    x = b.input("x", (1, 4), DType.FLOAT32)
    y = b.add(ops.FullyConnected(), [x, b.constant("w1", (random.standard_normal((8, 4)) / 2).astype(np.float32))])
    names = [b.constant(n, np.full(8, v, np.float32)) for n, v in [("gamma", 1), ("beta", 0), ("mean", 0), ("var", 1)]]
    y = b.add(ops.BatchNorm(), [y, *names])
    y = b.add(ops.Clip(), [y])
    w2 = b.constant("w2", (random.standard_normal((3, 8)) / 3).astype(np.float32))
    y = b.add(ops.FullyConnected(), [y, w2, b.constant("b2", np.zeros(3, np.float32))], output="scores")
    b.output(b.add(ops.Softmax(), [y], output="probabilities"))
    return b.build()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_training_learns_and_the_graph_keeps_it() -> None:
    module = to_torch(network())
    before = evaluate(module, blobs(seed=1))
    result = fit(module, blobs(), blobs(seed=1), replace(SETTINGS, epochs=10))
    after = evaluate(module, blobs(seed=1))
    assert len(result.history) == 10 and result.history[-1].train_loss < result.history[0].train_loss
    assert before.accuracy is not None and after.accuracy is not None and after.accuracy > max(0.8, before.accuracy)
    assert result.best.validation_accuracy == after.accuracy
    again = evaluate(to_graph(module), blobs(seed=1))
    assert again.accuracy == after.accuracy and again.loss == pytest.approx(after.loss, rel=1e-6)
    assert again.confusion.sum() == 90 and np.diag(again.confusion).sum() == round(90 * after.accuracy)


def test_the_same_seed_gives_the_same_network() -> None:
    modules = [to_torch(network()) for _ in range(3)]
    for module, seed in zip(modules, (1, 1, 2)):
        fit(module, blobs(), settings=replace(SETTINGS, seed=seed), augment=Noise(0.1))
    assert same_weights(modules[0], modules[1]) and not same_weights(modules[0], modules[2])


class Interrupt(Callback):
    """Presses Ctrl-C after a number of steps; keeps a count, as a schedule would."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.steps = after, 0

    def on_step_end(self, position: Position) -> None:
        self.steps += 1
        if self.steps == self.after:
            os.kill(os.getpid(), signal.SIGINT)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


class Dropping(nn.Module):
    """A network of one's own, with random numbers of torch's in training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        return result


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("step", [2, 6, 7, 24])
@pytest.mark.parametrize("make", [lambda: to_torch(network()), Dropping])
def test_an_interrupted_run_goes_on_to_the_same_result(make: Any, step: int, optimiser: str, tmp_path: Path) -> None:
    settings = TrainSettings(4, 16, optimiser, 0.02, warm_up_epochs=0.5)  # type: ignore[arg-type]
    straight, broken = make(), make()
    expected = fit(straight, blobs(), blobs(30, 1), settings, augment=Noise(0.1), folder=tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt, match=r"go on from .*checkpoint\.pt"):
        fit(
            broken, blobs(), blobs(30, 1), settings,
            augment=Noise(0.1), callbacks=[Interrupt(step)], folder=tmp_path / "broken",
        )  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    fresh, counter = make(), Interrupt()
    result = fit(
        fresh, blobs(), blobs(30, 1), settings, augment=Noise(0.1), callbacks=[counter], folder=tmp_path / "broken"
    )
    assert same_weights(straight, fresh) and counter.steps == 24
    assert [replace(log, seconds=0) for log in result.history] == [replace(log, seconds=0) for log in expected.history]
    lines = (tmp_path / "broken" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first, second = to_torch(network()), to_torch(network(seed=5))
    expected = fit(first, blobs(), blobs(30, 1), SETTINGS, folder=tmp_path)
    assert fit(second, blobs(), blobs(30, 1), SETTINGS, folder=tmp_path).history == expected.history
    assert same_weights(first, second)


@pytest.mark.parametrize(
    "change,named",
    [
        ({"learning_rate": 0.5}, "learning_rate is 0.02, now 0.5"),
        ({"epochs": 9}, "epochs is 4, now 9"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    fit(to_torch(network()), blobs(), settings=SETTINGS, folder=tmp_path)
    with pytest.raises(TrainingError, match=named):
        fit(to_torch(network()), blobs(), settings=replace(SETTINGS, **change), folder=tmp_path)
    with pytest.raises(TrainingError, match="its training data is"):
        fit(to_torch(network()), blobs(seed=7), settings=SETTINGS, folder=tmp_path)
    fit(to_torch(network()), blobs(), settings=replace(SETTINGS, **change), folder=tmp_path, resume=False)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt' is damaged"):
        fit(to_torch(network()), blobs(), settings=SETTINGS, folder=tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "harmed"),))

    torch.save({"format": 1, "fingerprint": Harmful()}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="damaged"):
        fit(to_torch(network()), blobs(), settings=SETTINGS, folder=tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_training_stops_when_validation_gets_no_better() -> None:
    module = to_torch(network())
    x, y = blobs(30, 1)
    result = fit(module, blobs(), (x, (y + 1) % 3), replace(SETTINGS, epochs=30, patience=2))
    assert result.stopped_early and len(result.history) == result.best_epoch + 2
    found = evaluate(module, (x, (y + 1) % 3))
    assert found.accuracy == result.best.validation_accuracy
    assert found.loss == pytest.approx(result.best.validation_loss, rel=1e-5)


def test_what_cannot_be_done_is_said_before_training() -> None:
    with pytest.raises(TrainingError, match="needs validation data"):
        fit(to_torch(network()), blobs(), settings=replace(SETTINGS, patience=2))
    with pytest.raises(TrainingError, match="there is no loss 'hinge'"):
        fit(to_torch(network()), blobs(), settings=SETTINGS, loss="hinge")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="the device 'nowhere' cannot be used"):
        fit(to_torch(network()), blobs(), settings=replace(SETTINGS, device="nowhere"))
    with pytest.raises(TrainingError, match="no parameters to train"):
        fit(nn.Flatten(), blobs(), settings=SETTINGS, loss=mean_loss)


def test_divergence_is_said() -> None:
    settings = replace(SETTINGS, optimiser="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(TrainingError, match=r"training diverged: the loss of epoch 1, step \d+ is (nan|inf); lower"):
        fit(Dropping(), blobs(), settings=settings)


def mean_loss(module: nn.Module, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
    return CrossEntropy()(module, inputs, targets) + 0.01 * sum(p.square().sum() for p in module.parameters())


def test_a_loss_of_ones_own_sees_the_module() -> None:
    result = fit(to_torch(network()), blobs(), blobs(30, 1), SETTINGS, loss=mean_loss)
    assert result.best.validation_accuracy is not None and result.best.validation_accuracy > 0.6


def test_regression_has_no_accuracy() -> None:
    x, _ = blobs()
    module = nn.Linear(4, 2)
    result = fit(module, (x, x[:, :2]), (x, x[:, :2]), replace(SETTINGS, epochs=20), loss="mean_squared_error")
    assert result.history[-1].train_loss < 0.1 * result.history[0].train_loss
    assert result.best.validation_accuracy is None and "accuracy" not in describe(result.best)


def test_samples_with_labels_are_training_data() -> None:
    graph = network()
    x, y = blobs()
    module = to_torch(graph)
    result = fit(module, Samples.from_array(x, graph, labels=y), settings=SETTINGS)
    assert isinstance(result, TrainResult) and result.best_epoch == 4
    with pytest.raises(DataError, match="has no labels"):
        fit(module, Samples.from_array(x, graph))


@pytest.mark.parametrize(
    "x,y,message",
    [
        (
            np.zeros((6, 5), np.float32),
            np.zeros(6, int),
            r"training data .* do not fit; the model needs \[samples, 4\]",
        ),
        (np.full((6, 4), np.nan, np.float32), np.zeros(6, int), "sample 0 holds NaN"),
        (np.zeros((6, 4), np.float32), np.full(6, 3), "sample 0 has the label 3, but the network has 3 classes"),
        (np.zeros((6, 4), np.float32), np.array([0, 1, -1, 0, 0, 0]), "sample 2 has the label -1"),
        (np.zeros((6, 4), np.float32), np.zeros(5, int), "6 samples but 5 labels"),
        (np.zeros((6, 4), np.float32), np.full(6, 0.5), "labels must be whole class numbers"),
        (np.zeros((0, 4), np.float32), np.zeros(0, int), "holds no samples"),
        (np.zeros((6, 4), np.uint8), np.zeros(6, int), "the model takes float32 and the data are uint8"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_training(x: Any, y: Any, message: str) -> None:
    module = to_torch(network())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(DataError, match=message):
        fit(module, (x, y), settings=SETTINGS)
    with pytest.raises(DataError, match=message.replace("training", "validation")):
        fit(module, blobs(), (x, y), SETTINGS)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_data_for_a_network_of_ones_own_are_checked_by_its_first_result() -> None:
    x, y = blobs()
    with pytest.raises(DataError, match="sample 2 has the label 7, but the network has 3 classes"):
        fit(Dropping(), (x, np.where(np.arange(90) == 2, 7, y)), settings=SETTINGS)
    with pytest.raises(DataError, match="the network does not take samples of these shapes"):
        fit(Dropping(), (x[:, :3], y), settings=SETTINGS)
    with pytest.raises(DataError, match=r"validation data .* labels must be whole class numbers"):
        fit(Dropping(), (x, y), (x, y + 0.5), SETTINGS)
    found = evaluate(Dropping(), (x, y))
    assert found.confusion.shape == (3, 3) and found.accuracy_per_class.shape == (3,)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"learning_rate": -1.0}, {"schedule": "none"}, {"momentum": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=f"setting {next(iter(wrong))} = "):
        TrainSettings(**wrong)


def test_learning_rates_follow_the_schedule() -> None:
    cosine = TrainSettings(epochs=10, learning_rate=1.0, warm_up_epochs=1)
    rates = [cosine.rate(step, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11) and rates[10] == 1.0 and rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001 and all(a >= b for a, b in itertools.pairwise(rates[10:]))
    step = TrainSettings(epochs=10, learning_rate=1.0, schedule="step", step_epochs=4, step_factor=0.5)
    assert [step.rate(10 * epoch, 10) for epoch in (0, 3, 4, 9)] == [1, 1, 0.5, 0.25]
    assert TrainSettings(schedule="constant", learning_rate=0.3).rate(7, 2) == 0.3


class Pruning(Callback):
    """Adds a mask when training starts."""

    def on_start(self, module: nn.Module) -> None:
        class Zero(nn.Module):
            def forward(self, value: torch.Tensor) -> torch.Tensor:
                return value * torch.tensor([1.0, 0, 1, 0])

        assert isinstance(module, GraphModule)
        module.parametrize("w1", Zero())

    def on_epoch_end(self, position: Position, log: EpochLog) -> None:
        assert position.progress == log.epoch / position.epochs


def test_callbacks_can_change_the_network_before_the_first_step(tmp_path: Path) -> None:
    modules = [to_torch(network()), to_torch(network())]
    for module in modules:  # the second one starts from the finished run
        fit(module, blobs(), blobs(30, 1), SETTINGS, callbacks=[Pruning()], folder=tmp_path)
        weights = to_graph(module).tensors["w1"].value
        assert (weights[:, [1, 3]] == 0).all() and (weights[:, [0, 2]] != 0).all()
    assert same_weights(*modules)


def test_parameter_groups_have_their_own_rates() -> None:
    module = to_torch(network())
    before = module.constant("w1").detach().clone()
    groups = [{"params": [module.constant("w2")]}, {"params": [module.constant("w1")], "lr_factor": 0.0}]
    fit(module, blobs(), settings=SETTINGS, parameters=groups)
    assert torch.equal(module.constant("w1"), before)


def test_data_are_split_with_their_classes() -> None:
    x, y = blobs()
    first, second = Dataset((x,), y).split(0.2, seed=1)
    assert len(first) == 72 and np.bincount(second.targets).tolist() == [6, 6, 6]
    assert {row.tobytes() for row in first.inputs[0]}.isdisjoint(row.tobytes() for row in second.inputs[0])
    with pytest.raises(DataError, match="leaves nothing"):
        Dataset((x,), y).split(0.0)


def test_progress_is_one_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fit(to_torch(network()), blobs(), blobs(30, 1), SETTINGS, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and lines[0].startswith("epoch 1, loss ") and " accuracy " in lines[0]
    fit(to_torch(network()), blobs(), settings=SETTINGS)
    assert capsys.readouterr().err == ""


def test_figures_are_written_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    fit(to_torch(network()), blobs(), settings=SETTINGS, folder=tmp_path)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_mixed_precision_learns_with_weights_in_float32() -> None:
    module = to_torch(network())
    fit(module, blobs(), blobs(seed=1), replace(SETTINGS, epochs=10, mixed_precision=True))
    assert all(p.dtype == torch.float32 for p in module.parameters())
    assert (evaluate(module, blobs(seed=1)).accuracy or 0) > 0.8
    plain = to_torch(network())
    fit(plain, blobs(), blobs(seed=1), replace(SETTINGS, epochs=10))
    assert not same_weights(module, plain)
