"""What a command plans with: ``--kernels``, ``--cmsis-nn`` and ``--tuning``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyopt.board import Board
from tinyopt.cli.console import show_notes
from tinyopt.errors import TinyoptError

if TYPE_CHECKING:
    from tinyopt.plan.cmsis_nn import Backend
    from tinyopt.plan.costs import Costs

KINDS = ("native", "cmsis-nn", "best")


def planning_backend(kernels: str, cmsis_nn: Path | None, board: Board) -> Backend | None:
    """The kernels that are considered beside tinyopt's own: None for ``native``; for ``cmsis-nn`` those of CMSIS-NN
    wherever one fits; for ``best`` both, and predicted costs decide.

    Raises:
        TinyoptError: another word, or a CMSIS-NN that is not there or not known.
    """
    if kernels not in KINDS:
        raise TinyoptError(f"--kernels must be one of {', '.join(KINDS)}, not '{kernels}'")
    if kernels == "native":
        if cmsis_nn is not None:
            raise TinyoptError("--cmsis-nn has no effect with --kernels native; add --kernels cmsis-nn or best")
        return None
    from tinyopt.cmsis_nn import open_library
    from tinyopt.plan.cmsis_nn import cmsis_nn_backend

    return cmsis_nn_backend(open_library(cmsis_nn), board, only=kernels == "cmsis-nn")


def planning_costs(tuning: str, board_name: str, board: Board, backend: Backend | None) -> Costs | None:
    """The measurements to plan with, if there are any.

    ``tuning``: ``auto`` (the board's own table where there is one), ``none``, or a file. What is used is said on
    standard error.

    Raises:
        DataError: when the table that is named does not exist, or a table is not usable.
    """
    from tinyopt.tune import default_table_path, load_table, tuned_costs

    if tuning == "none":
        return None
    path = default_table_path(board_name, board) if tuning == "auto" else Path(tuning)
    if tuning == "auto" and not path.is_file():
        return None
    tuned = tuned_costs(load_table(path), board, path, backend.kernels if backend is not None else ())
    show_notes("\n".join(tuned.notes))
    return tuned.costs if tuned.used else None
