"""From operators to kernel calls: choosing kernels, and making copies explicit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinyopt.board import Board
from tinyopt.errors import TinyoptError, Unsupported, UnsupportedOperatorsError
from tinyopt.graph import Graph, Operator, State, Tensor, ops
from tinyopt.plan.catalogue import all_kernels, candidates
from tinyopt.plan.choosing import choose
from tinyopt.plan.costs import Costs, core_costs
from tinyopt.plan.decompose import decompose
from tinyopt.plan.kernel import Call, Kernel
from tinyopt.plan.objective import Objective
from tinyopt.plan.option import Option, constants_of
from tinyopt.plan.signs import with_packed_signs
from tinyopt.plan.views import find_places

if TYPE_CHECKING:
    from tinyopt.plan.cmsis_nn import Backend


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph in which every copy is an operator, its calls in order, and where each tensor is stored."""

    graph: Graph
    calls: tuple[Call, ...]
    storage: Mapping[str, str]
    """Activation → the tensor whose memory it shares (itself, the source of its views, what it is a piece of, or the
    state it becomes)."""
    starts: Mapping[str, int]
    """Activation → bytes from the start of that memory."""


Fit = tuple[tuple[Kernel, ...], tuple[Kernel, ...], Mapping[Kernel, float]]
"""Kernels that can compute an operator, those of them that are the backend's, and the cycles of each."""
Memo = dict[tuple[object, ...], Fit]
"""Operators of graphs that have the same constants → their kernels."""


def lower(
    graph: Graph,
    board: Board,
    objective: str | Objective,
    pins: Mapping[str, str],
    costs: Costs | None = None,
    backend: Backend | None = None,
    *,
    whole: bool = False,
    memo: Memo | None = None,
) -> Lowered:
    """Choose a kernel for every operator.

    ``costs``: what was measured on the board; without, the formulas for its core. ``backend``: kernels beside those of
    the catalogue. ``whole``: leave operators in one piece even where parts are faster. ``memo``: what earlier calls for
    the same board, costs and backend found; filled by the way.

    Raises:
        UnsupportedOperatorsError: when operators have no kernel on this board; all are listed.
        TinyoptError: when a pin names an operator or a kernel that does not fit, or the objective is unknown.
    """
    unknown = set(pins) - {operator.name for operator in graph.operators}
    if unknown:
        raise TinyoptError(
            f"kernels are pinned for operators that the model does not have: {', '.join(sorted(unknown))}"
        )
    aim = Objective.parse(objective)
    chooser = _Chooser(board, aim, pins, costs or core_costs(board), backend, {} if memo is None else memo)
    if not whole and not aim.ram and not aim.flash:  # parts take more of both
        graph = decompose(graph, chooser.price, board.ram.size - board.stack_bytes, pins)
    places = find_places(graph, pins)
    calls = chooser.calls(graph, places.views)
    complete, copies = _with_copies(graph, calls, places.storage)
    if copies:
        places = find_places(complete, {*pins, *copies})
        calls = chooser.calls(complete, places.views)
    storage, pending = _merge_states(complete, calls, places.storage)
    assert not pending, "a state was left without a copy"
    return Lowered(complete, calls, storage, places.starts)


def with_bits(
    graph: Graph,
    board: Board,
    objective: Objective,
    pins: Mapping[str, str],
    costs: Costs,
    backend: Backend | None = None,
    memo: Memo | None = None,
) -> Graph:
    """The graph with signs as bits where layers of -1 and 1 read them; see ``tinyopt.plan.signs``.

    Operators that are pinned to kernels for int8 stay as they are. The other arguments are those of ``lower``.
    """
    families = {kernel.name: kernel.family for kernel in all_kernels()}
    keep = [
        name for name, kernel in pins.items() if families.get(kernel) not in ("pack_signs", "xnor_conv2d", "or_pool2d")
    ]
    present = {operator.name for operator in graph.operators}
    known = {name: pins[name] for name in keep if name in present}
    chooser = _Chooser(board, objective, known, costs, backend, {} if memo is None else memo)
    return with_packed_signs(graph, chooser.price, keep, always=bool(objective.ram or objective.flash))


