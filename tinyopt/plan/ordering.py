"""The order of operators in graphs with branches: the one in which the least memory is needed at once.

Sets of operators that are done are grown one operator at a time. Of the ways to reach the same set only the one with
the lowest peak matters, so this is a shortest path over sets; it is exact as long as no more than ``WIDTH`` sets of one
size are of interest, and a beam search beyond. The beam is narrower where very many operators could come next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinyopt.graph import Graph, Operator, ops

WIDTH = 100
STEPS = 200_000
"""Steps that a search takes, more or less."""


@dataclass(frozen=True)
class _Path:
    """How a set of operators was reached. ``peak``: most bytes at once so far; ``live``: bytes that exist now."""

    peak: int
    live: int
    order: tuple[int, ...]


def ordered(graph: Graph) -> Graph:
    """The graph with its operators in the order that needs the fewest bytes of activations at once; the graph itself
    if its own order is as good. Work in place and scratch memory are left out of account."""
    task = _Task(graph)
    found = task.search()
    if found.peak >= task.peak(range(len(graph.operators))):
        return graph
    return graph.with_operators(graph.operators[index] for index in found.order)


class _Task:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        roots = _roots(graph)
        count = len(graph.operators)
        self.reads = [{roots[name] for name in operator.inputs if name in roots} for operator in graph.operators]
        self.writes = [_own(operator, roots) for operator in graph.operators]
        self.kept = {roots[name] for name in graph.kept if name in roots}
        self.kept |= {roots[state.read] for state in graph.states}
        self.size = {root: graph.tensors[root].nbytes for root in roots.values()}
        readers: dict[str, int] = {}
        for index in range(count):
            for root in self.reads[index]:
                readers[root] = readers.get(root, 0) | 1 << index
        self.readers: Mapping[str, int] = readers
        writer = {name: index for index, operator in enumerate(graph.operators) for name in operator.outputs}
        self.before = [
            sum(1 << w for w in {writer[name] for name in operator.inputs if name in writer})
            for operator in graph.operators
        ]
        given = sum(self.size[root] for root in {roots[name] for name in graph.given})
        self.start = _Path(given, given, ())

    def step(self, done: int, path: _Path, index: int) -> _Path:
        """The path after one more operator."""
        after = done | 1 << index
        most = path.live + sum(self.size[root] for root in self.writes[index])
        ended = {
            root
            for root in self.reads[index] | self.writes[index]
            if root not in self.kept and not self.readers.get(root, 0) & ~after
        }
        return _Path(max(path.peak, most), most - sum(self.size[root] for root in ended), (*path.order, index))

    def peak(self, order: range) -> int:
        """Most bytes at once in a given order."""
        done, path = 0, self.start
        for index in order:
            path = self.step(done, path, index)
            done |= 1 << index
        return path.peak

    def search(self) -> _Path:
        paths = {0: self.start}
        for _ in self.graph.operators:
            further: dict[int, _Path] = {}
            steps = 0
            for done, path in paths.items():
                for index, before in enumerate(self.before):
                    if done >> index & 1 or before & ~done:
                        continue
                    reached = self.step(done, path, index)
                    steps += 1
                    known = further.get(done | 1 << index)
                    if known is None or (reached.peak, reached.order) < (known.peak, known.order):
                        further[done | 1 << index] = reached
            best = sorted(further.items(), key=lambda item: (item[1].peak, item[1].live, item[1].order))
            choices = steps / len(paths)
            width = min(WIDTH, int(STEPS / (len(self.graph.operators) * choices)))
            paths = dict(best[: max(1, width)])
        return next(iter(paths.values()))


def _roots(graph: Graph) -> dict[str, str]:
    """Activation → the tensor that it is, reshaped or not."""
    roots = {name: name for name in graph.given}
    for operator in graph.operators:
        for name in operator.outputs:
            source = operator.inputs[0] if operator.inputs else name
            roots[name] = roots.get(source, name) if isinstance(operator.attributes, ops.Reshape) else name
    return roots


def _own(operator: Operator, roots: Mapping[str, str]) -> set[str]:
    """The outputs of an operator that are memory of their own."""
    return {name for name in operator.outputs if roots[name] == name}
