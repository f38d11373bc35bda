"""Fewer kernels where the loss is small: code that hardly anything uses is flash for nothing."""

from __future__ import annotations

from collections.abc import Mapping

from tinyopt.graph import Graph
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.kernel import Call, Kernel

TOLERANCE = 0.005
"""A kernel is given up when the model's predicted cycles rise by no more than this part."""


def merge_rare_kernels(
    graph: Graph, calls: tuple[Call, ...], features: frozenset[str], pins: Mapping[str, str]
) -> tuple[Call, ...]:
    """Calls with as few kernels as cost next to nothing, the dearest kernels to keep given up first.

    A kernel goes when all its calls can be computed by kernels that the model uses anyway. Pinned calls stay.
    """
    total = sum(call.kernel.cost(graph, call.operator) for call in calls)
    allowance = TOLERANCE * total
    chosen = list(calls)
    for kernel in sorted({call.kernel for call in calls}, key=lambda k: _spent(graph, chosen, k)):
        others = {call.kernel for call in chosen} - {kernel}
        replaced: dict[int, Kernel] = {}
        loss = 0.0
        for index, call in enumerate(chosen):
            if call.kernel != kernel:
                continue
            fit = [k for k in candidates(graph, call.operator, features) if k in others]
            if not fit or call.operator.name in pins:
                loss = float("inf")
                break
            replaced[index] = fit[0]
            loss += fit[0].cost(graph, call.operator) - kernel.cost(graph, call.operator)
        if replaced and loss <= allowance:
            allowance -= loss
            for index, other in replaced.items():
                chosen[index] = other.lower(graph, chosen[index].operator, other)
    return tuple(chosen)


def _spent(graph: Graph, calls: list[Call], kernel: Kernel) -> tuple[float, str]:
    """Cycles that are spent in a kernel; its name settles ties."""
    return sum(call.kernel.cost(graph, call.operator) for call in calls if call.kernel == kernel), kernel.name
