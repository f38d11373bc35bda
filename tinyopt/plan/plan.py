"""The plan: a graph lowered for one board, with every byte placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tinyopt.board import Board
from tinyopt.errors import BoardError
from tinyopt.graph import Graph, State
from tinyopt.names import short_name
from tinyopt.plan.costs import FORMULAS, Costs, core_costs
from tinyopt.plan.kernel import Call, Constant
from tinyopt.plan.layout import Buffer, lay_out
from tinyopt.plan.lowering import constants_of, kernels_of, lower
from tinyopt.plan.objective import Objective

if TYPE_CHECKING:
    from tinyopt.plan.cmsis_nn import Backend


@dataclass(frozen=True, eq=False)
class Plan:
    """What the generator writes out.

    ``graph`` is the source with copies made explicit; its inputs and outputs are those of ``source``, in order.
    """

    source: Graph
    graph: Graph
    board: Board
    calls: tuple[Call, ...]
    storage: Mapping[str, str]
    """Activation → the tensor whose memory it shares: views, pieces of joined tensors, new states."""
    starts: Mapping[str, int]
    """Activation → bytes from the start of that memory."""
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    lower_bound: int
    """No arena for these calls in this order is smaller than this."""
    objective: str = "latency"
    costs: Costs = FORMULAS
    """What the predictions are from: formulas, or measurements."""
    backend: Backend | None = None
    """Kernels that were considered beside those of the catalogue."""

    @cached_property
    def _offsets(self) -> Mapping[str, int]:
        return {name: buffer.offset + self.starts[name] for buffer in self.buffers for name in buffer.tensors}

    def offset(self, tensor: str) -> int:
        """Offset in the arena, in bytes, of an activation."""
        return self._offsets[tensor]

    def scratch_offset(self, index: int) -> int | None:
        """Offset of the scratch memory of call ``index``; None when it needs none."""
        if not self.calls[index].scratch:
            return None
        return next(b.offset for b in self.buffers if b.kind == "scratch" and b.first == index)

    def destroys(self, tensor: str) -> bool:
        """Whether running the model may overwrite this input."""
        mine = next(b for b in self.buffers if tensor in b.tensors)
        return any(b is not mine and _share(b, mine) for b in self.buffers)

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Everything that is stored in flash, equal data once, in order of first use."""
        unique: dict[tuple[str, bytes], Constant] = {}
        for constant in self._all_constants():
            key = constant_key(constant)
            known = unique.get(key)
            # What is a weight for one kernel and a table for another is stored with the weights.
            if known is None or (constant.weights and not known.weights):
                unique[key] = constant
        return tuple(unique.values())

    def _all_constants(self) -> list[Constant]:
        found = []
        for call in self.calls:
            found += constants_of(call.parameters)
            found += [
                Constant(t.value, source=name) for name in call.inputs if (t := self.graph.tensors[name]).is_constant
            ]
        values = [initial_value(state) for state in self.graph.states]
        return found + [value for value in values if isinstance(value, Constant)]

    @property
    def weights_bytes(self) -> int:
        """Bytes of weights in flash, each stored once."""
        return sum(constant.nbytes for constant in self.constants if constant.weights)

    @property
    def tables_bytes(self) -> int:
        """Bytes of constant tables in flash that are not weights: multipliers, shifts, lookup tables."""
        return sum(constant.nbytes for constant in self.constants if not constant.weights)

    @property
    def cycles(self) -> float:
        """Predicted cycles of one inference."""
        return sum(call.predicted_cycles for call in self.calls)

    def table(self) -> str:
        """One line per call: operator, kernel, multiply-accumulates, constants, scratch, where the output lies."""
        from tinyopt.plan.text import call_table

        return call_table(self)

    def memory_map(self) -> str:
        """The arena over time: one line per buffer, one column per call."""
        from tinyopt.plan.text import memory_map

        return memory_map(self)


def constant_key(constant: Constant) -> tuple[str, bytes]:
    """Constants with equal keys are stored once."""
    return constant.data.dtype.str, constant.data.tobytes()


