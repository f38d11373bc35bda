"""Running a recipe: stage after stage, each written to the output folder, each done once.

Stage 2, named ``prune``, writes ``02-prune.tinyopt`` (its model), ``02-prune.json`` (what was done and the figures of
the model) and ``02-prune.log``. Its key is a digest of everything that its result depends on: the stage's
configuration, the model before it, the data that it reads, the board where that matters, and tinyopt's version. A stage
whose files are there under the same key is not run again, so an interrupted recipe goes on where it was; training goes
on from its last checkpoint, which lies in ``02-prune.work`` until the stage is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyopt.board import Board, load_board
from tinyopt.errors import BoardError, RecipeError, TinyoptError, TrainingError
from tinyopt.graph import Graph, load_graph, save_graph
from tinyopt.plan.objective import Objective
from tinyopt.recipe.board_cost import names_board
from tinyopt.recipe.data_sets import ROLES
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.recipe.measure import Metrics, measure_model
from tinyopt.recipe.recipe import Recipe, Stage
from tinyopt.recipe.report import RecipeReport, Row, judge, write_report
from tinyopt.recipe.schema import plain
from tinyopt.recipe.sources import RecipeData, check_labels, load_model
from tinyopt.recipe.training import devices
from tinyopt.train.fit import usable_device
from tinyopt.version import __version__

FORMAT = 1
MANIFEST = "recipe.json"
LOCK = ".lock"
Progress = Callable[[str, str, int, int], None]
"""Called with (stage, what is under way, done, total)."""


@dataclass(frozen=True, eq=False)
class RecipeResult:
    """``graphs``: stage name → its model, beginning with ``original``. ``reused``: stages that were up to date."""

    report: RecipeReport
    graphs: Mapping[str, Graph]
    reused: tuple[str, ...]
    folder: Path


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = True,
    on_progress: Progress | None = None,
    on_stage: Callable[[str, str], None] | None = None,
) -> RecipeResult:
    """Run the stages of a recipe, and write their models and a report (``report.md``, ``report.json``) to a folder.

    ``resume``: take over what is up to date in the folder; else start anew. ``on_stage``: called with (stage,
    ``running`` or ``up to date``). The same recipe, data and machine give the same models, interrupted or not.
    Whether budgets are met is in the report; see ``BudgetError`` for who wants an exception.

    Raises:
        RecipeError: when stages cannot follow each other, data that they need are missing, or the folder is not ours.
        TinyoptError: whatever a stage raises; what was finished before it is kept.
    """
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(recipe.threads or before)
        return _Run(recipe, Path(folder), resume, on_progress, on_stage).go()
    finally:
        torch.set_num_threads(before)


def check_recipe(recipe: Recipe) -> None:
    """All that ``run_recipe`` looks at before it starts: model, board, data, devices, and whether the stages can follow
    each other. Nothing is written.

    Raises:
        TinyoptError: as ``run_recipe``.
    """
    _Run(recipe, Path(), False, None, None).check()


class _Run:
    """One run of a recipe."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        resume: bool,
        on_progress: Progress | None,
        on_stage: Callable[[str, str], None] | None,
    ) -> None:
        Objective.parse(recipe.objective)
        self.recipe, self.folder, self.resume = recipe, folder, resume
        self.board = _board(recipe)
        self.data = RecipeData(recipe.data, recipe.folder, recipe.seed)
        self.on_progress = on_progress or (lambda stage, what, done, total: None)
        self.on_stage = on_stage or (lambda stage, state: None)
        self.graphs: dict[str, Graph] = {}
        self.rows: list[Row] = []
        self.reused: list[str] = []
        self.measured: dict[str, Metrics] = {}
        self.original: Graph

    def check(self) -> None:
        """Everything that can be known to be wrong before the first stage."""
        recipe = self.recipe
        self.original = load_model(recipe.model, recipe.folder, seed=recipe.seed, input_layout=recipe.input_layout)
        check_stages(self.recipe, self.original, self.data)
        self._check_data()

    def go(self) -> RecipeResult:
        self.check()
        written = self._open_folder()
        with _alone(self.folder):
            return self._all(written)

    def _all(self, written: set[str]) -> RecipeResult:
        graph = self._first(self.original)
        for index, stage in enumerate(self.recipe.stages, 1):
            try:
                graph = self._stage(index, stage, graph)
            except TinyoptError as error:
                error.args = (f"stage {index}, '{stage.name}': {error}", *error.args[1:])
                raise
        report = judge(self.recipe, self.board, self.rows)
        write_report(report, self.folder)
        self._clean(written)
        return RecipeResult(report, self.graphs, tuple(self.reused), self.folder)

    # ---- the folder ----

    def _open_folder(self) -> set[str]:
        """Make the folder; what an earlier run wrote into it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            manifest = self.folder / MANIFEST
            old: set[str] = set()
            if manifest.is_file():
                document = json.loads(manifest.read_text(encoding="utf-8"))
                if not isinstance(document, dict) or document.get("generator") != "tinyopt recipe":
                    raise ValueError
                old = {name for name in document["stems"] if isinstance(name, str) and Path(name).name == name}
            elif any(self.folder.iterdir()):
                raise RecipeError(f"'{self.folder}' holds files of somebody else; choose a new folder for the results")
        except OSError as error:
            raise RecipeError(f"cannot use the folder '{self.folder}': {error.strerror or error}") from None
        except (ValueError, LookupError, TypeError):
            raise RecipeError(f"'{self.folder}/{MANIFEST}' is not of a recipe's run; choose another folder") from None
        stems = self._stems()
        _write_json(
            self.folder / MANIFEST,
            {"generator": "tinyopt recipe", "recipe": describe(self.recipe), "stems": sorted(old | set(stems))},
        )
        return old

    def _stems(self) -> list[str]:
        return ["00-original", *(f"{i:02d}-{stage.name}" for i, stage in enumerate(self.recipe.stages, 1))]

    def _clean(self, written: set[str]) -> None:
        """Remove what belonged to stages that the recipe no longer has."""
        stems = self._stems()
        for stem in written | set(stems):
            for left in self.folder.glob(f".{stem}.*.part"):  # of a run that was killed while it wrote
                left.unlink(missing_ok=True)
        for stem in written - set(stems):
            for suffix in (".tinyopt", ".json", ".log"):
                (self.folder / f"{stem}{suffix}").unlink(missing_ok=True)
            shutil.rmtree(self.folder / f"{stem}.work", ignore_errors=True)
        _write_json(
            self.folder / MANIFEST,
            {"generator": "tinyopt recipe", "recipe": describe(self.recipe), "stems": stems},
        )

    # ---- stages ----

    def _check_data(self) -> None:
        """Data are read, and refused, before anything long starts; so are devices that this machine does not have."""
        for index, stage in enumerate(self.recipe.stages, 1):
            for name in dict.fromkeys(devices(stage.config)):
                try:
                    usable_device(name)
                except TrainingError as error:
                    raise TrainingError(f"stage {index}, '{stage.name}': {error}") from None
        for role in ROLES:
            if self.data.has(role) and (role == "test" or any(_reads(s.kind, role) for s in self.recipe.stages)):
                samples = self.data.samples(role, self.original)
                if role in ("train", "validation") and samples.labels is None:
                    raise RecipeError(f"the {role} data ({samples.source}) have no labels; training needs them")
                if role != "calibration" and samples.labels is not None:
                    check_labels(samples.labels, self.original, f"{role} data ({samples.source})")
                self.data.digest(role, self.original)

    def _first(self, graph: Graph) -> Graph:
        stem = self.folder / "00-original"
        path = stem.with_suffix(".tinyopt")
        _save(graph, path)
        digest = _file_digest(path)
        entry = _read_json(stem.with_suffix(".json")) if self.resume else {}
        self._finish(stem, "original", "import", graph, {"key": digest, "model": digest}, entry)
        return self._remember("original", graph)

    def _stage(self, index: int, stage: Stage, graph: Graph) -> Graph:
        stem = self.folder / f"{index:02d}-{stage.name}"
        model, work, output = stem.with_suffix(".tinyopt"), stem.with_suffix(".work"), stem
        key = self._key(stage, index)
        entry = _read_json(stem.with_suffix(".json")) if self.resume else {}
        missing = stage.kind.writes and not output.is_dir()
        if entry.get("key") == key and entry.get("model") == _file_digest(model) and not missing:
            self.on_stage(stage.name, "up to date")
            self.reused.append(stage.name)
            result = load_graph(model)
        else:
            self.on_stage(stage.name, "running")
            _claim(work, key, keep=self.resume)
            outcome = self._work(stage, graph, stem, work, output)
            result = outcome.graph
            _save(result, model)
            done = {
                "key": key,
                "model": _file_digest(model),
                "kind": stage.kind.name,
                "config": plain(stage.config),
                "facts": dict(outcome.facts),
                "notes": list(outcome.notes),
                "missed": outcome.missed,
            }
            _write_json(stem.with_suffix(".json"), done)
            entry = done
        shutil.rmtree(work, ignore_errors=True)
        self._finish(stem, stage.name, stage.kind.name, result, entry, entry)
        return self._remember(stage.name, result)

    def _work(self, stage: Stage, graph: Graph, stem: Path, work: Path, output: Path) -> Outcome:
        with stem.with_suffix(".log").open("a", encoding="utf-8") as stream:

            def log(line: str) -> None:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
                stream.flush()

            context = Context(
                graph=graph,
                board=self.board,
                seed=self.recipe.seed,
                data=self.data,
                models=dict(self.graphs),
                objective=self.recipe.objective,
                folder=work,
                output=output,
                log=log,
                on_progress=lambda what, done, total: self.on_progress(stage.name, what, done, total),
                load=self._load,
            )
            started = time.monotonic()
            log(f"{stage.kind.name}: {json.dumps(plain(stage.config))}")
            try:
                outcome = stage.kind.work(context, stage.config)
            except BaseException as error:
                log(f"stopped: {type(error).__name__}: {error}")
                raise
            for note in outcome.notes:
                log(f"note: {note}")
            if outcome.missed is not None:
                log(f"missed: {outcome.missed}")
            log(f"done in {time.monotonic() - started:.1f} s")
        return outcome

    def _load(self, name: str) -> Graph:
        from tinyopt.importers import load

        return load(self.recipe.folder / name, input_layout=self.recipe.input_layout)

    def _finish(
        self, stem: Path, name: str, kind: str, graph: Graph, entry: Mapping[str, Any], known: Mapping[str, Any]
    ) -> None:
        """The figures of a stage's model: those that are known, where they are of the same model, data and board."""
        key = self._metrics_key(entry["model"])
        metrics = _metrics(known.get("metrics")) if known.get("metrics_key") == key else self.measured.get(key)
        if metrics is None:
            test = self.data.samples("test", graph) if self.data.has("test") else None
            metrics = measure_model(
                graph,
                self.board,
                test,
                run=self.recipe.measure == "run",
                objective=self.recipe.objective,
                on_progress=lambda done, total: self.on_progress(name, "accuracy", done, total),
            )
        if known.get("metrics_key") != key:
            _write_json(stem.with_suffix(".json"), {**entry, "metrics_key": key, "metrics": asdict(metrics)})
        self.measured[key] = metrics
        self.rows.append(Row(name, kind, metrics, tuple(entry.get("notes", ())), entry.get("missed")))

    def _remember(self, name: str, graph: Graph) -> Graph:
        self.graphs[name] = graph
        return graph

    # ---- keys ----

    def _key(self, stage: Stage, index: int) -> str:
        """What the result of a stage depends on."""
        before = self.folder / f"{self._stems()[index - 1]}.tinyopt"
        others = dict(zip(["original", *(s.name for s in self.recipe.stages)], self._stems()))
        depends = stage.kind.board or names_board(stage.config)
        return _digest(
            {
                "format": FORMAT,
                "tinyopt": __version__,
                "kind": stage.kind.name,
                "config": plain(stage.config),
                "seed": self.recipe.seed,
                "threads": self.recipe.threads,
                "model": _file_digest(before),
                "models": {
                    name: _other_digest(self.folder, self.recipe, others, name)
                    for name in stage.kind.models(stage.config)
                },
                "data": {role: self.data.digest(role, self.original) for role in ROLES if _reads(stage.kind, role)},
                "board": [_board_digest(self.board), self.recipe.objective] if depends else None,
            }
        )

    def _metrics_key(self, model: str) -> str:
        return _digest(
            {
                "format": FORMAT,
                "tinyopt": __version__,
                "model": model,
                "test": self.data.digest("test", self.original),
                "board": _board_digest(self.board),
                "measure": self.recipe.measure,
                "objective": self.recipe.objective,
            }
        )


