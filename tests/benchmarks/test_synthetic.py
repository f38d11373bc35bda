"""The synthetic-layer benchmark measures every layer it is given, exactly, and relates it to a regular shape."""

from __future__ import annotations

import pytest

from benchmarks.layers import LAYERS, graph_of
from benchmarks.synthetic import measure_layers, ratio, regular_of, tables
from tinyopt.board import load_board
from tinyopt.graph import graph_macs

NAMES = ("3x3 16→16, 6x6", "3x3 3→3, 12x12", "softmax of 10", "softmax of 1000", "3x3 24→24 in 8 groups")


def test_layers_have_names_of_their_own_and_every_family_a_regular_shape() -> None:
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    families = {layer.family for layer in LAYERS}
    assert families == {layer.family for layer in LAYERS if layer.regular}


def test_the_graph_of_all_layers_is_sound_and_the_same_for_the_same_seed() -> None:
    graph, again = graph_of(LAYERS), graph_of(LAYERS)
    assert len(graph.outputs) == len(LAYERS)
    assert graph_macs(graph) > 10_000_000
    assert all((graph.tensors[c.name].value == c.value).all() for c in again.constants())


@pytest.mark.slow
def test_layers_measured_together_are_exact_and_tabulated() -> None:
    layers = [next(layer for layer in LAYERS if layer.name == name) for name in NAMES]
    costs = measure_layers(layers, load_board("mps2_an386"), per_firmware=3)
    assert [cost.layer.name for cost in costs] == list(NAMES)
    assert all(cost.cycles >= cost.instructions * 0.9 for cost in costs)
    by_name = {cost.layer.name: cost for cost in costs}
    odd = by_name["3x3 3→3, 12x12"]
    assert regular_of(odd, costs) is by_name["3x3 16→16, 6x6"]
    relative = ratio(odd, costs)
    assert relative is not None and relative > 1
    assert ratio(by_name["softmax of 1000"], costs) is None
    text = "\n".join(tables(costs))
    assert all(f"| {name} |" in text for name in NAMES)
    assert "cycles per output" in text and "(regular)" in text
