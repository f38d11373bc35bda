"""Strips of rows: the same values as of the whole, at any size, stride, padding and branch; nothing computed twice."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import REDZONE, HostBatch
from tinyopt.errors import BoardError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, dump, graph_macs, ops
from tinyopt.plan import call_table, make_plan, memory_map
from tinyopt.plan.striping import Strips, reaches, region_source, striped, strips_bytes

HOST = load_board("host").model_copy(update={"features": frozenset({"dsp", "thumb2"})})
Q = Quantization.per_tensor(0.05, -3)
EXAMPLES = 40


def window(draw: st.DrawFn, reach: int) -> tuple[tuple[int, int], ops.Padding]:
    """Strides and paddings that leave no window without a row or column of the image."""
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    sides = [draw(st.integers(0, reach - 1)) for _ in range(4)]
    return stride, ops.Padding(*sides)


def add_layer(draw: st.DrawFn, builder: GraphBuilder, x: str) -> str:
    """One more operator on an image; the image may shrink, but keeps at least four rows and columns."""
    _, height, width, channels = builder.tensor(x).shape
    kind = draw(st.sampled_from(("conv", "pointwise", "depthwise", "maximum", "average", "clip", "residual", "scale")))
    random = np.random.default_rng(height * 100 + channels)
    if kind == "clip":
        return builder.add(ops.Clip(), [x], quantization=Q)
    if kind == "scale":
        factor = builder.constant("factor", random.integers(1, 50, (1, 1, 1, channels)).astype(np.int8), Q)
        return builder.add(ops.Binary(ops.BinaryKind.MUL), [x, factor], quantization=Q)
    if kind == "residual":
        inner = add_layer(draw, builder, x)
        if builder.tensor(inner).shape != builder.tensor(x).shape:
            return inner
        return builder.add(ops.Binary(ops.BinaryKind.ADD), [x, inner], quantization=Q)
    kernel = 1 if kind == "pointwise" else draw(st.integers(2, 3))
    stride, padding = window(draw, kernel)
    rows = (height + padding.top + padding.bottom - kernel) // stride[0] + 1
    columns = (width + padding.left + padding.right - kernel) // stride[1] + 1
    if min(rows, columns) < 4 or max(rows, columns) > 24:
        stride, padding = (1, 1), ops.Padding()
    if min(height, width) < kernel + 3:
        return x
    if kind in ("maximum", "average"):
        pool = ops.MaxPool2d if kind == "maximum" else ops.AveragePool2d
        return builder.add(pool((kernel, kernel), stride, padding), [x], quantization=Q)
    scale = Quantization.per_tensor(0.02)
    if kind == "depthwise":
        weights = builder.constant("w", random.integers(-99, 100, (1, kernel, kernel, channels)).astype(np.int8), scale)
        return builder.add(ops.DepthwiseConv2d(stride, padding), [x, weights], quantization=Q)
    outputs = draw(st.integers(1, 6))
    data = random.integers(-99, 100, (outputs, kernel, kernel, channels)).astype(np.int8)
    return builder.add(ops.Conv2d(stride, padding), [x, builder.constant("w", data, scale)], quantization=Q)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Graph, Strips]:
    """A network of a few layers, some of them in strips."""
    builder = GraphBuilder("image")
    x = builder.input(
        "x", (1, draw(st.integers(6, 17)), draw(st.integers(6, 9)), draw(st.integers(1, 4))), DType.INT8, Q
    )
    for _ in range(draw(st.integers(2, 6))):
        x = add_layer(draw, builder, x)
    builder.output(builder.add(ops.Clip(), [x], name="end", quantization=Q))
    graph = builder.build()
    count = len(graph.operators)
    runs = [
        (first, last)
        for first in range(count)
        for last in range(first, count)
        if all(reaches(graph)[first : last + 1]) and region_source(graph, first, last) is not None
    ]
    first, last = draw(st.sampled_from(runs))
    return graph, Strips(first, last, draw(st.integers(1, 4)))


@cache
def examples() -> tuple[tuple[Graph, Strips], ...]:
    found: list[tuple[Graph, Strips]] = []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case: tuple[Graph, Strips]) -> None:
        found.append(case)

    collect()
    return tuple(found)


def sample(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs}


def test_a_graph_in_strips_computes_the_same_values() -> None:
    for seed, (graph, strips) in enumerate(examples()):
        item = striped(graph, strips)
        inputs = sample(graph, seed)
        wanted, got = Executor(graph)(inputs), Executor(item.graph)(inputs)
        for name in graph.outputs:
            np.testing.assert_array_equal(
                got[name], wanted[name], err_msg=f"{strips} of\n{dump(graph)}\n{dump(item.graph)}"
            )


def test_strips_compute_no_product_twice() -> None:
    for graph, strips in examples():
        assert graph_macs(striped(graph, strips).graph) <= graph_macs(graph)


@pytest.mark.parametrize("options", [{}, {"redzone": REDZONE}, {"in_place": False}], ids=str)
def test_the_generated_code_of_strips_is_exact(options: dict[str, int]) -> None:
    chosen = examples()[: EXAMPLES if not options else EXAMPLES // 2]
    plans = [make_plan(graph, HOST, strips=strips, **options) for graph, strips in chosen]
    with HostBatch(plans) as batch:
        for index, plan in enumerate(plans):
            inputs = sample(plan.source, index)
            wanted, got = Executor(plan.source)(inputs), batch.run(index, inputs)
            for name in plan.source.outputs:
                np.testing.assert_array_equal(got[name], wanted[name], err_msg=f"{plan.source}\n{memory_map(plan)}")


def tower(rows: int = 32) -> Graph:
    """A first layer that widens a small image, as in most networks: the image in between is the largest tensor."""
    builder = GraphBuilder("tower")
    random = np.random.default_rng(0)
    x = builder.input("x", (1, rows, 16, 2), DType.INT8, Q)
    for name, outputs, stride in (("wide", 16, 1), ("narrow", 4, 2)):
        data = random.integers(-99, 100, (outputs, 3, 3, builder.tensor(x).shape[3])).astype(np.int8)
        weights = builder.constant(f"{name}_weights", data, Quantization.per_tensor(0.02))
        attributes = ops.Conv2d((stride, stride), ops.Padding(1, 1, 1, 1))
        x = builder.add(attributes, [x, weights], name=name, quantization=Q)
    builder.output(x)
    return builder.build()


def test_for_ram_the_largest_image_is_never_whole() -> None:
    graph = tower()
    whole, small = make_plan(graph, HOST), make_plan(graph, HOST, objective="ram")
    assert not whole.strips and whole.whole is None
    assert small.arena_bytes < 0.4 * whole.arena_bytes
    assert small.arena_bytes < graph.tensors["wide"].nbytes
    assert set(small.parts.values()) <= {"wide", "narrow"}
    assert "'wide' to 'narrow'" in call_table(small)


def test_for_latency_strips_are_made_only_where_the_arena_does_not_fit() -> None:
    graph = tower()
    free = make_plan(graph, HOST)
    limited = make_plan(graph, HOST, arena_limit=free.arena_bytes // 2)
    assert make_plan(graph, HOST, arena_limit=free.arena_bytes).strips == ()
    assert limited.strips and limited.arena_bytes <= free.arena_bytes // 2


def test_a_limit_that_no_strips_can_meet_is_an_error() -> None:
    with pytest.raises(BoardError, match="the limit is 1,100"):
        make_plan(tower(), HOST, arena_limit=1_100)


def test_a_mix_with_ram_weighs_memory_against_cycles() -> None:
    mixed = make_plan(tower(), HOST, objective="latency=1,ram=1")
    assert mixed.strips and mixed.arena_bytes < make_plan(tower(), HOST).arena_bytes


def test_a_pin_holds_for_every_strip() -> None:
    plan = make_plan(tower(), HOST, strips=Strips(0, 1, 2), pins={"wide": "conv2d_s8_ref"})
    calls = [call for call in plan.calls if call.operator.kind == "Conv2d"]
    kernels = {plan.parts.get(call.operator.name): call.kernel.name for call in calls}
    assert kernels["wide"] == "conv2d_s8_ref" != kernels["narrow"]


def test_the_estimate_is_near_what_the_plan_needs() -> None:
    graph = tower()
    for rows in (1, 2, 4):
        plan = make_plan(graph, HOST, strips=Strips(0, 1, rows))
        estimate = strips_bytes(graph, Strips(0, 1, rows)) + max(call.scratch for call in plan.calls)
        assert 0.8 * plan.lower_bound < estimate < 1.4 * plan.lower_bound


def test_an_image_that_somebody_else_reads_is_not_in_strips() -> None:
    builder = GraphBuilder("read twice")
    x = builder.input("x", (1, 8, 8, 2), DType.INT8, Q)
    one = builder.add(ops.Clip(), [x], name="one", quantization=Q)
    two = builder.add(ops.Clip(), [one], name="two", quantization=Q)
    builder.output(two)
    builder.output(one)
    graph = builder.build()
    assert region_source(graph, 0, 1) is None
    assert region_source(graph, 1, 1) == "one"
