"""Where the cycles, the flash and the RAM of a model go on a board."""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.board import Board
from tinyopt.data import load_samples
from tinyopt.errors import DeviceError, ToolError
from tinyopt.graph import Graph, operator_macs, operator_parameter_bytes
from tinyopt.pipeline import plan_for, run_on_board
from tinyopt.plan import Plan
from tinyopt.plan.costs import core_costs
from tinyopt.plan.text import call_groups


@dataclass(frozen=True)
class LayerProfile:
    """One layer. ``cycles``: measured, else predicted. ``flash_bytes``: of its constants as the kernel stores them.
    ``live_bytes``: of the arena while it runs; the largest of all layers decides the arena."""

    name: str
    operator: str
    kernel: str
    macs: int
    cycles: float
    flash_bytes: int
    live_bytes: int


@dataclass(frozen=True)
class Profile:
    """``measured``: whether cycles are from a run on the (emulated) board, else the plan predicts them. ``flash_bytes``
    counts constants and the code of the kernels; ``energy_uj`` is None where the board has no figure."""

    layers: tuple[LayerProfile, ...]
    cycles: float
    flash_bytes: int
    arena_bytes: int
    measured: bool
    energy_uj: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Predicted:
    """What the planner expects of a model: cycles of an inference, bytes of constants and kernel code, of the arena."""

    cycles: float
    flash_bytes: int
    arena_bytes: int


def predict(graph: Graph, board: Board, objective: str = "latency") -> Predicted:
    """The planner's figures for a model, after exact optimisation.

    Raises:
        BoardError: when it does not fit the board.
    """
    return predicted(plan_for(graph, board, objective=objective))


def predicted(plan: Plan) -> Predicted:
    """The figures of a plan; the code of each kernel counts once."""
    costs = core_costs(plan.board)
    code = sum(costs.code_bytes(kernel) for kernel in {call.kernel.name: call.kernel for call in plan.calls}.values())
    return Predicted(plan.cycles, plan.weights_bytes + plan.tables_bytes + code, plan.arena_bytes)


def profile(graph: Graph, board: Board, *, objective: str = "latency", run: bool = True) -> Profile:
    """Layer by layer what a model takes on a board.

    ``run``: measure cycles by running one random sample where the board is emulated; where that is not possible (no
    compiler, no emulator) the plan's predictions stand in, and a note says so.

    Raises:
        BoardError: when the model does not fit the board.
    """
    plan = plan_for(graph, board, objective=objective)
    notes: tuple[str, ...] = ()
    counts: list[float | None] = []
    flash = predicted(plan).flash_bytes
    if run and board.is_emulated:
        try:
            report = run_on_board(graph, board, load_samples("random:0:1", graph), objective=objective).report
            counts = [None if row.cycles is None else float(row.cycles) for row in report.layers]
            flash = report.code_bytes + report.weights_bytes
        except (ToolError, DeviceError) as error:
            notes = (f"cycles are predictions: {str(error).splitlines()[0]}",)
    groups = call_groups(plan)
    known = [value for value in counts if value is not None]
    measured = len(known) == len(groups) and bool(groups)
    layers = []
    for index, group in enumerate(groups):
        call = plan.calls[group[0]]
        cycles = known[index] if measured else sum(plan.calls[i].predicted_cycles for i in group)
        layers.append(
            LayerProfile(
                name=plan.parts.get(call.operator.name, call.operator.name),
                operator=call.operator.kind,
                kernel=call.kernel.name,
                macs=sum(operator_macs(plan.graph, plan.calls[i].operator) for i in group),
                cycles=cycles,
                flash_bytes=operator_parameter_bytes(plan.graph, call.operator),
                live_bytes=max(plan.live_bytes(i) for i in group),
            )
        )
    total = sum(layer.cycles for layer in layers)
    energy = None if board.energy is None else total * board.energy.nj_per_cycle / 1000
    return Profile(tuple(layers), total, flash, plan.arena_bytes, measured, energy, notes)