def check_stages(recipe: Recipe, original: Graph, data: RecipeData) -> None:
    """Whether the stages of a recipe can follow each other, and have the data that they need.

    Raises:
        RecipeError: listing every problem.
    """
    precision = "int8" if original.is_quantized else "float"
    maker = "the model"
    problems = []
    names = ["original"]
    for index, stage in enumerate(recipe.stages, 1):
        kind, where = stage.kind, f"stage {index}, '{stage.name}'"
        if kind.takes not in ("any", precision):
            advice = "put it before the quantization" if precision == "int8" else "put it after the quantization"
            problems.append(f"{where}, takes a {kind.takes} model and {maker} gives {precision}; {advice}")
        elif kind.gives != "same":
            precision, maker = kind.gives, f"'{stage.name}'"
        missing = sorted(role for role in kind.needs if not data.has(role))
        problems += [f"{where}, needs data.{role}, which the recipe does not name" for role in missing]
        for name in kind.models(stage.config):
            is_file = name.endswith((".tinyopt", ".tflite", ".onnx", ".pt2"))
            if not is_file and name not in names:
                problems.append(f"{where}, refers to the model '{name}'; there are {', '.join(names)}, and model files")
            elif is_file and not (recipe.folder / name).is_file():
                problems.append(f"{where}, refers to the model file '{name}', which is not in '{recipe.folder}'")
        names.append(stage.name)
    budgets = recipe.budgets
    if (budgets.accuracy is not None or budgets.accuracy_loss is not None) and not data.has("test"):
        problems.append("a budget for accuracy needs data.test")
    if problems:
        raise RecipeError(f"the recipe '{recipe.name}' cannot run:\n" + "\n".join(f"  {line}" for line in problems))


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, with all defaults filled in."""
    document = recipe.model_dump(mode="json", exclude={"stages", "folder"})
    document["stages"] = [{s.kind.name: plain(s.config), "name": s.name} for s in recipe.stages]
    return document


def _board(recipe: Recipe) -> Board:
    path = recipe.folder / recipe.board
    if recipe.board.endswith((".yaml", ".yml")):
        return load_board(path)
    try:
        return load_board(recipe.board)
    except BoardError as error:
        raise RecipeError(str(error)) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder meanwhile, where the system can tell.

    Raises:
        RecipeError: when somebody does.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RecipeError(f"another run works in '{folder}'; wait for it, or name another folder") from None
        yield


def _reads(kind: StageKind, role: Any) -> bool:
    return role in kind.needs or role in kind.uses


def _claim(work: Path, key: str, *, keep: bool) -> None:
    """A folder for what a stage keeps during its work; emptied unless it is of the same key."""
    marker = work / "key"
    try:
        if not (keep and marker.is_file() and marker.read_text(encoding="utf-8") == key):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            marker.write_text(key, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"cannot use the folder '{work}': {error.strerror or error}") from None


def _other_digest(folder: Path, recipe: Recipe, stems: Mapping[str, str], name: str) -> str:
    if name in stems:
        return _file_digest(folder / f"{stems[name]}.tinyopt")
    return _file_digest(recipe.folder / name)


def _save(graph: Graph, path: Path) -> None:
    try:
        save_graph(graph, path)
    except OSError as error:
        raise RecipeError(f"cannot write '{path}': {error.strerror or error}") from None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError:
        return "none"


def _board_digest(board: Board) -> str:
    from tinyopt.tune.context import board_digest

    return board_digest(board)


def _metrics(value: Any) -> Metrics | None:
    try:
        return Metrics(**value)
    except TypeError:
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_json(path: Path, document: Any) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RecipeError(f"cannot write '{path}': {error.strerror or error}") from None


__all__ = ["RecipeResult", "check_recipe", "check_stages", "describe", "run_recipe"]
