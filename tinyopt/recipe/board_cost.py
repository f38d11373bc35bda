"""Cycles on the recipe's board as a cost that a recipe can name.

Configurations that take a cost function (``Target``, ``CostBudget``, ``Factorization``) can have ``cost: cycles`` in a
recipe. It is read as ``BoardCycles``, which knows no board yet; the stage puts the prediction for its board there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyopt.board import Board
from tinyopt.errors import RecipeError
from tinyopt.graph import Graph


@dataclass(frozen=True)
class BoardCycles:
    """Predicted cycles of the int8 form of a network on a board that is not known yet."""

    def __call__(self, graph: Graph) -> float:
        raise RecipeError(f"the cycles of '{graph.name}' depend on a board, and none was given")


def names_board(config: Any) -> bool:
    """Whether a configuration depends on the board."""
    if isinstance(config, BoardCycles):
        return True
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return any(names_board(getattr(config, f.name)) for f in dataclasses.fields(config))
    if isinstance(config, Mapping):
        return any(names_board(value) for value in config.values())
    return isinstance(config, tuple) and any(names_board(value) for value in config)


def on_board(config: Any, board: Board) -> Any:
    """The configuration with the costs of this board."""
    from tinyopt.compress.factorize import PredictedCycles

    if isinstance(config, BoardCycles):
        return PredictedCycles(board)
    if not names_board(config):
        return config
    if isinstance(config, Mapping):
        return {name: on_board(value, board) for name, value in config.items()}
    if isinstance(config, tuple):
        return tuple(on_board(value, board) for value in config)
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.init}
    return dataclasses.replace(config, **{n: on_board(v, board) for n, v in values.items() if names_board(v)})
