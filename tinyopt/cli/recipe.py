"""``tinyopt recipe``: run a recipe file, check it, list the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from tinyopt.cli.console import console, errors, print_json, show_notes
from tinyopt.errors import BudgetError

recipe_app = typer.Typer(
    help="Recipes: one file that sequences train, prune, quantize, compile and run.", no_args_is_help=True
)

RecipeArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A recipe (.yaml or .toml).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]


@recipe_app.command("run")
def run(
    file: RecipeArgument,
    output: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--output", "-o", help="Folder for models, logs and report; else the recipe's name, here."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Take over the stages that are up to date in the folder.")
    ] = True,
    json_output: JsonOption = False,
) -> None:
    """Run the stages of a recipe and compare their models.

    The exit code is 0 only when every stage ran and the last model keeps every budget (11: a budget was missed).
    """
    from tinyopt.recipe import load_recipe, render, run_recipe

    recipe = load_recipe(file)
    folder = output or Path(recipe.name)
    try:
        with _Display() as display:
            result = run_recipe(recipe, folder, resume=resume, on_progress=display.step, on_stage=display.stage)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; run the recipe again to go on from what is in '{folder}'") from None
    if json_output:
        print_json(result.report.to_json())
    else:
        show_notes("\n".join(dict.fromkeys(note for row in result.report.rows for note in row.notes)))
        console().print(render(result.report))
        console().print(f"models, logs and report: {result.folder}", highlight=False)
    if not result.report.met:
        raise BudgetError(result.report.verdict())


@recipe_app.command("check")
def check(file: RecipeArgument, json_output: JsonOption = False) -> None:
    """Read a recipe and show it with all defaults filled in; everything that is wrong with it is listed.

    Its model, board and data are read, and its stages checked against them, as before a run.
    """
    from tinyopt.recipe import check_recipe, load_recipe
    from tinyopt.recipe.runner import describe

    recipe = load_recipe(file)
    check_recipe(recipe)
    if json_output:
        print_json(describe(recipe))
        return
    import yaml

    console().print(yaml.safe_dump(describe(recipe), sort_keys=False), highlight=False, markup=False, end="")


@recipe_app.command("stages")
def stages(json_output: JsonOption = False) -> None:
    """List the kinds of stages: what each does, and the fields that it takes."""
    from rich.table import Table

    from tinyopt.recipe import stage_kinds
    from tinyopt.recipe.schema import field_names

    kinds = stage_kinds()
    if json_output:
        print_json({name: {"does": k.summary, "fields": list(field_names(k.config))} for name, k in kinds.items()})
        return
    table = Table(title="stages of recipes", title_justify="left")
    for column in ("stage", "what it does", "model", "fields"):
        table.add_column(column)
    for name, kind in kinds.items():
        gives = kind.takes if kind.gives == "same" else f"{kind.takes} → {kind.gives}"
        table.add_row(name, kind.summary, gives, ", ".join(field_names(kind.config)))
    console().print(table)


class _Display:
    """Stages as lines on standard error; on a terminal, what is under way as a line that changes."""

    def __init__(self) -> None:
        self._console = errors()
        self._status: Any = None

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            self._status = self._console.status("")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def stage(self, name: str, state: str) -> None:
        self._stop()
        self._console.print(f"{name}: {state}", highlight=False)

    def step(self, stage: str, what: str, done: int, total: int) -> None:
        if self._status is None:
            return
        if done >= total:
            self._stop()
            return
        self._status.update(f"{stage}: {what} {done:,} of {total:,}")
        self._status.start()

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
