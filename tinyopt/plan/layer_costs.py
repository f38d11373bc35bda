"""What each layer with weights costs on a board: for choices that are made before planning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinyopt.board import Board
from tinyopt.graph import Graph
from tinyopt.optimise import optimise
from tinyopt.plan.costs import Costs
from tinyopt.plan.option import constants_of
from tinyopt.plan.plan import make_plan
from tinyopt.quantize.mixed import LayerCost


def board_costs(
    board: Board, *, objective: str = "latency", costs: Costs | None = None
) -> Callable[[Graph], Mapping[str, LayerCost]]:
    """A function that plans a quantized graph for a board and tells each operator's cost: bytes of packed constants
    and predicted cycles of the kernels that were chosen. ``costs``: measurements to predict from."""

    def of(graph: Graph) -> Mapping[str, LayerCost]:
        plan = make_plan(optimise(graph), board, objective=objective, costs=costs)
        cycles: dict[str, float] = {}
        stored: dict[str, int] = {}
        for call in plan.calls:
            name = plan.parts.get(call.operator.name, call.operator.name)
            cycles[name] = cycles.get(name, 0.0) + call.predicted_cycles
            size = sum(constant.nbytes for constant in constants_of(call.parameters))
            stored[name] = max(stored.get(name, 0), size)  # the strips of a layer share its constants
        return {name: LayerCost(float(stored[name]), cycles[name]) for name in cycles}

    return of
