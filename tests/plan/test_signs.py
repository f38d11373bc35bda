"""Layers of -1 and 1 that read signs get them as bits; every output stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import HostBatch
from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Operator, Quantization, ops
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.signs import with_packed_signs

HOST, M4 = load_board("host"), load_board("mps2_an386")
SIGN = Quantization.per_tensor(1.0)


def prefer_bits(graph: Graph, operator: Operator) -> float:
    return 1.0 if isinstance(operator.attributes, (ops.PackSigns, ops.XnorConv2d)) else 100.0


class Network:
    """A network of signs that grows layer by layer."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = GraphBuilder("signs")
        self.last = self.builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, 3))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.builder.tensor(self.last).shape

    def sign(self) -> Network:
        self.last = self.builder.add(ops.Unary(ops.UnaryKind.SIGN), [self.last], quantization=SIGN)
        return self

    def _layer(self, attributes: ops.Attributes, weights: Array, name: str, *, bias: bool) -> None:
        outputs, depth = weights.shape[0], weights.size // weights.shape[0]
        scales = 0.05 * 2.0 ** self.random.uniform(-2, 2, outputs)
        w = self.builder.constant("w", weights.astype(np.int8), Quantization.per_channel(scales, 0))
        names = [self.last, w]
        if bias:
            reach = int(3 * np.sqrt(depth)) + 2
            names.append(self.builder.constant("b", self.random.integers(-reach, reach, outputs).astype(np.int32)))
        y = Quantization.per_tensor(float(np.float32(0.05 * np.sqrt(depth) / 60)), int(self.random.integers(-20, 20)))
        self.last = self.builder.add(attributes, names, name=name, quantization=y)

    def convolution(self, outputs: int, kernel: tuple[int, int], name: str = "conv", **options: object) -> Network:
        bias = bool(options.pop("bias", True))
        weights = self.random.choice([-1, 1], (outputs, *kernel, self.shape[3]))
        self._layer(ops.Conv2d(**options), weights, name, bias=bias)  # type: ignore[arg-type]
        return self

    def dense(self, outputs: int, name: str = "dense", *, bias: bool = True) -> Network:
        weights = self.random.choice([-1, 1], (outputs, self.shape[-1]))
        self._layer(ops.FullyConnected(), weights, name, bias=bias)
        return self

    def pool(self, kernel: tuple[int, int], **options: object) -> Network:
        quantization = self.builder.tensor(self.last).quantization
        attributes = ops.MaxPool2d(kernel, **options)  # type: ignore[arg-type]
        self.last = self.builder.add(attributes, [self.last], quantization=quantization)
        return self

    def reshape(self, *shape: int) -> Network:
        quantization = self.builder.tensor(self.last).quantization
        self.last = self.builder.add(ops.Reshape(shape), [self.last], quantization=quantization)
        return self

    def build(self) -> Graph:
        self.builder.output(self.last)
        return self.builder.build()


def kinds(graph: Graph) -> list[str]:
    return [operator.kind for operator in graph.operators if operator.kind != "Reshape"]


def assert_same(graphs: list[Graph], plans: list[Plan]) -> None:
    with HostBatch(plans) as batch:
        for index, graph in enumerate(graphs):
            run = Executor(graph)
            for seed in range(3):
                x = np.random.default_rng(seed).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)
                (expected,) = run({"x": x}).values()
                (got,) = batch.run(index, {"x": x}).values()
                np.testing.assert_array_equal(got, expected, err_msg=str(plans[index].graph))


BORDER = ops.Padding(1, 1, 1, 1)


