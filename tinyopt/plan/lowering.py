"""From operators to kernel calls: choosing kernels, and making copies explicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tinyopt.board import Board
from tinyopt.errors import TinyoptError, Unsupported, UnsupportedOperatorsError
from tinyopt.graph import Graph, Operator, State, Tensor, ops
from tinyopt.plan.catalogue import all_kernels, candidates
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.merging import merge_rare_kernels

OBJECTIVES = ("latency", "ram", "flash")


@dataclass(frozen=True, eq=False)
class Lowered:
    """A graph in which every copy is an operator, its calls in order, and where each tensor is stored."""

    graph: Graph
    calls: tuple[Call, ...]
    storage: Mapping[str, str]
    """Activation → the tensor whose memory it shares (itself, the source of its reshapes, or the state it becomes)."""


def lower(graph: Graph, board: Board, objective: str, pins: Mapping[str, str]) -> Lowered:
    """Choose a kernel for every operator.

    Raises:
        UnsupportedOperatorsError: when operators have no kernel on this board; all are listed.
        TinyoptError: when a pin names an operator or a kernel that does not fit, or the objective is unknown.
    """
    if objective not in OBJECTIVES:
        raise TinyoptError(f"unknown objective '{objective}'; choose one of {', '.join(OBJECTIVES)}")
    unknown = set(pins) - {operator.name for operator in graph.operators}
    if unknown:
        raise TinyoptError(
            f"kernels are pinned for operators that the model does not have: {', '.join(sorted(unknown))}"
        )
    chooser = _Chooser(board, objective, pins)
    calls = chooser.calls(graph, frozenset())
    complete, copies = _with_copies(graph, calls)
    if copies:
        calls = chooser.calls(complete, copies)
    storage, pending = _merge_states(complete, calls, view_storage(complete, calls))
    assert not pending, "a state was left without a copy"
    return Lowered(complete, calls, storage)


class _Chooser:
    def __init__(self, board: Board, objective: str, pins: Mapping[str, str]) -> None:
        self.board, self.objective, self.pins = board, objective, pins

    def calls(self, graph: Graph, copies: frozenset[str]) -> tuple[Call, ...]:
        """The calls of all operators but views. ``copies``: reshapes that must not be views."""
        calls, missing = [], []
        for operator in graph.operators:
            if operator.name not in copies and operator.name not in self.pins and _is_view(graph, operator):
                continue
            call = self._call(graph, operator)
            if isinstance(call, Unsupported):
                missing.append(call)
            else:
                calls.append(call)
        if missing:
            source = graph.metadata.get("source", "no source named")
            advice = "Replace these layers, quantize the model to int8, or choose a board with the features named."
            raise UnsupportedOperatorsError(
                f"model '{graph.name}' on {self.board.name}", source, missing, advice=advice
            )
        if self.objective == "latency":
            calls = list(merge_rare_kernels(graph, tuple(calls), self.board.features, self.pins))
        return tuple(replace(call, predicted_cycles=call.kernel.cost(graph, call.operator)) for call in calls)

    def _call(self, graph: Graph, operator: Operator) -> Call | Unsupported:
        fit = candidates(graph, operator, self.board.features)
        pinned = self.pins.get(operator.name)
        if pinned is not None:
            chosen = next((kernel for kernel in fit if kernel.name == pinned), None)
            if chosen is None:
                names = ", ".join(kernel.name for kernel in fit) or "none"
                raise TinyoptError(
                    f"kernel '{pinned}' cannot compute operator '{operator.name}' ({operator.kind}) on "
                    f"{self.board.name}; kernels that can: {names}"
                )
            return chosen.lower(graph, operator, chosen)
        if not fit:
            return Unsupported(operator.kind, operator.name, self._reason(graph, operator))
        if self.objective == "latency":
            return fit[0].lower(graph, operator, fit[0])
        calls = [kernel.lower(graph, operator, kernel) for kernel in fit]
        order = {"ram": _ram_key, "flash": _flash_key}[self.objective]
        return min(calls, key=lambda call: order(graph, call))

    def _reason(self, graph: Graph, operator: Operator) -> str:
        able = [kernel for kernel in all_kernels() if kernel.accepts(graph, operator)]
        if able:
            wanted = sorted({" and ".join(sorted(k.requires - self.board.features)) for k in able})
            return f"needs a core with {' or '.join(wanted)}"
        types = ", ".join(f"{t.dtype.value}{list(t.shape)}" for t in graph.ins(operator))
        return f"no kernel for {types}"


def _ram_key(graph: Graph, call: Call) -> tuple[float, ...]:
    reused = max((graph.tensors[call.outputs[o]].nbytes for _, o in call.in_place), default=0)
    return (call.scratch - reused, call.kernel.cost(graph, call.operator))


def _flash_key(graph: Graph, call: Call) -> tuple[float, ...]:
    constants = sum(constant.nbytes for constant in constants_of(call.parameters))
    # Portable kernels are the compact ones: they have no unrolled loops.
    return (constants, len(call.kernel.requires), call.kernel.cost(graph, call.operator))


def constants_of(value: Value | Mapping[str, Value]) -> list[Constant]:
    """All constants inside a parameter value, in order."""
    if isinstance(value, Constant):
        return [value]
    if isinstance(value, Mapping):
        return [constant for item in value.values() for constant in constants_of(item)]
    if isinstance(value, tuple):
        return [constant for item in value for constant in constants_of(item)]
    return []


def _is_view(graph: Graph, operator: Operator) -> bool:
    """A reshape of an activation moves nothing: it is the same memory under another name."""
    return isinstance(operator.attributes, ops.Reshape) and not graph.ins(operator)[0].is_constant


def view_storage(graph: Graph, calls: tuple[Call, ...]) -> dict[str, str]:
    """Activation → the tensor whose memory it is, looking through the operators that have no call."""
    called = {call.operator.name for call in calls}
    storage = {name: name for name in graph.given}
    for operator in graph.operators:
        for name in operator.outputs:
            storage[name] = name if operator.name in called else storage[operator.inputs[0]]
    return storage


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


def _with_copies(graph: Graph, calls: tuple[Call, ...]) -> tuple[Graph, frozenset[str]]:
    """The graph with a copy for each output and state that cannot be written where it belongs; their names."""
    storage = view_storage(graph, calls)
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
