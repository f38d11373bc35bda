"""Channels that leave while training goes on, and lottery tickets of whole channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.compress.prune import (
    L1,
    BlockPruning,
    GradualChannels,
    GradualCubic,
    LotteryTicket,
    OneShot,
    StructuredPruning,
    Target,
    Taylor,
    prune,
)
from tinyopt.compress.prune.cutting import remove_groups
from tinyopt.compress.prune.scores import Measured
from tinyopt.compress.prune.structured import choose_channels, families
from tinyopt.compress.prune.tracing import trace
from tinyopt.errors import TinyoptError
from tinyopt.examples import digits, digits_graph
from tinyopt.graph import DType, Graph, GraphBuilder, graph_macs, ops
from tinyopt.train import TrainSettings, evaluate, fit

TRAIN = TrainSettings(epochs=3, batch_size=64, learning_rate=5e-3, restore_best=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def data() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    shape = digits_graph().tensors[digits_graph().inputs[0]].shape[1:]
    x, y, x_test, y_test = digits()
    return (x.reshape(-1, *shape), y), (x_test.reshape(-1, *shape), y_test)


@cache
def trained() -> Graph:
    module = to_torch(digits_graph())
    fit(module, data()[0], settings=replace(TRAIN, epochs=5, learning_rate=1e-2))
    return to_graph(module)


def groups(graph: Graph) -> int:
    return sum(len(family.groups) for family in families(trace(graph)))


def accuracy(graph: Graph) -> float:
    return float(evaluate(graph, data()[1]).accuracy or 0)


# ---- gradual ----------------------------------------------------------------------------------------------------


def watched(config: StructuredPruning, schedule: GradualCubic) -> tuple[GraphModule, GradualChannels, list[int]]:
    seen: list[int] = []

    class Watching(GradualChannels):
        def _update(self, module: GraphModule, share: float) -> None:
            before = self.removed
            super()._update(module, share)
            assert before <= self.removed
            seen.append(len(self.removed))

    module, callback = to_torch(trained()), Watching(config, schedule, None)
    fit(module, data()[0], settings=schedule.train, callbacks=[callback])
    return module, callback, seen


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_masked_network_computes_what_it_does_without_its_channels(scope: Any) -> None:
    module, callback, seen = watched(StructuredPruning(0.5, criterion=L1(), scope=scope), GradualCubic(TRAIN))
    smaller = callback.smaller(to_graph(module))
    assert len(seen) > 3 and all(before <= after for before, after in pairwise(seen)) and seen[0] < seen[-1]
    assert groups(smaller) == groups(trained()) - seen[-1]
    assert groups(smaller) == pytest.approx(0.5 * groups(trained()), abs=len(families(trace(smaller))))
    x = torch.from_numpy(data()[1][0][:64])
    with torch.no_grad():
        masked, left = module.eval()(x), to_torch(smaller).eval()(x)
    np.testing.assert_allclose(left.numpy(), masked.numpy(), rtol=1e-4, atol=1e-5)


def test_masked_channels_leave_and_training_makes_up_for_them() -> None:
    config = StructuredPruning(0.5, criterion=Taylor(samples=128))
    gradual = prune(trained(), config, data()[0], schedule=GradualCubic(TRAIN, interval=8))
    assert graph_macs(gradual) < 0.55 * graph_macs(trained())
    assert accuracy(gradual) > 0.8 > 0.7 > accuracy(prune(trained(), config, data()[0]))
    assert "keeps its channels" in gradual.metadata["notes"]


@pytest.mark.parametrize("scope", ["global", "cost"])
def test_a_target_is_met_at_the_end(scope: Any) -> None:
    config = StructuredPruning(target=Target("macs", ratio=0.5), scope=scope, multiple=4, layer_limit=0.75)
    schedule = GradualCubic(replace(TRAIN, epochs=2))
    gradual = prune(trained(), config, data()[0], schedule=schedule)
    assert 0.3 * graph_macs(trained()) < graph_macs(gradual) <= 0.5 * graph_macs(trained())
    assert accuracy(gradual) > 0.7 and "multiply-accumulates" in gradual.metadata["notes"]


def test_zeros_that_were_there_stay() -> None:
    sparse = prune(trained(), BlockPruning(0.3, scope="layer"), data()[0])
    schedule = GradualCubic(replace(TRAIN, epochs=1))
    both = prune(sparse, StructuredPruning(0.3), data()[0], schedule=schedule)
    weights = [
        both.tensors[o.inputs[1]].value
        for o in both.operators
        if isinstance(o.attributes, (ops.Conv2d, ops.FullyConnected))
    ]
    assert sum(int((w == 0).sum()) for w in weights) > 0.2 * sum(w.size for w in weights)


# ---- lottery tickets --------------------------------------------------------------------------------------------


def test_a_ticket_of_channels_starts_from_their_early_values() -> None:
    start, train = digits_graph(), replace(TRAIN, epochs=2, learning_rate=1e-2)
    config = StructuredPruning(0.4)
    ticket = prune(start, config, data()[0], schedule=LotteryTicket(train, rounds=1))
    module = to_torch(start)
    fit(module, data()[0], settings=train)
    choice = choose_channels(Measured(to_torch(to_graph(module)), config.criterion), config)
    module = to_torch(remove_groups(trace(start), choice.removed))
    fit(module, data()[0], settings=train)
    same = to_graph(module)
    assert groups(ticket) < groups(start)
    for tensor in same.constants():
        np.testing.assert_allclose(ticket.tensors[tensor.name].value, tensor.value, rtol=1e-5, atol=1e-6)


def test_rounds_of_a_ticket_meet_a_target_together() -> None:
    train = replace(TRAIN, epochs=2, learning_rate=1e-2)
    steps: list[tuple[int, int]] = []
    ticket = prune(
        digits_graph(),
        StructuredPruning(target=Target("macs", ratio=0.5)),
        data()[0],
        schedule=LotteryTicket(train, rounds=2, rewind_step=5),
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert 0.4 * graph_macs(digits_graph()) < graph_macs(ticket) <= 0.5 * graph_macs(digits_graph())
    assert accuracy(ticket) > 0.6 and steps == [(1, 2), (2, 2)]
    with pytest.raises(TinyoptError, match="fewer than 1000 steps"):
        prune(digits_graph(), StructuredPruning(0.5), data()[0], schedule=LotteryTicket(train, 1, 1000))


# ---- what makes no sense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [GradualCubic(TRAIN), LotteryTicket(TRAIN)])
def test_combinations_that_make_no_sense_are_refused_before_training(schedule: Any) -> None:
    with pytest.raises(TinyoptError, match="layers leave at once: take OneShot or Iterative"):
        prune(trained(), StructuredPruning(0.5, unit="layers"), data()[0], schedule=schedule)
    with pytest.raises(TinyoptError, match="training does its work"):
        prune(trained(), StructuredPruning(0.5, compensate="linear"), data()[0], schedule=schedule)
    with pytest.raises(TinyoptError, match="no channels or neurons that could leave"):
        prune(shared(once=True), StructuredPruning(0.5, skip=("second",)), small_data(), schedule=schedule)


def test_channels_do_not_grow_again() -> None:
    with pytest.raises(TinyoptError, match="do not grow again"):
        prune(trained(), StructuredPruning(0.5), data()[0], schedule=GradualCubic(TRAIN, regrow="random"))


def small_data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    return x, np.arange(32) % 3


def shared(once: bool = False) -> Graph:
    """Two layers with the same weights, which read different channels."""
    random = np.random.default_rng(0)
    b = GraphBuilder("shared")

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.standard_normal(shape).astype(np.float32))

    x = b.input("x", (1, 4), DType.FLOAT32)
    w = weights("w", 4, 4)
    if not once:
        x = b.add(ops.FullyConnected(ops.RELU), [x, w], name="first")
    x = b.add(ops.FullyConnected(ops.RELU), [x, w], name="second")
    b.output(b.add(ops.FullyConnected(), [x, weights("o", 3, 4)], name="scores"))
    return b.build()


def test_weights_that_layers_share_cannot_be_masked_for_one_of_them() -> None:
    with pytest.raises(TinyoptError, match="'second' and 'first' share 'w'"):
        prune(shared(), StructuredPruning(0.5), small_data(), schedule=GradualCubic(TRAIN))
    at_once = prune(shared(), StructuredPruning(0.5, layer_limit=0.5), small_data(), schedule=OneShot())
    assert groups(at_once) == 4
