"""What the planner did with layers whose weights are mostly zero, in words."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Graph, Operator, ops
from tinyopt.names import short_name
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.catalogue.sparse import FAMILIES
from tinyopt.plan.kernel import Call
from tinyopt.plan.plan import Plan

LEAST_ZEROS = 0.5
"""Share of zeros from which a layer is worth a word."""


def zeros_of(graph: Graph, operator: Operator) -> float:
    """Share of the weights of a convolution or fully connected layer that are zero; 0 for any other operator."""
    if not isinstance(operator.attributes, (ops.Conv2d, ops.FullyConnected)):
        return 0.0
    weights = graph.ins(operator)[1]
    return float(1 - np.count_nonzero(weights.value) / weights.size) if weights.is_constant else 0.0


def sparsity_note(plan: Plan) -> list[str]:
    """One line for every layer of which half the weights or more are zero and that a dense kernel computes all the
    same: what the best sparse kernel was predicted to take, and what the dense one."""
    seen: dict[tuple[str, str], str] = {}
    for call in plan.calls:
        name = plan.parts.get(call.operator.name, call.operator.name)
        if call.kernel.family not in FAMILIES and (name, call.kernel.name) not in seen:
            zeros = zeros_of(plan.graph, call.operator)
            if zeros >= LEAST_ZEROS:
                seen[name, call.kernel.name] = (
                    f"layer '{short_name(name)}' is {zeros:.0%} zeros; {_verdict(plan, call)}"
                )
    return list(seen.values())


def _verdict(plan: Plan, call: Call) -> str:
    graph, operator = plan.graph, call.operator
    fit = [k for k in candidates(graph, operator, plan.board.features) if k.family in FAMILIES]
    if not fit:
        return f"no sparse kernel can compute it: '{call.kernel.name}' is used"
    best = min(fit, key=lambda kernel: plan.costs.cycles(graph, operator, kernel))
    cycles = plan.costs.cycles(graph, operator, best)
    if cycles < call.predicted_cycles:
        reason = f"objective '{plan.objective}' prefers '{call.kernel.name}'"
    else:
        reason = "the dense one is used"
    return (
        f"the fastest sparse kernel, '{best.name}', is predicted to take {cycles:,.0f} cycles and "
        f"'{call.kernel.name}' {call.predicted_cycles:,.0f}: {reason}"
    )
