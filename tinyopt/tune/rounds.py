"""Which kernels are measured together: every round builds the whole model once, with one kernel for each operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinyopt.plan import Plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.costs import signature


@dataclass(frozen=True)
class Target:
    """Operators of a model that cost the same, and the kernels that can compute them, the fastest by formula first."""

    signature: str
    operators: tuple[str, ...]
    kernels: tuple[str, ...]
    chosen: str
    """The kernel of the plan that was made without measurements."""


def targets(plan: Plan) -> tuple[Target, ...]:
    """The distinct operators of a plan. Copies that the planner added are among them, with their one kernel."""
    found: dict[str, Target] = {}
    for call in plan.calls:
        key = signature(plan.graph, call.operator)
        known = found.get(key)
        if known is None:
            fit = candidates(plan.graph, call.operator, plan.board.features)
            if plan.backend is not None:
                fit += plan.backend.accepting(plan.graph, call.operator)
            names = tuple(kernel.name for kernel in fit)
            found[key] = Target(key, (call.operator.name,), names, call.kernel.name)
        else:
            found[key] = Target(key, (*known.operators, call.operator.name), known.kernels, known.chosen)
    return tuple(found.values())


def rounds(items: Sequence[Target], known: Iterable[tuple[str, str]] = ()) -> tuple[dict[str, str], ...]:
    """Pins (operator → kernel) of every round, so that each (signature, kernel) that is not ``known`` occurs.

    Operators that cost the same share the work: with four of them, four kernels are measured in one round. Operators
    with nothing left to measure, or nothing to choose, are not pinned.
    """
    done = set(known)
    pending = {
        item.signature: [kernel for kernel in item.kernels if (item.signature, kernel) not in done] for item in items
    }
    plans: list[dict[str, str]] = []
    while any(pending.values()):
        pins: dict[str, str] = {}
        for item in items:
            batch = pending[item.signature][: len(item.operators)]
            pending[item.signature] = pending[item.signature][len(item.operators) :]
            if len(item.kernels) > 1 and batch:
                # What is over measures the same kernels again; the mean is stored.
                pins.update({name: batch[i % len(batch)] for i, name in enumerate(item.operators)})
        plans.append(pins)
    return tuple(plans)


def split(pins: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Two halves of a round that does not fit the board."""
    names = list(pins)
    middle = len(names) // 2
    return {n: pins[n] for n in names[:middle]}, {n: pins[n] for n in names[middle:]}