def test_a_chain_of_layers_hands_bits_on() -> None:
    net = Network((1, 6, 6, 20)).sign().convolution(40, (3, 3), "a", padding=BORDER)
    graph = net.sign().convolution(33, (1, 1), "b").sign().convolution(10, (3, 3), "c", bias=False).build()
    packed = with_packed_signs(graph, prefer_bits)
    assert kinds(packed) == ["PackSigns", "XnorConv2d", "XnorConv2d", "XnorConv2d"]
    assert [o.name for o in packed.operators][1:] == ["a", "b", "c"]
    # The border of zeros is no obstacle, and only the last layer has int8 results.
    assert [t.dtype for o in packed.operators for t in packed.outs(o)] == [DType.INT32] * 3 + [DType.INT8]
    assert_same([graph], [make_plan(graph, HOST, objective="ram")])


def test_flattened_images_and_rows() -> None:
    flat = Network((1, 4, 3, 37)).sign().reshape(1, 4 * 3 * 37).dense(20, "a").sign().dense(12, "b", bias=False)
    rows = Network((3, 50)).sign().dense(40).sign().dense(5)
    graphs = [flat.build(), rows.build()]
    for graph in graphs:
        packed = with_packed_signs(graph, prefer_bits)
        assert kinds(packed) == ["PackSigns", "XnorConv2d", "XnorConv2d"]
    assert_same(graphs, [make_plan(graph, HOST, objective="ram") for graph in graphs])


def test_the_maximum_of_signs_is_taken_on_bits() -> None:
    net = Network((1, 7, 8, 20)).sign().convolution(40, (3, 3), "a", padding=BORDER)
    net.pool((3, 3), stride=(2, 2), padding=ops.Padding(1, 1, 1, 0)).sign().convolution(33, (1, 1), "b")
    net.pool((2, 2), stride=(2, 2))
    flat = net.reshape(1, int(np.prod(net.shape))).sign().dense(10, "c").build()
    packed = with_packed_signs(flat, prefer_bits)
    assert kinds(packed) == ["PackSigns", "XnorConv2d", "OrPool2d", "XnorConv2d", "OrPool2d", "XnorConv2d"]
    assert_same([flat], [make_plan(flat, HOST, objective="ram")])


def test_a_maximum_that_others_read_too_stays_int8() -> None:
    net = Network((1, 4, 4, 32)).sign().convolution(32, (1, 1), "a").pool((2, 2), stride=(2, 2))
    net.builder.output(net.last)
    graph = net.sign().convolution(8, (1, 1), "b").build()
    packed = with_packed_signs(graph, prefer_bits)
    assert kinds(packed) == ["PackSigns", "XnorConv2d", "MaxPool2d", "PackSigns", "XnorConv2d"]
    clamped = Network((1, 4, 4, 32)).sign().convolution(32, (1, 1), "a")
    clamped.pool((2, 2), stride=(2, 2), activation=ops.RELU)
    assert "MaxPool2d" in kinds(with_packed_signs(clamped.sign().convolution(8, (1, 1)).build(), prefer_bits))


def test_what_reads_a_sign_as_a_number_keeps_it_as_one() -> None:
    net = Network((1, 4, 4, 8)).sign()
    sign = net.last
    net.convolution(8, (1, 1))
    total = net.builder.add(
        ops.Binary(ops.BinaryKind.ADD), [net.last, sign], quantization=Quantization.per_tensor(0.1, 0)
    )
    net.last = total
    graph = net.build()
    assert with_packed_signs(graph, prefer_bits) is graph


def test_other_weights_other_signs_and_pinned_layers_stay_int8() -> None:
    net = Network((1, 4, 4, 8)).sign()
    net._layer(ops.Conv2d(), net.random.choice([-1, 0, 1], (8, 1, 1, 8)), "ternary", bias=False)
    graph = net.build()
    assert with_packed_signs(graph, prefer_bits) is graph

    coarse = Network((1, 4, 4, 8))
    coarse.last = coarse.builder.add(
        ops.Unary(ops.UnaryKind.SIGN), [coarse.last], quantization=Quantization.per_tensor(1 / 127)
    )
    graph = coarse.convolution(8, (1, 1)).build()
    assert with_packed_signs(graph, prefer_bits) is graph

    graph = Network((1, 4, 4, 8)).sign().convolution(8, (1, 1), "conv").build()
    assert kinds(make_plan(graph, HOST, objective="ram").graph) == ["PackSigns", "XnorConv2d"]
    pinned = make_plan(graph, HOST, objective="ram", pins={"conv": "conv2d_s8_ref"})
    assert "Conv2d" in kinds(pinned.graph) and "XnorConv2d" not in kinds(pinned.graph)
    bits = make_plan(graph, HOST, pins={"conv": "xnor_conv2d_s8_ref"})
    assert kinds(bits.graph) == ["PackSigns", "XnorConv2d"]


