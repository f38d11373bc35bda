"""All kinds of stages. Each calls one verb of tinyopt with the configuration that the recipe gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from tinyopt.errors import MismatchError, RecipeError
from tinyopt.generate.ctext import check_name
from tinyopt.pipeline import Progress, plan_for, run_on_board
from tinyopt.plan.layer_costs import board_costs
from tinyopt.quantize import Budget, DynamicRanges, Int4, Int8, PostTraining, WeightFormat, choose_widths, quantize
from tinyopt.recipe import compression
from tinyopt.recipe.kinds import Context, Outcome, StageKind
from tinyopt.recipe.training import AWARE, FINE_TUNE, TRAIN, new_notes


@dataclass(frozen=True)
class Quantize(PostTraining):
    """The configuration of post-training quantization. With a ``budget``, each layer gets one of ``formats``, where it
    hurts least; a limit in accuracy is checked on the validation data, else on the training data."""

    budget: Budget | None = None
    formats: tuple[WeightFormat, ...] = (Int8(), Int4())

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.formats:
            raise RecipeError("there are no formats to choose from")


def _quantize(context: Context, config: Quantize) -> Outcome:
    samples = context.data.samples("calibration", context.graph)
    plain = PostTraining(**{f.name: getattr(config, f.name) for f in fields(PostTraining)})
    facts: dict[str, Any] = {}
    missed: str | None = None
    if config.budget is not None:
        checks = context.data.optional("validation", context.graph) or context.data.optional("train", context.graph)
        widths = choose_widths(
            context.graph,
            samples,
            config.budget,
            data=checks,
            formats=config.formats,
            config=plain,
            costs=board_costs(context.board, objective="flash" if config.budget.cycles is None else "latency"),
            on_progress=context.on_progress,
        )
        plain = replace(plain, overrides={**widths.formats, **plain.overrides})
        facts = {"weights": {layer: str(form) for layer, form in widths.formats.items()}}
        context.log(str(widths))
        missed = None if widths.missed is None else f"the budget of mixed precision is missed: {widths.missed}"
    result = quantize(
        context.graph,
        samples,
        plain,
        on_progress=lambda done, total: context.on_progress("calibration", done, total),
        on_technique=context.on_progress,
    )
    return Outcome(result, facts, new_notes(context.graph, result), missed)


def _dynamic(context: Context, config: DynamicRanges) -> Outcome:
    result = quantize(context.graph, None, config)
    return Outcome(result, notes=new_notes(context.graph, result))


@dataclass(frozen=True)
class Compile:
    """The generated project. ``project``: its kind; ``name``: prefix of the C names."""

    project: Literal["cmake", "platformio", "library"] = "cmake"
    name: str = "model"

    def __post_init__(self) -> None:
        check_name(self.name)


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
        Quantize,
        _quantize,
        "float",
        "int8",
        needs=frozenset({"calibration"}),
        uses=frozenset({"validation", "train"}),
        board=True,
    ),
    StageKind("dynamic", "int8 weights, ranges of layers at run time", DynamicRanges, _dynamic, "float", "int8"),
    AWARE,
    StageKind("compile", "write the C project", Compile, _compile, board=True, writes=True),
    StageKind("run", "run the test data on the board", Run, _run, needs=frozenset({"test"}), board=True),
)
"""Every kind of stage, in the order in which they are usually run."""


def stage_kinds() -> Mapping[str, StageKind]:
    """Name in a recipe → kind, in the order in which they are usually run."""
    return {kind.name: kind for kind in KINDS}
