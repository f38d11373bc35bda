"""On scikit-learn's handwritten digits: what distillation gives a small student, and what factorization costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.distill import DistillSettings, distill
from tinyopt.compress.factorize import Factorization, ParameterBudget, explain
from tinyopt.graph import DType, Graph, GraphBuilder, graph_macs, ops
from tinyopt.graph.ops import Padding
from tinyopt.train import Dataset, TrainSettings, evaluate, fit

SETTINGS = TrainSettings(epochs=12, batch_size=32, learning_rate=0.01)


@pytest.fixture(scope="module")
def digits() -> tuple[Dataset, Dataset]:
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_digits()
    x = (bunch.images[..., None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    every = Dataset((x,), bunch.target.astype(np.int64), "digits")
    return every.take(order[:900]), every.take(order[900:])


def network(channels: tuple[int, int], seed: int = 0) -> Graph:
    random = np.random.default_rng(seed)

    def constant(name: str, *shape: int) -> str:
        return b.constant(name, (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32))

    def bias(name: str, size: int) -> str:
        return b.constant(name, np.zeros(size, np.float32))

    first, second = channels
    b = GraphBuilder(f"digits_{first}_{second}")
    x = b.input("x", (1, 8, 8, 1), DType.FLOAT32)
    same = Padding(1, 1, 1, 1)
    x = b.add(ops.Conv2d((1, 1), same, activation=ops.RELU), [x, constant("w1", first, 3, 3, 1), bias("b1", first)])
    w = constant("w2", second, 3, 3, first)
    x = b.add(ops.Conv2d((2, 2), same, activation=ops.RELU), [x, w, bias("b2", second)], output="second")
    x = b.add(ops.Reshape((1, 16 * second)), [x])
    b.output(b.add(ops.FullyConnected(), [x, constant("w3", 10, 16 * second), bias("b3", 10)], output="scores"))
    return b.build()


@pytest.fixture(scope="module")
def teacher(digits: tuple[Dataset, Dataset]) -> Graph:
    module = to_torch(network((16, 24)))
    fit(module, digits[0], settings=replace(SETTINGS, epochs=8, learning_rate=5e-3))
    return to_graph(module)


def accuracy(graph: Graph, data: Dataset) -> float:
    return evaluate(graph, data).accuracy or 0.0


def test_a_teacher_makes_students_better_who_see_few_samples(digits: tuple[Dataset, Dataset], teacher: Graph) -> None:
    train, test = digits
    few = train.take(np.arange(100))
    alone, taught = [], []
    for seed in range(3):
        training = replace(SETTINGS, epochs=30, seed=seed)
        module = to_torch(network((2, 4), seed))
        fit(module, few, settings=training)
        alone.append(accuracy(to_graph(module), test))
        student = distill(network((2, 4), seed), teacher, few, DistillSettings(training=training))
        taught.append(accuracy(student, test))
    assert accuracy(teacher, test) > 0.96
    assert np.mean(taught) > np.mean(alone) + 0.005


def test_a_factorized_network_is_as_good_after_fine_tuning(digits: tuple[Dataset, Dataset], teacher: Graph) -> None:
    train, test = digits
    graph, report = explain(teacher, Factorization(rule=ParameterBudget(0.5)))
    module = to_torch(graph)
    fit(module, train, settings=replace(SETTINGS, epochs=8, learning_rate=4e-3))
    tuned = to_graph(module)
    assert report.missed is None and graph_macs(tuned) < 0.7 * graph_macs(teacher)
    assert accuracy(tuned, test) >= accuracy(teacher, test) - 0.01
