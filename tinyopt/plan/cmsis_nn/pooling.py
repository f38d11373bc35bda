"""arm_avgpool_s8 and arm_max_pool_s8: input and output have one quantization, and windows reach into the image."""

from __future__ import annotations

from functools import partial

from tinyopt.execute.integer.arithmetic import clamp_limits
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.plan.cmsis_nn.target import Target, corner, dims, image, limits, tile
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes

_SIZE = "arm_avgpool_s8_get_buffer_size"
_MAX_WINDOW = 32767
# Cycles for each element of a window and each output, on emulated Cortex-M0, M4 and M55.
_AVERAGE = {"c": (22.0, 162.0), "dsp": (10.0, 28.0), "mve": (1.9, 22.0)}
_MAX = {"c": (63.0, 12.0), "dsp": (7.2, 20.0), "mve": (1.9, 6.3)}
Pool = ops.AveragePool2d | ops.MaxPool2d


def kernels(target: Target) -> tuple[Kernel, ...]:
    """The pooling functions of a library."""
    return (
        *target.kernel(
            "average_pool2d",
            "pool2d",
            "average.c",
            ("arm_avgpool_s8", _SIZE),
            partial(_accepts, ops.AveragePool2d),
            partial(_lower, target),
            partial(_cost, target),
            uses_scratch=True,
        ),
        *target.kernel(
            "max_pool2d",
            "pool2d",
            "max.c",
            ("arm_max_pool_s8",),
            partial(_accepts, ops.MaxPool2d),
            partial(_lower, target),
            partial(_cost, target),
        ),
    )


def _accepts(kind: type[Pool], graph: Graph, operator: Operator) -> bool:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    if not isinstance(a, kind) or not all_dtypes(graph, operator, DType.INT8) or x.is_constant:
        return False
    quantized = x.quantization is not None and x.quantization == y.quantization
    return quantized and x.shape[0] == 1 and a.kernel[0] * a.kernel[1] <= _MAX_WINDOW and _reach(graph, operator)


def _reach(graph: Graph, operator: Operator) -> bool:
    """Whether every window has an element of the image in it: the functions do not define what happens otherwise."""
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, (ops.AveragePool2d, ops.MaxPool2d))
    return all(
        before < kernel and (outputs - 1) * stride - before < size
        for before, kernel, stride, size, outputs in zip(
            corner(a.padding), a.kernel, a.stride, x.shape[1:3], y.shape[1:3]
        )
    )


def _lower(target: Target, graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, (ops.AveragePool2d, ops.MaxPool2d))
    size = target.size(_SIZE, y.shape[2], x.shape[3]) if kernel.uses_scratch else 0
    params: dict[str, Value] = {
        "stride": tile(a.stride),
        "padding": tile(corner(a.padding)),
        "activation": limits(*clamp_limits(a.activation, y)),
    }
    fields: dict[str, Value] = {
        "params": params,
        "input": dims(*image(x)),
        "filter": dims(1, a.kernel[0], a.kernel[1], 1),
        "output": dims(*image(y)),
        "scratch_bytes": size,
    }
    return Call(kernel, operator, fields, (x.name,), (y.name,), size)


def _cost(target: Target, graph: Graph, operator: Operator) -> float:
    a = operator.attributes
    assert isinstance(a, (ops.AveragePool2d, ops.MaxPool2d))
    is_average = isinstance(a, ops.AveragePool2d)
    per_tap, per_output = (_AVERAGE if is_average else _MAX)[target.core]
    return graph.outs(operator)[0].size * (per_tap * a.kernel[0] * a.kernel[1] + per_output)
