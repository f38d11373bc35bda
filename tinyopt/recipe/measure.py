"""What the model of a stage is worth: accuracy on the test data, and what it takes on the board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.analyse.quality import accuracy_of, real_outputs
from tinyopt.board import Board
from tinyopt.data import Samples, load_samples
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, graph_macs, ops
from tinyopt.optimise import optimise
from tinyopt.pipeline import plan_for, run_on_board


@dataclass(frozen=True)
class Metrics:
    """``accuracy`` on ``samples`` test samples, None without labels. ``parameters`` and ``nonzero``: elements of all
    weights after exact optimisation.

    Per inference on the board: ``cycles``, ``instructions``, ``energy_uj``; ``flash_bytes``: code, tables and weights;
    ``ram_bytes``: arena and stack. ``measured``: whether these are from a run, else cycles are the plan's prediction,
    flash is constants alone and RAM the arena. ``problem``: why there is no figure.
    """

    precision: str
    accuracy: float | None
    samples: int
    parameters: int
    nonzero: int
    macs: int
    flash_bytes: int | None = None
    weights_bytes: int | None = None
    ram_bytes: int | None = None
    arena_bytes: int | None = None
    cycles: int | None = None
    instructions: int | None = None
    energy_uj: float | None = None
    measured: bool = False
    problem: str | None = None


def measure_model(
    graph: Graph,
    board: Board,
    test: Samples | None,
    *,
    run: bool = True,
    objective: str = "latency",
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """The figures of one model. What stands in the way of a figure (a board that is too small, no compiler) is said
    in ``problem``, and is no error: an intermediate model need not fit.

    ``run``: build the model and run one random sample on the board, where it is emulated; else plan only.
    """
    labels = None if test is None else test.labels
    accuracy = None
    if test is not None and labels is not None:
        accuracy = accuracy_of(real_outputs(graph, test, on_progress=on_progress), labels, graph)
    exact = optimise(graph)
    weights = {
        name
        for operator in exact.operators
        for name in operator.inputs
        if exact.tensors[name].data is not None and exact.tensors[name].size > 1
    }
    arrays = [exact.tensors[name].value for name in weights]
    facts = {
        "precision": _precision(graph),
        "accuracy": accuracy,
        "samples": 0 if test is None else len(test),
        "parameters": sum(int(a.size) for a in arrays if a.dtype.kind in "fi"),
        "nonzero": sum(int(np.count_nonzero(a)) for a in arrays if a.dtype.kind in "fi"),
        "macs": graph_macs(exact),
    }
    problem = None
    if run and board.is_emulated:
        try:
            return Metrics(**facts, **_measured(graph, board, objective))  # type: ignore[arg-type]
        except TinyoptError as error:
            problem = str(error).splitlines()[0]
    try:
        return Metrics(**facts, **_planned(graph, board, objective), problem=problem)  # type: ignore[arg-type]
    except TinyoptError as error:
        return Metrics(**facts, problem=str(error).replace("\n", " ").strip())  # type: ignore[arg-type]


def _precision(graph: Graph) -> str:
    if graph.is_quantized:
        return "int8"
    dynamic = any(isinstance(operator.attributes, ops.DynamicRange) for operator in graph.operators)
    return "dynamic int8" if dynamic else "float32"


def _measured(graph: Graph, board: Board, objective: str) -> dict[str, object]:
    sample = load_samples("random:0:1", graph)
    report = run_on_board(graph, board, sample, objective=objective).report
    return {
        "flash_bytes": report.code_bytes + report.weights_bytes,
        "weights_bytes": report.weights_bytes,
        "ram_bytes": report.arena_bytes + (report.stack_bytes or 0),
        "arena_bytes": report.arena_bytes,
        "cycles": report.cycles,
        "instructions": report.instructions,
        "energy_uj": None if report.energy_nj is None else round(report.energy_nj / 1000, 3),
        "measured": True,
    }


def _planned(graph: Graph, board: Board, objective: str) -> dict[str, object]:
    plan = plan_for(graph, board, objective=objective)
    cycles = round(plan.cycles)
    energy = None if board.energy is None else round(cycles * board.energy.nj_per_cycle / 1000, 3)
    return {
        "flash_bytes": plan.weights_bytes + plan.tables_bytes,
        "weights_bytes": plan.weights_bytes,
        "ram_bytes": plan.arena_bytes,
        "arena_bytes": plan.arena_bytes,
        "cycles": cycles,
        "energy_uj": energy,
        "measured": False,
    }
