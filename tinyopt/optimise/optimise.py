"""The sequence of passes, repeated until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinyopt.graph import Graph, graph_macs, parameter_bytes
from tinyopt.optimise.activations import fuse_activations
from tinyopt.optimise.batch_norm import fold_batch_norm
from tinyopt.optimise.channels import remove_channels
from tinyopt.optimise.constants import fold_constants
from tinyopt.optimise.dead import remove_dead_operators
from tinyopt.optimise.duplicates import merge_duplicates
from tinyopt.optimise.identities import remove_identities
from tinyopt.optimise.linear import fold_channel_constants, matmul_to_fully_connected
from tinyopt.optimise.padding import fuse_padding
from tinyopt.optimise.requantize import merge_requantizations
from tinyopt.optimise.reshapes import merge_reshapes
from tinyopt.optimise.transposes import sink_transposes

Pass = Callable[[Graph], Graph]
"""A function from graph to graph that keeps the outputs, and returns its argument where there is nothing to do."""

DEFAULT: tuple[Pass, ...] = (
    fold_constants,
    remove_identities,
    sink_transposes,
    merge_reshapes,
    matmul_to_fully_connected,
    fold_batch_norm,
    fold_channel_constants,
    fuse_padding,
    fuse_activations,
    merge_requantizations,
    merge_duplicates,
    remove_dead_operators,
    remove_channels,
)

_ROUNDS = 12


@dataclass(frozen=True)
class Step:
    """What one pass changed: its name, and operators, multiply-accumulates and parameter bytes before and after."""

    name: str
    operators: tuple[int, int]
    macs: tuple[int, int]
    parameter_bytes: tuple[int, int]

    def __str__(self) -> str:
        changes = []
        for what, (before, after) in (
            ("operators", self.operators),
            ("MACs", self.macs),
            ("parameter bytes", self.parameter_bytes),
        ):
            if before != after:
                changes.append(f"{what} {before:,} → {after:,}")
        return f"{self.name.replace('_', ' ')}: {', '.join(changes) or 'rewritten'}"


def optimise(graph: Graph, *, passes: Sequence[Pass] = DEFAULT) -> Graph:
    """The same function with less work: every output equal, bit for bit where the graph is quantized.

    Inputs, outputs and states keep their names, shapes and types. The passes run in order, again and again until a
    whole round changes nothing.

    Raises:
        GraphError: when a pass makes a graph that breaks a rule (a defect of the pass).
    """
    return explain(graph, passes=passes)[0]


def explain(graph: Graph, *, passes: Sequence[Pass] = DEFAULT) -> tuple[Graph, tuple[Step, ...]]:
    """As ``optimise``, with one ``Step`` for each time that a pass changed the graph."""
    steps: list[Step] = []
    for _ in range(_ROUNDS):
        start = graph
        for change in passes:
            before, graph = graph, change(graph)
            if graph is not before:
                steps.append(
                    Step(
                        getattr(change, "__name__", str(change)),
                        (len(before.operators), len(graph.operators)),
                        (graph_macs(before), graph_macs(graph)),
                        (parameter_bytes(before), parameter_bytes(graph)),
                    )
                )
        if graph is start:
            break
    return graph, tuple(steps)
