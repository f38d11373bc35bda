"""Small rewrites of a graph that importers finish with."""

from __future__ import annotations

from dataclasses import replace

from tinyopt.graph import Graph


def rename_tensors(graph: Graph, names: dict[str, str]) -> Graph:
    """The graph with tensors renamed; ``names`` maps old to new, unused names."""
    if not names:
        return graph
    operators = [
        replace(
            operator,
            inputs=tuple(names.get(n, n) for n in operator.inputs),
            outputs=tuple(names.get(n, n) for n in operator.outputs),
        )
        for operator in graph.operators
    ]
    return graph.with_operators(
        operators,
        [graph.tensors[old].renamed(new) for old, new in names.items()],
        inputs=tuple(names.get(n, n) for n in graph.inputs),
        outputs=tuple(names.get(n, n) for n in graph.outputs),
    )


def without_dead_operators(graph: Graph) -> Graph:
    """The graph without operators whose results reach neither an output nor a state."""
    needed = set(graph.kept)
    kept = []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            kept.append(operator)
            needed.update(operator.inputs)
    return graph.with_operators(reversed(kept))
