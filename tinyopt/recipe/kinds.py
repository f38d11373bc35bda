"""The kinds of stages: a registry from the name in a recipe to what it takes and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tinyopt.board import Board
from tinyopt.graph import Graph
from tinyopt.recipe.data_sets import Role
from tinyopt.recipe.sources import RecipeData


@dataclass(frozen=True, eq=False)
class Context:
    """What a stage works with.

    ``models``: the results so far by stage name, and ``original``. ``folder``: for what must survive an interruption;
    emptied when the stage is done or has changed. ``output``: the stage's own output folder, for stages that write
    more than a model; not there yet.
    """

    graph: Graph
    board: Board
    seed: int
    data: RecipeData
    models: Mapping[str, Graph]
    objective: str
    folder: Path
    output: Path
    log: Callable[[str], None]
    on_progress: Callable[[str, int, int], None]
    load: Callable[[str], Graph]
    """A model file by its path in the recipe."""

    def model(self, name: str) -> Graph:
        """``original``, the result of an earlier stage, or a model file."""
        return self.models[name] if name in self.models else self.load(name)


@dataclass(frozen=True, eq=False)
class Outcome:
    """``facts``: plain data about what was done. ``graph``: the model that the next stage gets. ``missed``: by how much
    the stage missed a target or budget of its own, in words."""

    graph: Graph
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missed: str | None = None


def _no_models(_config: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, eq=False)
class StageKind:
    """``config``: the dataclass (or union of dataclasses) that the stage's fields are read into. ``takes``: the models
    that it works on; ``gives``: those that come out. ``needs``: data without which it cannot run; ``uses``: data that
    it looks at where there are some. ``models``: names of other models that a configuration refers to."""

    name: str
    summary: str
    config: Any
    work: Callable[[Context, Any], Outcome]
    takes: Literal["float", "int8", "any"] = "any"
    gives: Literal["float", "int8", "same"] = "same"
    needs: frozenset[Role] = frozenset()
    uses: frozenset[Role] = frozenset()
    board: bool = False
    """Whether the result depends on the board."""
    writes: bool = False
    """Whether it writes an output folder."""
    models: Callable[[Any], tuple[str, ...]] = _no_models
