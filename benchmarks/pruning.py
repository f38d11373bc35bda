"""``python -m benchmarks.pruning``: schedules and criteria of pruning on the digits, and cycles on the emulated M4.

Trains the residual CNN of ``tinyopt demo`` on scikit-learn's digits and prunes it in every way. Needs no data folder;
``--only cycles`` leaves out the tables of accuracies.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from tinyopt.board import load_board
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.factorize import PredictedCycles
from tinyopt.compress.prune import (
    L1,
    L2,
    ActivationStatistics,
    Criterion,
    GradualCubic,
    Iterative,
    LotteryTicket,
    OneShot,
    Random,
    Schedule,
    StructuredPruning,
    Target,
    Taylor,
    UnstructuredPruning,
    prune,
)
from tinyopt.data import Samples
from tinyopt.examples import digits, digits_graph
from tinyopt.graph import Array, Graph, graph_macs
from tinyopt.pipeline import run_on_board
from tinyopt.quantize import quantize
from tinyopt.train import TrainSettings, evaluate, fit

TRAINING = TrainSettings(epochs=15, batch_size=64, learning_rate=1e-2)
FINE_TUNING = TrainSettings(batch_size=64, learning_rate=5e-3, restore_best=False)
Pair = tuple[Array, Array]


class Task:
    """The digits, and the network that was trained on them with one seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.untrained = seed, digits_graph(seed)
        shape = self.untrained.tensors[self.untrained.inputs[0]].shape[1:]
        x, y, x_test, y_test = digits()
        self.train: Pair = (x.reshape(-1, *shape), y)
        self.test: Pair = (x_test.reshape(-1, *shape), y_test)
        module = to_torch(self.untrained)
        fit(module, self.train, settings=replace(TRAINING, seed=seed), progress=False)
        self.trained = to_graph(module)

    def tuning(self, epochs: int) -> TrainSettings:
        return replace(FINE_TUNING, epochs=epochs, seed=self.seed)

    def accuracy(self, graph: Graph) -> float:
        """Of the float network on the test images, in percent."""
        return 100 * float(evaluate(graph, self.test).accuracy or 0)


def schedules(task: Task) -> Iterator[tuple[str, Schedule]]:
    yield "none", OneShot()
    for epochs in (2, 10, 30):
        yield f"one-shot, {epochs} epochs", OneShot(task.tuning(epochs))
    for epochs in (2, 6):
        yield f"iterative, 5 steps of {epochs} epochs", Iterative(5, task.tuning(epochs))
    for epochs in (10, 30):
        yield f"gradual, {epochs} epochs", GradualCubic(task.tuning(epochs), interval=5 if epochs < 30 else 10)
    yield "gradual with regrowth, 10 epochs", GradualCubic(task.tuning(10), interval=5, regrow="gradient")


def show_zeros(task: Task, way: str, pruned: Graph) -> None:
    print(f"zeros   {task.seed}  {way:45} {task.accuracy(pruned):5.1f}", flush=True)


def zeros(task: Task) -> None:
    """90 % of the weights as zeros."""
    for criterion in (L1(), Taylor()):
        config = UnstructuredPruning(0.9, criterion=criterion)
        for name, schedule in schedules(task):
            pruned = prune(task.trained, config, task.train, schedule=schedule)
            print(
                f"zeros   {task.seed}  {type(criterion).__name__:8} {name:36} {task.accuracy(pruned):5.1f}", flush=True
            )
    ticket = LotteryTicket(replace(TRAINING, seed=task.seed, restore_best=False), rounds=3)
    pruned = prune(task.untrained, UnstructuredPruning(0.9), task.train, schedule=ticket)
    print(
        f"zeros   {task.seed}  L1       lottery ticket, 3 rounds             {task.accuracy(pruned):5.1f}", flush=True
    )


def channels(task: Task) -> None:
    """Half of the multiply-accumulates, by whole channels."""
    criteria: list[Criterion] = [L1(), L2(), ActivationStatistics(), ActivationStatistics("nonzero"), Taylor()]
    for criterion in (*criteria, Random(task.seed)):
        config = StructuredPruning(target=Target("macs", ratio=0.5), criterion=criterion)
        raw = prune(task.trained, config, task.train)
        kind = prune(task.trained, replace(config, compensate=True), task.train)
        tuned = prune(task.trained, config, task.train, schedule=OneShot(task.tuning(5)))
        figures = " ".join(f"{task.accuracy(graph):5.1f}" for graph in (raw, kind, tuned))
        print(f"channels {task.seed} {criterion!s:54} {figures}", flush=True)


def cycles(task: Task) -> None:
    """To a share of the predicted cycles; as int8 on the emulated board."""
    board = load_board("mps2_an386")
    target = Target(PredictedCycles(board), ratio=0.45)
    ways: list[tuple[str, Graph]] = [("dense", task.trained)]
    one, two = OneShot(task.tuning(20)), Iterative(2, task.tuning(10))
    for criterion, schedule in ((ActivationStatistics(), one), (Taylor(), two)):
        config = StructuredPruning(target=target, criterion=criterion, multiple=4)
        name = f"{type(criterion).__name__}, {type(schedule).__name__}"
        ways.append((name, prune(task.trained, config, task.train, schedule=schedule)))
    for name, graph in ways:
        quantized = quantize(graph, Samples.from_array(task.train[0][:256], graph))
        samples = Samples.from_array(task.test[0], quantized, labels=task.test[1])
        report = run_on_board(quantized, board, samples).report
        assert not report.mismatches and report.top1 is not None
        figures = f"{task.accuracy(graph):5.1f} float {100 * report.top1:5.1f} int8 {graph_macs(graph):8,} MACs "
        figures += f"{report.instructions:9,} instructions {report.cycles:9,} cycles {report.weights_bytes:6,} weights"
        print(f"cycles  {task.seed}  {name:32} {figures}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", choices=["zeros", "channels", "cycles"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    np.seterr(all="raise", under="ignore")
    for seed in range(arguments.seeds):
        task = Task(seed)
        print(f"dense   {seed}  {task.accuracy(task.trained):5.1f}", flush=True)
        for name, work in (("cycles", cycles), ("channels", channels), ("zeros", zeros)):
            if arguments.only in (None, name):
                work(task)


if __name__ == "__main__":
    main()
