"""The order of operators: the best one is found, and taken only where it makes the arena smaller."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import HostModel
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import make_plan
from tinyopt.plan.ordering import ordered

HOST = load_board("host")
Q = Quantization.per_tensor(0.05, 3)


def dense(builder: GraphBuilder, x: str, outputs: int, name: str) -> str:
    data = np.random.default_rng(outputs).integers(-99, 100, (outputs, builder.tensor(x).shape[-1])).astype(np.int8)
    weights = builder.constant(f"{name}_weights", data, Quantization.per_tensor(0.02))
    return builder.add(ops.FullyConnected(), [x, weights], name=name, quantization=Q)


def branches(count: int) -> Graph:
    """Wide layers first, then what makes each of them small again: the order in which a careless exporter writes."""
    builder = GraphBuilder("branches")
    x = builder.input("x", (1, 16), DType.INT8, Q)
    wide = [dense(builder, x, 512 + 16 * index, f"wide{index}") for index in range(count)]
    small = [dense(builder, name, 16, f"small{index}") for index, name in enumerate(wide)]
    total = small[0]
    for name in small[1:]:
        total = builder.add(ops.Binary(ops.BinaryKind.ADD), [total, name], quantization=Q)
    builder.output(total)
    return builder.build()


def test_branches_are_finished_one_after_the_other() -> None:
    graph = branches(4)
    better = ordered(graph)
    names = [operator.name for operator in better.operators if operator.name.startswith(("wide", "small"))]
    for index in range(4):
        assert abs(names.index(f"wide{index}") - names.index(f"small{index}")) == 1
    plan = make_plan(graph, HOST)
    assert plan.arena_bytes < 700 < 4 * 512
    sample = {"x": np.arange(16, dtype=np.int8).reshape(1, 16)}
    wanted, got = Executor(graph)(sample), HostModel(plan).run(sample)
    assert all(np.array_equal(got[name], wanted[name]) for name in graph.outputs)


def test_a_good_order_is_left_alone() -> None:
    builder = GraphBuilder("chain")
    x = builder.input("x", (1, 16), DType.INT8, Q)
    for index in range(5):
        x = dense(builder, x, 16 + index, f"dense{index}")
    builder.output(x)
    graph = builder.build()
    assert ordered(graph) is graph


def test_more_sets_of_branches_than_can_be_looked_at_are_ordered_too() -> None:
    graph = branches(16)  # 2**16 sets of finished branches
    assert make_plan(graph, HOST).arena_bytes < 2_000


def peak(graph: Graph, order: tuple[int, ...]) -> int | None:
    """Most bytes at once in this order, by its definition; None when an operator comes before what it reads."""
    most, there = 0, set(graph.inputs)
    for position, index in enumerate(order):
        operator = graph.operators[index]
        reads = {name for name in operator.inputs if not graph.tensors[name].is_constant}
        if not reads <= there:
            return None
        there |= set(operator.outputs)
        most = max(most, sum(graph.tensors[name].nbytes for name in there))
        later = {name for other in order[position + 1 :] for name in graph.operators[other].inputs}
        there = {name for name in there if name in later or name in graph.outputs}
    return most


@st.composite
def small_graphs(draw: st.DrawFn) -> Graph:
    builder = GraphBuilder("small")
    tensors = [builder.input("x", (1, 8), DType.INT8, Q)]
    for index in range(draw(st.integers(2, 6))):
        x = draw(st.sampled_from(tensors))
        tensors.append(dense(builder, x, draw(st.sampled_from((4, 8, 40, 100))), f"dense{index}"))
    for name in draw(st.lists(st.sampled_from(tensors[1:]), min_size=1, max_size=3, unique=True)):
        builder.output(name)
    return builder.build()


@given(small_graphs())
@settings(max_examples=60)
def test_no_order_needs_less(graph: Graph) -> None:
    better = ordered(graph)
    peaks = [found for order in permutations(range(len(graph.operators))) if (found := peak(graph, order)) is not None]
    assert peak(better, tuple(range(len(better.operators)))) == min(peaks)
