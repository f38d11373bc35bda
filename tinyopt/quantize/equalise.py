"""Factors per channel, moved from one layer to the next: cross-layer equalisation and activation-aware scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.errors import DataError
from tinyopt.execute.float import run_batch
from tinyopt.graph import Array, Graph, Tensor
from tinyopt.quantize.layers import output_axis
from tinyopt.quantize.links import (
    Link,
    input_view,
    links,
    move_factors,
    output_ranges,
    own_biases,
    scaled_inputs,
    with_constants,
)
from tinyopt.quantize.parameters import activation_quantization, weight_rows
from tinyopt.quantize.patches import Positions, rows_of_weights
from tinyopt.quantize.technique import Changed, Setting
from tinyopt.quantize.walk import walk_problem
from tinyopt.quantize.weights import WeightFormat

_DEAD = 1e-6
"""Of the largest weight: channels below are left alone, their factors would be enormous."""


@dataclass(frozen=True)
class Equalise:
    """Cross-layer equalisation (Nagel et al. 2019, data-free quantization, section 4.1).

    Every output channel of a layer gets weights of the same largest magnitude as what reads it in the next layer,
    through ReLU, depthwise layers and pooling, again and again (``rounds``) until nothing moves. It needs no data.
    ``largest_factor`` bounds what a channel is multiplied with, because its bias and its activations grow with it.
    """

    rounds: int = 20
    largest_factor: float = 16.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.largest_factor <= 1.0:
            raise DataError("equalisation needs at least one round and a largest factor above 1")

    def prepare(self, setting: Setting) -> Changed:
        graph = own_biases(setting.graph)
        found, notes = links(graph)
        constants: dict[str, Array] = {}
        total = [np.ones(link.channels) for link in found]
        for number in range(self.rounds):
            moved = 0.0
            for place, link in enumerate(found):
                factors = self._factors(graph, constants, link, total[place])
                move_factors(graph, constants, link, factors)
                total[place] = total[place] * factors
                moved = max(moved, float(np.abs(np.log(factors)).max()))
            setting.on_progress("equalisation", number + 1, self.rounds)
            if moved < 1e-3:
                break
        return Changed(with_constants(graph, constants), tuple(f"equalisation passes over {note}" for note in notes))

    def _factors(self, graph: Graph, constants: dict[str, Array], link: Link, total: Array) -> Array:
        first, second = (
            constants.get(o.inputs[1], graph.tensors[o.inputs[1]].value) for o in (link.first, link.second)
        )
        ranges = output_ranges(first, link.first), np.abs(input_view(second, link.second, link.channels)).max(1)
        alive = (ranges[0] > _DEAD * ranges[0].max()) & (ranges[1] > _DEAD * ranges[1].max())
        wanted = np.sqrt(np.where(alive, ranges[0], 1.0) / np.where(alive, ranges[1], 1.0))
        factors: Array = np.clip(wanted * total, 1.0 / self.largest_factor, self.largest_factor) / total
        return factors


@dataclass(frozen=True)
class ActivationAware:
    """Activation-aware weight scaling (AWQ, Lin et al. 2023): input channels that carry large activations get finer
    weights.

    Channel c of a layer's input is divided by m(c)ᵃ, m its mean magnitude, and the layer's weights are multiplied by
    it; the layer in front takes the division. The power ``a`` is tried at ``powers`` values from 0 to 1 and the
    one is kept with which the quantized layer's output is nearest to the float one, on at most ``positions`` output
    positions of ``samples`` calibration samples.
    """

    powers: int = 11
    positions: int = 2048
    samples: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"a seed is a number from 0 upwards, not {self.seed}")
        if self.powers < 2 or min(self.positions, self.samples) < 1:
            raise DataError("activation-aware scaling needs at least two powers, one position and one sample")

    def prepare(self, setting: Setting) -> Changed:
        graph = setting.graph
        problem = walk_problem(graph)
        if problem is not None:
            return Changed(graph, (f"activation-aware scaling left '{graph.name}' as it is: {problem}",))
        graph = own_biases(graph)
        found, notes = links(graph)
        found = [link for link in found if link.second.name in setting.weights]
        inputs = self._inputs(setting, {link.second.inputs[0] for link in found})
        constants: dict[str, Array] = {}
        for number, link in enumerate(found):
            x = inputs[link.second.inputs[0]]
            factors = self._factors(graph, constants, link, x, setting)
            move_factors(graph, constants, link, factors)
            setting.on_progress("activation-aware scaling", number + 1, len(found))
        lines = tuple(f"activation-aware scaling passes over what follows {note}" for note in notes)
        return Changed(with_constants(graph, constants), lines)

    def _inputs(self, setting: Setting, names: set[str]) -> dict[str, Array]:
        seen: dict[str, Array] = {}

        def observe(tensor: Tensor, values: Array) -> None:
            if tensor.name in names:
                seen[tensor.name] = values

        batch = {name: setting.samples.inputs[name][: self.samples, 0] for name in setting.graph.inputs}
        run_batch(setting.graph, batch, observe=observe)
        return seen

    def _factors(self, graph: Graph, constants: dict[str, Array], link: Link, x: Array, setting: Setting) -> Array:
        name = link.second.inputs[1]
        weights = constants.get(name, graph.tensors[name].value.astype(np.float64))
        size = np.abs(x.reshape(-1, link.channels)).mean(0)
        alive = size > _DEAD * max(float(size.max()), 1e-30)
        size = np.where(alive, size, 1.0)
        size = np.where(alive, size / np.exp(np.log(size[alive]).mean()) if alive.any() else 1.0, 1.0)
        places = Positions(link.second, weights.shape, x.shape, self.positions, self.seed)
        exact = _outputs(places.patches(x), rows_of_weights(link.second, weights))
        best, chosen = np.inf, np.ones(link.channels)
        for power in np.linspace(0.0, 1.0, self.powers):
            factors = size**power
            narrow = x / np.tile(factors, x.shape[-1] // link.channels).astype(np.float32)
            form = activation_quantization(float(narrow.min()), float(narrow.max()))
            steps = np.clip(np.rint(narrow / form.scale) + form.zero_point, -128, 127) - form.zero_point
            rounded = _rounded(
                scaled_inputs(weights, link.second, factors),
                output_axis(link.second),
                setting.weights[link.second.name],
                setting.per_channel,
            )
            got = _outputs(
                places.patches((steps * form.scale).astype(np.float32)), rows_of_weights(link.second, rounded)
            )
            error = float(np.square(got - exact).sum())
            if error < 0.99 * best:
                best, chosen = error, factors
        return chosen


def _rounded(weights: Array, axis: int, form: WeightFormat, per_channel: bool) -> Array:
    """Weights as their format represents them."""
    rows, restore = weight_rows(weights, axis, per_channel=per_channel)
    integers, scales = form.integers(rows)
    return restore(integers * scales[:, None])


def _outputs(patches: Array, rows: Array) -> Array:
    """Results of a layer without its bias, [groups, positions, outputs]."""
    result: Array = patches.transpose(1, 0, 2) @ rows.transpose(0, 2, 1).astype(np.float32)
    return result
