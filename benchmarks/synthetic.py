"""How fast layers are that no official model has: cycles per multiply-accumulate, against regular shapes."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.layers import LAYERS, Layer, graph_of
from hil import Measurement, measure
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.data import load_samples
from tinyopt.generate import generate
from tinyopt.graph import Graph, Operator, operator_macs
from tinyopt.pipeline import reference_outputs
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.costs import core_costs
from tinyopt.plan.decompose import decompose
from tinyopt.report import compare

BOARDS = ("mps2_an386", "mps3_an547", "mps2_m0", "rv32_virt")
LAYERS_PER_FIRMWARE = 48
SLOW = 1.5
"""A layer is called slow when it takes this many times the cycles per product of the regular shape."""


@dataclass(frozen=True)
class LayerCost:
    """One layer on one board. ``work``: its MACs, or its outputs where it has none."""

    layer: Layer
    board: str
    kernel: str
    work: int
    instructions: int
    cycles: int

    @property
    def cycles_per_work(self) -> float:
        return self.cycles / self.work


def measure_layers(
    layers: Sequence[Layer], board: Board, *, per_firmware: int = LAYERS_PER_FIRMWARE
) -> list[LayerCost]:
    """Measure layers, many in one firmware. Every output is compared with the reference executor.

    Raises:
        AssertionError: when an output differs, or the board has no cycle model.
    """
    costs = []
    for start in range(0, len(layers), per_firmware):
        costs += _measure_together(layers[start : start + per_firmware], board)
    return costs


def _measure_together(layers: Sequence[Layer], board: Board) -> list[LayerCost]:
    graph = graph_of(layers)
    samples = load_samples("random:0:1", graph)
    plan = _plan(graph, board)
    with tempfile.TemporaryDirectory(prefix="tinyopt-bench-") as folder:
        firmware = build(generate(plan, Path(folder) / "project", harness=True))
        types = [(t.dtype.numpy, t.shape) for t in (graph.tensors[name] for name in graph.outputs)]
        measurement = measure(firmware, board, list(samples), outputs=types)
    result = compare(graph, measurement.outputs, reference_outputs(graph, samples))
    assert result.mismatches == 0, f"{board.name}: {result.first_mismatch}"
    return [_cost(layer, graph, board, plan, measurement) for layer in layers]


def _plan(graph: Graph, board: Board) -> Plan:
    """Every layer gets the kernels it would get if it were alone: the planner avoids what a whole model uses little."""
    costs = core_costs(board)

    def price(where: Graph, operator: Operator) -> float:
        kernels = candidates(where, operator, board.features)
        return min((costs.cycles(where, operator, kernel) for kernel in kernels), default=math.inf)

    first = make_plan(decompose(graph, price, board.ram.size, least_gain=0.0), board)
    pins = {}
    for call in first.calls:
        fit = candidates(first.graph, call.operator, board.features)
        pins[call.operator.name] = min(fit, key=lambda kernel: costs.cycles(first.graph, call.operator, kernel)).name
    return make_plan(first.graph, board, pins=pins)


def _cost(layer: Layer, graph: Graph, board: Board, plan: Plan, measurement: Measurement) -> LayerCost:
    """The planner may compute a layer in parts, which have its name in front of theirs."""
    cycles, instructions, kernels = 0, 0, []
    for call, seen in zip(plan.calls, measurement.layers):
        if call.operator.name == layer.name or call.operator.name.startswith(f"{layer.name}/"):
            assert seen.cycles is not None and seen.instructions is not None, f"{board.name} has no cycle model"
            cycles += seen.cycles
            instructions += seen.instructions
            kernels.append(call.kernel.name)
    operator = next(o for o in graph.operators if o.name == layer.name)
    work = operator_macs(graph, operator) or _outputs(graph, operator.outputs)
    return LayerCost(layer, board.name, ", ".join(dict.fromkeys(kernels)), work, instructions, cycles)


def _outputs(graph: Graph, names: Sequence[str]) -> int:
    return sum(graph.tensors[name].size for name in names)


def regular_of(cost: LayerCost, costs: Sequence[LayerCost]) -> LayerCost | None:
    """The regular shape of the same family on the same board that is nearest in work."""
    fit = [c for c in costs if c.layer.regular and c.layer.family == cost.layer.family and c.board == cost.board]
    if cost.layer.regular or not fit:
        return None
    return min(fit, key=lambda c: abs(math.log(c.work / cost.work)))


def ratio(cost: LayerCost, costs: Sequence[LayerCost]) -> float | None:
    """Cycles per product (or output) against the regular shape; None for regular shapes."""
    regular = regular_of(cost, costs)
    return None if regular is None else cost.cycles_per_work / regular.cycles_per_work


def measure_all() -> list[LayerCost]:
    """Every synthetic layer on every board of the table."""
    costs = []
    for name in BOARDS:
        found = measure_layers(LAYERS, load_board(name))
        print(f"{name}: {len(found)} synthetic layers", flush=True)
        costs += found
    return costs


def tables(costs: Sequence[LayerCost]) -> list[str]:
    """The section of the benchmark page."""
    boards = list(dict.fromkeys(cost.board for cost in costs))
    cell = {(cost.layer.name, cost.board): cost for cost in costs}
    lines = [INTRODUCTION.format(slow=SLOW)]
    for family in dict.fromkeys(cost.layer.family for cost in costs):
        has_macs = family not in WITHOUT_MACS
        lines.append(f"\n### {family.capitalize()}, cycles per {'MAC' if has_macs else 'output'}\n")
        lines.append(f"| layer | {'MACs' if has_macs else 'outputs'} | " + " | ".join(boards) + " |")
        lines.append("| --- | ---: |" + " ---: |" * len(boards))
        for name in dict.fromkeys(cost.layer.name for cost in costs if cost.layer.family == family):
            row = [cell[name, board] for board in boards]
            lines.append(f"| {name} | {row[0].work:,} | " + " | ".join(_entry(c, costs) for c in row) + " |")
    return lines


def _entry(cost: LayerCost, costs: Sequence[LayerCost]) -> str:
    relative = ratio(cost, costs)
    text = f"{cost.cycles_per_work:.2f}"
    if relative is None:
        return f"{text} (regular)"
    return f"{text} (**{relative:.2f}**)" if relative > SLOW else f"{text} ({relative:.2f})"


WITHOUT_MACS = ("max pooling", "average pooling", "elementwise", "softmax", "movement")

INTRODUCTION = """
## Layers that no official model has

Random weights and inputs; estimated cycles per multiply-accumulate (padding counted), or per output where a layer has
no products. In brackets: against the regular shape of the same family that is nearest in work, bold above {slow}. All
outputs equal the reference executor's. Layers with few products an output pay for the end of each output
(requantization) with fewer products, and small ones for their set-up: their ratios are above 1 for that reason.
Layers on int16 have portable kernels only, and are held against int8.
"""


if __name__ == "__main__":
    import sys

    if len(sys.argv) > 1:
        found = [c for name in sys.argv[1:] for c in measure_layers(LAYERS, load_board(name))]
        for c in found:
            relative = ratio(c, found)
            print(
                f"{c.board:11} {c.layer.name:34} {c.kernel:30} {c.work:8} {c.cycles:9} {c.cycles_per_work:8.2f} "
                + ("" if relative is None else f"{relative:6.2f}")
            )
