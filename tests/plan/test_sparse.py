"""Sparse formats keep every weight, their sizes are counted right, and the planner uses them where they pay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.cases.sparse import PATTERNS, _mask
from tinyopt.board import load_board
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import call_table, make_plan
from tinyopt.plan.costs import Costs, signature
from tinyopt.plan.sparse import FORMATS, Format
from tinyopt.plan.sparsity import sparsity_note, zeros_of

M4, M0 = load_board("mps2_an386"), load_board("mps2_m0")
BY_NAME = {stored.name: stored for stored in FORMATS}


def unpack(name: str, stream: Array, outputs: int, taps: int) -> Array:
    """The weights that a stream holds, read byte by byte as ``sparse.h`` says."""
    data = iter(stream.view(np.uint8).tolist())
    weights = np.zeros((outputs + 3, taps), np.int64)

    def weight() -> int:
        value = next(data)
        return value - 256 if value > 127 else value

    row = 0
    while row < outputs:
        if name in ("1of4", "2of4"):
            left, group, used = taps // 4 * int(name[0]), 0, 0
            while left:
                positions, count = next(data), min(4, left)
                for index in range(count):
                    weights[row, 4 * group + (positions >> 2 * index & 3)] += weight()
                    used += 1
                    if used == int(name[0]):
                        group, used = group + 1, 0
                left -= count
            row += 1
            continue
        at, head = 0, 128
        while head & 128:
            head = next(data)
            for _ in range(head & 127):
                if name == "1x4":
                    at += 4 * next(data)
                    weights[row, at : at + 4] += [weight() for _ in range(4)]
                elif name == "4x1":
                    at += next(data)
                    weights[row : row + 4, at] += [weight() for _ in range(4)]
                else:
                    gaps = [next(data), next(data)] if name == "gaps8" else [*divmod(next(data), 16)][::-1]
                    for gap in gaps:
                        at += gap
                        weights[row, at] += weight()
        row += 4 if name == "4x1" else 1
    assert next(data, None) is None, "bytes are left over"
    return weights[:outputs]


def random_weights(seed: int, pattern: str, outputs: int, taps: int, zeros: float) -> Array:
    random = np.random.default_rng(seed)
    values = random.integers(-128, 128, (outputs, taps))
    return np.where(_mask(random, pattern, outputs, taps, zeros), values, 0).astype(np.int8)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(PATTERNS),
    st.integers(4, 9),
    st.integers(1, 150),
    st.sampled_from([0.5, 0.8, 0.98, 1.0]),
)
def test_a_format_that_suits_weights_keeps_them_all(
    seed: int, pattern: str, outputs: int, groups: int, zeros: float
) -> None:
    weights = random_weights(seed, pattern, outputs, 4 * groups, zeros)
    for stored in FORMATS:
        if stored.suits(weights):
            stream = stored.pack(weights)
            np.testing.assert_array_equal(unpack(stored.name, stream, *weights.shape), weights, err_msg=stored.name)
            assert len(stream) == bytes_of(stored, weights), stored.name


def bytes_of(stored: Format, weights: Array) -> int:
    """Bytes of the stream by its entries and runs."""
    entries, runs = stored.steps(weights)
    if stored.name in ("1of4", "2of4"):
        values = weights.size // 4 * int(stored.name[0])
        return values + len(weights) * -(-values // len(weights) // 4)
    return entries * {"gaps8": 4, "gaps4": 3, "1x4": 5, "4x1": 5}[stored.name] + runs


def test_patterns_are_recognised_from_the_zeros() -> None:
    def names(weights: Array) -> set[str]:
        return {stored.name for stored in FORMATS if stored.suits(weights)}

    assert names(np.ones((8, 16), np.int8)) == set()
    assert names(random_weights(0, "2of4", 8, 64, 0.0)) == {"gaps8", "gaps4", "2of4"}
    assert names(random_weights(0, "1of4", 8, 64, 0.0)) >= {"gaps8", "gaps4", "1of4", "2of4"}
    assert "1x4" in names(random_weights(0, "1x4", 8, 64, 0.6))
    assert "4x1" in names(random_weights(0, "4x1", 8, 64, 0.6))
    assert "1x4" not in names(random_weights(0, "1x4", 8, 64, 0.6)[:, :63]), "63 inputs are no whole blocks"


def layer(zeros: float, pattern: str = "single") -> Graph:
    """A fully connected layer 256→64 named fc."""
    builder = GraphBuilder("sparse")
    weights = random_weights(1, pattern, 64, 256, zeros)
    x = builder.input("x", (1, 256), DType.INT8, Quantization.per_tensor(0.05, 3))
    names = [x, builder.constant("w", weights, Quantization.per_tensor(0.01))]
    names.append(builder.constant("b", np.zeros(64, np.int32)))
    builder.output(
        builder.add(ops.FullyConnected(), names, name="fc", output="y", quantization=Quantization.per_tensor(0.3, 0))
    )
    return builder.build()


def test_a_sparse_kernel_that_loses_is_refused_and_the_plan_says_so() -> None:
    plan = make_plan(layer(0.6), M4)
    assert not plan.calls[0].kernel.family.startswith("sparse")
    (note,) = sparsity_note(plan)
    assert "layer 'fc' is 61% zeros" in note and "sparse_fully_connected_s8" in note and "dense one is used" in note
    assert note in call_table(plan)


def test_a_sparse_kernel_that_wins_is_taken() -> None:
    for pattern, zeros in (("single", 0.97), ("1x4", 0.9), ("4x1", 0.9)):
        plan = make_plan(layer(zeros, pattern), M4)
        assert plan.calls[0].kernel.family == "sparse_fully_connected_s8", pattern
        assert sparsity_note(plan) == []


@pytest.mark.parametrize("pattern", ["single", "1x4", "4x1", "1of4"])
def test_for_flash_the_smallest_storage_is_taken(pattern: str) -> None:
    dense, sparse = make_plan(layer(0.75, pattern), M4), make_plan(layer(0.75, pattern), M4, objective="flash")
    assert sparse.weights_bytes < 0.5 * 64 * 256
    assert sparse.weights_bytes <= dense.weights_bytes


def test_a_dense_layer_gets_no_note() -> None:
    graph = layer(0.0)
    assert zeros_of(graph, graph.operators[0]) < 0.02
    assert sparsity_note(make_plan(graph, M4)) == []


def test_a_measurement_of_other_weights_is_not_taken_for_a_sparse_kernel() -> None:
    graph = layer(0.9)
    kernel = make_plan(graph, M0).calls[0].kernel
    assert kernel.family == "sparse_fully_connected_s8"
    key = signature(graph, graph.operators[0]), kernel.name
    costs = Costs(measured={key: 1.0})
    assert costs.cycles(graph, graph.operators[0], kernel) == kernel.cost(graph, graph.operators[0])
    assert not costs.is_measured(graph, graph.operators[0], kernel)
