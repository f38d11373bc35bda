"""Pruning until a cost is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyopt.compress.prune.config import Target
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, graph_macs, parameter_bytes


@dataclass(frozen=True, eq=False)
class Outcome:
    """A pruned graph and what there is to tell about it. ``share``: the candidate of a bisection that was taken; None
    where there was none."""

    graph: Graph
    notes: tuple[str, ...] = ()
    share: float | None = None


def cost_of(graph: Graph, target: Target) -> float:
    """What a graph costs in the target's unit."""
    if target.cost == "macs":
        return float(graph_macs(graph))
    if target.cost == "parameters":
        return parameter_bytes(graph) / 4
    assert callable(target.cost)
    return float(target.cost(graph))


def limit_of(graph: Graph, target: Target) -> float:
    """The largest cost that meets the target."""
    if target.at_most is not None:
        return target.at_most
    assert target.ratio is not None
    return target.ratio * cost_of(graph, target)


def missed_target(before: Graph, after: Graph, target: Target) -> str | None:
    """By how much a network pruned from ``before`` misses a target; None where it meets it."""
    limit, found = limit_of(before, target), cost_of(after, target)
    if found <= limit:
        return None
    missed = found - limit
    share = f" ({missed / limit:,.1%})" if limit > 0 else ""
    return f"the target of {limit:,.0f} {describe_cost(target)} is missed by {missed:,.0f}{share}"


def describe_cost(target: Target) -> str:
    """The unit of a target, in words; of a function its ``unit``, or else its name."""
    if isinstance(target.cost, str):
        return {"macs": "multiply-accumulates", "parameters": "parameters"}[target.cost]
    unit = getattr(target.cost, "unit", None) or getattr(target.cost, "__name__", type(target.cost).__name__)
    return str(unit).replace("_", " ")


def bisect(graph: Graph, target: Target, candidate: Callable[[float], Graph], steps: int, limit: float) -> Outcome:
    """The candidate that gives up least and costs at most ``limit``; ``candidate(share)`` for shares k / ``steps``.

    Costs are taken to fall as the share grows; where they do not (a kernel that likes another number of channels), the
    result still meets the limit, but may give up a little more than it had to. A limit that no candidate meets ends
    with the cheapest that was tried, and a note that says by how much it misses.

    Raises:
        TinyoptError: when a cost is no finite number.
    """
    costs: dict[int, float] = {}

    def cost(k: int) -> float:
        if k not in costs:
            costs[k] = cost_of(graph if k == 0 else candidate(k / steps), target)
            if not costs[k] < float("inf"):
                raise TinyoptError(f"the cost of a pruned network is {costs[k]}; it must be a finite number")
        return costs[k]

    if cost(0) <= limit:
        return Outcome(graph, (nothing_to_do(cost(0), limit, target),), 0.0)
    low, high = 0, steps
    if cost(high) > limit:
        best = min(costs, key=lambda k: costs[k])
        note = missed(costs[best], limit, target)
        return Outcome(graph if best == 0 else candidate(best / steps), (note,), best / steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(middle) <= limit else (middle, high)
    return Outcome(candidate(high / steps), (reached(cost(high), cost(0), target),), high / steps)


def nothing_to_do(cost: float, limit: float, target: Target) -> str:
    """The note of a target that was met from the start."""
    return f"pruning: nothing to do, {cost:,.0f} {describe_cost(target)} are within {limit:,.0f}"


def missed(cost: float, limit: float, target: Target) -> str:
    """The note of a target that was not met."""
    return (
        f"pruning: the target of {limit:,.0f} {describe_cost(target)} cannot be met; the best found has "
        f"{cost:,.0f}, {cost - limit:,.0f} ({(cost - limit) / limit:.1%}) too many. Raise layer_limit, skip fewer "
        "layers, or combine it with another technique"
    )


def reached(cost: float, before: float, target: Target) -> str:
    """The note of a target that was met."""
    return f"pruning: {cost:,.0f} of {before:,.0f} {describe_cost(target)}"