def _signature(tensor: Tensor) -> tuple[object, ...]:
    """What a kernel may depend on; constants are told apart by name, activations are not."""
    return tensor.name if tensor.is_constant else "", tensor.shape, tensor.dtype, tensor.quantization


class _Chooser:
    def __init__(
        self,
        board: Board,
        objective: Objective,
        pins: Mapping[str, str],
        costs: Costs,
        backend: Backend | None,
        memo: Memo,
    ) -> None:
        self.board, self.objective, self.pins, self.costs, self.backend = board, objective, pins, costs, backend
        self.memo = memo

    def calls(self, graph: Graph, views: frozenset[str]) -> tuple[Call, ...]:
        """The calls of all operators but ``views``."""
        options: list[list[Option]] = []
        missing: list[Unsupported] = []
        for operator in graph.operators:
            if operator.name in views:
                continue
            found = self._options(graph, operator)
            if isinstance(found, Unsupported):
                missing.append(found)
            else:
                options.append(found)
        if missing:
            source = graph.metadata.get("source", "no source named")
            advice = "Replace these layers, quantize the model to int8, or choose a board with the features named."
            raise UnsupportedOperatorsError(
                f"model '{graph.name}' on {self.board.name}", source, missing, advice=advice
            )
        return choose(graph, options, self.costs, self.objective)

    def price(self, graph: Graph, operator: Operator) -> float:
        """Predicted cycles of an operator with the fastest kernel; infinite where it has none."""
        found = self._options(graph, operator)
        return math.inf if isinstance(found, Unsupported) else min(option.cycles for option in found)

    def _options(self, graph: Graph, operator: Operator) -> list[Option] | Unsupported:
        """The kernels that may compute an operator, the fastest first; the pinned one alone where it is pinned."""
        fit, beside, cycles = self._known(graph, operator)
        pinned = self.pins.get(operator.name)
        if pinned is not None:
            chosen = tuple(kernel for kernel in fit if kernel.name == pinned)
            if not chosen:
                names = ", ".join(kernel.name for kernel in fit) or "none"
                raise TinyoptError(
                    f"kernel '{pinned}' cannot compute operator '{operator.name}' ({operator.kind}) on "
                    f"{self.board.name}; kernels that can: {names}"
                )
            fit = chosen
        elif beside and self.backend is not None and self.backend.only:
            fit = beside
        if not fit:
            return Unsupported(operator.kind, operator.name, self._reason(graph, operator))
        options = [Option(graph, operator, kernel, cycles[kernel]) for kernel in fit]
        return sorted(options, key=lambda option: option.cycles)

    def _known(self, graph: Graph, operator: Operator) -> Fit:
        """The kernels that can compute an operator, those of the backend among them, and the cycles of each."""
        key = (operator.attributes, *(_signature(tensor) for tensor in (*graph.ins(operator), *graph.outs(operator))))
        known = self.memo.get(key)
        if known is None:
            own = candidates(graph, operator, self.board.features)
            beside = self.backend.accepting(graph, operator) if self.backend is not None else ()
            cycles = {kernel: self.costs.cycles(graph, operator, kernel) for kernel in (*own, *beside)}
            known = self.memo[key] = ((*own, *beside), beside, cycles)
        return known

    def _reason(self, graph: Graph, operator: Operator) -> str:
        able = [kernel for kernel in all_kernels() if kernel.accepts(graph, operator)]
        if able:
            wanted = sorted({" and ".join(sorted(k.requires - self.board.features)) for k in able})
            return f"needs a core with {' or '.join(wanted)}"
        types = ", ".join(f"{t.dtype.value}{list(t.shape)}" for t in graph.ins(operator))
        return f"no kernel for {types}"


