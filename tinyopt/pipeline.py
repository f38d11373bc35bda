"""The main job in code: import → optimise → quantize → plan → generate → build → measure → report.

Each function takes the previous one's value. The command line is a thin layer over this module.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyopt.board import Board
from tinyopt.data import Samples
from tinyopt.execute import run_stacked
from tinyopt.graph import Array, Graph, graph_macs, operator_macs, operator_parameter_bytes
from tinyopt.optimise import optimise as optimise_graph
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.costs import Costs
from tinyopt.plan.objective import Objective
from tinyopt.plan.sparsity import sparsity_note
from tinyopt.plan.text import backend_note, call_groups, strips_note
from tinyopt.report import LayerReport, RunReport, compare, per_class

if TYPE_CHECKING:
    from hil import Cost, Measurement
    from tinyopt.build import Firmware
    from tinyopt.plan.cmsis_nn import Backend

Step = Callable[[int, int], None]


def _ignore(done: int, total: int) -> None:
    return None


@dataclass(frozen=True)
class Progress:
    """Callbacks (done, total) of the long steps of a run."""

    reference: Step = _ignore
    device: Step = _ignore


@dataclass(frozen=True)
class RunResult:
    """A finished run: the report and everything it was made from. Outputs are lists (samples) of lists (outputs)."""

    report: RunReport
    plan: Plan
    firmware: Firmware
    measurement: Measurement
    outputs: Sequence[Sequence[Array]]
    reference: Sequence[Sequence[Array]]


def reference_outputs(graph: Graph, samples: Samples, *, on_progress: Step = _ignore) -> list[list[Array]]:
    """Outputs of the reference executor for every sample, in order; states carry over from sample to sample."""
    results = []
    for index, values in enumerate(run_stacked(graph, samples.inputs)):
        results.append([values[name] for name in graph.outputs])
        on_progress(index + 1, len(samples))
    return results


def plan_for(
    graph: Graph,
    board: Board,
    *,
    optimise: bool = True,
    objective: str | Objective = "latency",
    costs: Costs | None = None,
    backend: Backend | None = None,
    arena_limit: int | None = None,
) -> Plan:
    """The graph, optimised exactly, lowered for a board. ``costs``: what ``tinyopt.tune`` measured.
    ``backend``: kernels of a library beside tinyopt's own. ``arena_limit``: bytes that the arena may have."""
    exact = optimise_graph(graph) if optimise else graph
    return make_plan(exact, board, objective=objective, costs=costs, backend=backend, arena_limit=arena_limit)


def run_on_board(
    graph: Graph,
    board: Board,
    samples: Samples,
    *,
    optimise: bool = True,
    objective: str | Objective = "latency",
    costs: Costs | None = None,
    backend: Backend | None = None,
    arena_limit: int | None = None,
    project: Path | None = None,
    model_name: str = "",
    steps: Progress | None = None,
) -> RunResult:
    """Build the measuring firmware, run every sample on the board, and compare with the graph as it was imported.

    ``project``: keep the generated project in this folder (else a temporary one is used and removed).
    The reference is the executor on ``graph`` itself, not on its optimised form, so that a wrong optimisation shows
    as a mismatch.

    Raises:
        TinyoptError: whatever stands in the way, from the planner's verdict to a silent device.
    """
    from hil import measure
    from tinyopt.build import build
    from tinyopt.generate import generate

    steps = steps or Progress()
    started = time.monotonic()
    plan = plan_for(
        graph, board, optimise=optimise, objective=objective, costs=costs, backend=backend, arena_limit=arena_limit
    )
    with ExitStack() as stack:
        folder = project or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinyopt-"))) / "project"
        firmware = build(generate(plan, folder, harness=True))
        reference = reference_outputs(graph, samples, on_progress=steps.reference)
        types = [(t.dtype.numpy, t.shape) for t in (graph.tensors[name] for name in graph.outputs)]
        measurement = measure(firmware, board, list(samples), outputs=types, on_progress=steps.device)
    comparison = compare(graph, measurement.outputs, reference, samples.labels)
    report = RunReport(
        model=model_name or graph.name,
        board=board.name,
        emulated=board.is_emulated,
        samples=comparison.samples,
        mismatches=comparison.mismatches,
        first_mismatch=comparison.first_mismatch,
        exact=comparison.exact,
        top1=comparison.top1,
        per_class=per_class(comparison),
        instructions=measurement.instructions,
        cycles=measurement.cycles,
        cycles_are_estimated=board.is_emulated,
        macs=graph_macs(plan.graph),
        arena_bytes=plan.arena_bytes,
        arena_lower_bound=plan.lower_bound,
        code_bytes=firmware.code_bytes,
        weights_bytes=firmware.weights_bytes,
        stack_bytes=measurement.stack_bytes,
        flash_total_bytes=firmware.flash_bytes,
        ram_total_bytes=firmware.ram_bytes,
        compiler=firmware.compiler,
        seconds=round(time.monotonic() - started, 3),
        nanoseconds=measurement.nanoseconds,
        bytes_read=measurement.total.bytes_read,
        bytes_written=measurement.total.bytes_written,
        energy_nj=measurement.energy_nj,
        layers=layer_reports(plan, measurement.layers),
        notes=(
            *(line for line in graph.metadata.get("notes", "").splitlines() if line),
            *((f"kernels chosen by the measurements of {costs.source}",) if costs and costs.source else ()),
            *backend_note(plan),
            *strips_note(plan),
            *sparsity_note(plan),
            *measurement.notes,
        ),
    )
    return RunResult(report, plan, firmware, measurement, measurement.outputs, reference)


def layer_reports(plan: Plan, costs: Sequence[Cost]) -> tuple[LayerReport, ...]:
    """One row for every call; the strips of an operator together. ``costs``: of every call, as they were measured."""
    rows = []
    for group in call_groups(plan):
        call = plan.calls[group[0]]
        counts = [costs[index] for index in group if index < len(costs)]

        def total(values: Iterable[int | float | None]) -> Any:
            known = [value for value in values if value is not None]
            return sum(known) if known else None

        rows.append(
            LayerReport(
                name=plan.parts.get(call.operator.name, call.operator.name),
                operator=call.operator.kind,
                kernel=call.kernel.name,
                macs=sum(operator_macs(plan.graph, plan.calls[index].operator) for index in group),
                weights_bytes=operator_parameter_bytes(plan.graph, call.operator),
                instructions=total(c.instructions for c in counts),
                cycles=total(c.cycles for c in counts),
                predicted_cycles=round(sum(plan.calls[index].predicted_cycles for index in group), 1),
                nanoseconds=total(c.nanoseconds for c in counts),
                bytes_read=total(c.bytes_read for c in counts),
                bytes_written=total(c.bytes_written for c in counts),
                energy_nj=total(c.energy_nj for c in counts),
            )
        )
    return tuple(rows)
