"""Tensors that are other names for memory: reshapes, rows of a larger tensor, pieces of a joined one.

Rows of a tensor (a range of its outermost axis) are contiguous. So a slice or a split of rows is a view, and what is
joined along the rows is written where it belongs by the operators that compute it: neither needs a call.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tinyopt.graph import Graph, Operator, Tensor, ops


@dataclass(frozen=True)
class Places:
    """Where activations lie before any buffer has an address."""

    views: frozenset[str]
    """Names of the operators that need no call."""
    storage: Mapping[str, str]
    """Activation → the tensor in whose memory it lies (itself, if it is no view and no piece of another)."""
    starts: Mapping[str, int]
    """Activation → bytes from the start of that memory."""


def find_places(graph: Graph, called: Collection[str] = ()) -> Places:
    """Which operators need no call, and where their tensors lie. ``called``: operators that must have a call."""
    return _Views(graph, called).places()


def row_offset(graph: Graph, operator: Operator) -> int | None:
    """Bytes into its source at which a slice starts that is one contiguous piece; None when it is not."""
    a, x = operator.attributes, graph.ins(operator)[0]
    if not isinstance(a, ops.Slice) or x.is_constant:
        return None
    if any(step != 1 and size > 1 for step, size in zip(a.stride, a.size)):
        return None
    whole = len(x.shape)  # axes from here on are taken whole
    while whole and a.size[whole - 1] == x.shape[whole - 1]:
        whole -= 1
    if math.prod(a.size[: max(whole - 1, 0)]) != 1:
        return None
    strides = [math.prod(x.shape[axis + 1 :]) for axis in range(len(x.shape))]
    return sum(begin * stride for begin, stride in zip(a.begin, strides)) * x.dtype.itemsize


class _Views:
    def __init__(self, graph: Graph, called: Collection[str]) -> None:
        self.graph = graph
        self.called = set(called)
        self.states = {state.read for state in graph.states}
        self.new_states = self._sources_of_states()
        self.parents: dict[str, tuple[str, int]] = {}
        self.views: set[str] = set()

    def places(self) -> Places:
        # Joined tensors first: a piece that is itself a view has to be copied, so its operator needs a call. The last
        # ones come first, so that what is joined twice lies in the largest.
        for operator in reversed(self.graph.operators):
            if isinstance(operator.attributes, ops.Concat) and operator.name not in self.called:
                self._join(operator)
        for operator in self.graph.operators:
            if operator.name not in self.called:
                self._view(operator)
        storage, starts = {}, {}
        for name in (*self.graph.given, *(n for o in self.graph.operators for n in o.outputs)):
            storage[name], starts[name] = self._resolve(name)
        return Places(frozenset(self.views), storage, starts)

    def _resolve(self, name: str) -> tuple[str, int]:
        start = 0
        while name in self.parents:
            name, offset = self.parents[name]
            start += offset
        return name, start

    def _sources_of_states(self) -> set[str]:
        """Tensors that become states, under all their names: they are moved as a whole, and hold nothing else."""
        found = set()
        for state in self.graph.states:
            name = state.write
            found.add(name)
            while (producer := self.graph.producers.get(name)) and isinstance(producer.attributes, ops.Reshape):
                name = producer.inputs[0]
                found.add(name)
        return found

    # ---- views ----

    def _view(self, operator: Operator) -> None:
        a, source = operator.attributes, operator.inputs[0] if operator.inputs else ""
        tensor = self.graph.tensors.get(source)
        if tensor is None or tensor.is_constant:
            return
        if isinstance(a, ops.Reshape):
            self._add(operator, ((operator.outputs[0], source, 0),))
            return
        # Pieces of a state would be overwritten with it; pieces that are kept lie where their users expect them.
        if self._resolve(source)[0] in self.states or self.new_states & {source, *operator.outputs}:
            return
        if self.graph.kept & set(operator.outputs):
            return
        if isinstance(a, ops.Slice):
            offset = row_offset(self.graph, operator)
            if offset is not None and self._same_meaning(tensor, operator):
                self._add(operator, ((operator.outputs[0], source, offset),))
        elif isinstance(a, ops.Split) and _is_outermost(tensor, a.axis) and self._same_meaning(tensor, operator):
            pieces, offset = [], 0
            for piece in self.graph.outs(operator):
                pieces.append((piece.name, source, offset))
                offset += piece.nbytes
            self._add(operator, tuple(pieces))

    def _same_meaning(self, tensor: Tensor, operator: Operator) -> bool:
        return all(output.dtype is tensor.dtype for output in self.graph.outs(operator))

    def _add(self, operator: Operator, pieces: tuple[tuple[str, str, int], ...]) -> None:
        self.views.add(operator.name)
        for name, source, offset in pieces:
            self.parents[name] = (source, offset)

    # ---- joined tensors ----

    def _join(self, operator: Operator) -> None:
        """Let the pieces of a joined tensor lie in it, if every one can be written there."""
        a, output = operator.attributes, self.graph.outs(operator)[0]
        assert isinstance(a, ops.Concat)
        if not _is_outermost(output, a.axis) or output.name in self.new_states or len(set(operator.inputs)) < 2:
            return
        pieces, calls, offset = [], [], 0
        for tensor in self.graph.ins(operator):
            root, producer = self._writer(tensor)
            if producer is None or root.dtype is not output.dtype or root.quantization != output.quantization:
                return
            pieces.append((root.name, output.name, offset))
            calls.append(producer)
            offset += tensor.nbytes
        if len({name for name, _, _ in pieces}) < len(pieces):
            return
        copies = {p.name for p in calls if isinstance(p.attributes, (ops.Reshape, ops.Slice))}
        self.called |= copies
        self._add(operator, tuple(pieces))

    def _writer(self, tensor: Tensor) -> tuple[Tensor, Operator | None]:
        """The tensor that can lie in a joined one as this piece of it, and the operator that writes it there."""
        name = tensor.name
        direct = self.graph.producers.get(name)
        if direct is None or name in self.graph.kept or name in self.parents:
            return tensor, None
        if isinstance(direct.attributes, ops.Slice):
            return tensor, direct
        producer = direct
        while isinstance(producer.attributes, ops.Reshape) and producer.name not in self.called:
            name = producer.inputs[0]
            further = self.graph.producers.get(name)
            movable = further and not isinstance(further.attributes, (ops.Slice, ops.Split))
            if further is None or not movable or name in self.graph.kept or name in self.parents:
                return tensor, direct  # a view of what must stay where it is: copied
            producer = further
        if isinstance(producer.attributes, ops.Split) or name in self.new_states:
            return tensor, None
        return self.graph.tensors[name], producer


def _is_outermost(tensor: Tensor, axis: int) -> bool:
    return math.prod(tensor.shape[:axis]) == 1
