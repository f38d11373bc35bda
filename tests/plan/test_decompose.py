"""Layers that are computed as others: the same bits, fewer predicted cycles, and only where that is wanted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import HostModel
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Operator, Quantization, ops
from tinyopt.plan import make_plan
from tinyopt.plan.decompose import decompose, phase_taps

ACTIVATION = Quantization.per_tensor(0.05, -3)
PLENTY = 1 << 30


def prefer_parts(graph: Graph, operator: Operator) -> float:
    """A price that makes every decomposition of a layer with the weights ``w`` pay."""
    return 1e9 if "w" in operator.inputs else 1.0


def layer(
    attributes: ops.Attributes, shape: tuple[int, ...], weights: tuple[int, ...], seed: int, *, bias: bool = True
) -> Graph:
    random = np.random.default_rng(seed)
    builder = GraphBuilder("layer")
    axis = 3 if isinstance(attributes, ops.DepthwiseConv2d) else 0
    scales = 0.01 * 2.0 ** random.uniform(-1, 1, weights[axis])
    per_channel = bool(random.integers(2))
    quantization = Quantization.per_channel(scales, axis) if per_channel else Quantization.per_tensor(0.01)
    inputs = [
        builder.input("x", shape, DType.INT8, ACTIVATION),
        builder.constant("w", random.integers(-128, 128, weights).astype(np.int8), quantization),
    ]
    if bias:
        sums = Quantization.per_channel(0.05 * scales, 0) if per_channel else Quantization.per_tensor(0.05 * 0.01)
        inputs.append(builder.constant("b", random.integers(-2000, 2000, weights[axis]).astype(np.int32), sums))
    output = Quantization.per_tensor(0.12, 7)
    builder.output(builder.add(attributes, inputs, name="layer", output="y", quantization=output))
    return builder.build()


sizes = st.integers(1, 7)
small = st.integers(1, 3)
channels = st.integers(1, 5)
paddings = st.tuples(*[st.integers(0, 2)] * 4)


@st.composite
def layers(draw: st.DrawFn) -> Graph:
    kernel, stride, dilation = (draw(st.tuples(small, small)) for _ in range(3))
    height, width = (draw(sizes) + (k - 1) * d for k, d in zip(kernel, dilation))
    padding = ops.Padding(*draw(paddings))
    seed, bias, activation = draw(st.integers(0, 999)), draw(st.booleans()), draw(st.sampled_from([ops.NONE, ops.RELU]))
    kind = draw(st.sampled_from(["grouped", "depthwise", "transposed", "rows", "image"]))
    depth, outs, groups = draw(channels), draw(channels), draw(st.integers(2, 4))
    if kind == "image":
        return layer(ops.Conv2d(activation=activation), (1, *kernel, depth), (outs, *kernel, depth), seed, bias=bias)
    if kind == "rows":
        shape = (1, draw(st.integers(1, 9)), depth)
        return layer(ops.FullyConnected(activation), shape, (outs, depth), seed, bias=bias)
    if kind == "grouped":
        a: ops.Attributes = ops.Conv2d(stride, padding, dilation, groups, activation)
        return layer(a, (1, height, width, depth * groups), (outs * groups, *kernel, depth), seed, bias=bias)
    if kind == "depthwise":
        a = ops.DepthwiseConv2d(stride, padding, dilation, groups, activation)
        return layer(a, (1, height, width, depth), (1, *kernel, depth * groups), seed, bias=bias)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip((height, width), stride, kernel, dilation)]
    top, left = (min(before, n - 1) for before, n in zip((padding.top, padding.left), full))
    bottom, right = min(padding.bottom, full[0] - top - 1), min(padding.right, full[1] - left - 1)
    cut = ops.Padding(top, bottom - draw(st.integers(0, 1)), left, right)
    return layer(
        ops.TransposeConv2d(stride, cut, dilation, activation), (1, height, width, depth), (outs, *kernel, depth), seed
    )


@settings(max_examples=300)
@given(layers())
def test_parts_give_the_bits_of_the_whole(graph: Graph) -> None:
    parts = decompose(graph, prefer_parts, PLENTY)
    sample = {"x": np.random.default_rng(5).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)}
    assert np.array_equal(Executor(parts)(sample)["y"], Executor(graph)(sample)["y"])
    assert parts.inputs == graph.inputs and parts.outputs == graph.outputs


@settings(max_examples=200)
@given(
    kernel=st.integers(1, 6), stride=st.integers(1, 4), dilation=st.integers(1, 3),
    before=st.integers(0, 4),
)  # fmt: skip
def test_every_tap_of_a_transposed_convolution_belongs_to_one_phase(
    kernel: int, stride: int, dilation: int, before: int
) -> None:
    phases = phase_taps(kernel, stride, dilation, before)
    if phases is None:
        return
    assert sorted(tap for taps, _, _ in phases for tap in taps) == list(range(kernel))
    for phase, (taps, apart, lead) in enumerate(phases):
        for index, tap in enumerate(taps):
            pixel = index * apart - lead  # that output 0 of the phase reads through this tap
            assert pixel * stride + tap * dilation - before == phase


TRANSPOSED = layer(ops.TransposeConv2d((2, 2)), (1, 6, 6, 8), (8, 3, 3, 8), 1)
GROUPED = layer(ops.Conv2d(groups=2), (1, 8, 8, 16), (16, 3, 3, 8), 2)
ROWS = layer(ops.FullyConnected(), (1, 12, 64), (61, 64), 4)
IMAGE = layer(ops.Conv2d(), (1, 1, 1, 256), (64, 1, 1, 256), 5)
DOUBLED = layer(ops.DepthwiseConv2d(multiplier=2), (1, 8, 8, 8), (1, 3, 3, 16), 3)


@pytest.mark.parametrize(
    "graph", [TRANSPOSED, GROUPED, DOUBLED, ROWS, IMAGE], ids=["transposed", "grouped", "doubled", "rows", "image"]
)
@pytest.mark.parametrize("board", ["mps2_an386", "mps3_an547", "mps2_m0", "rv32_virt"])
def test_the_planner_takes_the_parts_where_they_are_faster(graph: Graph, board: str) -> None:
    plan = make_plan(graph, load_board(board))
    pinned = make_plan(graph, load_board(board), pins={"layer": reference_kernel(graph)})
    assert [call.kernel.name for call in plan.calls] != [call.kernel.name for call in pinned.calls] and len(
        pinned.calls
    ) == 1
    assert plan.cycles < pinned.cycles


def reference_kernel(graph: Graph) -> str:
    kind = type(graph.operators[0].attributes)
    names: dict[type, str] = {
        ops.FullyConnected: "fully_connected",
        ops.Conv2d: "conv2d",
        ops.DepthwiseConv2d: "depthwise_conv2d",
        ops.TransposeConv2d: "transpose_conv2d",
    }
    return f"{names[kind]}_s8_ref"


@pytest.mark.parametrize("objective", ["ram", "flash", "latency=1,flash=1"])
def test_who_asks_for_little_memory_gets_the_whole_layer(objective: str) -> None:
    assert len(make_plan(GROUPED, load_board("mps2_an386"), objective=objective).calls) == 1


def test_parts_that_do_not_fit_the_memory_are_not_taken() -> None:
    assert decompose(GROUPED, prefer_parts, 0) is GROUPED
    assert decompose(GROUPED, prefer_parts, PLENTY, keep={"layer"}) is GROUPED
    assert decompose(GROUPED, lambda graph, operator: 1.0, PLENTY) is GROUPED


@pytest.mark.parametrize("features", [{"dsp"}, set()], ids=["dsp", "portable"])
@pytest.mark.parametrize(
    "graph", [TRANSPOSED, GROUPED, DOUBLED, ROWS, IMAGE], ids=["transposed", "grouped", "doubled", "rows", "image"]
)
def test_the_generated_code_of_the_parts_is_exact(graph: Graph, features: set[str]) -> None:
    board = load_board("host").model_copy(update={"features": frozenset(features)})
    sample = {"x": np.random.default_rng(9).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)}
    plan = make_plan(graph, board)
    assert np.array_equal(HostModel(plan).run(sample)["y"], Executor(graph)(sample)["y"])
