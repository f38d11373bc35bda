"""arm_fully_connected_s8 and arm_fully_connected_per_channel_s8.

On Helium the buffer of these functions holds sums of the weights, which a program would compute at its start with
``arm_vector_sum_s8``; here they are constants in flash. What is summed up differs by release, and the parameters of
that function tell:

- not declared (before 5.0.0): nothing;
- four parameters (5.0.0): the weights of each output;
- seven (7.0.0 and later): the bias plus the sum times the input's offset;
- anything else (6.0.0): there are no such kernels for Helium.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.cmsis_nn.target import Target, dims, limits, scales
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import bias_name, folded_bias, model_bias

_SIZE = "arm_fully_connected_s8_get_buffer_size"
_SUMS = "arm_vector_sum_s8"


def kernels(target: Target) -> tuple[Kernel, ...]:
    """The fully connected layers of a library."""
    if target.core == "mve" and len(target.library.declared.get(_SUMS, ())) not in (0, 4, 7):
        return ()
    return (
        *target.kernel(
            "fully_connected",
            "fully_connected",
            "tensor.c",
            ("arm_fully_connected_s8", _SIZE),
            partial(_accepts, per_channel=False),
            partial(_lower, target),
            partial(_cost, target),
        ),
        *target.kernel(
            "fully_connected_channels",
            "fully_connected",
            "channels.c",
            ("arm_fully_connected_per_channel_s8", _SIZE),
            partial(_accepts, per_channel=True),
            partial(_lower, target),
            partial(_cost, target),
        ),
    )


def _multipliers(graph: Graph, operator: Operator) -> tuple[Array, Array]:
    x, w = graph.ins(operator)[:2]
    return fully_connected_multipliers(x, w, graph.outs(operator)[0])


def _one_scale(multipliers: Array, shifts: Array) -> bool:
    return bool((multipliers == multipliers[0]).all() and (shifts == shifts[0]).all())


def _accepts(graph: Graph, operator: Operator, *, per_channel: bool) -> bool:
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return False
    return not graph.ins(operator)[0].is_constant and _one_scale(*_multipliers(graph, operator)) != per_channel


def _sums(target: Target, graph: Graph, operator: Operator) -> Constant | None:
    """What the function reads from its buffer."""
    ins = graph.ins(operator)
    w = ins[1]
    outputs, depth = w.shape
    parameters = len(target.library.declared.get(_SUMS, ()))
    if not parameters or not target.size(_SIZE, depth, 1, 1, outputs):
        return None
    sums = w.value.astype(np.int64).sum(axis=1).astype(np.int32) if parameters == 4 else folded_bias(ins, w.value)
    return Constant(sums, weights=False, source=f"{w.name}_sums")


def _lower(target: Target, graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    outputs, depth = w.shape
    rows = math.prod(x.shape[:-1])
    multipliers, shifts = _multipliers(graph, operator)
    if _one_scale(multipliers, shifts):
        multipliers, shifts = multipliers[:1], shifts[:1]
    count = len(multipliers)
    params: dict[str, Value] = {
        "input_offset": -x.zero_point,
        "filter_offset": 0,
        "output_offset": y.zero_point,
        "activation": limits(*clamp_limits(a.activation, y)),
    }
    fields: dict[str, Value] = {
        "params": params,
        "input": dims(rows, 1, 1, depth),
        "filter": dims(depth, 1, 1, outputs),
        "bias": dims(1, 1, 1, outputs),
        "output": dims(rows, 1, 1, outputs),
        "weights": Constant(w.value, source=w.name),
        "bias_data": Constant(model_bias(ins, outputs).astype(np.int32), source=bias_name(ins)),
        "sums": _sums(target, graph, operator),
        **scales(multipliers, shifts, count),
    }
    return Call(kernel, operator, fields, (x.name,), (y.name,))


def _cost(target: Target, graph: Graph, operator: Operator) -> float:
    per_mac, per_output = {"c": (7.6, 184.0), "dsp": (2.3, 75.0), "mve": (0.48, 33.0)}[target.core]
    return per_mac * operator_macs(graph, operator) + per_output * graph.outs(operator)[0].size
