"""Random graphs with branches, views, states and outputs of every kind: planned, generated, run, equal to the executor.

What one operator alone cannot show is tested here: that no buffer is overwritten while somebody still needs it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import HostBatch
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, dump, ops
from tinyopt.plan import make_plan, memory_map

HOST = load_board("host")
Q = Quantization.per_tensor(0.05, 3)
WIDTHS = (8, 24, 40)
EXAMPLES = 60


def add_operator(draw: st.DrawFn, builder: GraphBuilder, tensors: list[str]) -> None:
    """One more operator on tensors that are there; all are int8 [1, width] of one quantization."""
    x = draw(st.sampled_from(tensors))
    width = builder.tensor(x).shape[-1]
    kind = draw(st.sampled_from(("add", "clip", "reshape", "concat", "split", "slice", "dense")))
    if kind == "add":
        others = [name for name in tensors if builder.tensor(name).shape == builder.tensor(x).shape]
        y = draw(st.sampled_from(others))
        tensors.append(builder.add(ops.Binary(ops.BinaryKind.ADD), [x, y], quantization=Q))
    elif kind == "clip":
        tensors.append(builder.add(ops.Clip(), [x], quantization=Q))
    elif kind == "reshape":
        shaped = builder.add(ops.Reshape((width // 8, 8)), [x], quantization=Q)
        tensors.append(builder.add(ops.Reshape((1, width)), [shaped], quantization=Q))
    elif kind == "concat":
        y = draw(st.sampled_from(tensors))
        tensors.append(builder.add(ops.Concat(1), [x, y], quantization=Q))
    elif kind == "split" and width > 8:
        tensors += builder.add_multi(ops.Split(1, (8, width - 8)), [x], quantizations=[Q, Q])
    elif kind == "slice" and width > 8:
        tensors.append(builder.add(ops.Slice((0, width - 8), (1, 8), (1, 1)), [x], quantization=Q))
    else:
        outputs = draw(st.sampled_from(WIDTHS))
        data = np.random.default_rng(width * outputs).integers(-9, 10, (outputs, width)).astype(np.int8)
        weights = builder.constant("w", data, Quantization.per_tensor(0.1))
        tensors.append(builder.add(ops.FullyConnected(), [x, weights], quantization=Q))


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    builder = GraphBuilder("random")
    tensors = [
        builder.input(f"x{i}", (1, draw(st.sampled_from(WIDTHS))), DType.INT8, Q)
        for i in range(draw(st.integers(1, 2)))
    ]
    states = []
    for index in range(draw(st.integers(0, 3))):
        width = draw(st.sampled_from(WIDTHS))
        initial = (
            np.arange(width, dtype=np.int8).reshape(1, width) if draw(st.booleans()) else np.zeros((1, width), np.int8)
        )
        states.append(f"state{index}")
        tensors.append(builder.state(states[-1], initial, Q))
    constant = builder.constant("fixed", np.arange(8, dtype=np.int8).reshape(1, 8), Q)
    for _ in range(draw(st.integers(1, 12))):
        add_operator(draw, builder, tensors)
    for state in states:
        fitting = [name for name in tensors if builder.tensor(name).shape == builder.tensor(state).shape]
        if builder.tensor(state).shape == (1, 8):
            fitting.append(constant)
        # The newest tensors most of the time, so that updates in place happen.
        builder.assign(state, draw(st.one_of(st.sampled_from(fitting[-3:]), st.sampled_from(fitting))))
    for name in draw(st.lists(st.sampled_from([*tensors, constant]), min_size=1, max_size=3, unique=True)):
        builder.output(name)
    return builder.build()


@cache
def graphs() -> tuple[Graph, ...]:
    found: list[Graph] = []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(random_graphs())
    def collect(graph: Graph) -> None:
        found.append(graph)

    collect()
    return tuple(found)


@pytest.mark.parametrize("in_place", [True, False])
def test_random_graphs_equal_the_executor_over_several_steps(in_place: bool) -> None:
    plans = [make_plan(graph, HOST, in_place=in_place) for graph in graphs()]
    with HostBatch(plans) as batch:
        for index, plan in enumerate(plans):
            graph = plan.source
            executor, random = Executor(graph), np.random.default_rng(index)
            for step in range(4):
                inputs = {
                    name: random.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs
                }
                expected, got = executor(inputs), batch.run(index, inputs)
                for name in graph.outputs:
                    message = f"step {step}, output {name} of\n{dump(graph)}\n{memory_map(plan)}"
                    np.testing.assert_array_equal(got[name], expected[name], err_msg=message)


def test_arenas_are_near_their_lower_bound() -> None:
    plans = [make_plan(graph, HOST) for graph in graphs()]
    assert all(plan.lower_bound <= plan.arena_bytes for plan in plans)
    optimal = sum(plan.lower_bound == plan.arena_bytes for plan in plans)
    assert optimal >= 0.9 * len(plans)
    assert sum(p.arena_bytes for p in plans) <= 1.02 * sum(p.lower_bound for p in plans)


def test_running_leaves_the_inputs_that_it_does_not_destroy() -> None:
    from tinyopt.build.host import HostModel

    for graph in graphs()[:8]:
        plan = make_plan(graph, HOST)
        model = HostModel(plan)
        inputs = {name: np.full(graph.tensors[name].shape, 77, np.int8) for name in graph.inputs}
        model.run(inputs)
        for name in graph.inputs:
            if not plan.destroys(name):
                np.testing.assert_array_equal(model._view(name), 77)
