"""Pruning over time, on scikit-learn's digits: iterative, gradual with regrowth, lottery tickets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.compress.prune import (
    ActivationStatistics,
    BlockPruning,
    GradualCubic,
    GradualPruning,
    Iterative,
    KeepZeros,
    LotteryTicket,
    NMPruning,
    OneShot,
    Random,
    StructuredPruning,
    Target,
    Taylor,
    UnstructuredPruning,
    WeightPruning,
    WeightsAtStep,
    masks_of,
    prune,
    pruning_report,
)
from tinyopt.compress.prune.modules import mask_of
from tinyopt.errors import DataError, TinyoptError
from tinyopt.examples import digits, digits_graph
from tinyopt.graph import Graph, graph_macs
from tinyopt.train import TrainSettings, evaluate, fit

FINE_TUNE = TrainSettings(epochs=2, batch_size=64, learning_rate=5e-3, restore_best=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    graph = digits_graph()
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    x, y, x_test, y_test = digits()
    return (x.reshape(-1, *shape), y), (x_test.reshape(-1, *shape), y_test)


@cache
def trained() -> Graph:
    module = to_torch(digits_graph())
    fit(module, data()[0], settings=TrainSettings(epochs=8, batch_size=64, learning_rate=1e-2))
    return to_graph(module)


def accuracy(graph: Graph) -> float:
    result = evaluate(graph, data()[1]).accuracy
    assert result is not None
    return result


def sparsity(graph: Graph) -> float:
    return pruning_report(trained(), graph).sparsity


def test_the_network_learnt_the_digits() -> None:
    assert accuracy(trained()) > 0.96


def test_iterative_pruning_keeps_more_accuracy_than_one_shot_at_equal_training() -> None:
    """92 % of the weights by Taylor, six epochs of training either way."""
    config = UnstructuredPruning(0.92, criterion=Taylor())
    once = prune(trained(), config, data()[0], schedule=OneShot(replace(FINE_TUNE, epochs=6)))
    stepwise = prune(trained(), config, data()[0], schedule=Iterative(3, FINE_TUNE))
    assert all(sparsity(graph) == pytest.approx(0.92, abs=0.01) for graph in (once, stepwise))
    assert accuracy(stepwise) > accuracy(once) + 0.03


def test_what_was_pruned_in_one_step_stays_pruned_in_the_next() -> None:
    steps: list[tuple[int, int]] = []
    first = prune(trained(), UnstructuredPruning(1 - 0.3 ** (1 / 2)), data()[0], schedule=OneShot(FINE_TUNE))
    both = prune(
        trained(),
        UnstructuredPruning(0.7),
        data()[0],
        schedule=Iterative(2, FINE_TUNE),
        on_progress=lambda done, total: steps.append((done, total)),
    )
    masks = masks_of(both)
    assert all((~masks[name] | keep).all() for name, keep in masks_of(first).items())
    assert steps == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("config", "regrow"),
    [
        (UnstructuredPruning(0.8), None),
        (UnstructuredPruning(0.8), "random"),
        (BlockPruning(0.6, (1, 4), scope="layer"), "gradient"),
    ],
)
def test_gradual_pruning_ends_at_its_amount(config: WeightPruning, regrow: str | None) -> None:
    schedule = GradualCubic(replace(FINE_TUNE, epochs=3), interval=5, regrow=regrow)  # type: ignore[arg-type]
    pruned = prune(trained(), config, data()[0], schedule=schedule)
    assert sparsity(pruned) == pytest.approx(config.amount, abs=0.02)
    assert accuracy(pruned) > 0.55


def test_the_cubic_schedule_is_that_of_zhu_and_gupta() -> None:
    schedule = GradualCubic(FINE_TUNE, begin=0.2, end=0.6)
    assert [schedule.share(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0, 0, 1 - 0.5**3, 1, 1])


def test_regrowth_brings_weights_back_and_plain_gradual_pruning_does_not() -> None:
    def history(regrow: str | None) -> list[np.ndarray]:
        module = to_torch(trained())
        schedule = GradualCubic(replace(FINE_TUNE, epochs=3), interval=6, regrow=regrow)  # type: ignore[arg-type]
        seen: list[np.ndarray] = []

        class Watching(GradualPruning):
            def _update(self, module: GraphModule, amount: float, step: int, way: float) -> None:
                super()._update(module, amount, step, way)
                masks = [mask_of(module, name) for name in self.names]
                seen.append(np.concatenate([m.keep.numpy().reshape(-1) for m in masks if m is not None]))

        fit(module, data()[0], settings=schedule.train, callbacks=[Watching(UnstructuredPruning(0.8), schedule)])
        return seen

    plain, grown = history(None), history("gradient")
    assert not any((~before & after).any() for before, after in pairwise(plain))
    assert sum(int((~before & after).sum()) for before, after in pairwise(grown)) > 50
    shares = [1 - keep.mean() for keep in grown]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.8, abs=0.01)


def test_a_lottery_ticket_starts_from_the_early_weights() -> None:
    start = digits_graph()
    train = TrainSettings(epochs=2, batch_size=64, learning_rate=1e-2, restore_best=False)
    ticket = prune(start, UnstructuredPruning(0.7), data()[0], schedule=LotteryTicket(train, rounds=2))
    assert sparsity(ticket) == pytest.approx(0.7, abs=0.01) and accuracy(ticket) > 0.75

    # The last training of a ticket is that of the masked early weights.
    watch = WeightsAtStep(0)
    module = to_torch(start)
    fit(module, data()[0], settings=train, callbacks=[watch])
    for name, value in watch.weights.items():
        assert np.array_equal(value.numpy(), start.tensors[name].value)
    masked = {n: start.tensors[n].value * keep for n, keep in masks_of(ticket).items()}
    tensors = {n: replace(start.tensors[n], data=value) for n, value in masked.items()}
    again = to_torch(start.with_operators(start.operators, tensors.values()))
    fit(again, data()[0], settings=train, callbacks=[KeepZeros()])
    same = to_graph(again)
    for name in masked:
        np.testing.assert_allclose(same.tensors[name].value, ticket.tensors[name].value, rtol=1e-5, atol=1e-6)
    with pytest.raises(TinyoptError, match="fewer than 1000 steps"):
        prune(start, UnstructuredPruning(0.7), data()[0], schedule=LotteryTicket(replace(train, epochs=1), 1, 1000))


def test_structured_pruning_in_steps_halves_the_work_and_keeps_the_accuracy() -> None:
    config = StructuredPruning(target=Target("macs", ratio=0.5), criterion=Taylor())
    pruned = prune(trained(), config, data()[0], schedule=Iterative(2, FINE_TUNE))
    assert 0.4 * graph_macs(trained()) < graph_macs(pruned) <= 0.5 * graph_macs(trained())
    assert accuracy(pruned) > accuracy(trained()) - 0.04


def test_every_criterion_beats_the_control_before_any_fine_tuning() -> None:
    def left(criterion: object) -> float:
        return accuracy(prune(trained(), StructuredPruning(0.3, criterion=criterion), data()[0]))  # type: ignore[arg-type]

    lots = np.mean([left(Random(seed)) for seed in range(4)])
    assert left(Taylor()) > lots + 0.1
    assert left(ActivationStatistics()) > lots


def test_n_m_patterns_survive_fine_tuning() -> None:
    pruned = prune(trained(), NMPruning(2, 4), data()[0], schedule=Iterative(2, FINE_TUNE))
    assert accuracy(pruned) > 0.93
    again = to_torch(pruned)
    fit(again, data()[0], settings=replace(FINE_TUNE, epochs=1), callbacks=[KeepZeros()])
    after = masks_of(to_graph(again))
    assert all(np.array_equal(after[name], keep) for name, keep in masks_of(pruned).items())


def test_schedules_without_data_or_for_the_wrong_technique_are_refused() -> None:
    with pytest.raises(DataError, match="labels"):
        prune(trained(), UnstructuredPruning(), schedule=OneShot(FINE_TUNE))
    with pytest.raises(TinyoptError, match="not for n:m"):
        prune(trained(), NMPruning(), data()[0], schedule=GradualCubic(FINE_TUNE, regrow="random"))
    with pytest.raises(TinyoptError, match="begin < end"):
        GradualCubic(FINE_TUNE, begin=0.8, end=0.5)


def test_a_gradual_run_shorter_than_its_interval_still_prunes() -> None:
    one_step = TrainSettings(epochs=1, batch_size=4096)
    pruned = prune(trained(), UnstructuredPruning(0.5), data()[0], schedule=GradualCubic(one_step))
    assert sparsity(pruned) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("config", "schedule"),
    [
        (UnstructuredPruning(0.7), Iterative(2, replace(FINE_TUNE, epochs=1))),
        (UnstructuredPruning(0.7), GradualCubic(replace(FINE_TUNE, epochs=2), regrow="gradient")),
        (StructuredPruning(0.4), Iterative(2, replace(FINE_TUNE, epochs=1))),
        (StructuredPruning(0.4), GradualCubic(replace(FINE_TUNE, epochs=2))),
        (StructuredPruning(target=Target("macs", ratio=0.5)), GradualCubic(replace(FINE_TUNE, epochs=2))),
        (StructuredPruning(0.4), LotteryTicket(replace(FINE_TUNE, epochs=1), rounds=1, rewind_step=3)),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_result(config: object, schedule: object, tmp_path: Path) -> None:
    def run(folder: Path | None, calls: int | None = None) -> Graph:
        left = [calls]

        def augment(batch: np.ndarray, generator: np.random.Generator) -> np.ndarray:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return batch

        return prune(trained(), config, data()[0], schedule=schedule, augment=augment, folder=folder)  # type: ignore[arg-type]

    whole = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, calls=30)
    assert list(tmp_path.rglob("checkpoint.pt"))
    resumed = run(tmp_path)
    assert resumed.tensors.keys() == whole.tensors.keys()
    for tensor in whole.constants():
        assert np.array_equal(tensor.value, resumed.tensors[tensor.name].value), tensor.name
