"""Patterns of zeros: amounts are exact, patterns hold, criteria choose what they say."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.float_networks import float_networks
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.prune import (
    L1,
    L2,
    ActivationStatistics,
    BlockPruning,
    NMPruning,
    Random,
    StructuredPruning,
    Taylor,
    UnstructuredPruning,
    WeightPruning,
    apply_masks,
    find_masks,
    masks_of,
    prune,
    pruning_report,
    remove_masks,
)
from tinyopt.compress.prune.masks import as_rows, from_rows
from tinyopt.compress.prune.scores import weight_readers
from tinyopt.errors import DataError, GraphError, ModelError, TinyoptError
from tinyopt.examples import digits_graph as make_digits_graph
from tinyopt.graph import DType, Graph, GraphBuilder, ops


@cache
def digits_graph() -> Graph:
    return make_digits_graph()


def rows_of(graph: Graph) -> dict[str, np.ndarray]:
    """Weights as matrices of one row per output channel."""
    return {n: as_rows(o, p, graph.tensors[n].value) for n, (o, p) in weight_readers(graph).items()}


def zeros(graph: Graph) -> tuple[int, int]:
    values = [graph.tensors[name].value for name in weight_readers(graph)]
    return sum(int((v == 0).sum()) for v in values), sum(v.size for v in values)


def dense(*sizes: int) -> Graph:
    random = np.random.default_rng(0)
    b = GraphBuilder("dense")
    x = b.input("x", (1, sizes[0]), DType.FLOAT32)
    for index, (a, c) in enumerate(pairwise(sizes)):
        x = b.add(ops.FullyConnected(), [x, b.constant(f"w{index}", random.standard_normal((c, a)).astype(np.float32))])
    b.output(x)
    return b.build()


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("amount", [0.0, 0.25, 0.5, 0.9])
def test_the_amount_is_the_share_of_zeros(amount: float, scope: str) -> None:
    graph = digits_graph()
    config = UnstructuredPruning(amount, scope=scope)  # type: ignore[arg-type]
    pruned = prune(graph, config)
    count, total = zeros(pruned)
    assert abs(count - amount * total) <= len(weight_readers(graph))
    report = pruning_report(graph, pruned)
    assert report.sparsity == pytest.approx(count / total) and report.macs == report.macs_before
    if scope == "layer":
        assert all(abs(layer.sparsity - amount) < 0.02 for layer in report.layers)


def test_the_smallest_weights_go_and_the_others_stay_as_they_are() -> None:
    graph = digits_graph()
    pruned = prune(graph, UnstructuredPruning(0.6))
    before = np.concatenate([graph.tensors[n].value.reshape(-1) for n in weight_readers(graph)])
    after = np.concatenate([pruned.tensors[n].value.reshape(-1) for n in weight_readers(graph)])
    kept = after != 0
    assert (after[kept] == before[kept]).all()
    assert np.abs(before[~kept]).max() <= np.abs(before[kept]).min()
    assert prune(graph, UnstructuredPruning(0.6, criterion=L2())).tensors.keys() == pruned.tensors.keys()


def test_no_layer_loses_more_than_the_limit() -> None:
    graph = dense(20, 20, 20)
    small = graph.tensors["w0"].value * np.float32(0.001)
    graph = graph.with_operators(graph.operators, [type(graph.tensors["w0"]).constant("w0", small)])
    pruned = prune(graph, UnstructuredPruning(0.5, layer_limit=0.7))
    first, second = ((pruned.tensors[n].value == 0).mean() for n in ("w0", "w1"))
    assert first == pytest.approx(0.7) and second == pytest.approx(0.3)
    assert (prune(graph, UnstructuredPruning(0.5)).tensors["w1"].value == 0).mean() < 0.02


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (4, 8)])
def test_an_n_m_pattern_keeps_the_n_largest_of_every_m(n: int, m: int) -> None:
    graph = digits_graph()
    pruned = prune(graph, NMPruning(n, m))
    before = rows_of(graph)
    for name, rows in rows_of(pruned).items():
        if not (rows == 0).any():  # a depthwise layer, or too few weights in a row
            assert rows.shape[1] < 16
            continue
        for start in range(0, rows.shape[1], m):
            part, old = rows[:, start : start + m], before[name][:, start : start + m]
            assert ((part != 0).sum(1) <= n).all()
            kept = np.where(part != 0, np.abs(old), np.inf).min(1)
            lost = np.where(part == 0, np.abs(old), 0).max(1)
            assert (lost <= kept).all()
    assert "too few weights" in pruned.metadata["notes"]


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (2, 2), (8, 3)])
def test_blocks_are_zero_as_a_whole(shape: tuple[int, int]) -> None:
    graph = digits_graph()
    pruned = prune(graph, BlockPruning(0.5, shape))
    for rows in rows_of(pruned).values():
        for r in range(0, rows.shape[0], shape[0]):
            for c in range(0, rows.shape[1], shape[1]):
                block = rows[r : r + shape[0], c : c + shape[1]]
                assert (block == 0).all() or (block != 0).all()
    count, total = zeros(pruned)
    assert count / total == pytest.approx(0.5, abs=0.02)


@settings(max_examples=40)
@given(float_networks(), st.integers(0, 99))
def test_every_layout_of_weights_goes_to_rows_and_back(graph: Graph, seed: int) -> None:
    for name, (operator, position) in weight_readers(graph).items():
        value = graph.tensors[name].value
        rows = as_rows(operator, position, value)
        assert np.array_equal(from_rows(operator, position, rows, value.shape), value)
    configs: list[WeightPruning] = [
        UnstructuredPruning(0.5, criterion=Random(seed)),
        NMPruning(1, 2),
        BlockPruning(0.3),
    ]
    for config in configs:
        pruned = prune(graph, config)
        assert [t.shape for t in pruned.tensors.values()] == [t.shape for t in graph.tensors.values()]


def test_what_multiplies_nothing_goes_first_by_activation_statistics() -> None:
    """Half of the inputs are always zero: their weights do nothing, however large."""
    graph = dense(8, 6)
    weights = graph.tensors["w0"].value.copy()
    weights[:, :4] *= 100
    graph = graph.with_operators(graph.operators, [type(graph.tensors["w0"]).constant("w0", weights)])
    x = np.random.default_rng(1).standard_normal((32, 8)).astype(np.float32)
    x[:, :4] = 0
    for kind in ("mean", "nonzero"):
        config = UnstructuredPruning(0.5, criterion=ActivationStatistics(kind))  # type: ignore[arg-type]
        pruned = prune(graph, config, (x, np.zeros(32, int)))
        assert (pruned.tensors["w0"].value[:, :4] == 0).all() and (pruned.tensors["w0"].value[:, 4:] != 0).all()
    taylor = prune(graph, UnstructuredPruning(0.5, criterion=Taylor()), (x, np.arange(32) % 6))
    assert (taylor.tensors["w0"].value[:, :4] == 0).all()
    assert (prune(graph, UnstructuredPruning(0.5, criterion=L1())).tensors["w0"].value[:, :4] != 0).all()


def test_random_is_the_same_for_a_seed_and_differs_between_seeds() -> None:
    graph = dense(16, 16)
    one, same, other = (
        prune(graph, UnstructuredPruning(0.5, criterion=Random(s))).tensors["w0"].value for s in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one == 0, other == 0)


def test_skipped_layers_are_left_alone_and_a_wrong_name_is_an_error() -> None:
    graph = digits_graph()
    names = [layer.name for layer in pruning_report(graph, graph).layers]
    pruned = prune(graph, UnstructuredPruning(0.5, skip=(names[0], names[-1])))
    report = pruning_report(graph, pruned)
    assert report.layers[0].sparsity == 0 == report.layers[-1].sparsity and report.layers[1].sparsity > 0
    with pytest.raises(TinyoptError, match="fits no layer"):
        prune(graph, UnstructuredPruning(0.5, skip=("nowhere*",)))


def separable() -> Graph:
    """Depthwise, 1x1 and dense, the depthwise weights the smallest."""
    random, builder = np.random.default_rng(3), GraphBuilder("separable")
    x = builder.input("x", (1, 6, 6, 8), DType.FLOAT32)
    taps = builder.constant("taps", 0.01 * random.standard_normal((1, 3, 3, 8)).astype(np.float32))
    y = builder.add(ops.DepthwiseConv2d(padding=ops.Padding(1, 1, 1, 1)), [x, taps], name="spatial")
    points = builder.constant("points", random.standard_normal((8, 1, 1, 8)).astype(np.float32))
    y = builder.add(ops.Conv2d(), [y, points], name="pointwise")
    y = builder.add(ops.Reshape((1, 288)), [y], name="flat")
    rows = builder.constant("rows", random.standard_normal((4, 288)).astype(np.float32))
    builder.output(builder.add(ops.FullyConnected(), [y, rows], name="classes"))
    return builder.build()


@pytest.mark.parametrize("kind", [UnstructuredPruning(0.9), BlockPruning(0.9)], ids=["single", "blocks"])
@pytest.mark.parametrize(
    ("fields", "pruned"),
    [
        ({}, {"spatial", "pointwise", "classes"}),
        ({"skip": ("DepthwiseConv2d",)}, {"pointwise", "classes"}),
        ({"skip": ("Depthwise*", "classes")}, {"pointwise"}),
        ({"layers": ("Conv2d", "class*")}, {"pointwise", "classes"}),
        ({"layers": ("*Conv2d",), "skip": ("point*",)}, {"spatial"}),
    ],
)
def test_layers_are_chosen_by_name_or_kind(
    kind: UnstructuredPruning | BlockPruning, fields: dict[str, tuple[str, ...]], pruned: set[str]
) -> None:
    graph = separable()
    report = pruning_report(graph, prune(graph, replace(kind, **fields)))
    assert {layer.name for layer in report.layers if layer.sparsity > 0} == pruned


def test_kinds_are_left_alone_by_structured_pruning_too_and_a_wrong_kind_is_an_error() -> None:
    graph = separable()
    with pytest.raises(TinyoptError, match="fits no layer"):
        prune(graph, StructuredPruning(0.5, skip=("DepthwiseConv3d",)))
    with pytest.raises(TinyoptError, match="layers: 'Conv' fits no layer"):
        prune(graph, UnstructuredPruning(0.5, layers=("Conv",)))
    smaller = prune(graph, StructuredPruning(0.5, skip=("DepthwiseConv2d",)))
    assert smaller.tensors["taps"].shape[3] == 8 and smaller.tensors["points"].shape[0] < 8


def test_masks_hold_while_a_module_is_trained_and_are_written_into_the_graph() -> None:
    graph = digits_graph()
    module = to_torch(graph)
    masks = find_masks(module, UnstructuredPruning(0.7))
    apply_masks(module, masks)
    optimiser = torch.optim.AdamW(module.parameters(), 0.01)
    for _ in range(3):
        optimiser.zero_grad()
        module.logits(torch.rand(8, *graph.tensors[graph.inputs[0]].shape[1:])).square().sum().backward()
        optimiser.step()
    trained = to_graph(module)
    for name, keep in masks.items():
        value = trained.tensors[name].value
        assert (value[~keep] == 0).all() and not np.array_equal(value, graph.tensors[name].value * keep)
    found = masks_of(trained)
    assert all(np.array_equal(found[name], keep) for name, keep in masks.items() if not keep.all())
    remove_masks(module)
    assert not [name for name in module.state_dict() if "keep" in name]
    assert np.array_equal(to_graph(module).tensors[next(iter(masks))].value, trained.tensors[next(iter(masks))].value)


def test_bad_input_is_refused_by_name() -> None:
    graph = dense(8, 6)
    with pytest.raises(TinyoptError, match="amount"):
        UnstructuredPruning(1.0)
    with pytest.raises(TinyoptError, match="n:m"):
        NMPruning(4, 4)
    with pytest.raises(TinyoptError, match="block"):
        BlockPruning(shape=(0, 4))
    with pytest.raises(DataError, match="labels"):
        prune(graph, UnstructuredPruning(criterion=Taylor()))
    with pytest.raises(DataError, match="needs data; give some"):
        prune(graph, UnstructuredPruning(criterion=ActivationStatistics()))
    with pytest.raises(DataError, match="class"):
        prune(graph, UnstructuredPruning(criterion=Taylor()), (np.zeros((4, 8), np.float32), [0, 1, 2, 6]))
    with pytest.raises(GraphError, match="mask of 'w0'"):
        apply_masks(to_torch(graph), {"w0": np.ones((2, 2), bool)})
    from tinyopt.quantize import quantize

    with pytest.raises(ModelError, match="prune the float model first"):
        prune(quantize(graph, "random:0:4"), UnstructuredPruning())
