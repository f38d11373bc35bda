"""Removal of operators whose results nobody reads, and of states that influence no output."""

from __future__ import annotations

from tinyopt.graph import Graph


def remove_dead_operators(graph: Graph) -> Graph:
    """Keep what the outputs need, directly or through states.

    Inputs stay, used or not: they are the interface of the model.
    """
    needed = set(graph.outputs)
    writers = graph.producers
    state_of = {state.read: state for state in graph.states}
    waiting = list(needed)
    while waiting:
        name = waiting.pop()
        sources: list[str] = []
        if name in writers:
            sources += writers[name].inputs
            sources += writers[name].outputs
        if name in state_of:
            sources.append(state_of[name].write)
        for source in sources:
            if source not in needed:
                needed.add(source)
                waiting.append(source)
    operators = [operator for operator in graph.operators if needed.intersection(operator.outputs)]
    states = tuple(state for state in graph.states if state.read in needed)
    used = {name for operator in operators for name in operator.inputs} | set(graph.outputs) | set(graph.inputs)
    dead_constants = [t for t in graph.constants() if t.name not in used]
    if len(operators) == len(graph.operators) and len(states) == len(graph.states) and not dead_constants:
        return graph
    return graph.with_operators(operators, states=states)
