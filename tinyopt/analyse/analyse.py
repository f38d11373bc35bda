"""Profile and sensitivity of a model on a board, and what follows from them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyopt.analyse.profile import Predicted, Profile, predict, profile
from tinyopt.analyse.quality import accuracy_of, real_outputs, sqnr_db
from tinyopt.analyse.trials import Channels, Factorized, Quantized, Sparse, Technique, weighted
from tinyopt.board import Board
from tinyopt.bridge import dequantize_graph
from tinyopt.data import Spec, load_samples
from tinyopt.errors import BoardError, DataError
from tinyopt.graph import Array, Graph, Operator, dump
from tinyopt.optimise import optimise
from tinyopt.quantize import Binary, Clustered, Int4, Int8, PostTraining, Ternary, quantize
from tinyopt.version import __version__

Progress = Callable[[int, int], None]

TECHNIQUES: tuple[Technique, ...] = (
    Quantized(Int8()),
    Quantized(Int4()),
    Quantized(Clustered(16)),
    Quantized(Ternary()),
    Quantized(Binary()),
    Sparse(0.25),
    Sparse(0.5),
    Sparse(0.75),
    Channels(0.25),
    Channels(0.5),
    Channels(0.75),
    Factorized(0.9),
)
_CALIBRATION = 4
"""Samples for the ranges of models that are planned only: ranges do not change how long kernels take."""
_LEAST_GAIN = 0.002
"""Share of the cycles and of the flash, summed, below which nothing is suggested."""


@dataclass(frozen=True)
class Sensitivity:
    """How to analyse.

    ``techniques``: tried on every layer, alone. ``samples``: of the data, for accuracy and outputs. ``tolerance``: the
    loss of accuracy, as a share of one, up to which a technique is suggested; without labels, ``least_sqnr_db``, the
    smallest signal-to-noise ratio of the output. ``latency`` and ``flash``: what a share of the cycles and of the
    flash is worth in the ranking. ``objective``: of the plans. ``run``: whether cycles of layers are measured.
    """

    techniques: tuple[Technique, ...] = TECHNIQUES
    samples: int = 256
    tolerance: float = 0.01
    least_sqnr_db: float = 15.0
    latency: float = 1.0
    flash: float = 1.0
    objective: str = "latency"
    run: bool = True

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise DataError(f"{self.samples} samples show nothing; give at least 1")
        if not (0 <= self.tolerance <= 1 and math.isfinite(self.least_sqnr_db)):
            raise DataError("a tolerance is a share of one from 0 to 1, and the least SQNR a number of decibels")
        if not (self.latency >= 0 and self.flash >= 0 and self.latency + self.flash > 0):
            raise DataError("the weights of latency and flash are numbers from 0 upwards, at least one above 0")


@dataclass(frozen=True)
class Trial:
    """One technique on one layer, everything else float.

    ``accuracy``: None without labels. ``sqnr_db``: of the output against the float model's; None: without any noise.
    ``saved_cycles``, ``saved_flash``: what the plan of the int8 model predicts to save on the board (negative: costs
    more); None: the model does not fit. ``reason``: why the technique does not apply; then there are no figures.
    """

    layer: str
    technique: str
    family: str
    accuracy: float | None = None
    accuracy_loss: float | None = None
    sqnr_db: float | None = None
    saved_cycles: float | None = None
    saved_flash: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Suggestion:
    """A trial that pays on the board and is harmless by itself. ``gain``: the saved shares of cycles and flash, weighed
    and summed. Losses of several suggestions add up, at least: fine-tune, and measure."""

    trial: Trial
    gain: float
    saved_cycles_share: float
    saved_flash_share: float

    def __str__(self) -> str:
        t = self.trial
        loss = "" if t.accuracy_loss is None else f", accuracy {100 * (0.0 - t.accuracy_loss):+.2f} points"
        noise = "" if t.sqnr_db is None else f", SQNR {t.sqnr_db:.1f} dB"
        return (
            f"{t.layer}: {t.technique}: cycles {-self.saved_cycles_share:+.1%}, flash {-self.saved_flash_share:+.1%}"
            f"{loss}{noise}"
        )


@dataclass(frozen=True)
class Analysis:
    """``accuracy`` is the float model's, on ``samples`` samples. ``baseline``: what the plan predicts of the int8
    model, from which trials save; None where that does not fit the board."""

    model: str
    board: str
    emulated: bool
    samples: int
    accuracy: float | None
    profile: Profile | None
    baseline: Predicted | None
    trials: tuple[Trial, ...]
    suggestions: tuple[Suggestion, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        facts = asdict(self)
        facts["suggestions"] = [{**asdict(item), "text": str(item)} for item in self.suggestions]
        return facts


def analyse(
    graph: Graph,
    board: Board,
    data: Spec,
    config: Sensitivity | None = None,
    *,
    cache: str | Path | None = None,
    on_progress: Progress | None = None,
) -> Analysis:
    """Where a model's cycles, flash and RAM go, and what each of its layers bears.

    ``graph``: float, or quantized (the float network that it approximates is analysed then). ``data``: float samples
    as ``load_samples`` takes them; with labels, accuracy decides what is harmless. ``cache``: a file that keeps every
    finished trial, so that an interrupted analysis goes on; trials of other models, data or boards in it are left
    alone. ``on_progress``: called with (trials done, trials).

    Raises:
        DataError: when the data do not fit.
        ModelError: when the model cannot be quantized at all.
    """
    return _Run(graph, board, data, config or Sensitivity(), cache, on_progress or (lambda done, total: None)).go()


class _Run:
    def __init__(
        self,
        graph: Graph,
        board: Board,
        data: Spec,
        config: Sensitivity,
        cache: str | Path | None,
        on_progress: Progress,
    ) -> None:
        self.board, self.config, self.on_progress = board, config, on_progress
        self.notes: list[str] = []
        if graph.is_quantized:
            self.notes.append("the model is quantized: sensitivities are those of the float network it approximates")
        self.graph = optimise(dequantize_graph(graph))
        samples = load_samples(data, self.graph)
        self.samples = samples.limit(min(config.samples, len(samples)))
        self.calibration = samples.limit(min(_CALIBRATION, len(samples)))
        self.deployed = graph if graph.is_quantized else quantize(self.graph, self.samples)
        self.store = _Store(None if cache is None else Path(cache), self._fingerprint())
        self.reference: Array
        self.accuracy: float | None = None

    def _fingerprint(self) -> str:
        from tinyopt.tune.context import board_digest

        digest = hashlib.sha256(f"{__version__} {board_digest(self.board)} {self.config.objective}".encode())
        digest.update(dump(self.graph).encode())
        arrays: list[Array] = [t.value for t in self.graph.constants()]
        arrays += list(self.samples.inputs.values())
        arrays += [] if self.samples.labels is None else [self.samples.labels]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:24]

    def go(self) -> Analysis:
        found = self._profile()
        baseline = self._predict(self._int8(self.graph, {}))
        self.reference = real_outputs(self.graph, self.samples)
        self.accuracy = accuracy_of(self.reference, self.samples.labels, self.graph)
        work = [(operator, t) for operator in weighted(self.graph) for t in self.config.techniques]
        trials = []
        for done, (operator, technique) in enumerate(work):
            key = f"{operator.name}\0{technique!r}"
            trial = self.store.get(key)
            if trial is None:
                trial = self._trial(operator, technique, baseline)
                self.store.put(key, trial)
            trials.append(trial)
            self.on_progress(done + 1, len(work))
        return Analysis(
            self.graph.name,
            self.board.name,
            self.board.is_emulated,
            len(self.samples),
            self.accuracy,
            found,
            baseline,
            tuple(trials),
            suggest(trials, baseline, self.config),
            tuple(dict.fromkeys(self.notes)),
        )

    def _profile(self) -> Profile | None:
        try:
            found = profile(self.deployed, self.board, objective=self.config.objective, run=self.config.run)
        except BoardError as error:
            self.notes.append(str(error))
            return None
        self.notes += found.notes
        return found

    def _int8(self, graph: Graph, overrides: dict[str, Any]) -> Graph:
        return quantize(graph, self.calibration, PostTraining(overrides=overrides))

    def _predict(self, graph: Graph) -> Predicted | None:
        try:
            return predict(graph, self.board, self.config.objective)
        except BoardError as error:
            self.notes.append(str(error).splitlines()[0])
            return None

    def _trial(self, operator: Operator, technique: Technique, baseline: Predicted | None) -> Trial:
        head = Trial(operator.name, str(technique), technique.family)
        changed = technique.applied(self.graph, operator)
        if isinstance(changed, str):
            return Trial(head.layer, head.technique, head.family, reason=changed)
        outputs = real_outputs(changed, self.samples)
        accuracy = accuracy_of(outputs, self.samples.labels, self.graph)
        loss = None if accuracy is None or self.accuracy is None else self.accuracy - accuracy
        noise = sqnr_db(self.reference, outputs)
        cycles, flash = None, None
        if baseline is not None:
            if isinstance(technique, Quantized):
                planned = self._int8(self.graph, {operator.name: technique.form})
            else:
                planned = self._int8(changed, {})
            now = self._predict(planned)
            if now is not None:
                cycles = round(baseline.cycles - now.cycles, 1)
                flash = baseline.flash_bytes - now.flash_bytes
        return Trial(
            head.layer,
            head.technique,
            head.family,
            accuracy,
            None if loss is None else round(loss, 6),
            round(noise, 3) if math.isfinite(noise) else None,
            cycles,
            flash,
        )


def suggest(trials: Sequence[Trial], baseline: Predicted | None, config: Sensitivity) -> tuple[Suggestion, ...]:
    """The trials that save something and are harmless by themselves: of each layer and family the best, the largest
    gain first; of equal ones the more harmless."""
    if baseline is None:
        return ()
    best: dict[tuple[str, str], Suggestion] = {}
    for trial in trials:
        if trial.reason is not None or trial.saved_cycles is None or trial.saved_flash is None:
            continue
        if trial.accuracy_loss is not None:
            harmless = trial.accuracy_loss <= config.tolerance
        else:
            harmless = trial.sqnr_db is None or trial.sqnr_db >= config.least_sqnr_db
        cycles = trial.saved_cycles / max(baseline.cycles, 1.0)
        flash = trial.saved_flash / max(baseline.flash_bytes, 1)
        gain = config.latency * cycles + config.flash * flash
        if not harmless or gain < _LEAST_GAIN:
            continue
        item = Suggestion(trial, round(gain, 6), round(cycles, 6), round(flash, 6))
        known = best.get((trial.layer, trial.family))
        if known is None or _rank(item) < _rank(known):
            best[trial.layer, trial.family] = item
    return tuple(sorted(best.values(), key=_rank))


def _rank(item: Suggestion) -> tuple[float, float, float]:
    trial = item.trial
    noise = math.inf if trial.sqnr_db is None else trial.sqnr_db
    return -item.gain, trial.accuracy_loss or 0.0, -noise


class _Store:
    """Finished trials in a JSON file that is whole at every moment; without a file, nowhere."""

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self._path, self._fingerprint = path, fingerprint
        self._all: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"'{path}' is no cache of an analysis ({error}); delete it, or name another file") from None
        if not isinstance(document, dict) or document.get("format") != "tinyopt analysis":
            raise DataError(f"'{path}' is no cache of an analysis; name another file")
        analyses = document.get("analyses")
        if isinstance(analyses, dict):
            self._all = {name: trials for name, trials in analyses.items() if isinstance(trials, dict)}

    def get(self, key: str) -> Trial | None:
        facts = self._all.get(self._fingerprint, {}).get(key)
        try:
            return None if facts is None else Trial(**facts)
        except TypeError:
            return None

    def put(self, key: str, trial: Trial) -> None:
        self._all.setdefault(self._fingerprint, {})[key] = asdict(trial)
        if self._path is None:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            document = {"format": "tinyopt analysis", "analyses": self._all}
            temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"cannot write '{self._path}': {error.strerror or error}") from None


__all__ = ["TECHNIQUES", "Analysis", "Sensitivity", "Suggestion", "Trial", "analyse", "suggest"]
