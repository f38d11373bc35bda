"""Which kernels a command may use: ``--kernels`` and ``--cmsis-nn``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinyopt.board import Board
from tinyopt.errors import TinyoptError

if TYPE_CHECKING:
    from tinyopt.plan.cmsis_nn import Backend

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