def test_bits_are_left_where_they_take_more_cycles() -> None:
    graph = Network((1, 4, 4, 8)).sign().convolution(8, (1, 1)).build()

    def dislike_bits(graph: Graph, operator: Operator) -> float:
        return 100.0 / prefer_bits(graph, operator)

    assert with_packed_signs(graph, dislike_bits) is graph
    assert with_packed_signs(graph, dislike_bits, always=True) is not graph


def test_signs_take_an_eighth_of_the_arena_and_a_third_of_the_cycles() -> None:
    net = Network((1, 16, 16, 64)).sign()
    for index in range(3):
        net.convolution(64, (3, 3), f"conv{index}", padding=BORDER)
        if index < 2:
            net.sign()
    graph = net.build()
    plan = make_plan(graph, M4)
    int8 = make_plan(graph, M4, pins={o.name: "conv2d_s8_dsp" for o in graph.operators if o.kind == "Conv2d"})
    predicted = [sum(call.predicted_cycles for call in p.calls) for p in (plan, int8)]
    assert predicted[0] < 0.4 * predicted[1]
    middle = plan.graph.tensors[plan.calls[1].outputs[0]]
    assert middle.nbytes == 16 * 16 * 64 // 8


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    size, channels = draw(st.integers(1, 6)), draw(st.sampled_from([3, 31, 32, 40, 64, 70]))
    net = Network((1, size, draw(st.integers(1, 6)), channels), draw(st.integers(0, 999)))
    for index in range(draw(st.integers(1, 3))):
        net.sign()
        kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 2)]))
        if draw(st.sampled_from([False, False, True])) and len(net.shape) == 4:
            net.reshape(1, int(np.prod(net.shape))).dense(draw(st.sampled_from([5, 32, 40])), f"dense{index}")
            break
        net.convolution(
            draw(st.sampled_from([7, 32, 33, 64])),
            kernel,
            f"conv{index}",
            padding=ops.Padding(1, 1, 1, 1) if kernel == (3, 3) else ops.Padding(0, 0, 0, 1),
            stride=draw(st.sampled_from([(1, 1), (2, 2)])),
            activation=draw(st.sampled_from([ops.NONE, ops.NONE, ops.RELU])),
            bias=draw(st.booleans()),
        )
    if draw(st.booleans()):
        net.sign()
    return net.build()


def test_random_networks_of_signs_are_the_same_in_bits() -> None:
    graphs: list[Graph] = []

    @settings(max_examples=25)
    @given(networks())
    def collect(graph: Graph) -> None:
        graphs.append(graph)

    collect()
    plans = [make_plan(graph, HOST, objective="ram") for graph in graphs]
    assert any(kinds(plan.graph).count("XnorConv2d") > 1 for plan in plans)
    for start in range(0, len(graphs), 13):
        assert_same(graphs[start : start + 13], plans[start : start + 13])


@pytest.mark.parametrize("objective", ["latency", "ram", "flash", "energy"])
def test_every_objective_can_have_bits(objective: str) -> None:
    graph = Network((1, 8, 8, 64)).sign().convolution(64, (3, 3), "conv", padding=BORDER).build()
    assert "XnorConv2d" in kinds(make_plan(graph, M4, objective=objective).graph)
