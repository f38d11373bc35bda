"""Reshape elimination: operators that only rename axes become reshapes, and neighbouring reshapes become one."""

from __future__ import annotations

from dataclasses import replace

from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.optimise.rewriter import Rewriter


def merge_reshapes(graph: Graph) -> Graph:
    """Write unit-axis transposes, reductions and broadcasts as reshapes, merge chains, sink reshapes below clips."""
    edit = Rewriter(graph)
    for operator in edit.scan():
        if not isinstance(operator.attributes, ops.Reshape) and _is_reshape(edit, operator):
            operator = edit.change(operator, ops.Reshape(edit.outs(operator)[0].shape))
        source = edit.producer(operator.inputs[0])
        if source is None or not isinstance(source.attributes, ops.Reshape):
            continue
        if isinstance(operator.attributes, ops.Reshape):
            edit.change(operator, operator.attributes, source.inputs)
        elif isinstance(operator.attributes, ops.Clip) and edit.has_one_reader(operator.inputs[0]):
            _sink_below_clip(edit, source, operator)
    return edit.finish()


def _is_reshape(edit: Rewriter, operator: Operator) -> bool:
    a, x, y = operator.attributes, edit.ins(operator)[0], edit.outs(operator)[0]
    if len(operator.outputs) != 1 or x.quantization != y.quantization:
        return False
    if isinstance(a, ops.Transpose):
        moved = [axis for axis in a.perm if x.shape[axis] != 1]
        return moved == sorted(moved)
    if isinstance(a, ops.Reduce):
        exact = x.dtype is DType.FLOAT32 or a.op in (ops.ReduceKind.MAX, ops.ReduceKind.MIN)
        return exact and all(x.shape[axis] == 1 for axis in a.axes)
    return isinstance(a, (ops.BroadcastTo, ops.Slice, ops.Resize2d)) and x.size == y.size == 1


def _sink_below_clip(edit: Rewriter, reshape: Operator, clip: Operator) -> None:
    """clip(reshape(x)) → reshape(clip(x)), so that the clip meets the operator that it can be fused with."""
    x, y = edit.ins(reshape)[0], edit.outs(clip)[0]
    middle = edit.activation(f"{x.name}_clipped", y, shape=x.shape)
    edit.substitute(
        [clip, reshape],
        replace(clip, inputs=(x.name,), outputs=(middle,)),
        replace(reshape, inputs=(middle,), outputs=clip.outputs),
    )
