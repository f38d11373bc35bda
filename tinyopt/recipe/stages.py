"""All kinds of stages. Each calls one verb of tinyopt with the configuration that the recipe gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinyopt.errors import MismatchError, RecipeError
from tinyopt.pipeline import Progress, plan_for, run_on_board
from tinyopt.quantize import PostTraining, quantize
from tinyopt.recipe import compression
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.recipe.training import AWARE, FINE_TUNE, TRAIN, new_notes


def _quantize(context: Context, config: PostTraining) -> Outcome:
    result = quantize(
        context.graph,
        context.data.samples("calibration", context.graph),
        config,
        on_progress=lambda done, total: context.on_progress("calibration", done, total),
        on_technique=context.on_progress,
    )
    return Outcome(result, notes=new_notes(context.graph, result))


@dataclass(frozen=True)
class Compile:
    """The generated project. ``project``: its kind; ``name``: prefix of the C names."""

    project: Literal["cmake", "platformio", "library"] = "cmake"
    name: str = "model"


@dataclass(frozen=True)
class Run:
    """The test data on the board. ``limit``: the first so many samples; None: all."""

    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise RecipeError(f"a limit of {self.limit} samples leaves nothing to run")


def _compile(context: Context, config: Compile) -> Outcome:
    from tinyopt.generate import generate

    plan = plan_for(context.graph, context.board, objective=context.objective)
    generate(plan, context.output, name=config.name, project=config.project)
    facts = {
        "project": context.output.name,
        "arena_bytes": plan.arena_bytes,
        "weights_bytes": plan.weights_bytes,
        "predicted_cycles": round(plan.cycles),
    }
    return Outcome(context.graph, facts)


def _run(context: Context, config: Run) -> Outcome:
    samples = context.data.samples("test", context.graph)
    result = run_on_board(
        context.graph,
        context.board,
        samples.limit(config.limit) if config.limit else samples,
        objective=context.objective,
        steps=Progress(
            reference=lambda done, total: context.on_progress("reference", done, total),
            device=lambda done, total: context.on_progress(context.board.name, done, total),
        ),
    )
    report = result.report
    if report.mismatches:
        raise MismatchError(
            f"{report.mismatches} of {report.samples} samples differ from the reference; first: {report.first_mismatch}"
        )
    facts = report.to_json()
    del facts["seconds"]
    known = context.graph.metadata.get("notes", "").splitlines()
    return Outcome(context.graph, facts, tuple(note for note in report.notes if note not in known))


KINDS = (
    TRAIN,
    *compression.KINDS,
    FINE_TUNE,
    StageKind(
        "quantize",
        "integers after training",
        PostTraining,
        _quantize,
        "float",
        "int8",
        needs=frozenset({"calibration"}),
    ),
    AWARE,
    StageKind("compile", "write the C project", Compile, _compile, board=True, writes=True),
    StageKind("run", "run the test data on the board", Run, _run, needs=frozenset({"test"}), board=True),
)
"""Every kind of stage, in the order in which they are usually run."""
