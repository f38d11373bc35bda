"""The recipe: what is done to which model, with which data, for which board, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

from tinyopt.board import Size
from tinyopt.errors import RecipeError
from tinyopt.recipe.data_sets import DataSets, Strict, Text
from tinyopt.recipe.files import Lines, read_document
from tinyopt.recipe.kinds import StageKind
from tinyopt.recipe.schema import config_type
from tinyopt.recipe.stages import stage_kinds

MAXIMUM_STAGES = 64
StageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e15, strict=True, allow_inf_nan=False)]


class Budgets(Strict):
    """What the last model must keep. ``accuracy``: at least, on the test data; ``accuracy_loss``: at most, against the
    best float model of the recipe. ``flash`` (code and weights) and ``ram`` (arena and stack) in bytes, ``cycles`` and
    ``energy_uj`` per inference: at most."""

    accuracy: Fraction | None = None
    accuracy_loss: Fraction | None = None
    flash: Size | None = None
    ram: Size | None = None
    cycles: Positive | None = None
    energy_uj: Positive | None = None


@dataclass(frozen=True)
class Stage:
    """One step. ``config``: an instance of what the kind takes; ``name``: unique in the recipe."""

    kind: StageKind
    name: str
    config: Any


class Recipe(Strict):
    """See docs/recipes.md. Paths are relative to ``folder``, the recipe file's."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: StageName
    model: Text
    input_layout: Literal["nchw", "nhwc"] = "nchw"
    seed: Annotated[int, Field(ge=0, lt=1 << 31, strict=True)] = 0
    board: Text
    data: DataSets = DataSets()
    budgets: Budgets = Budgets()
    measure: Literal["run", "plan"] = "run"
    """How flash, RAM and cycles of every stage are found: by running its model on the (emulated) board, or from the
    plan alone."""
    objective: Text = "latency"
    threads: Annotated[int, Field(ge=1, le=256, strict=True)] | None = None
    """Of torch; None: as many as it likes. Sums depend on it in their last bits, so results do."""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=MAXIMUM_STAGES)
    folder: Path = Path()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"several stages are called '{twice[0]}'; give them names of their own")
        return self


def load_recipe(path: str | Path) -> Recipe:
    """A recipe from a YAML or TOML file.

    Raises:
        RecipeError: when the file is not readable or says something that no recipe can; all problems at once.
    """
    path = Path(path)
    document, lines = read_document(path)
    return make_recipe(document, folder=path.resolve().parent, name=_name_from(path), where=str(path), lines=lines)


def _name_from(path: Path) -> str:
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in path.stem.lower())
    return letters.strip("-_")[:40] or "recipe"


def make_recipe(
    document: dict[str, Any],
    *,
    folder: Path = Path(),
    name: str = "recipe",
    where: str = "the recipe",
    lines: Lines | None = None,
) -> Recipe:
    """A recipe from plain data; ``folder``: what its paths are relative to; ``where`` and ``lines``: for messages.

    Raises:
        RecipeError: listing everything that is wrong.
    """
    problems: list[str] = []
    lines = lines or {}
    document = {"name": name, **document}
    if "folder" in document:
        problems.append("folder: there is no such field; paths are relative to the recipe file")
    seed = document.get("seed", 0)
    context = {"seed": seed} if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 else {}
    stages, found = _read_stages(document.get("stages"), context, lines)
    problems += found
    rest = {key: value for key, value in document.items() if key != "folder"}
    recipe = None
    try:
        recipe = Recipe.model_validate({**rest, "stages": stages or [None], "folder": folder})
    except ValidationError as error:
        problems += [_line(item, lines) for item in error.errors() if item["loc"][:1] != ("stages",)]
    if problems or recipe is None:
        raise RecipeError(f"{where} is not valid:\n" + "\n".join(f"  {line}" for line in problems))
    return recipe


def _read_stages(value: Any, context: dict[str, Any], lines: Lines) -> tuple[list[Stage], list[str]]:
    """The stages, and what is wrong with them."""
    if not isinstance(value, list) or not value:
        return [], ["stages: give a list of stages, for example '- quantize' or '- train: {epochs: 10}'"]
    if len(value) > MAXIMUM_STAGES:
        return [], [f"stages: {len(value)} are too many; the limit is {MAXIMUM_STAGES}"]
    kinds = stage_kinds()
    stages: list[Stage] = []
    problems: list[str] = []
    for index, item in enumerate(value):
        where = f"stages.{index + 1}{_at(lines, ('stages', index))}"
        fields = {item: None} if isinstance(item, str) else item
        if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
            problems.append(f"{where}: a stage is a name, or a mapping from its name to its fields")
            continue
        chosen = [key for key in fields if key in kinds]
        if len(chosen) != 1:
            what = "several stages in one" if chosen else f"no stage is called {', '.join(map(repr, fields)) or '?'}"
            problems.append(f"{where}: {what[:200]}; the stages are {', '.join(kinds)}")
            continue
        kind = kinds[chosen[0]]
        try:
            read = _stage_model(kind).model_validate(fields, context=context)
        except ValidationError as error:
            problems += [_line(e, lines, ("stages", index)) for e in error.errors()]
            continue
        name = getattr(read, "name", None) or _unused(kind.name.replace("_", "-"), [stage.name for stage in stages])
        stages.append(Stage(kind, name, getattr(read, chosen[0])))
    return stages, problems


def _unused(stem: str, taken: list[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def _stage_model(kind: StageKind) -> type[BaseModel]:
    fields: dict[str, Any] = {kind.name: (config_type(kind.config), ...), "name": (StageName | None, None)}
    return create_model("Stage", __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields)


def _line(error: ErrorDetails, lines: Lines, before: tuple[str | int, ...] = ()) -> str:
    """One problem: where, and what. Names of classes in the location are pydantic's, not the reader's."""
    way = (*before, *(step for step in error["loc"] if isinstance(step, int) or not _is_class(step)))
    place = ".".join(str(step + 1) if isinstance(step, int) else step for step in way) or "recipe"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such field"
    elif error["type"] == "missing":
        message = "is missing"
    return f"{place[:200]}{_at(lines, way)}: {message[:1000]}"


def _at(lines: Lines, way: tuple[str | int, ...]) -> str:
    """The line of a field, or of what it is in; nothing where the file has none."""
    while way and way not in lines:
        way = way[:-1]
    return f" (line {lines[way]})" if way else ""


def _is_class(step: str) -> bool:
    return step[:1].isupper() or step.startswith(("function-", "float", "constrained-", "literal["))
