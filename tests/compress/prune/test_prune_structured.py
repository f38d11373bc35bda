"""Channels, neurons and layers leave: which ones, how many, down to a budget."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from tinyopt.bridge import to_torch
from tinyopt.compress.prune import (
    L1,
    L2,
    ActivationStatistics,
    Criterion,
    NMPruning,
    Random,
    StructuredPruning,
    Target,
    Taylor,
    prune,
    pruning_report,
)
from tinyopt.compress.prune.layers import bypasses, pass_by
from tinyopt.compress.prune.picking import Family, normalised
from tinyopt.compress.prune.structured import families, frozen_layers
from tinyopt.compress.prune.tracing import trace
from tinyopt.errors import DataError, TinyoptError
from tinyopt.examples import digits_graph as make_digits_graph
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Tensor, graph_macs, ops


@cache
def digits_graph() -> Graph:
    return make_digits_graph()


def run(graph: Graph, seed: int = 0) -> np.ndarray:
    shape = graph.tensors[graph.inputs[0]].shape
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    result: np.ndarray = next(iter(Executor(graph)({graph.inputs[0]: x}).values()))
    return result


def run_many(graph: Graph, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        result: np.ndarray = to_torch(graph)(torch.from_numpy(x)).numpy()
    return result


def dense(*sizes: int, seed: int = 0) -> Graph:
    """Dense layers w0, w1, … with relu between and biases."""
    random = np.random.default_rng(seed)
    b = GraphBuilder("dense")
    x = b.input("x", (1, sizes[0]), DType.FLOAT32)
    for index, (a, c) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        w = b.constant(f"w{index}", random.standard_normal((c, a)).astype(np.float32))
        bias = b.constant(f"b{index}", random.standard_normal(c).astype(np.float32))
        x = b.add(ops.FullyConnected(ops.NONE if last else ops.RELU), [x, w, bias], name=f"fc{index}")
    b.output(x)
    return b.build()


def with_constant(graph: Graph, name: str, value: np.ndarray) -> Graph:
    return graph.with_operators(graph.operators, [Tensor.constant(name, value.astype(np.float32))])


@pytest.mark.parametrize("criterion", [L1(), L2(), ActivationStatistics(), ActivationStatistics("nonzero"), Taylor()])
def test_neurons_that_do_nothing_go_first(criterion: Criterion) -> None:
    """Neurons 1, 4 and 6 of eight have no weights and no bias: the network computes the same without them."""
    graph = dense(6, 8, 4)
    dead = [1, 4, 6]
    for name in ("w0", "b0"):
        value = graph.tensors[name].value.copy()
        value[dead] = 0
        graph = with_constant(graph, name, value)
    x = np.random.default_rng(3).standard_normal((64, 6)).astype(np.float32)
    pruned = prune(graph, StructuredPruning(3 / 8, criterion=criterion), (x, np.arange(64) % 4))
    kept = [0, 2, 3, 5, 7]
    assert np.array_equal(pruned.tensors["w0"].value, graph.tensors["w0"].value[kept])
    assert np.array_equal(pruned.tensors["w1"].value, graph.tensors["w1"].value[:, kept])
    np.testing.assert_allclose(run(pruned), run(graph), rtol=1e-5, atol=1e-6)


def test_taylor_spares_what_the_loss_needs_and_magnitude_does_not_see_it() -> None:
    """Neuron 0 is small in its own weights, but the next layer multiplies it by a large one."""
    graph = dense(6, 4, 3)
    first, second = graph.tensors["w0"].value.copy(), graph.tensors["w1"].value.copy()
    first[0] *= 0.3
    second[:, 0] *= 30
    graph = with_constant(with_constant(graph, "w0", first), "w1", second)
    x = np.random.default_rng(3).standard_normal((64, 6)).astype(np.float32)
    data = (x, np.arange(64) % 3)
    taylor, magnitude = (prune(graph, StructuredPruning(0.25, criterion=c), data) for c in (Taylor(), L2()))
    assert any((row == first[0]).all() for row in taylor.tensors["w0"].value)
    assert not any((row == first[0]).all() for row in magnitude.tensors["w0"].value)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("amount", [0.25, 0.5, 0.75])
def test_the_amount_is_the_share_of_groups(amount: float, scope: str) -> None:
    graph = digits_graph()
    total = sum(len(f.groups) for f in families(trace(graph)))
    pruned = prune(graph, StructuredPruning(amount, scope=scope))  # type: ignore[arg-type]
    left = sum(len(f.groups) for f in families(trace(pruned)))
    assert left == pytest.approx((1 - amount) * total, abs=len(families(trace(graph))))
    assert graph_macs(pruned) < (1 - amount) * 1.1 * graph_macs(graph)
    assert pruned.tensors[pruned.outputs[0]].shape == graph.tensors[graph.outputs[0]].shape
    run(pruned)


def test_residual_sums_keep_their_operands_equal_and_depthwise_layers_follow() -> None:
    graph = digits_graph()
    pruned = prune(graph, StructuredPruning(0.4))
    for operator in pruned.operators:
        shapes = [t.shape for t in pruned.ins(operator)]
        if isinstance(operator.attributes, ops.Binary):
            assert shapes[0] == shapes[1]
        if isinstance(operator.attributes, ops.DepthwiseConv2d):
            assert shapes[1][3] == shapes[0][3] < 32


@pytest.mark.parametrize("multiple", [2, 4, 8])
def test_channel_counts_are_multiples_of_what_kernels_like(multiple: int) -> None:
    graph = digits_graph()
    pruned = prune(graph, StructuredPruning(0.45, multiple=multiple, criterion=Random(3)))
    widths = [t.shape[-1] for n, t in pruned.tensors.items() if len(t.shape) == 4 and not t.is_constant]
    assert all(width % multiple == 0 or width == 1 for width in widths) and len(set(widths)) > 2
    assert graph_macs(pruned) < graph_macs(graph)


def test_every_layer_keeps_something() -> None:
    graph = dense(6, 8, 8, 4)
    weights = graph.tensors["w0"].value * np.float32(1e-6)
    graph = with_constant(graph, "w0", weights)
    assert prune(graph, StructuredPruning(0.99, layer_limit=0.99)).tensors["w0"].shape[0] == 1
    assert prune(graph, StructuredPruning(0.99, layer_limit=0.5)).tensors["w0"].shape[0] == 4
    assert prune(graph, StructuredPruning(0.99, layer_limit=0.99, keep_at_least=3)).tensors["w1"].shape == (3, 3)


def test_units_and_skipped_layers_limit_what_leaves() -> None:
    b = GraphBuilder("both")
    random = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.standard_normal(shape).astype(np.float32))

    x = b.add(ops.Conv2d(), [b.input("x", (1, 4, 4, 3), DType.FLOAT32), weights("c", 8, 3, 3, 3)], name="conv")
    x = b.add(ops.Reshape((1, 32)), [x])
    x = b.add(ops.FullyConnected(), [x, weights("f", 10, 32)], name="hidden")
    b.output(b.add(ops.FullyConnected(), [x, weights("o", 2, 10)], name="scores"))
    graph = b.build()
    channels, neurons = (prune(graph, StructuredPruning(0.5, unit=u)) for u in ("channels", "neurons"))  # type: ignore[arg-type]
    assert channels.tensors["c"].shape[0] == 4 and channels.tensors["f"].shape == (10, 16)
    assert neurons.tensors["c"].shape[0] == 8 and neurons.tensors["f"].shape == (5, 32)
    skipped = prune(graph, StructuredPruning(0.5, skip=("con*",)))
    assert skipped.tensors["c"].shape[0] == 8 and skipped.tensors["o"].shape[1] == 5
    assert frozen_layers(trace(graph)) == {"scores": f"its channels reach the output '{graph.outputs[0]}'"}
    assert "'scores' keeps its channels: its channels reach the output" in channels.metadata["notes"]


def test_a_network_without_removable_channels_says_why() -> None:
    with pytest.raises(TinyoptError, match="no channels or neurons that could leave; 'fc0': its channels reach"):
        prune(dense(4, 3), StructuredPruning(0.5))


# ---- targets ----------------------------------------------------------------------------------------------------


def test_a_target_is_met_with_as_little_as_possible() -> None:
    graph = digits_graph()
    pruned = prune(graph, StructuredPruning(target=Target("macs", ratio=0.5)))
    assert 0.42 * graph_macs(graph) < graph_macs(pruned) <= 0.5 * graph_macs(graph)
    parameters = prune(graph, StructuredPruning(target=Target("parameters", at_most=3000)))
    assert 2500 < pruning_report(graph, parameters).parameters <= 3000
    calls: list[float] = []

    def cost(candidate: Graph) -> float:
        calls.append(float(graph_macs(candidate)))
        return calls[-1]

    same = prune(graph, StructuredPruning(target=Target(cost, ratio=0.5)))
    assert graph_macs(same) == graph_macs(pruned) and len(calls) < 14
    loose = prune(graph, StructuredPruning(target=Target("macs", ratio=2.0)))
    assert graph_macs(loose) == graph_macs(graph) and "nothing to do" in loose.metadata["notes"]


def test_a_target_that_cannot_be_met_ends_with_the_best_and_says_by_how_much_it_misses() -> None:
    graph = digits_graph()
    pruned = prune(graph, StructuredPruning(target=Target("macs", at_most=100)))
    macs = graph_macs(pruned)
    assert macs < 0.1 * graph_macs(graph)
    note = next(line for line in pruned.metadata["notes"].splitlines() if "cannot be met" in line)
    assert f"{macs:,}" in note and f"{macs - 100:,}" in note


@pytest.mark.parametrize("scope", ["cost", "trial"])
def test_channels_leave_where_the_cost_is(scope: str) -> None:
    """Two layers of equal importance, of which one costs a hundred times the other: the dear one shrinks."""
    graph = dense(4, 16, 16, 3)
    macs = 4 * 16 + 16 * 16 + 16 * 3
    x = np.random.default_rng(3).standard_normal((64, 4)).astype(np.float32)
    data = (x, np.arange(64) % 3)

    def cost(candidate: Graph) -> float:
        return 100 * candidate.tensors["w0"].shape[0] + candidate.tensors["w1"].shape[0]

    config = StructuredPruning(target=Target(cost, ratio=0.6), criterion=Random(), scope=scope, layer_limit=0.75)  # type: ignore[arg-type]
    pruned = prune(graph, config, data)
    assert cost(pruned) <= 0.6 * cost(graph) and graph_macs(pruned) < macs
    assert (pruned.tensors["w0"].shape[0], pruned.tensors["w1"].shape[0]) == (9, 16)
    least = prune(graph, replace(config, target=Target(cost, at_most=1)), data)
    assert (least.tensors["w0"].shape[0], least.tensors["w1"].shape[0]) == (4, 4)
    assert "403 too many" in least.metadata["notes"].replace(" (40300.0%)", "")
    loose = prune(graph, replace(config, target=Target(cost, ratio=1)), data)
    assert loose.tensors["w0"].shape[0] == 16 and "nothing to do" in loose.metadata["notes"]
    with pytest.raises(TinyoptError, match="give a target instead of an amount"):
        StructuredPruning(0.5, scope=scope)  # type: ignore[arg-type]


def test_trials_find_the_layer_that_can_be_missed() -> None:
    """Of two layers of equal weights only the second reaches the scores: trials see it, magnitudes do not."""
    random = np.random.default_rng(1)
    b = GraphBuilder("two")
    x = b.input("x", (1, 6), DType.FLOAT32)
    parts = []
    for name, factor in (("idle", 0.0), ("busy", 1.0)):
        w = b.constant(f"{name}_w", random.standard_normal((8, 6)).astype(np.float32))
        y = b.add(ops.FullyConnected(ops.RELU), [x, w], name=name)
        w = b.constant(f"{name}_o", (factor * random.standard_normal((3, 8))).astype(np.float32))
        parts.append(b.add(ops.FullyConnected(), [y, w], name=f"{name}_scores"))
    b.output(b.add(ops.Binary(ops.BinaryKind.ADD), parts))
    graph = b.build()
    data = random.standard_normal((64, 6)).astype(np.float32)
    labels = run_many(graph, data).argmax(1)
    config = StructuredPruning(target=Target("macs", ratio=0.65), scope="trial", layer_limit=0.8)
    pruned = prune(graph, config, (data, labels))
    assert pruned.tensors["idle_w"].shape[0] < 4 and pruned.tensors["busy_w"].shape[0] == 8
    np.testing.assert_allclose(run_many(pruned, data), run_many(graph, data), rtol=1e-5, atol=1e-5)
    with pytest.raises(DataError, match="trials"):
        prune(graph, config)


def test_scores_of_a_layer_can_be_normalised() -> None:
    """Taylor finds the first layer a million times as important; per layer, both lose their least important."""
    graph = dense(6, 8, 8, 4)
    x = np.random.default_rng(3).standard_normal((64, 6)).astype(np.float32)
    data = (x, np.arange(64) % 4)
    scores = {0: 1.0, 1: 3.0, 2: 1e6, 3: 3e6}
    chosen = [Family(("a",), np.array([0, 1]), 1, False), Family(("b",), np.array([2, 3]), 1, False)]
    assert normalised(scores, chosen, "mean") == {0: 0.5, 1: 1.5, 2: 0.5, 3: 1.5}
    l2 = normalised(scores, chosen, "l2")
    assert l2[0] == pytest.approx(10**-0.5) == l2[2] and l2[3] == pytest.approx(0.9**0.5)
    assert normalised(scores, chosen, None) == scores == normalised(scores, chosen, "none")
    config = StructuredPruning(0.5, criterion=Taylor(), normalise="l2")
    assert prune(graph, config, data).tensors["w0"].shape[0] < 8
    with pytest.raises(TinyoptError, match="normalised by"):
        StructuredPruning(0.5, normalise="max")  # type: ignore[arg-type]


def test_predicted_cycles_are_a_target() -> None:
    from tinyopt.board import load_board
    from tinyopt.compress.factorize import PredictedCycles

    graph = digits_graph()
    cycles = PredictedCycles(load_board("mps2_an386"))
    pruned = prune(graph, StructuredPruning(target=Target(cycles, ratio=0.6), multiple=4))
    assert 0.3 * cycles(graph) < cycles(pruned) <= 0.6 * cycles(graph)


# ---- layers -----------------------------------------------------------------------------------------------------


def residual(blocks: int = 3) -> Graph:
    """A convolution, residual blocks of two convolutions each, a dense layer."""
    random = np.random.default_rng(0)
    b = GraphBuilder("residual")

    def conv(x: str, name: str, activation: ops.Clamp) -> str:
        w = b.constant(f"{name}_w", (random.standard_normal((4, 3, 3, b.tensor(x).shape[3])) / 4).astype(np.float32))
        bias = b.constant(f"{name}_b", random.standard_normal(4).astype(np.float32))
        return b.add(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1), activation=activation), [x, w, bias], name=name)

    x = conv(b.input("x", (1, 4, 4, 2), DType.FLOAT32), "stem", ops.RELU)
    for block in range(blocks):
        y = conv(conv(x, f"one{block}", ops.RELU), f"two{block}", ops.NONE)
        x = b.add(ops.Binary(ops.BinaryKind.ADD, ops.RELU), [x, y], name=f"sum{block}")
    x = b.add(ops.Reshape((1, 64)), [x])
    b.output(b.add(ops.FullyConnected(), [x, b.constant("w", random.standard_normal((3, 64)).astype(np.float32))]))
    return b.build()


def test_a_residual_body_that_gives_zero_can_be_passed_by() -> None:
    graph = residual()
    for name in ("two1_w", "two1_b"):
        graph = with_constant(graph, name, np.zeros(graph.tensors[name].shape))
    x = np.random.default_rng(3).standard_normal((16, 4, 4, 2)).astype(np.float32)
    for criterion in (ActivationStatistics(), Taylor()):
        bodies = [b for b in bypasses(graph) if b.at.startswith("sum")]
        assert [b.layers for b in bodies] == [(f"one{k}", f"two{k}") for k in range(3)]
        pruned = prune(graph, StructuredPruning(0.15, unit="layers", criterion=criterion), (x, np.arange(16) % 3))
        assert {"one1", "two1"}.isdisjoint(o.name for o in pruned.operators)
        np.testing.assert_allclose(run(pruned), run(graph), rtol=1e-5, atol=1e-5)
        assert "'sum1' is passed by; gone: one1, two1" in pruned.metadata["notes"]


def test_passing_by_gives_the_source_through_the_activation() -> None:
    graph = dense(5, 5, 5, 2)
    found = {b.at: b for b in bypasses(graph)}
    assert set(found) == {"fc0", "fc1"} and found["fc1"].layers == ("fc1",)
    short = pass_by(graph, found["fc1"])
    identity = with_constant(with_constant(graph, "w1", np.eye(5)), "b1", np.zeros(5))
    np.testing.assert_allclose(run(short), run(identity), rtol=1e-6, atol=1e-6)


def test_layers_leave_until_a_target_is_met() -> None:
    graph = residual()
    pruned = prune(graph, StructuredPruning(unit="layers", target=Target("macs", ratio=0.5), criterion=L1()))
    assert graph_macs(pruned) <= 0.5 * graph_macs(graph)
    report = pruning_report(graph, pruned)
    gone = [layer for layer in report.layers if not layer.shape]
    assert gone and all(layer.macs == 0 == layer.parameters for layer in gone)
    with pytest.raises(TinyoptError, match="no layer or residual body"):
        prune(dense(4, 3), StructuredPruning(0.5, unit="layers"))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TinyoptError, match="either an amount or a target"):
        StructuredPruning()
    with pytest.raises(TinyoptError, match="at_most or ratio"):
        Target()
    with pytest.raises(TinyoptError, match="unit is one of"):
        StructuredPruning(0.5, unit="blocks")  # type: ignore[arg-type]
    with pytest.raises(TinyoptError, match="above zero"):
        Target(ratio=-1)
    assert NMPruning().amount == 0.5


@pytest.mark.parametrize("bias", [True, False])
def test_what_a_constant_channel_gave_goes_into_the_next_bias(bias: bool) -> None:
    """Neurons 1 and 4 always hold their bias: they are worth keeping as numbers, not as neurons."""
    graph = dense(6, 8, 4)
    first, second = graph.tensors["w0"].value.copy(), graph.tensors["b0"].value.copy()
    first[[1, 4]], second[[1, 4]] = 0, 5
    graph = with_constant(with_constant(graph, "w0", first), "b0", second)
    if not bias:
        last = graph.operators[-1]
        graph = graph.with_operators([*graph.operators[:-1], replace(last, inputs=last.inputs[:2])])
    x = np.random.default_rng(3).standard_normal((64, 6)).astype(np.float32)
    config = StructuredPruning(0.25, criterion=L2())
    plain, kind = (prune(graph, replace(config, compensate=c), (x, np.zeros(64, int))) for c in (False, True))
    assert plain.tensors["w0"].shape == kind.tensors["w0"].shape == (6, 6)
    np.testing.assert_allclose(run(kind), run(graph), rtol=1e-4, atol=1e-4)
    assert np.abs(run(plain) - run(graph)).max() > 0.1
    with pytest.raises(DataError, match="compensation"):
        prune(graph, replace(config, compensate=True))


def test_what_a_dependent_channel_gave_goes_into_the_next_weights() -> None:
    """Neurons 1 and 4 follow two others exactly: nothing is lost when they go, in whatever way they are read."""
    random = np.random.default_rng(0)
    b = GraphBuilder("dependent")
    x = b.input("x", (1, 6, 6, 3), DType.FLOAT32)
    weights = random.standard_normal((8, 1, 1, 3)).astype(np.float32)
    weights[1], weights[4] = 0.05 * weights[0], 0.02 * weights[3]
    first = b.add(ops.Conv2d(), [x, b.constant("w0", weights)], name="first")
    one = b.constant("w1", random.standard_normal((4, 3, 3, 8)).astype(np.float32))
    y = b.add(ops.Conv2d(stride=(3, 3)), [first, one], name="second")
    b.output(b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [y], name="scores"))
    graph = b.build()
    data = random.standard_normal((32, 6, 6, 3)).astype(np.float32)
    config = StructuredPruning(0.25, criterion=L2(), compensate="linear")
    kind, plain = (prune(graph, c, (data, np.zeros(32, int))) for c in (config, replace(config, compensate="mean")))
    assert kind.tensors["w0"].shape == plain.tensors["w0"].shape == (6, 1, 1, 3)
    wrong = [np.abs(run_many(g, data) - run_many(graph, data)).max() for g in (kind, plain)]
    assert wrong[0] < 2e-4 < 2e-2 < wrong[1]
    with pytest.raises(TinyoptError, match="'mean', 'linear' or nothing"):
        StructuredPruning(0.5, compensate="least squares")  # type: ignore[arg-type]


def test_compensation_reaches_recurrent_layers_and_flattened_features() -> None:
    """The mean of a channel that is constant everywhere is exact behind a flatten and before a GRU."""
    random = np.random.default_rng(0)
    b = GraphBuilder("sequence")

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.standard_normal(shape).astype(np.float32))

    first = random.standard_normal((6, 3)).astype(np.float32)
    first[[0, 3]] = 0
    x = b.add(ops.FullyConnected(), [b.input("x", (1, 4, 3), DType.FLOAT32), b.constant("w", first), weights("b", 6)])
    zero = b.constant("h", np.zeros((1, 5), np.float32))
    parameters = [weights("gw", 15, 6), weights("gr", 15, 5), weights("gb", 15), weights("grb", 15)]
    y = b.add(ops.Gru(), [x, *parameters, zero])
    both = [b.add(ops.Reshape((1, 24)), [x]), b.add(ops.Reshape((1, 20)), [y])]
    parts = [b.add(ops.FullyConnected(), [v, weights(n, 2, s)], name=n) for v, n, s in zip(both, ("p", "q"), (24, 20))]
    b.output(b.add(ops.Binary(ops.BinaryKind.ADD), parts))
    graph = b.build()
    config = StructuredPruning(2 / 11, criterion=L2(), compensate=True)
    data = random.standard_normal((8, 4, 3)).astype(np.float32)
    pruned = prune(graph, config, (data, np.zeros(8, int)))
    assert pruned.tensors["w"].shape == (4, 3) and pruned.tensors["gw"].shape == (15, 4)
    np.testing.assert_allclose(run(pruned), run(graph), rtol=1e-4, atol=1e-4)
