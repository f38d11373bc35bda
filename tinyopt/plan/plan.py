"""The plan: a graph lowered for one board, with every byte placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
from tinyopt.plan.lowering import Lowered, Memo, constants_of, kernels_of, lower, with_bits
from tinyopt.plan.memory import Arranged, frugal, in_words, score_of_fit, score_of_objective, smallest
from tinyopt.plan.objective import Objective
from tinyopt.plan.ordering import ordered
from tinyopt.plan.striping import Striped, Strips, striped

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
    strips: tuple[str, ...] = ()
    """Which operators are computed in strips of rows, in words."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Operator of ``graph`` that is part of one that is computed in strips → that operator of ``source``."""
    whole: tuple[int, float] | None = None
    """Arena bytes and predicted cycles without strips, where there are any."""

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

    def live_bytes(self, step: int) -> int:
        """Bytes of the arena that hold something during call ``step``, or after the last one; what is shared in place
        counts once."""
        ranges = sorted(
            (buffer.offset + span.start, buffer.offset + span.end)
            for buffer in self.buffers
            for span in buffer.spans
            if span.first <= step <= span.last
        )
        total, reached = 0, 0
        for start, end in ranges:
            total += max(0, end - max(start, reached))
            reached = max(reached, end)
        return total

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
    arena_limit: int | None = None,
    strips: Strips | None = None,
    in_place: bool = True,
    redzone: int = 0,
) -> Plan:
    """Lower a graph for a board: choose kernels, pack constants, place every buffer.

    ``objective``: what decides between kernels: ``latency``, ``ram``, ``flash``, ``energy`` or a mix, see
    ``Objective``. ``pins``: operator name → kernel name, to overrule the choice. ``costs``: what was measured on
    the board; without, the formulas for its core. ``backend``: kernels of a library beside those of the catalogue.

    ``arena_limit``: bytes that the arena may have, if less than the board's RAM allows. Where the arena does not fit,
    and where the objective counts RAM, operators on images are computed in strips of rows (see ``plan.striping``); then
    the plan says so. ``strips``: operators to compute in strips without regard to objective and limit. ``in_place`` and
    ``redzone`` are for tests, see ``lay_out``.

    Raises:
        UnsupportedOperatorsError: when operators have no kernel on this board; all are listed.
        BoardError: when the arena does not fit the limit or the board's RAM, or the constants its flash.
        TinyoptError: when a pin does not fit or the objective is unknown.
    """
    costs, goal, pins = costs or core_costs(board), Objective.parse(objective), pins or {}
    fast = Objective(latency=1.0)

    memo: Memo = {}
    source, graph = graph, with_bits(graph, board, goal, pins, costs, backend, memo)

    def lower_for(item: Striped, goal: Objective, more_pins: Mapping[str, str] | None = None) -> Lowered:
        whole = bool(item.sources) or goal is fast
        known = {**(more_pins or {}), **_pins_of_strips(graph, item, pins)}
        return lower(item.graph, board, goal, known, costs, backend, whole=whole, memo=memo)

    def arranged(item: Striped, words: tuple[str, ...] = (), goal: Objective = goal) -> Arranged:
        lowered = lower_for(item, goal)
        return Arranged(item, words, lowered, lay_out(lowered, in_place=in_place, redzone=redzone))

    whole = arranged(Striped(graph, {}))
    better = ordered(graph)
    if better is not graph and strips is None:
        whole = min(whole, arranged(Striped(better, {})), key=lambda item: item.arena_bytes)
    chosen = whole
    limit = _room(board) if arena_limit is None else min(arena_limit, _room(board))
    if strips is not None:
        chosen = arranged(striped(graph, strips), (in_words(graph, strips),))
    elif goal.only == "ram":
        # Which kernels need little at the peak is known when it is known where the peak is: fast ones first.
        score = score_of_objective(goal, whole)
        best = smallest(arranged(whole.striped, goal=fast), lambda item: lower_for(item, fast), score)
        best = frugal(best, lambda item, more: lower_for(item, fast, more), board.features, score)
        choices = (whole, best, arranged(best.striped, best.words))
        chosen = min(choices, key=lambda item: score(item.arena_bytes, item.cycles))
    elif goal.ram > 0:
        chosen = smallest(whole, lambda item: lower_for(item, goal), score_of_objective(goal, whole))
    given = sum(graph.tensors[name].nbytes for name in graph.given)
    if strips is None and chosen.arena_bytes > limit >= given:
        chosen = smallest(chosen, lambda item: lower_for(item, goal), score_of_fit(limit))
    plan = Plan(
        source,
        chosen.lowered.graph,
        board,
        chosen.lowered.calls,
        chosen.lowered.storage,
        chosen.lowered.starts,
        chosen.layout.buffers,
        chosen.arena_bytes,
        chosen.layout.lower_bound,
        str(goal),
        costs,
        backend,
        chosen.words,
        chosen.striped.sources,
        (whole.arena_bytes, whole.cycles) if chosen.words else None,
    )
    _check_fit(plan, arena_limit)
    return plan


def _pins_of_strips(graph: Graph, item: Striped, pins: Mapping[str, str]) -> dict[str, str]:
    """The pins with those of operators in strips handed on to every strip."""
    kinds = {operator.name: operator.kind for operator in graph.operators}
    present = {operator.name: operator.kind for operator in item.graph.operators}
    handed = {
        part: pins[source]
        for part, source in item.sources.items()
        if source in pins and present[part] == kinds.get(source)
    }
    whole = {name: kernel for name, kernel in pins.items() if name in present or name not in kinds}
    return {**whole, **handed}


def _room(board: Board) -> int:
    """Bytes of RAM that an arena may have."""
    return board.ram.size - board.stack_bytes


def _check_fit(plan: Plan, arena_limit: int | None) -> None:
    board = plan.board
    problems = []
    constants = plan.weights_bytes + plan.tables_bytes
    if constants > board.flash.size:
        problems.append(
            f"its weights and tables need {constants:,} bytes of flash and '{board.flash.name}' has "
            f"{board.flash.size:,}: {constants - board.flash.size:,} bytes too many, code not counted"
            + _flash_advice(plan)
        )
    room = _room(board)
    copied = constants if board.constants_in_ram else 0
    if plan.arena_bytes + copied > room:
        problems.append(
            f"its arena needs {plan.arena_bytes:,} bytes of RAM"
            + (f", its constants {copied:,} more, as the core reads them from RAM," if copied else "")
            + f" and '{board.ram.name}' has {room:,} ({board.ram.size:,} less {board.stack_bytes:,} of stack): "
            f"{plan.arena_bytes + copied - room:,} bytes too many" + _ram_advice(plan)
        )
    elif arena_limit is not None and plan.arena_bytes > arena_limit:
        problems.append(
            f"the smallest arena that was found needs {plan.arena_bytes:,} bytes and the limit is {arena_limit:,}: "
            f"{plan.arena_bytes - arena_limit:,} bytes too many" + _ram_advice(plan)
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
    step, live = max(enumerate(map(plan.live_bytes, range(len(plan.calls) + 1))), key=lambda item: item[1])
    name = short_name(plan.calls[min(step, len(plan.calls) - 1)].operator.name) if plan.calls else "the input"
    return f"; {live:,} bytes are needed at once at '{name}': a smaller input or fewer channels there helps" + (
        ", and so may the objective 'ram'" if plan.objective != "ram" and not plan.strips else ""
    )


__all__ = ["Plan", "constant_key", "kernels_of", "make_plan"]
