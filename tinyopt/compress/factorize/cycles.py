"""Cycles as the cost of a factorization: predicted by the plan, or measured on the board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinyopt.board import Board
from tinyopt.graph import Graph

CALIBRATION = "random:0:2"
"""Ranges do not change how long kernels take; any samples do."""


@dataclass(frozen=True)
class PredictedCycles:
    """A cost: the cycles that the plan predicts for one inference on a board, of the int8 form of the network unless
    ``int8`` is False."""

    unit: ClassVar[str] = "cycles"
    board: Board
    int8: bool = True

    def __call__(self, graph: Graph) -> float:
        from tinyopt.optimise import optimise
        from tinyopt.plan import make_plan

        return make_plan(optimise(_prepared(graph, self.int8)), self.board).cycles


@dataclass(frozen=True)
class MeasuredCycles:
    """A cost: the cycles (estimated from the instructions on an emulated board) of one inference that runs on a board.
    Takes seconds for every candidate of every layer."""

    unit: ClassVar[str] = "cycles"
    board: Board
    int8: bool = True

    def __call__(self, graph: Graph) -> float:
        from tinyopt.data import load_samples
        from tinyopt.pipeline import run_on_board

        prepared = _prepared(graph, self.int8)
        report = run_on_board(prepared, self.board, load_samples("random:0:1", prepared)).report
        return float(report.cycles or report.instructions or 0)


def _prepared(graph: Graph, int8: bool) -> Graph:
    if not int8:
        return graph
    from tinyopt.quantize import quantize

    return quantize(graph, CALIBRATION)
