"""Copies of whole tensors, and operators whose inputs are all constant."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.strides import byte_strides, merge_axes, merge_padding


def is_plain_copy(graph: Graph, operator: Operator) -> bool:
    """Whether the operator's output holds the input's bytes in the same order."""
    a = operator.attributes
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    if x.nbytes != y.nbytes:
        return False
    if isinstance(a, ops.Transpose):
        strides = byte_strides(x.shape, x.dtype.itemsize)
        return merge_axes(y.shape, [strides[axis] for axis in a.perm], x.dtype.itemsize).is_copy
    if isinstance(a, ops.Slice):
        return all(stride == 1 or size == 1 for stride, size in zip(a.stride, a.size))
    if isinstance(a, ops.Pad):
        return not merge_padding(x.shape, a.before, a.after, 1, constant=True).size
    if isinstance(a, ops.Resize2d):
        return x.shape == y.shape and not (a.align_corners and a.half_pixel_centers)
    return isinstance(a, (ops.Reshape, ops.BroadcastTo)) or (
        isinstance(a, (ops.Concat, ops.Split)) and x.size == y.size
    )


def _accepts_copy(graph: Graph, operator: Operator) -> bool:
    ins = graph.ins(operator)
    return len(ins) == 1 and len(operator.outputs) == 1 and not ins[0].is_constant and is_plain_copy(graph, operator)


def _lower_copy(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    return copy_call(operator, operator.inputs[0], graph.outs(operator)[0])


def _cost_copy(graph: Graph, operator: Operator) -> float:
    return 20 + graph.outs(operator)[0].nbytes / 2


COPY = Kernel("copy_ref", "copy", "ref.c", _accepts_copy, _lower_copy, _cost_copy)


def copy_call(operator: Operator, source: str, output: Tensor) -> Call:
    """A call that copies the tensor ``source`` to ``output``, for ``operator`` or on behalf of the planner."""
    parameters: dict[str, Value] = {"bytes": output.nbytes, "source": None}
    return Call(COPY, operator, parameters, (source,), (output.name,), in_place=((0, 0),), overlaps=((0, 0, 0),))


def _accepts_constant(graph: Graph, operator: Operator) -> bool:
    return len(operator.outputs) == 1 and all(tensor.is_constant for tensor in graph.ins(operator))


def _lower_constant(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    from tinyopt.execute.executor import run_operator

    value = run_operator(graph, operator, [tensor.value for tensor in graph.ins(operator)])[0]
    return constant_call(operator, graph.outs(operator)[0], value)


COPY_CONSTANT = Kernel(
    "copy_constant_ref", "copy", "ref_constant.c", _accepts_constant, _lower_constant, cost=lambda g, o: 0.0
)


def constant_call(operator: Operator, output: Tensor, value: Array) -> Call:
    """A call that writes the array ``value`` to ``output``, for ``operator`` or on behalf of the planner."""
    data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
    parameters: dict[str, Value] = {"bytes": output.nbytes, "source": Constant(data, source=output.name)}
    return Call(COPY_CONSTANT, operator, parameters, (), (output.name,))


KERNELS = (COPY, COPY_CONSTANT)
