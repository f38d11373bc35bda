"""Kernels of batch and layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyopt.execute.integer.normalisation import MAX_DEPTH, layer_norm_parameters
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value, all_dtypes


def _accepts(kind: type[ops.BatchNorm] | type[ops.LayerNorm], dtype: DType) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        ins = graph.ins(operator)
        return (
            isinstance(operator.attributes, kind)
            and all_dtypes(graph, operator, dtype)
            and not ins[0].is_constant
            and all(t.is_constant for t in ins[1:])
            and (dtype is DType.FLOAT32 or ins[0].shape[-1] <= MAX_DEPTH)
        )

    return accepts


def _lower_batch_norm(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, (x, *constants), y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.BatchNorm)
    gamma, beta, mean, variance = (t.value.astype(np.float64) for t in constants)
    scale = gamma / np.sqrt(variance + a.epsilon)
    parameters: dict[str, Value] = {
        "scale": Constant(scale.astype(np.float32), source=f"{operator.name}_scale"),
        "offset": Constant((beta - mean * scale).astype(np.float32), source=f"{operator.name}_offset"),
        "rows": math.prod(x.shape[:-1]),
        "channels": x.shape[-1],
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _lower_layer_norm(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.LayerNorm)
    x, gamma, beta = ins
    rows: dict[str, Value] = {"rows": math.prod(x.shape[:-1]), "depth": x.shape[-1]}
    parameters: dict[str, Value]
    if x.dtype is DType.FLOAT32:
        parameters = {
            "gamma": Constant(gamma.value, source=gamma.name),
            "beta": Constant(beta.value, source=beta.name),
            **rows,
            "epsilon": float(np.float32(a.epsilon)),
        }
    else:
        p = layer_norm_parameters(a, ins, y)
        parameters = {
            "gamma": Constant(gamma.value, align=1, source=gamma.name),
            "beta": Constant(p.beta, source=beta.name),
            "epsilon": p.epsilon,
            **rows,
            "gamma_zero_point": gamma.zero_point,
            "multiplier": p.output[0],
            "shift": p.output[1],
            "output_zero_point": y.zero_point,
        }
    return Call(kernel, operator, parameters, (x.name,), (y.name,), in_place=((0, 0),))


def _cost(cycles: float) -> Callable[[Graph, Operator], float]:
    return lambda graph, operator: cycles * graph.outs(operator)[0].size


KERNELS = (
    Kernel(
        "batch_norm_f32_ref",
        "batch_norm_f32",
        "ref.c",
        _accepts(ops.BatchNorm, DType.FLOAT32),
        _lower_batch_norm,
        _cost(10),
    ),
    Kernel(
        "layer_norm_f32_ref",
        "layer_norm_f32",
        "ref.c",
        _accepts(ops.LayerNorm, DType.FLOAT32),
        _lower_layer_norm,
        _cost(25),
    ),
    Kernel(
        "layer_norm_s8_ref",
        "layer_norm_s8",
        "ref.c",
        _accepts(ops.LayerNorm, DType.INT8),
        _lower_layer_norm,
        _cost(45),
        needs=("common.h", "fixed_point.h"),
    ),
)
