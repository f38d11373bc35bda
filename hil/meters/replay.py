"""Traces that were not taken now: replayed from a file, or made from an estimate."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType

import numpy as np

from hil.meters.trace import Trace, load_trace
from tinyopt.board import Board
from tinyopt.errors import BoardError


class Replay:
    """A meter that gives the trace of a file, whatever happens between ``start`` and ``stop``.

    Raises:
        DataError: the file is no trace.
    """

    def __init__(self, path: Path, *, accuracy: float | None = None) -> None:
        self.name = f"the trace {path.name}"
        self._recorded = load_trace(path, accuracy)

    def start(self) -> None:
        """Nothing begins."""

    def stop(self) -> Trace:
        """The trace."""
        return self._recorded

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def estimate(board: Board, cycles: float, inferences: int = 1) -> Trace:
    """The trace of a board that takes its energy per cycle: flat power between two edges, and none outside.

    ``cycles``: of one inference. The accuracy is the error that the board states for the estimate.

    Raises:
        BoardError: no energy is known for the board.
        ValueError: there are no cycles or no inferences.
    """
    if board.energy is None:
        raise BoardError(f"no energy per cycle is known for board '{board.name}': its energy cannot be estimated")
    if not cycles > 0 or inferences < 1 or not math.isfinite(cycles):
        raise ValueError(f"an estimate of {inferences} inferences of {cycles} cycles")
    duration = cycles * inferences / board.clock_hz
    watts = board.energy.nj_per_cycle * 1e-9 * board.clock_hz
    # A step up and a step down, as short as numbers can tell apart.
    step = duration * 1e-9
    seconds = np.array([-1.0, -0.75, -0.5, -0.25, 0.0]) * duration - step
    return Trace(
        np.concatenate((seconds, np.linspace(0, duration, 11), -seconds[::-1] + duration)),
        np.concatenate((np.zeros(5), np.full(11, watts), np.zeros(5))),
        np.array([0.0, duration]),
        board.energy.error_percent / 100,
        f"estimate from cycles ({board.energy.source})",
        edge_seconds=0.0,
    )
