"""Rows are views: slices, splits and joins along the outermost axis need no copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.board import load_board
from tinyopt.build.host import HostModel
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.proof import conflicts

HOST = load_board("host")
Q = Quantization.per_tensor(0.05, 3)


def image() -> tuple[GraphBuilder, str]:
    builder = GraphBuilder("rows")
    return builder, builder.input("x", (1, 8, 4, 4), DType.INT8, Q)


def rows(builder: GraphBuilder, x: str, first: int, count: int, name: str) -> str:
    _, _, width, channels = builder.tensor(x).shape
    attributes = ops.Slice((0, first, 0, 0), (1, count, width, channels), (1, 1, 1, 1))
    return builder.add(attributes, [x], name=name, quantization=Q)


def relu(builder: GraphBuilder, x: str, name: str) -> str:
    return builder.add(ops.Clip(), [x], name=name, quantization=Q)


def exact(graph: Graph) -> Plan:
    """The plan, after a look at what its code computes."""
    plan = make_plan(graph, HOST)
    sample = {"x": np.random.default_rng(0).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)}
    wanted, got = Executor(graph)(sample), HostModel(plan).run(sample)
    assert all(np.array_equal(got[name], wanted[name]) for name in graph.outputs)
    return plan


def test_a_slice_of_rows_is_a_view() -> None:
    builder, x = image()
    builder.output(relu(builder, rows(builder, x, 3, 2, "part"), "end"))
    plan = exact(builder.build())
    assert [call.operator.kind for call in plan.calls] == ["Clip"]
    assert plan.offset("part") == plan.offset("x") + 3 * 16


def test_a_slice_of_columns_is_a_copy() -> None:
    builder, x = image()
    part = builder.add(ops.Slice((0, 0, 1, 0), (1, 8, 2, 4), (1, 1, 1, 1)), [x], quantization=Q)
    builder.output(relu(builder, part, "end"))
    assert [call.operator.kind for call in exact(builder.build()).calls] == ["Slice", "Clip"]


def test_rows_that_are_joined_are_written_where_they_belong() -> None:
    builder, x = image()
    parts = [relu(builder, rows(builder, x, at, 4, f"in{at}"), f"out{at}") for at in (4, 0)]
    builder.output(builder.add(ops.Concat(1), parts, name="joined", quantization=Q))
    plan = exact(builder.build())
    assert [call.operator.kind for call in plan.calls] == ["Clip", "Clip"]
    assert plan.offset("out0") == plan.offset("joined") + 4 * 16


def test_pieces_of_a_split_are_views_and_a_piece_that_must_stay_is_copied() -> None:
    builder, x = image()
    one, two = builder.add_multi(ops.Split(1, (2, 6)), [x], quantizations=[Q, Q])
    kept = rows(builder, two, 0, 1, "kept")
    builder.output(builder.add(ops.Concat(1), [relu(builder, one, "first"), kept], name="joined", quantization=Q))
    plan = exact(builder.build())
    assert [call.operator.kind for call in plan.calls] == ["Slice", "Clip"]


def test_an_output_is_no_view() -> None:
    builder, x = image()
    builder.output(rows(builder, x, 1, 2, "part"))
    builder.output(relu(builder, x, "whole"))
    assert "Slice" in [call.operator.kind for call in exact(builder.build()).calls]


def test_rows_that_were_read_for_the_last_time_are_free() -> None:
    builder, x = image()
    parts = []
    for at in range(0, 8, 2):
        wide = builder.add(ops.Concat(3), [rows(builder, x, at, 2, f"in{at}")] * 3, quantization=Q)
        parts.append(builder.add(ops.Reduce(ops.ReduceKind.MAX, (3,), True), [wide], name=f"out{at}", quantization=Q))
    builder.output(builder.add(ops.Concat(1), parts, name="joined", quantization=Q))
    plan = exact(builder.build())
    assert len({span.last for span in plan.buffers[0].spans}) == 4
    assert plan.arena_bytes <= 128 + 96 + 16


def test_the_check_of_a_plan_sees_bytes_that_are_overwritten_too_early() -> None:
    builder, x = image()
    one = relu(builder, x, "one")
    builder.output(builder.add(ops.Binary(ops.BinaryKind.ADD), [x, one], name="sum", quantization=Q))
    plan = make_plan(builder.build(), HOST)
    assert conflicts(plan.buffers, plan.arena_bytes, plan) == []
    wrong = [replace(buffer, offset=0) for buffer in plan.buffers]
    assert any("overwritten" in problem for problem in conflicts(wrong, plan.arena_bytes, plan))
