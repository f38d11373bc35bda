"""Layer-wise reconstruction: what techniques share that change one layer after the other."""

from __future__ import annotations

from collections.abc import Callable

from tinyopt.graph import Graph
from tinyopt.quantize.layers import LAYERS
from tinyopt.quantize.technique import Changed, Setting
from tinyopt.quantize.walk import Constants, Layer, walk, walk_problem


def reconstruct(
    name: str, quantized: Graph, setting: Setting, improve: Callable[[Layer], Constants | str], *, samples: int
) -> Changed:
    """The quantized graph with the constants that ``improve`` finds for each layer.

    ``improve`` returns a text where it does not apply: why. ``samples``: at most that many are used.
    """
    problem = walk_problem(setting.graph)
    if problem is not None:
        return Changed(quantized, (f"{name} left '{quantized.name}' as it is: {problem}",))
    notes: list[str] = []
    layers = []
    for operator in setting.graph.operators:
        if operator.name in setting.weights:
            if isinstance(operator.attributes, LAYERS):
                layers.append(operator.name)
            else:
                notes.append(f"{name} left '{operator.name}' as it is: it does not handle {operator.kind}")
    done = 0

    def refine(layer: Layer) -> Constants:
        nonlocal done
        result = improve(layer)
        done += 1
        setting.on_progress(name, done, len(layers))
        if isinstance(result, Constants):
            return result
        notes.append(f"{name} left '{layer.operator.name}' as it is: {result}")
        return layer.constants

    graph = walk(setting.graph, quantized, setting.samples, refine, layers=layers, limit=samples)
    return Changed(graph, tuple(notes))