def _merge_states(
    graph: Graph, calls: tuple[Call, ...], storage: Mapping[str, str]
) -> tuple[dict[str, str], list[State]]:
    """Let operators write new states where the old ones are, wherever nobody reads the old value later.

    Returns the storage with these tensors moved into the states, and the states that still need a copy.
    """
    merged = dict(storage)
    slots = {storage[state.read] for state in graph.states}
    taken = slots | {storage[name] for name in graph.inputs}
    pending = []
    for state in graph.states:
        slot = storage[state.read]
        new = storage.get(state.write)
        if new == slot:
            continue
        if new is None or new in taken or not _dead_when_written(graph, calls, storage, state, slot, new):
            pending.append(state)
            continue
        taken.add(new)
        merged.update({name: slot for name, place in storage.items() if place == new})
    return merged, pending


def _dead_when_written(
    graph: Graph, calls: tuple[Call, ...], storage: Mapping[str, str], state: State, slot: str, new: str
) -> bool:
    kept = {storage.get(name) for name in graph.outputs}
    kept |= {storage.get(other.write) for other in graph.states if other is not state}
    if slot in kept:
        return False
    writer = next(i for i, call in enumerate(calls) if any(storage[name] == new for name in call.outputs))
    for index, call in enumerate(calls):
        positions = [i for i, name in enumerate(call.inputs) if storage.get(name) == slot]
        if not positions or index < writer:
            continue
        if index > writer:
            return False
        output = next(o for o, name in enumerate(call.outputs) if storage[name] == new)
        if any((i, output) not in call.in_place for i in positions):
            return False
    return True


def _with_copies(graph: Graph, calls: tuple[Call, ...], storage: Mapping[str, str]) -> tuple[Graph, frozenset[str]]:
    """The graph with a copy for each output and state that cannot be written where it belongs; their names."""
    slots = {storage[state.read] for state in graph.states}
    copies = _Copies(graph)
    # An output that is a constant has no memory; one that is an old state is overwritten by the new one.
    outputs = tuple(
        copies.add(name, f"{name}_copy") if storage.get(name) is None or storage[name] in slots else name
        for name in graph.outputs
    )
    _, pending = _merge_states(graph, calls, storage)
    # The new states take effect together: what one state hands to another is saved before any is overwritten.
    sources = {
        state.name: copies.add(state.write, f"{state.name}_saved") if storage.get(state.write) in slots else state.write
        for state in pending
    }
    updated = {name: copies.add(source, f"{name}_next") for name, source in sources.items()}
    if not copies.operators:
        return graph, frozenset()
    states = tuple(State(s.name, s.read, updated.get(s.name, s.write), s.initial) for s in graph.states)
    complete = graph.with_operators(
        (*graph.operators, *copies.operators), copies.tensors, outputs=outputs, states=states
    )
    return complete, frozenset(operator.name for operator in copies.operators)


class _Copies:
    """Reshapes to the same shape, which stand for copies."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._names = {operator.name for operator in graph.operators}

    def add(self, source: str, stem: str) -> str:
        known = {tensor.name: tensor for tensor in self.tensors}
        tensor = known.get(source) or self.graph.tensors[source]
        name = self.graph.fresh_name(stem, known)
        while name in self._names:
            name += "_"
        self._names.add(name)
        self.tensors.append(Tensor(name, tensor.shape, tensor.dtype, None, tensor.quantization))
        self.operators.append(Operator(name, ops.Reshape(tensor.shape), (source,), (name,)))
        return name


def kernels_of(calls: tuple[Call, ...]) -> tuple[Kernel, ...]:
    """The kernels that are called, each once, in order of first use."""
    return tuple(dict.fromkeys(call.kernel for call in calls))


__all__ = ["Lowered", "constants_of", "kernels_of", "lower"]
