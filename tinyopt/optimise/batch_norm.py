"""Batch-norm folding (Jacob et al. 2018, section 3.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.graph import Graph, Operator, ops
from tinyopt.optimise.linear import absorb
from tinyopt.optimise.rewriter import Rewriter


def fold_batch_norm(graph: Graph) -> Graph:
    """Batch norm into the layer before it, or the one after it, or else into a multiplication and an addition."""
    edit = Rewriter(graph)
    for operator in edit.scan():
        a = operator.attributes
        if not isinstance(a, ops.BatchNorm) or any(not t.is_constant for t in edit.ins(operator)[1:]):
            continue
        gamma, beta, mean, variance = (t.value.astype(np.float64) for t in edit.ins(operator)[1:])
        scale = gamma / np.sqrt(variance + a.epsilon)
        shift = beta - mean * scale
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            continue
        if not absorb(edit, operator, operator.inputs[0], scale, shift, ops.NONE):
            y = edit.outs(operator)[0]
            middle = edit.activation(f"{y.name}_scaled", y)
            edit.substitute(
                operator,
                Operator(
                    f"{operator.name}_scale",
                    ops.Binary(ops.BinaryKind.MUL),
                    (operator.inputs[0], edit.constant(f"{y.name}_scale", scale.astype(np.float32))),
                    (middle,),
                ),
                replace(
                    operator,
                    attributes=ops.Binary(ops.BinaryKind.ADD),
                    inputs=(middle, edit.constant(f"{y.name}_shift", shift.astype(np.float32))),
                ),
            )
    return edit.finish()
