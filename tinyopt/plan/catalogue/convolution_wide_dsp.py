"""Convolutions and fully connected layers on int16 activations with the Arm DSP extension."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue import convolution_wide
from tinyopt.plan.catalogue.elementwise import Accepts
from tinyopt.plan.kernel import Call, Constant, Kernel
from tinyopt.plan.packing import interleave_words

_LARGEST_SUM = 1 << 16
"""Of the magnitudes of a channel's weights: then a sum of products fits 32 bits."""


def _accepts(portable: Kernel) -> Accepts:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a = operator.attributes
        if not portable.accepts(graph, operator) or (isinstance(a, ops.DepthwiseConv2d) and a.multiplier != 1):
            return False
        weights = np.abs(graph.ins(operator)[1].value.astype(np.int64))
        channels = 3 if isinstance(a, ops.DepthwiseConv2d) else 0
        sums = np.moveaxis(weights, channels, 0).reshape(weights.shape[channels], -1).sum(axis=1)
        return int(sums.max()) < _LARGEST_SUM

    return accepts


def _middle_swapped(rows: Array) -> Array:
    """Rows with the two middle ones of every four whole entries swapped."""
    order = np.arange(rows.shape[-1])
    whole = len(order) // 4 * 4
    order[:whole] = order[:whole].reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1)
    result: Array = rows[..., order]
    return result


def _packed(weights: Array) -> Array:
    """[channels, depth] in the order of ``products_s16.h``."""
    padded = np.zeros((len(weights), -(-weights.shape[1] // 4) * 4), np.int8)
    padded[:, : weights.shape[1]] = weights
    return interleave_words(_middle_swapped(padded), block=4)


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, w = operator.attributes, graph.ins(operator)[1]
    scratch = 0
    if isinstance(a, ops.DepthwiseConv2d):
        packed = _middle_swapped(w.value)
    else:
        groups = a.groups if isinstance(a, ops.Conv2d) else 1
        rows = w.value.reshape(groups, w.shape[0] // groups, -1)
        packed = np.concatenate([_packed(group) for group in rows])
        scratch = 2 * rows.shape[2] if isinstance(a, ops.Conv2d) else 0
    call = _PORTABLE[kernel.family].lower(graph, operator, kernel)
    parameters = {**call.parameters, "weights": Constant(packed, source=w.name)}
    return replace(call, parameters=parameters, scratch=scratch)


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4."""
    a, w, y = operator.attributes, graph.ins(operator)[1], graph.outs(operator)[0]
    if isinstance(a, ops.DepthwiseConv2d):
        return 5.0 * operator_macs(graph, operator) + 60 * y.size + 150 * y.size / y.shape[3]
    patches = a.groups * y.size / y.shape[3] if isinstance(a, ops.Conv2d) else 0
    gather = 150 + w.shape[1] * 60 + w.size / w.shape[0] if isinstance(a, ops.Conv2d) else 0
    return 2.1 * operator_macs(graph, operator) + 50 * y.size + patches * gather + 60


_PORTABLE = {kernel.family: kernel for kernel in convolution_wide.KERNELS if not kernel.family.startswith("transpose")}

KERNELS = tuple(
    replace(
        portable,
        name=f"{family}_dsp",
        source="dsp.c",
        accepts=_accepts(portable),
        lower=_lower,
        cost=_cost,
        requires=frozenset({"dsp"}),
        needs=(*portable.needs, "dsp.h") + (() if family.startswith("depthwise") else ("products_s16.h",)),
        uses_scratch=family == "conv2d_s16",
    )
    for family, portable in _PORTABLE.items()
)
