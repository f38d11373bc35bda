"""Layer normalisation of int8 tensors, by a contract of our own: docs/contract/normalisation.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier, quantize_multiplier, saturate
from tinyopt.execute.integer.elementwise import Multiplier, wrapped
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, DType, Tensor
from tinyopt.graph.ops import BatchNorm, LayerNorm

FRACTION_BITS = 12
"""Of the normalised values."""
MAX_DEPTH = 1 << 15


@dataclass(frozen=True, eq=False)
class LayerNormParameters:
    """``epsilon``: in units of (input scale / depth) squared. ``beta``: int32 in units of gamma's scale / 4096."""

    epsilon: int
    beta: Array
    output: Multiplier


def layer_norm_parameters(attributes: LayerNorm, ins: Sequence[Tensor], y: Tensor) -> LayerNormParameters:
    x, gamma, beta = ins
    depth = x.shape[-1]
    if x.dtype is not DType.INT8 or depth > MAX_DEPTH or beta.data is None:
        raise GraphError(
            f"layer normalisation of '{x.name}' ({x.dtype.value}, {depth} values) is not supported: it takes at most "
            f"{MAX_DEPTH} int8 values and a constant beta"
        )
    epsilon = min(round(attributes.epsilon * (depth / x.scale) ** 2), (1 << 47) - 1)
    unit = gamma.scale / (1 << FRACTION_BITS)
    real = (beta.data.astype(np.float64) - beta.zero_point) * beta.scale
    limit = float(1 << 30)
    units = np.clip(np.rint(real / unit), -limit, limit).astype(np.int32)
    return LayerNormParameters(epsilon, units, quantize_multiplier(unit / y.scale))


@integer(LayerNorm)
def layer_norm(
    attributes: LayerNorm, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    y = outs[0]
    p = layer_norm_parameters(attributes, ins, y)
    depth = ins[0].shape[-1]
    values = arrays[0].astype(np.int64).reshape(-1, depth)
    total = values.sum(axis=1, keepdims=True)
    spread = depth * (values * values).sum(axis=1, keepdims=True) - total * total + p.epsilon
    roots = [math.isqrt(int(v) << 16) for v in spread[:, 0]]
    zeros = [32 - root.bit_length() for root in roots]
    inverse = np.array([[(1 << 62) // (root << z) if root else 0] for root, z in zip(roots, zeros)], np.int64)
    shift = np.array([[42 - z if root else 1] for root, z in zip(roots, zeros)], np.int64)
    normalised = ((depth * values - total) * inverse + (np.int64(1) << (shift - 1))) >> shift
    gamma = arrays[1].astype(np.int64) - ins[1].zero_point
    scaled = multiply_by_quantized_multiplier(normalised * gamma + p.beta, *p.output)
    return [saturate(wrapped(scaled + y.zero_point), y.dtype).reshape(y.shape)]


@integer(BatchNorm)
def batch_norm(
    attributes: BatchNorm, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]
) -> list[Array]:
    """There is no quantized batch normalisation: it is folded into a neighbour, or becomes a multiply and an add."""
    raise GraphError(
        f"batch normalisation of '{ins[0].name}' cannot run on {ins[0].dtype.value}; optimise the float model first, "
        "which folds it away"
    )
