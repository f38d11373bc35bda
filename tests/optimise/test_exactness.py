"""Optimisation never changes an output: every pass, alone and together, on random networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.optimise.networks import networks
from tinyopt.execute import Executor
from tinyopt.graph import Array, Graph, graph_macs
from tinyopt.optimise import DEFAULT, Pass, optimise


def inputs(graph: Graph) -> list[Array]:
    """Random and extreme values of the only input."""
    tensor = graph.tensors[graph.inputs[0]]
    random = np.random.default_rng(3)
    if tensor.quantization is None:
        values = [random.normal(0, scale, tensor.shape).astype(np.float32) for scale in (0.0, 1.0, 1.0, 10.0)]
        return values
    noise = [random.integers(-128, 128, tensor.shape).astype(np.int8) for _ in range(4)]
    flat = [np.full(tensor.shape, value, np.int8) for value in (-128, -127, 0, 127, tensor.zero_point)]
    return noise + flat


def assert_same(graph: Graph, changed: Graph) -> None:
    assert changed.inputs == graph.inputs and changed.outputs == graph.outputs
    for name in graph.outputs:
        old, new = graph.tensors[name], changed.tensors[name]
        assert (old.shape, old.dtype, old.quantization) == (new.shape, new.dtype, new.quantization)
    first, second = Executor(graph), Executor(changed)
    for value in inputs(graph):
        wanted, got = first({"x": value}), second({"x": value})
        for name, expected in wanted.items():
            if graph.tensors[name].quantization is not None:
                assert np.array_equal(expected, got[name])
            else:
                tolerance = 1e-4 * max(1.0, float(np.abs(expected).max()))
                assert np.allclose(expected, got[name], rtol=1e-4, atol=tolerance)


@settings(max_examples=150)
@given(graph=networks(quantized=True))
def test_a_quantized_network_keeps_every_bit(graph: Graph) -> None:
    changed = optimise(graph)
    assert_same(graph, changed)
    assert graph_macs(changed) <= graph_macs(graph)


@settings(max_examples=80)
@given(graph=networks(quantized=False))
def test_a_float_network_keeps_its_values(graph: Graph) -> None:
    assert_same(graph, optimise(graph))


@pytest.mark.parametrize("change", DEFAULT, ids=lambda p: p.__name__)
@settings(max_examples=25)
@given(graph=networks(quantized=True))
def test_each_pass_alone_is_exact(change: Pass, graph: Graph) -> None:
    assert_same(graph, change(graph))


@settings(max_examples=30)
@given(graph=networks(quantized=True))
def test_an_optimised_network_is_a_fixed_point(graph: Graph) -> None:
    once = optimise(graph)
    assert optimise(once) is once
