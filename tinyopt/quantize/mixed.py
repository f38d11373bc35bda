"""Mixed precision: each layer gets the narrowest weights that a budget asks for, where they hurt least.

The sensitivity of a layer to a format is the noise that it alone brings to the output of the network (Dong et al. 2019
and Wu et al. 2020 rank layers likewise); noises of several layers add up. Steps to narrower formats are taken in the
order of what they save per noise, and taken back where the budget leaves room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypeAlias

import numpy as np

from tinyopt.bridge import dequantize_graph
from tinyopt.data import Samples, Spec, load_samples
from tinyopt.errors import DataError
from tinyopt.execute.float import run_batch
from tinyopt.graph import Array, Graph
from tinyopt.optimise import optimise
from tinyopt.quantize.bias import BiasCorrection
from tinyopt.quantize.layers import output_axis, weighted_layers
from tinyopt.quantize.post_training import PostTraining, quantize
from tinyopt.quantize.technique import Progress
from tinyopt.quantize.walk import simulate
from tinyopt.quantize.weights import Int4, Int8, WeightFormat


@dataclass(frozen=True)
class Budget:
    """What the network may cost; None: no limit. ``weight_bytes``: weights, scales and biases in flash. ``cycles``: of
    one inference. ``accuracy``: top-1 from 0 to 1 that must be kept, on labelled data. ``sqnr_db``: signal to noise at
    the output that must be kept."""

    weight_bytes: float | None = None
    cycles: float | None = None
    accuracy: float | None = None
    sqnr_db: float | None = None

    def __post_init__(self) -> None:
        if all(limit is None for limit in (self.weight_bytes, self.cycles, self.accuracy, self.sqnr_db)):
            raise DataError("a budget needs a limit: weight bytes, cycles, accuracy or signal to noise")
        for name in ("weight_bytes", "cycles"):
            limit = getattr(self, name)
            if limit is not None and not 0.0 < limit < math.inf:
                raise DataError(f"a budget of {limit} {name.replace('_', ' ')} makes no sense; give a number above 0")
        if self.accuracy is not None and not 0.0 < self.accuracy <= 1.0:
            raise DataError(f"an accuracy is a share between 0 and 1, not {self.accuracy}")


@dataclass(frozen=True)
class LayerCost:
    """``weight_bytes`` and ``cycles`` of one layer."""

    weight_bytes: float
    cycles: float = 0.0


Costs: TypeAlias = "Callable[[Graph], Mapping[str, LayerCost]]"
"""Quantized graph → the cost of each layer, for example by planning it for a board."""


@dataclass(frozen=True)
class Sensitivity:
    """What a layer brings to the output alone, in a format: ``noise`` in the power of the output."""

    layer: str
    weight_format: WeightFormat
    noise: float
    cost: LayerCost

    @property
    def sqnr_db(self) -> float:
        return -10.0 * float(np.log10(max(self.noise, 1e-30)))


@dataclass(frozen=True)
class Widths:
    """``formats``: layer → format, ready as ``overrides``. ``shortfall``: limit of the budget → by how much the result
    misses it, in the limit's unit; empty when all are met."""

    formats: Mapping[str, WeightFormat]
    sensitivities: tuple[Sensitivity, ...]
    weight_bytes: float
    cycles: float
    sqnr_db: float
    accuracy: float | None
    shortfall: Mapping[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> str | None:
        """By how much each limit is missed, in words; None when all are met."""
        if not self.shortfall:
            return None
        return ", ".join(f"{name.replace('_', ' ')} by {_amount(name, by)}" for name, by in self.shortfall.items())

    def __str__(self) -> str:
        met = "all limits are met" if self.missed is None else f"not met: {self.missed}"
        share = "" if self.accuracy is None else f", top-1 {self.accuracy:.4f}"
        cycles = f", {self.cycles:,.0f} cycles" if self.cycles else ""
        return f"{self.weight_bytes:,.0f} bytes{cycles}, {self.sqnr_db:.1f} dB{share}; {met}"


def _amount(limit: str, value: float) -> str:
    """What a limit is missed by, in its unit."""
    if limit == "accuracy":
        return f"{100 * value:.2f} points"
    return f"{value:.1f} dB" if limit == "sqnr_db" else f"{value:,.0f}"


def stored_costs(quantized: Graph, formats: Mapping[str, WeightFormat]) -> dict[str, LayerCost]:
    """Bytes of weights in their format, with 4 bytes for each bias and 8 for each scale of a channel."""
    costs = {}
    for operator in weighted_layers(quantized.operators):
        if operator.name in formats:
            weights = quantized.ins(operator)[1]
            channels = weights.shape[output_axis(operator)]
            costs[operator.name] = LayerCost(weights.size * formats[operator.name].bits / 8 + 12 * channels)
    return costs


def choose_widths(
    graph: Graph,
    calibration: Spec,
    budget: Budget,
    *,
    data: Spec | None = None,
    formats: Sequence[WeightFormat] = (Int8(), Int4()),
    config: PostTraining | None = None,
    costs: Costs | None = None,
    samples: int = 128,
    on_progress: Progress | None = None,
) -> Widths:
    """A weight format for every layer, under a budget.

    ``formats``: what to choose from; ``config``: everything else (its ``overrides`` are kept as they are, its
    techniques are used for the result, and bias correction for the sensitivities too); ``costs``: needed for a limit
    in cycles, else weights count with the bits of their format. ``data``: labelled samples for a limit in accuracy;
    sensitivities are measured on the first ``samples`` of it, or of the calibration data.

    A budget that cannot be met gives the best that was found, and by how much it misses.

    Raises:
        DataError: when a limit needs labels or costs that are not given.
    """
    config = config or PostTraining()
    step = on_progress or (lambda what, done, total: None)
    search = _Search(graph, load_samples(calibration, graph), budget, config, formats, costs, step)
    checks = search.samples if data is None else load_samples(data, graph)
    if budget.accuracy is not None and checks.labels is None:
        raise DataError("a limit in accuracy needs labelled data")
    if budget.cycles is not None and costs is None:
        raise DataError("a limit in cycles needs the costs of a board")
    return search.run(checks, samples)


class _Search:
    def __init__(
        self,
        graph: Graph,
        samples: Samples,
        budget: Budget,
        config: PostTraining,
        formats: Sequence[WeightFormat],
        costs: Costs | None,
        on_progress: Progress,
    ) -> None:
        if not formats:
            raise DataError("there are no formats to choose from")
        graph = graph if graph.is_quantized else dequantize_graph(graph)  # layers with run-time ranges
        self.graph, self.samples, self.budget = optimise(graph), samples, budget
        self.config, self.costs, self.on_progress = config, costs, on_progress
        self.formats = sorted(dict.fromkeys(formats), key=lambda form: -form.bits)
        # Without it, the shifted means of two layers may cancel out or add up, and their noises do not just add.
        quick = tuple(technique for technique in config.techniques if isinstance(technique, BiasCorrection))
        self.plain = replace(config, techniques=quick, weights=self.formats[0])
        self._reference: tuple[Samples, dict[str, Array]] | None = None

    def run(self, checks: Samples, count: int) -> Widths:
        table = self._sensitivities(checks.limit(count))
        path = self._path(table)
        place = self._last_that_keeps(path, checks)
        return self._result(path[place], table, checks)

    # ---- sensitivities and costs ----

    def _sensitivities(self, samples: Samples) -> dict[str, list[Sensitivity]]:
        """Layer → its formats, the widest first, without those that cost as much as a wider one or more."""
        wanted = self._float_outputs(samples)
        base = quantize(self.graph, self.samples, self.plain)
        names = [operator.name for operator in weighted_layers(base.operators)]
        layers = [n for n in names if not any(n == item or fnmatchcase(n, item) for item in self.config.overrides)]
        if not layers:
            raise DataError(f"'{self.graph.name}' has no quantized layer to choose a format for")
        floor = _noise(wanted, simulate(base, samples))
        by_format = [self._costs(form) for form in self.formats]
        table: dict[str, list[Sensitivity]] = {}
        for number, layer in enumerate(layers):
            rows: list[Sensitivity] = []
            for form, costs in zip(self.formats, by_format):
                cost = costs.get(layer)
                if cost is None or (rows and self._saving(rows[-1].cost, cost) <= 0):
                    continue
                noise = 0.0
                if rows:
                    changed = replace(self.plain, overrides={**self.config.overrides, layer: form})
                    quantized = quantize(self.graph, self.samples, changed)
                    noise = max(_noise(wanted, simulate(quantized, samples)) - floor, 0.0)
                rows.append(Sensitivity(layer, form, max(noise, rows[-1].noise if rows else 0.0), cost))
            if rows:
                table[layer] = rows
            self.on_progress("sensitivity", number + 1, len(layers))
        return table

    def _costs(self, form: WeightFormat) -> Mapping[str, LayerCost]:
        config = replace(self.plain, weights=form, edges=None, techniques=())
        quantized = quantize(self.graph, self.samples, config)
        if self.costs is not None:
            return self.costs(quantized)
        layers = [operator.name for operator in weighted_layers(quantized.operators)]
        return stored_costs(quantized, {**dict.fromkeys(layers, form), **dict(self.config.overrides)})

    def _float_outputs(self, samples: Samples) -> dict[str, Array]:
        if self._reference is None or self._reference[0] is not samples:
            batch = {name: array[:, 0] for name, array in samples.inputs.items()}
            self._reference = samples, run_batch(self.graph, batch)
        return self._reference[1]

    # ---- the search ----

    def _saving(self, old: LayerCost, new: LayerCost) -> float:
        """What a change saves, in the unit of the budget: shares of its limits, or bytes."""
        saved = 0.0
        if self.budget.cycles is not None:
            saved += (old.cycles - new.cycles) / self.budget.cycles
        if self.budget.weight_bytes is not None:
            saved += (old.weight_bytes - new.weight_bytes) / self.budget.weight_bytes
        if self.budget.cycles is None and self.budget.weight_bytes is None:
            saved = old.weight_bytes - new.weight_bytes
        return saved

    def _path(self, table: Mapping[str, list[Sensitivity]]) -> list[dict[str, Sensitivity]]:
        """Choices from the widest to the narrowest, each a step further; it ends where the cost limits are met."""
        chosen = {layer: rows[0] for layer, rows in table.items()}
        path = [dict(chosen)]
        limited = self.budget.cycles is not None or self.budget.weight_bytes is not None
        while not (limited and self._affordable(chosen)):
            steps = [
                (max(row.noise - now.noise, 1e-12) / self._saving(now.cost, row.cost), row)
                for layer, now in chosen.items()
                for row in table[layer]
                if self._saving(now.cost, row.cost) > 0
            ]
            if not steps:
                break
            row = min(steps, key=lambda item: item[0])[1]
            chosen[row.layer] = row
            path.append(dict(chosen))
        if limited and self._affordable(chosen):
            path[-1] = self._widened(chosen, table)
        return path

    def _widened(
        self, chosen: dict[str, Sensitivity], table: Mapping[str, list[Sensitivity]]
    ) -> dict[str, Sensitivity]:
        """Layers that may be wider again within the limits, those of most noise first."""
        chosen = dict(chosen)
        for layer in sorted(chosen, key=lambda name: -chosen[name].noise):
            for row in table[layer]:
                if row.noise < chosen[layer].noise and self._affordable({**chosen, layer: row}):
                    chosen[layer] = row
                    break
        return chosen

    def _total(self, chosen: Mapping[str, Sensitivity]) -> LayerCost:
        rows = [row.cost for row in chosen.values()]
        return LayerCost(sum(r.weight_bytes for r in rows), sum(r.cycles for r in rows))

    def _affordable(self, chosen: Mapping[str, Sensitivity]) -> bool:
        total, budget = self._total(chosen), self.budget
        return (budget.weight_bytes is None or total.weight_bytes <= budget.weight_bytes) and (
            budget.cycles is None or total.cycles <= budget.cycles
        )

    def _last_that_keeps(self, path: list[dict[str, Sensitivity]], checks: Samples) -> int:
        """The furthest choice of the path that keeps accuracy and signal to noise, by bisection; with a limit of cost
        the last, which alone meets it."""
        costs = self.budget.cycles is not None or self.budget.weight_bytes is not None
        quality = self.budget.accuracy is not None or self.budget.sqnr_db is not None
        if costs or not quality:
            return len(path) - 1
        good, bad = 0, len(path)
        tried, most = 0, max(1, len(path).bit_length())
        while bad - good > 1:
            middle = (good + bad) // 2
            accuracy, decibels = self._measure(path[middle], checks)
            if self._kept(accuracy, decibels):
                good = middle
            else:
                bad = middle
            tried += 1
            self.on_progress("accuracy", min(tried, most), most)
        return good

    def _kept(self, accuracy: float | None, decibels: float) -> bool:
        budget = self.budget
        return (budget.accuracy is None or (accuracy is not None and accuracy >= budget.accuracy)) and (
            budget.sqnr_db is None or decibels >= budget.sqnr_db
        )

    def _formats(self, chosen: Mapping[str, Sensitivity]) -> dict[str, WeightFormat]:
        return {layer: row.weight_format for layer, row in chosen.items()}

    def _measure(self, chosen: Mapping[str, Sensitivity], checks: Samples) -> tuple[float | None, float]:
        """Top-1 (with labels) and signal to noise of the network with these formats and the techniques."""
        config = replace(
            self.config, weights=self.formats[0], overrides={**self.config.overrides, **self._formats(chosen)}
        )
        quantized = quantize(self.graph, self.samples, config)
        got, wanted = simulate(quantized, checks), self._float_outputs(checks)
        decibels = -10.0 * float(np.log10(max(_noise(wanted, got), 1e-30)))
        if checks.labels is None:
            return None, decibels
        first = got[self.graph.outputs[0]].reshape(len(checks), -1)
        return float((first.argmax(1) == checks.labels).mean()), decibels

    def _result(
        self, chosen: Mapping[str, Sensitivity], table: Mapping[str, list[Sensitivity]], checks: Samples
    ) -> Widths:
        accuracy, decibels = self._measure(chosen, checks)
        total, budget = self._total(chosen), self.budget
        missing = {
            "weight_bytes": total.weight_bytes - (budget.weight_bytes or np.inf),
            "cycles": total.cycles - (budget.cycles or np.inf),
            "accuracy": (budget.accuracy or -np.inf) - (accuracy or 0.0),
            "sqnr_db": (-np.inf if budget.sqnr_db is None else budget.sqnr_db) - decibels,
        }
        return Widths(
            self._formats(chosen),
            tuple(row for rows in table.values() for row in rows),
            total.weight_bytes,
            total.cycles,
            decibels,
            accuracy,
            {name: float(value) for name, value in missing.items() if value > 0},
        )


def _noise(wanted: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Noise power at the outputs in units of their power, the mean over the outputs."""
    shares = []
    for name, exact in wanted.items():
        if name in got:
            power = float(np.square(exact.astype(np.float64)).sum()) or 1.0
            shares.append(float(np.square(exact.astype(np.float64) - got[name].reshape(exact.shape)).sum()) / power)
    return float(np.mean(shares)) if shares else 0.0
