"""Graphs whose layers are products of smaller ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinyopt.bridge import dequantize_graph
from tinyopt.compress.factorize.budget import Point, share_out
from tinyopt.compress.factorize.config import (
    Cost,
    CostBudget,
    Energy,
    Factorization,
    LayerChoice,
    ParameterBudget,
    Ranks,
)
from tinyopt.compress.factorize.layers import Layer, alone, install, layer_of
from tinyopt.compress.factorize.methods import AUTOMATIC, Factorizer, Result, factorizer
from tinyopt.compress.factorize.report import FactorizationReport, FactorizedLayer, LeftLayer
from tinyopt.errors import ModelError
from tinyopt.graph import Graph, graph_macs

Progress = Callable[[int, int], None]
LEVELS = (0.001, 0.003, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9)
"""Shares of a layer's energy to leave out at each bond, from which a budget chooses."""
REFINEMENTS = 6
"""How often a budget is corrected by what the network as a whole costs."""


def factorize(
    graph: Graph,
    config: Factorization | None = None,
    *,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Graph:
    """A float graph with layers replaced by chains of smaller ones, of nearly the same function.

    Names of inputs, outputs and of the tensors that the layers wrote stay; biases and fused activations stay on the
    last factor. ``seed``: of the random starts of ``cp``. ``on_progress``: called with (layers done, layers).

    Raises:
        ModelError: when the graph is quantized, a choice names no layer, or (``strict``) a layer cannot be factorized.
    """
    return explain(graph, config, seed=seed, on_progress=on_progress)[0]


def explain(
    graph: Graph,
    config: Factorization | None = None,
    *,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> tuple[Graph, FactorizationReport]:
    """``factorize``, with a report of what became of each layer."""
    return _Run(graph, config or Factorization(), seed, on_progress or (lambda done, total: None)).go()


@dataclass(frozen=True, eq=False)
class _Candidate:
    result: Result
    macs: int
    cost: float | None


class _Run:
    def __init__(self, graph: Graph, config: Factorization, seed: int, on_progress: Progress) -> None:
        if graph.is_quantized:
            raise ModelError(
                f"'{graph.name}' is quantized; factorize the float model first, or give "
                "tinyopt.bridge.dequantize_graph of it"
            )
        graph = dequantize_graph(graph)  # layers with run-time ranges
        self.graph, self.config, self.seed, self.on_progress = graph, config, seed, on_progress
        rule = config.rule
        self.cost: Cost | None = rule.cost if isinstance(rule, CostBudget) else config.cost
        self.left: list[LeftLayer] = []
        self.layers: dict[str, Layer] = {}
        self._costs_before: dict[str, float] = {}
        self._find_layers()

    def _find_layers(self) -> None:
        names = {operator.name for operator in self.graph.operators}
        for name in self.config.layers:
            if name not in names:
                raise ModelError(f"graph '{self.graph.name}' has no layer '{name}' to factorize")
        for operator in self.graph.operators:
            found = layer_of(self.graph, operator)
            if isinstance(found, Layer):
                if operator.name in self.config.layers and self.config.layers[operator.name] is None:
                    self._leave(operator.name, "asked to be left", refuse=False)
                else:
                    self.layers[operator.name] = found
            elif found is not None or operator.name in self.config.layers:
                self._leave(operator.name, found or f"{operator.kind} has no weights to factorize")

    def _leave(self, name: str, reason: str, *, refuse: bool = True) -> None:
        if refuse and self.config.strict and self.config.layers.get(name) is not None:
            raise ModelError(f"layer '{name}' cannot be factorized: {reason}")
        kind = next(operator.kind for operator in self.graph.operators if operator.name == name)
        self.left.append(LeftLayer(name, kind, reason))

    def go(self) -> tuple[Graph, FactorizationReport]:
        fixed: dict[str, _Candidate] = {}
        open_layers: dict[str, list[_Candidate]] = {}
        for done, (name, layer) in enumerate(self.layers.items()):
            choice = self.config.layers.get(name) or LayerChoice()
            rule = choice.rule or self.config.rule
            made = self._factorizers(layer, choice)
            if isinstance(made, str):
                self._leave(name, made)
            elif isinstance(rule, (Energy, Ranks)):
                found = self._by_rule(layer, made, rule)
                if isinstance(found, str):
                    self._leave(name, found)
                else:
                    fixed[name] = found
            else:
                candidates = self._ladder(layer, made)
                if candidates:
                    open_layers[name] = candidates
                else:
                    self._leave(name, "no rank makes it smaller" if self.cost is None else "no rank makes it cheaper")
            self.on_progress(done + 1, len(self.layers))
        chosen, missed = self._within_budget(fixed, open_layers)
        graph = self._installed(chosen)
        return graph, self._report(graph, chosen, missed)

    # ---- one layer ----

    def _factorizers(self, layer: Layer, choice: LayerChoice) -> list[Factorizer] | str:
        method = choice.method or self.config.method
        reasons, found = [], []
        for name in AUTOMATIC if method == "auto" else (method,):
            made = factorizer(layer, name, self.seed)
            if isinstance(made, str):
                reasons.append(made)
            else:
                found.append(made)
        return found or reasons[0]

    def _by_rule(self, layer: Layer, makers: Sequence[Factorizer], rule: Energy | Ranks) -> _Candidate | str:
        found = []
        for maker in makers:
            if isinstance(rule, Ranks):
                values = rule.values if len(rule.values) > 1 else rule.values * len(maker.limits)
                if len(values) != len(maker.limits):
                    return f"{maker.name} has {len(maker.limits)} ranks here, not {len(values)}"
                found.append(self._candidate(layer, maker.make(values)))
                continue
            ranks = self._rounded(maker.ranks_for(1 - rule.keep))
            found.append(self._candidate(layer, maker.make(ranks)))
        if isinstance(rule, Ranks):
            return min(found, key=self._size)
        kept = [c for c in found if c.result.discarded <= 1 - rule.keep + 1e-9]
        paying = [c for c in kept if self._pays(layer, c)]
        if paying:
            return min(paying, key=self._size)
        closest = min(found, key=self._size)
        what = f"{closest.result.method} of rank {'x'.join(map(str, closest.result.ranks))}"
        if closest.cost is not None:
            now = f"{self._cost_before(layer):,.0f} before, {closest.cost:,.0f} after"
            return f"no rank that keeps {rule.keep:.4g} of the energy is cheaper: {what} costs {now}"
        return (
            f"no rank that keeps {rule.keep:.4g} of the energy is smaller: {what} has {closest.result.parameters:,} "
            f"weights and {closest.macs:,} MACs, the layer {layer.parameters:,} and {self._macs_before(layer):,}"
        )

    def _ladder(self, layer: Layer, makers: Sequence[Factorizer]) -> list[_Candidate]:
        """Candidates that pay, one for each level and method, without those that are beaten in both error and size."""
        found: list[_Candidate] = []
        for maker in makers:
            # A share for every bond, or a method of several bonds would not reach the small ranks.
            bonds = len(maker.limits)
            for ranks in dict.fromkeys(self._rounded(maker.ranks_for(level * bonds)) for level in LEVELS):
                candidate = self._candidate(layer, maker.make(ranks), costly=False)
                if self._pays(layer, candidate):
                    found.append(candidate)
        found = _efficient(found, lambda c: c.result.parameters + 1e-3 * c.macs)
        if self.cost is None:
            return found
        priced = [self._candidate(layer, c.result) for c in found]
        return _efficient([c for c in priced if self._pays(layer, c)], self._size)

    def _candidate(self, layer: Layer, result: Result, *, costly: bool = True) -> _Candidate:
        single = alone(self.graph, layer.operator, result.chain)
        cost = self.cost(single) if self.cost is not None and costly else None
        return _Candidate(result, graph_macs(single), cost)

    def _rounded(self, ranks: tuple[int, ...]) -> tuple[int, ...]:
        m = self.config.multiple_of
        return tuple(-(-rank // m) * m for rank in ranks)

    def _size(self, candidate: _Candidate) -> float:
        return candidate.result.parameters if candidate.cost is None else candidate.cost

    def _pays(self, layer: Layer, candidate: _Candidate) -> bool:
        if candidate.cost is not None:
            return candidate.cost < self._cost_before(layer)
        return candidate.result.parameters < layer.parameters and candidate.macs <= self._macs_before(layer)

    def _macs_before(self, layer: Layer) -> int:
        return graph_macs(alone(self.graph, layer.operator))

    def _cost_before(self, layer: Layer) -> float:
        assert self.cost is not None
        if layer.name not in self._costs_before:
            self._costs_before[layer.name] = self.cost(alone(self.graph, layer.operator))
        return self._costs_before[layer.name]

    # ---- all layers ----

    def _within_budget(
        self, fixed: dict[str, _Candidate], open_layers: Mapping[str, list[_Candidate]]
    ) -> tuple[dict[str, _Candidate], str | None]:
        rule = self.config.rule
        if not isinstance(rule, (ParameterBudget, CostBudget)):
            return fixed, None
        counts = isinstance(rule, ParameterBudget)

        def total(graph: Graph) -> float:
            return _parameters(graph) if isinstance(rule, ParameterBudget) else rule.cost(graph)

        before = total(self.graph)
        budget = rule.share * before
        points: list[list[Point]] = []
        for name, candidates in open_layers.items():
            layer = self.layers[name]
            whole = Point(0.0, float(layer.parameters) if counts else self._cost_before(layer))
            points.append([whole, *(Point(_loss(c.result.discarded), self._size(c)) for c in candidates)])
        start = total(self._installed(fixed)) if fixed else before
        rest = start - sum(p[0].cost for p in points)
        target, best, best_total = budget, dict(fixed), start
        for attempt in range(1 if counts else REFINEMENTS):
            indices = share_out(points, target - rest)
            chosen = dict(fixed)
            for (name, candidates), index in zip(open_layers.items(), indices):
                if index:
                    chosen[name] = candidates[index - 1]
            now = total(self._installed(chosen))
            if now < best_total:
                best, best_total = chosen, now
            if best_total <= budget:
                break
            # The layers' costs do not quite add up: aim lower, ever more so while the same choice comes back.
            target -= (now - budget) * 2**attempt
        for name in open_layers:
            if name not in best:
                self._leave(name, "the budget is met without it", refuse=False)
        if best_total <= budget * (1 + 1e-9):
            return best, None
        what = "parameters" if isinstance(rule, ParameterBudget) else getattr(rule.cost, "unit", "of cost")
        return best, (
            f"the budget is missed: {best_total:,.0f} {what}, {100 * best_total / before:.1f} % of {before:,.0f}, "
            f"where {100 * rule.share:.1f} % were asked for"
        )

    def _installed(self, chosen: Mapping[str, _Candidate]) -> Graph:
        if not chosen:
            return self.graph
        return install(self.graph, {name: candidate.result.chain for name, candidate in chosen.items()})

    def _report(self, graph: Graph, chosen: Mapping[str, _Candidate], missed: str | None) -> FactorizationReport:
        rows = []
        for name, candidate in chosen.items():
            layer, result = self.layers[name], candidate.result
            row = FactorizedLayer(
                name,
                layer.operator.kind,
                result.method,
                result.ranks,
                result.discarded,
                layer.parameters,
                result.parameters,
                self._macs_before(layer),
                candidate.macs,
            )
            if candidate.cost is not None:
                row = replace(row, cost_before=self._cost_before(layer), cost_after=candidate.cost)
            rows.append(row)
        order = {operator.name: index for index, operator in enumerate(self.graph.operators)}
        return FactorizationReport(
            tuple(sorted(rows, key=lambda row: order[row.name])),
            tuple(sorted(self.left, key=lambda row: order[row.name])),
            _parameters(self.graph),
            _parameters(graph),
            graph_macs(self.graph),
            graph_macs(graph),
            None if self.cost is None else self.cost(self.graph),
            None if self.cost is None else self.cost(graph),
            missed,
        )


def _loss(discarded: float) -> float:
    """What layers add up: the accuracy follows the product of the energies that they keep (Zhang et al. 2016)."""
    return -math.log(max(1 - discarded, 1e-9))


def _parameters(graph: Graph) -> int:
    read = {name for operator in graph.operators for name in operator.inputs}
    return sum(tensor.size for tensor in graph.constants() if tensor.name in read)


def _efficient(candidates: Sequence[_Candidate], size: Callable[[_Candidate], float]) -> list[_Candidate]:
    """Those that no other beats in both error and size; from large and exact to small."""
    result: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.result.discarded, size(c))):
        if not result or size(candidate) < size(result[-1]):
            result.append(candidate)
    return result
