"""The register-blocked fully connected layer of the Arm DSP extension: eight outputs at a time."""

from __future__ import annotations

import math

from tinyopt.execute.integer.convolution import fully_connected_multipliers
from tinyopt.graph import Array, Graph, Operator, ops
from tinyopt.graph.costs import operator_macs
from tinyopt.plan.blocks import fits_blocks, pack_stream_of_eight
from tinyopt.plan.catalogue.convolution import is_int8
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packing import folded_bias, output_limits


def _parts(graph: Graph, operator: Operator) -> tuple[Array, Array, Array, Array]:
    """Weights [outputs, inputs], folded bias, multipliers, shifts."""
    ins, y = graph.ins(operator), graph.outs(operator)[0]
    return ins[1].value, folded_bias(ins, ins[1].value), *fully_connected_multipliers(ins[0], ins[1], y)


def _accepts(graph: Graph, operator: Operator) -> bool:
    if not isinstance(operator.attributes, ops.FullyConnected) or not is_int8(graph, operator):
        return False
    outputs, inputs = graph.ins(operator)[1].shape
    return outputs % 8 == 0 and inputs % 4 == 0 and fits_blocks(*_parts(graph, operator))


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, ins, y = operator.attributes, graph.ins(operator), graph.outs(operator)[0]
    assert isinstance(a, ops.FullyConnected)
    x, w = ins[0], ins[1]
    parameters: dict[str, Value] = {
        "weights": Constant(pack_stream_of_eight(*_parts(graph, operator)), source=w.name),
        "rows": math.prod(x.shape[:-1]),
        "input_size": w.shape[1],
        "output_size": w.shape[0],
        **output_limits(y, a.activation),
    }
    return Call(kernel, operator, parameters, (x.name,), (y.name,))


def _cost(graph: Graph, operator: Operator) -> float:
    """Fitted on the emulated M4."""
    return 1.5 * operator_macs(graph, operator) + 12 * graph.outs(operator)[0].size


KERNELS = (
    Kernel(
        name="fully_connected_s8_dsp_8",
        family="fully_connected_s8",
        source="dsp_8.c",
        accepts=_accepts,
        lower=_lower,
        cost=_cost,
        requires=frozenset({"dsp"}),
        needs=("common.h", "dsp.h"),
    ),
)