def initial_value(state: State) -> int | Constant:
    """What a state is reset to: one byte value (0 to 255) if all its bytes are equal, else an array."""
    data = np.frombuffer(state.initial.tobytes(), np.uint8)
    if (data == data[0]).all():
        return int(data[0])
    return Constant(data, weights=False, align=1, source=state.name)


def _share(one: Buffer, two: Buffer) -> bool:
    return one.offset < two.offset + two.size and two.offset < one.offset + one.size


def make_plan(
    graph: Graph,
    board: Board,
    *,
    objective: str | Objective = "latency",
    pins: Mapping[str, str] | None = None,
    costs: Costs | None = None,
    backend: Backend | None = None,
    in_place: bool = True,
    redzone: int = 0,
) -> Plan:
    """Lower a graph for a board: choose kernels, pack constants, place every buffer.

    ``objective``: what decides between kernels: ``latency``, ``ram``, ``flash``, ``energy`` or a mix, see
    ``Objective``. ``pins``: operator name → kernel name, to overrule the choice. ``costs``: what was measured on
    the board; without, the formulas for its core. ``backend``: kernels of a library beside those of the catalogue.
    ``in_place`` and ``redzone`` are for tests, see ``lay_out``.

    Raises:
        UnsupportedOperatorsError: when operators have no kernel on this board; all are listed.
        BoardError: when the arena does not fit the board's RAM, or the constants its flash.
        TinyoptError: when a pin does not fit or the objective is unknown.
    """
    costs = costs or core_costs(board)
    lowered = lower(graph, board, objective, pins or {}, costs, backend)
    layout = lay_out(lowered, in_place=in_place, redzone=redzone)
    plan = Plan(
        graph,
        lowered.graph,
        board,
        lowered.calls,
        lowered.storage,
        lowered.starts,
        layout.buffers,
        layout.arena_bytes,
        layout.lower_bound,
        str(Objective.parse(objective)),
        costs,
        backend,
    )
    _check_fit(plan)
    return plan


def _check_fit(plan: Plan) -> None:
    board = plan.board
    problems = []
    constants = plan.weights_bytes + plan.tables_bytes
    if constants > board.flash.size:
        problems.append(
            f"its weights and tables need {constants:,} bytes of flash and '{board.flash.name}' has "
            f"{board.flash.size:,}: {constants - board.flash.size:,} bytes too many, code not counted"
            + _flash_advice(plan)
        )
    room = board.ram.size - board.stack_bytes
    if plan.arena_bytes > room:
        problems.append(
            f"its arena needs {plan.arena_bytes:,} bytes of RAM and '{board.ram.name}' has {room:,} "
            f"({board.ram.size:,} less {board.stack_bytes:,} of stack): {plan.arena_bytes - room:,} bytes too many"
            + _ram_advice(plan)
        )
    if problems:
        raise BoardError(f"model '{plan.source.name}' does not fit {board.title}:\n  " + "\n  ".join(problems))


def _flash_advice(plan: Plan) -> str:
    if not plan.graph.is_quantized:
        return "; quantizing to int8 makes the weights four times smaller"
    largest = max(plan.calls, key=lambda call: sum(c.nbytes for c in constants_of(call.parameters)))
    return f"; the largest layer is '{largest.operator.name}': a narrower or pruned network, or a larger board, helps"


def _ram_advice(plan: Plan) -> str:
    if not plan.graph.is_quantized:
        return "; quantizing to int8 makes activations four times smaller"
    step, live = max(enumerate(_live(plan)), key=lambda item: item[1])
    name = short_name(plan.calls[min(step, len(plan.calls) - 1)].operator.name) if plan.calls else "the input"
    return f"; {live:,} bytes are needed at once at '{name}': a smaller input or fewer channels there helps" + (
        ", and so may the objective 'ram'" if plan.objective != "ram" else ""
    )


def _live(plan: Plan) -> list[int]:
    return [
        sum(span.size for buffer in plan.buffers for span in buffer.spans if span.first <= step <= span.last)
        for step in range(len(plan.calls) + 1)
    ]


__all__ = ["Plan", "constant_key", "kernels_of", "make_plan"]
