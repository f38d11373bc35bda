"""Choosing a kernel for every operator, so that the model as a whole comes out well for an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinyopt.graph import Graph
from tinyopt.graph.costs import lifetimes
from tinyopt.plan.costs import Costs
from tinyopt.plan.kernel import Call
from tinyopt.plan.merging import drop_kernels
from tinyopt.plan.objective import Objective
from tinyopt.plan.option import Option

TIE = 1e-6
"""Weight of the cycles where they have none: of equal choices the faster one is taken."""


@dataclass(frozen=True)
class Figures:
    """What a choice of kernels predicts for the model. ``ram``: the most bytes that one call needs at once."""

    latency: float
    ram: float
    flash: float
    energy: float


Options = Sequence[Sequence[Option]]
"""For every operator the kernels that can compute it, the fastest first."""


def choose(graph: Graph, options: Options, costs: Costs, objective: Objective) -> tuple[Call, ...]:
    """One option for every operator: those with the least weighted sum of the model's figures (see ``Objective``)."""
    return tuple(option.call for option in _Chooser(graph, options, costs).best(objective))


class _Chooser:
    def __init__(self, graph: Graph, options: Options, costs: Costs) -> None:
        self.graph, self.options, self.costs = graph, options, costs

    def best(self, objective: Objective) -> list[Option]:
        scale = self._scales(objective)
        weights = {name: weight / scale[name] for name, weight in objective.weights.items() if weight > 0}
        if "latency" not in weights and "energy" not in weights:
            weights["latency"] = TIE / max(self._least_cycles, 1.0)

        def whole(picked: Sequence[Option]) -> float:
            return _score(weights, self.figures(picked))

        starts = [[min(row, key=self._one(weights)) for row in self.options]]
        if objective.flash:  # code that is shared pays for all or for none: the fastest may end with less of it
            starts.append([row[0] for row in self.options])
        found = [
            drop_kernels(
                start,
                self.options,
                one=self._one(weights),
                whole=whole,
                keeps=lambda old, new: not objective.ram or self._ram(new) <= self._ram(old),
                code=self.costs.code_bytes,
                flash_counts=objective.flash > 0,
            )
            for start in starts
        ]
        return min(found, key=whole)

    def figures(self, chosen: Sequence[Option]) -> Figures:
        cycles = sum(option.cycles for option in chosen)
        return Figures(cycles, self._ram(chosen), self._flash(chosen), cycles)

    def _scales(self, objective: Objective) -> dict[str, float]:
        """The figure of each weighted objective when it alone decides."""
        if objective.only is not None:
            return {objective.only: 1.0}
        alone = {name: Objective(**{name: 1.0}) for name, weight in objective.weights.items() if weight > 0}
        return {name: max(getattr(self.figures(self.best(one)), name), 1.0) for name, one in alone.items()}

    def _one(self, weights: Mapping[str, float]) -> Callable[[Option], float]:
        """What one operator adds to the score, apart from code that it shares with others."""

        def score(option: Option) -> float:
            total = (weights.get("latency", 0.0) + weights.get("energy", 0.0)) * option.cycles
            if "flash" in weights:
                total += weights["flash"] * option.constant_bytes
            if "ram" in weights:
                total += weights["ram"] * max(self._bytes_at_once(option) - self._least_ram, 0)
            return total

        return score

    @cached_property
    def _least_cycles(self) -> float:
        return sum(min(option.cycles for option in row) for row in self.options)

    @cached_property
    def _least_ram(self) -> int:
        """What the neediest operator needs with its best kernel: no choice goes below it."""
        return max((min(map(self._bytes_at_once, row)) for row in self.options), default=0)

    def _ram(self, chosen: Sequence[Option]) -> float:
        return max(map(self._bytes_at_once, chosen), default=0)

    def _flash(self, chosen: Sequence[Option]) -> float:
        kernels = dict.fromkeys(option.kernel for option in chosen)
        return sum(option.constant_bytes for option in chosen) + self.costs.program_bytes(kernels)

    @cached_property
    def _spans(self) -> Mapping[str, tuple[int, int]]:
        return lifetimes(self.graph)

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {operator.name: index for index, operator in enumerate(self.graph.operators)}

    @cached_property
    def _live(self) -> tuple[int, ...]:
        """Bytes of activations that must exist during each operator, its inputs and outputs among them."""
        sums = [0] * len(self.graph.operators)
        for name, (first, last) in self._spans.items():
            for index in range(first, last + 1):
                sums[index] += self.graph.tensors[name].nbytes
        return tuple(sums)

    def _bytes_at_once(self, option: Option) -> int:
        """Bytes that must exist during a call: activations and scratch, less what it saves by working in place."""
        call, index = option.call, self._positions[option.operator.name]
        pairs = [(i, o, 0) for i, o in call.in_place] + list(call.overlaps)
        saved = max((self._saved(call, index, *pair) for pair in pairs), default=0)
        return self._live[index] + call.scratch - saved

    def _saved(self, call: Call, index: int, source: int, target: int, lag: int) -> int:
        name = call.inputs[source]
        tensor, output = self.graph.tensors[name], self.graph.tensors[call.outputs[target]]
        if tensor.is_constant or self._spans[name][1] != index or name in self.graph.kept:
            return 0
        return max(tensor.nbytes + output.nbytes - max(output.nbytes, lag + tensor.nbytes), 0)


def _score(weights: Mapping[str, float], figures: Figures) -> float:
    return sum(weight * float(getattr(figures, name)) for name, weight in weights.items())
