"""Factorized networks: the same function at full rank, an error that is known below, ranks by rule and by budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.compress.factorize import (
    CostBudget,
    Energy,
    Factorization,
    LayerChoice,
    MethodName,
    ParameterBudget,
    PredictedCycles,
    Ranks,
    explain,
    factorize,
)
from tinyopt.errors import GraphError, ModelError
from tinyopt.execute.float import run_batch
from tinyopt.graph import DType, Graph, GraphBuilder, Tensor, graph_macs, ops, parameter_bytes
from tinyopt.graph.ops import Padding
from tinyopt.graph.types import Array
from tinyopt.quantize import quantize

FULL = Ranks((9999,))


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def low_rank(outputs: int, inputs: int, rank: int, noise: float = 0.0, seed: int = 0) -> Array:
    exact = floats(outputs, rank, seed=seed) @ floats(rank, inputs, seed=seed + 1) / np.sqrt(rank)
    return (exact + noise * floats(outputs, inputs, seed=seed + 2)).astype(np.float32)


def convolution(weights: Array, *, size: tuple[int, int] = (9, 8), bias: bool = True, **attributes: object) -> Graph:
    b = GraphBuilder("convolution")
    x = b.input("x", (1, *size, weights.shape[3]), DType.FLOAT32)
    names = [x, b.constant("w", weights)]
    if bias:
        names.append(b.constant("bias", floats(weights.shape[0], seed=7)))
    b.output(b.add(ops.Conv2d(**attributes), names, output="y"))  # type: ignore[arg-type]
    return b.build()


def dense(weights: Array, *, activation: ops.Clamp = ops.NONE, bias: bool = True, rows: int = 1) -> Graph:
    b = GraphBuilder("dense")
    shape = (1, weights.shape[1]) if rows == 1 else (1, rows, weights.shape[1])
    names = [b.input("x", shape, DType.FLOAT32), b.constant("w", weights)]
    if bias:
        names.append(b.constant("bias", floats(weights.shape[0], seed=7)))
    b.output(b.add(ops.FullyConnected(activation), names, output="y"))
    return b.build()


def network(seed: int = 0) -> Graph:
    """3x3, 1x1, depthwise, mean, two dense layers; weights of low rank and a little noise."""
    b = GraphBuilder("network")
    x = b.input("x", (1, 8, 8, 8), DType.FLOAT32)
    w = low_rank(32, 72, 4, 0.02, seed).reshape(32, 3, 3, 8)
    x = b.add(ops.Conv2d(padding=Padding(1, 1, 1, 1), activation=ops.RELU), [x, b.constant("w3", w)], output="three")
    x = b.add(
        ops.DepthwiseConv2d(padding=Padding(1, 1, 1, 1)), [x, b.constant("wd", floats(1, 3, 3, 32))], output="deep"
    )
    w = low_rank(32, 32, 6, 0.02, seed + 9).reshape(32, 1, 1, 32)
    x = b.add(ops.Conv2d(activation=ops.RELU), [x, b.constant("w1", w), b.constant("b1", floats(32))], output="one")
    x = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x], output="pooled")
    x = b.add(ops.FullyConnected(ops.RELU), [x, b.constant("wf", low_rank(64, 32, 5, 0.02, seed + 4))], output="hidden")
    b.output(b.add(ops.FullyConnected(), [x, b.constant("ws", floats(4, 64) / 8)], output="scores"))
    return b.build()


def outputs(graph: Graph, seed: int = 3) -> Array:
    name = graph.inputs[0]
    return run_batch(graph, {name: floats(3, *graph.tensors[name].shape[1:], seed=seed)})[graph.outputs[0]]


def same(graph: Graph, other: Graph, tolerance: float = 1e-4) -> bool:
    expected = outputs(graph)
    return float(np.abs(outputs(other) - expected).max()) <= tolerance * max(1.0, float(np.abs(expected).max()))


@given(
    method=st.sampled_from(["spatial", "tucker", "tensor_train"]),
    channels=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    bias=st.booleans(),
    clamp=st.sampled_from([ops.NONE, ops.RELU, ops.RELU6]),
)
@settings(max_examples=60)
def test_a_convolution_of_full_rank_is_the_same_function(
    method: MethodName,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    bias: bool,
    clamp: ops.Clamp,
) -> None:
    assume(kernel != (1, 1) and (method == "tucker" or 1 not in kernel))
    graph = convolution(
        floats(channels[0], *kernel, channels[1], seed=1),
        bias=bias,
        stride=stride,
        dilation=dilation,
        padding=Padding(*padding),
        activation=clamp,
    )
    changed, report = explain(graph, Factorization(method, FULL))
    assert report.layers[0].method == method and report.layers[0].discarded < 1e-12
    assert same(graph, changed)


@given(
    method=st.sampled_from(["tucker", "cp", "tensor_train", "spatial"]),
    ranks=st.integers(1, 3),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    kernel=st.sampled_from([(3, 3), (2, 5), (3, 2)]),
)
@settings(max_examples=25)
def test_weights_of_low_rank_are_found_exactly(
    method: MethodName, ranks: int, stride: tuple[int, int], kernel: tuple[int, int]
) -> None:
    parts = [floats(size, ranks, seed=20 + i) for i, size in enumerate((8, *kernel, 6))]
    graph = convolution(
        np.einsum("or,hr,wr,cr->ohwc", *parts).astype(np.float32), stride=stride, padding=Padding(1, 0, 2, 1)
    )
    changed, report = explain(graph, Factorization(method, Ranks((ranks,))))
    assert report.layers[0].discarded < 1e-8
    assert same(graph, changed, 1e-3 if method == "cp" else 1e-4)
    assert report.parameters_after < report.parameters_before and graph_macs(changed) == report.macs_after


@given(
    method=st.sampled_from(["svd", "tensor_train"]),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    rows=st.sampled_from([1, 3]),
    bias=st.booleans(),
    clamp=st.sampled_from([ops.NONE, ops.RELU]),
)
@settings(max_examples=40)
def test_a_dense_layer_of_full_rank_is_the_same_function(
    method: MethodName, shape: tuple[int, int], rows: int, bias: bool, clamp: ops.Clamp
) -> None:
    graph = dense(floats(*shape, seed=2), activation=clamp, bias=bias, rows=rows)
    assert same(graph, factorize(graph, Factorization(method, FULL)))


@pytest.mark.parametrize(
    "attributes", [{}, {"stride": (2, 3)}, {"padding": Padding(1, 0, 2, 1), "activation": ops.RELU6}]
)
def test_a_pointwise_convolution_of_full_rank_is_the_same_function(attributes: dict[str, object]) -> None:
    graph = convolution(floats(6, 1, 1, 5), **attributes)
    changed = factorize(graph, Factorization("svd", FULL))
    assert [operator.name for operator in changed.operators] == ["y/reduce", "y/expand"]
    assert same(graph, changed)


@given(
    method=st.sampled_from(["spatial", "tucker", "tensor_train", "cp"]),
    keep=st.floats(0.2, 0.98),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_the_error_is_what_the_discarded_energy_allows(method: MethodName, keep: float, seed: int) -> None:
    weights = (low_rank(16, 72, 3, 0.05, seed)).reshape(16, 3, 3, 8)
    graph = convolution(weights, bias=False)
    changed, report = explain(graph, Factorization(method, Energy(keep)))
    if not report.layers:
        assert "no rank that keeps" in report.left[0].reason and same(graph, changed, 0)
        return
    row = report.layers[0]
    assert row.discarded <= 1 - keep + 1e-9
    # |W x - W' x| ≤ |W - W'| |x| for every patch.
    x = floats(1, 9, 8, 8, seed=seed)
    patches = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), (0, 1))
    largest = np.sqrt((patches**2).sum((2, 3, 4)).max())
    error = np.linalg.norm(run_batch(changed, {"x": x})["y"] - run_batch(graph, {"x": x})["y"], axis=-1).max()
    assert error <= np.sqrt(row.discarded) * np.linalg.norm(weights) * largest * (1 + 1e-3) + 1e-3


def test_the_smallest_rank_that_keeps_the_energy_is_taken() -> None:
    energies = np.array([64.0, 16, 8, 8, 4])
    weights = (np.linalg.qr(floats(40, 5))[0] * np.sqrt(energies)) @ np.linalg.qr(floats(40, 5, seed=1))[0].T
    graph = dense(weights.astype(np.float32))
    for keep, rank in ((0.6, 1), (0.7, 2), (0.85, 3), (0.95, 4), (0.9999, 5)):
        row = explain(graph, Factorization("svd", Energy(keep)))[1].layers[0]
        assert row.ranks == (rank,) and row.discarded == pytest.approx(1 - energies[:rank].sum() / 100, abs=1e-6)
    rounded = explain(graph, Factorization("svd", Energy(0.7), multiple_of=4))[1].layers[0]
    assert rounded.ranks == (4,)


def test_bias_and_activation_stay_on_the_last_factor() -> None:
    graph = convolution(floats(16, 3, 3, 16), padding=Padding(1, 1, 1, 1), activation=ops.RELU)
    changed = factorize(graph, Factorization("tucker", Ranks((4, 5))))
    assert [(o.name, len(o.inputs), o.attributes.activation) for o in changed.operators] == [
        ("y/reduce", 2, ops.NONE),
        ("y/core", 2, ops.NONE),
        ("y/expand", 3, ops.RELU),
    ]
    assert changed.operators[-1].outputs == ("y",) and changed.operators[-1].inputs[2] == "bias"
    assert [changed.tensors[o.inputs[1]].shape for o in changed.operators] == [
        (5, 1, 1, 16),
        (4, 3, 3, 5),
        (16, 1, 1, 4),
    ]


def test_every_layer_is_accounted_for() -> None:
    graph = network()
    changed, report = explain(graph, Factorization(rule=Energy(0.95)))
    assert {row.name: row.method for row in report.layers} == {"three": "spatial", "one": "svd", "hidden": "svd"} or {
        row.name: row.method for row in report.layers
    } == {"three": "tucker", "one": "svd", "hidden": "svd"}
    reasons = {row.name: row.reason for row in report.left}
    assert "depthwise" in reasons["deep"] and "no rank that keeps 0.95" in reasons["scores"]
    assert report.parameters_after * 4 == parameter_bytes(changed) and report.macs_after == graph_macs(changed)
    assert report.macs_after < 0.6 * report.macs_before
    assert same(graph, changed, 0.3)
    for name in ("three", "deep", "scores"):
        assert name in report.table()


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_a_parameter_budget_is_met(share: float) -> None:
    graph = network()
    changed, report = explain(graph, Factorization(rule=ParameterBudget(share)))
    assert report.missed is None
    assert parameter_bytes(changed) <= share * parameter_bytes(graph)


@pytest.mark.parametrize("method", ["spatial", "tucker", "tensor_train", "cp"])
def test_every_method_meets_a_small_budget(method: MethodName) -> None:
    graph = convolution(floats(16, 3, 3, 16), padding=Padding(1, 1, 1, 1), bias=False)
    changed, report = explain(graph, Factorization(method, ParameterBudget(0.15)))
    assert report.missed is None and parameter_bytes(changed) <= 0.15 * parameter_bytes(graph)


def test_constants_that_nothing_reads_are_no_part_of_a_budget() -> None:
    graph = network()
    unread = Tensor.constant("unread", np.zeros(100_000, np.float32))
    report = explain(
        replace(graph, tensors={**graph.tensors, "unread": unread}), Factorization(rule=ParameterBudget(0.8))
    )[1]
    assert report.parameters_before == parameter_bytes(graph) // 4
    assert 0.6 * report.parameters_before < report.parameters_after <= 0.8 * report.parameters_before


def test_a_larger_budget_keeps_more() -> None:
    errors = []
    for share in (0.35, 0.5, 0.8):
        changed = factorize(network(), Factorization(rule=ParameterBudget(share)))
        errors.append(float(np.abs(outputs(changed) - outputs(network())).mean()))
    assert errors[0] > errors[2] and errors[1] >= errors[2]


def test_a_budget_out_of_reach_ends_with_the_smallest_and_says_so() -> None:
    graph = network()
    changed, report = explain(graph, Factorization(rule=ParameterBudget(0.01)))
    assert report.missed is not None and "1.0 % were asked for" in report.missed and report.missed in report.table()
    assert parameter_bytes(changed) < 0.3 * parameter_bytes(graph)


def test_a_cost_budget_is_met_by_the_plan() -> None:
    graph, cost = network(), PredictedCycles(load_board("mps2_an386"))
    changed, report = explain(graph, Factorization(rule=CostBudget(0.7, cost)))
    assert report.missed is None and cost(changed) <= 0.7 * cost(graph)
    assert report.cost_before == cost(graph) and report.cost_after == cost(changed)
    assert all(row.cost_after is not None and row.cost_after < (row.cost_before or 0) for row in report.layers)


def test_a_rank_that_costs_more_does_not_pay() -> None:
    report = explain(network(), Factorization(rule=Energy(0.9), cost=lambda graph: float(len(graph.operators))))[1]
    assert not report.layers and "is cheaper" in report.left[0].reason


def test_layers_have_choices_of_their_own() -> None:
    graph = network()
    config = Factorization(
        rule=Energy(0.9),
        layers={"three": LayerChoice("cp", Ranks((7,))), "one": None, "hidden": LayerChoice(rule=Ranks((3,)))},
    )
    report = explain(graph, config)[1]
    assert {row.name: (row.method, row.ranks) for row in report.layers} == {
        "three": ("cp", (7,)),
        "hidden": ("svd", (3,)),
    }
    assert {row.name: row.reason for row in report.left}["one"] == "asked to be left"


def test_the_same_seed_gives_the_same_factors() -> None:
    graph = network()
    first, second = (factorize(graph, Factorization("cp", Ranks((9,))), seed=5) for _ in range(2))
    assert np.array_equal(outputs(first), outputs(second))


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    factorize(network(), on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 4) for i in range(1, 5)]


def test_a_factorized_network_quantizes_and_plans() -> None:
    graph = factorize(network(), Factorization(rule=Energy(0.9), layers={"hidden": LayerChoice("tensor_train", FULL)}))
    assert quantize(graph, "random:0:4").is_quantized
    assert PredictedCycles(load_board("mps2_an386"))(graph) > 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Factorization(layers={"nobody": LayerChoice()}), "no layer 'nobody'"),
        (Factorization(layers={"deep": LayerChoice()}, strict=True), "'deep' cannot be factorized: a depthwise"),
        (
            Factorization(layers={"one": LayerChoice("tucker")}, strict=True),
            "'one' cannot be factorized: tucker is for",
        ),
        (
            Factorization("tucker", layers={"three": LayerChoice(rule=Ranks((2, 3, 4)))}, strict=True),
            "has 2 ranks here",
        ),
    ],
)
def test_choices_that_cannot_be_met_are_refused(config: Factorization, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        factorize(network(), config)


def test_settings_without_sense_are_refused() -> None:
    for make in (
        lambda: Energy(0),
        lambda: Energy(1.5),
        lambda: Ranks(()),
        lambda: Ranks((0,)),
        lambda: ParameterBudget(0),
        lambda: CostBudget(2, lambda graph: 1.0),
        lambda: Factorization("magic"),  # type: ignore[arg-type]
        lambda: Factorization(multiple_of=0),
    ):
        with pytest.raises(ModelError):
            make()


def test_shared_weights_stay() -> None:
    b = GraphBuilder("twice")
    x = b.input("x", (1, 16), DType.FLOAT32)
    w = b.constant("w", low_rank(16, 16, 2))
    y = b.add(ops.FullyConnected(ops.RELU), [x, w], output="one")
    b.output(b.add(ops.FullyConnected(), [y, w], output="two"))
    report = explain(b.build())[1]
    assert not report.layers and all("shared" in row.reason for row in report.left)


def test_a_budget_is_met_where_the_costs_of_layers_do_not_add_up() -> None:
    graph = network()

    def cost(part: Graph) -> float:
        # A network costs a third more than its layers.
        return graph_macs(part) * (4 / 3 if len(part.operators) > 4 else 1)

    changed, report = explain(graph, Factorization(rule=CostBudget(0.5, cost)))
    assert report.missed is None and cost(changed) <= 0.5 * cost(graph)


def test_a_quantized_graph_is_refused() -> None:
    with pytest.raises((ModelError, GraphError), match="factorize the float model first"):
        factorize(quantize(network(), "random:0:2"))
