"""Layer-wise reconstruction: techniques that change one layer after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, Graph
from tinyopt.quantize.layers import LAYERS, output_axis
from tinyopt.quantize.parameters import weight_rows
from tinyopt.quantize.technique import Changed, IntegerTechnique, Setting
from tinyopt.quantize.walk import Constants, Layer, walk, walk_problem
from tinyopt.quantize.weights import UniformFormat


def reconstruct(quantized: Graph, setting: Setting, techniques: Sequence[IntegerTechnique]) -> Changed:
    """The quantized graph with the constants that the techniques, one after the other, find for each layer."""
    if not techniques:
        return Changed(quantized)
    title = ", ".join(technique.name for technique in techniques)
    problem = walk_problem(setting.graph)
    if problem is not None:
        return Changed(quantized, (f"{title} left '{quantized.name}' as it is: {problem}",))
    notes: list[str] = []
    layers = []
    for operator in setting.graph.operators:
        if operator.name in setting.weights:
            if isinstance(operator.attributes, LAYERS):
                layers.append(operator.name)
            else:
                notes.append(f"{title} left '{operator.name}' as it is: it does not handle {operator.kind}")
    done = 0

    def refine(layer: Layer) -> Constants:
        nonlocal done
        for technique in techniques:
            result = technique.improve(layer, setting)
            if isinstance(result, Constants):
                layer = replace(layer, constants=result)
            else:
                notes.append(f"{technique.name} left '{layer.operator.name}' as it is: {result}")
        done += 1
        setting.on_progress(title, done, len(layers))
        return layer.constants

    limit = max(technique.samples for technique in techniques)
    graph = walk(setting.graph, quantized, setting.samples, refine, layers=layers, limit=limit)
    return Changed(graph, tuple(notes))


def steps_of_weights(layer: Layer, form: UniformFormat, per_channel: bool) -> Array:
    """The integer step of each weight, in graph layout; only groups of weights have other ones than 1."""
    axis = output_axis(layer.operator)
    rows, restore = weight_rows(layer.weights, axis, per_channel=per_channel)
    scales = np.broadcast_to(layer.constants.weight_scales.reshape(-1), len(rows))
    return restore(form.steps(rows, scales)[0])
