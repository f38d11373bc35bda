"""Removing groups of channels computes what masking them computes, over every kind of link."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.float_networks import KINDS, float_networks, networks_with
from tinyopt.compress.prune.coupling import Coupling
from tinyopt.compress.prune.cutting import mask_groups, remove_groups
from tinyopt.compress.prune.structured import removable_groups
from tinyopt.compress.prune.tracing import trace
from tinyopt.execute import Executor
from tinyopt.graph import Graph


def outputs(graph: Graph, count: int = 2) -> list[np.ndarray]:
    """Outputs of ``count`` inferences in a row: states carry over."""
    random = np.random.default_rng(5)
    executor = Executor(graph)
    results: list[np.ndarray] = []
    for _ in range(count):
        x = {n: random.standard_normal(graph.tensors[n].shape).astype(np.float32) for n in graph.inputs}
        results += list(executor(x).values())
    return results


def assert_same_function(one: Graph, other: Graph) -> None:
    for a, b in zip(outputs(one), outputs(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def choose(coupling: Coupling, share: float, seed: int) -> frozenset[int]:
    groups = removable_groups(coupling)
    random = np.random.default_rng(seed)
    chosen = random.permutation(groups)[: round(share * len(groups))]
    return coupling.keeping_one(frozenset(int(g) for g in chosen))


@settings(max_examples=150)
@given(float_networks(), st.floats(0.1, 1.0), st.integers(0, 5))
def test_the_smaller_graph_computes_what_the_masked_one_does(graph: Graph, share: float, seed: int) -> None:
    coupling = trace(graph)
    removed = choose(coupling, share, seed)
    small, masked = remove_groups(coupling, removed), mask_groups(coupling, removed)
    assert [small.tensors[n].shape for n in small.outputs] == [graph.tensors[n].shape for n in graph.outputs]
    if removed:
        assert sum(t.size for t in small.constants()) < sum(t.size for t in graph.constants())
    assert_same_function(small, masked)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_channels_leave_through_every_kind_of_link(kind: str) -> None:
    """What reads one operator of this kind loses channels as well, and nothing else changes."""
    shrunk: list[str] = []

    @settings(max_examples=12)
    @given(networks_with(kind), st.integers(0, 99))
    def check(graph: Graph, seed: int) -> None:
        coupling = trace(graph)
        removed = choose(coupling, 0.5, seed)
        small, masked = remove_groups(coupling, removed), mask_groups(coupling, removed)
        assert_same_function(small, masked)
        before = [o for o in graph.operators if o.name not in ("conv2d", "conv2d_1")]
        after = {o.name: o for o in small.operators}
        shrunk.extend(
            o.kind
            for o in before
            if small.tensors[after[o.name].inputs[0]].shape != graph.tensors[o.inputs[0]].shape
            and small.tensors[after[o.name].outputs[0]].shape != graph.tensors[o.outputs[0]].shape
        )

    check()
    assert shrunk
