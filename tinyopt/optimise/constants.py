"""Constant folding: an operator that reads only constants becomes its result."""

from __future__ import annotations

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.graph import Graph, ops
from tinyopt.optimise.evaluate import compute
from tinyopt.optimise.rewriter import Rewriter

_GROWING = (ops.BroadcastTo, ops.Gather, ops.Pad, ops.Resize2d)
_GROWTH_LIMIT = 4096
"""Bytes that folding an operator which repeats its input may add to the flash."""


def fold_constants(graph: Graph) -> Graph:
    """Compute operators of constants now, through the executor.

    Kept as they are: operators that make an output or a state of the graph, results that are not finite, and
    operators that would blow a small constant up to a large one.
    """
    edit = Rewriter(graph)
    for operator in edit.scan():
        ins, outs = edit.ins(operator), edit.outs(operator)
        if any(not t.is_constant for t in ins) or edit.kept.intersection(operator.outputs):
            continue
        if isinstance(operator.attributes, _GROWING):
            growth = sum(t.nbytes for t in outs) - sum(t.nbytes for t in ins)
            if growth > _GROWTH_LIMIT:
                continue
        try:
            results = compute(operator.attributes, ins, outs)
        except GraphError:  # no executor has this operator for these types
            continue
        if any(not np.isfinite(r).all() for r in results if r.dtype.kind == "f"):
            continue
        edit.substitute(operator)
        for tensor, result in zip(outs, results):
            edit.redirect(tensor.name, edit.constant(f"{tensor.name}_value", result, tensor.quantization))
    return edit.finish()
