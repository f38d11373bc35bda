"""Removal of operators that return their input as it is."""

from __future__ import annotations

from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.graph.shapes import broadcast
from tinyopt.optimise.evaluate import has_few_values, is_identity
from tinyopt.optimise.rewriter import Rewriter


def remove_identities(graph: Graph) -> Graph:
    """Bypass identity reshapes, transposes, slices, pads, splits, concats, clips, quantizations, pools and the like."""
    edit = Rewriter(graph)
    for operator in edit.scan():
        ins, outs = edit.ins(operator), edit.outs(operator)
        a, x, y = operator.attributes, ins[0], outs[0]
        if isinstance(a, ops.Binary) and any(isinstance(_written_by(edit, t), ops.BroadcastTo) for t in ins):
            _drop_broadcasts(edit, operator)
        elif len(outs) == 1 and _same_type(x, y) and _returns_input(edit, operator):
            edit.bypass(operator)
    return edit.finish()


def _same_type(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape and x.dtype is y.dtype and x.quantization == y.quantization


def _returns_input(edit: Rewriter, operator: Operator) -> bool:
    """For an operator whose output has the type of its first input."""
    a, x, y = operator.attributes, edit.ins(operator)[0], edit.outs(operator)[0]
    if isinstance(a, (ops.Reshape, ops.BroadcastTo, ops.Split, ops.Pad, ops.Cast)):
        return True
    if isinstance(a, ops.Concat):
        return len(operator.inputs) == 1
    if isinstance(a, ops.Slice):
        return all(stride == 1 for stride, size in zip(a.stride, a.size) if size > 1)
    if isinstance(a, ops.Transpose):
        return a.perm == tuple(range(len(a.perm)))
    if isinstance(a, ops.Quantize):
        return x.dtype is not DType.FLOAT32 and (not has_few_values(x) or is_identity(a, x, y))
    if isinstance(a, ops.Resize2d):
        return a.method is ops.ResizeMethod.NEAREST
    if isinstance(a, (ops.MaxPool2d, ops.AveragePool2d)):
        return a.kernel == (1, 1) and not a.padding.any and a.activation == ops.NONE
    if isinstance(a, ops.Reduce):
        return x.dtype is DType.FLOAT32 or a.op in (ops.ReduceKind.MAX, ops.ReduceKind.MIN)
    if isinstance(a, ops.Binary):
        return a.activation == ops.NONE and _is_neutral(a.op, edit.ins(operator)[1])
    if isinstance(a, ops.Clip):
        return a.clamp == ops.NONE or is_identity(a, x, y) or _is_clamped_before(edit, a.clamp, x)
    return False


_NEUTRAL = {ops.BinaryKind.ADD: 0, ops.BinaryKind.SUB: 0, ops.BinaryKind.MUL: 1, ops.BinaryKind.DIV: 1}


def _is_neutral(op: ops.BinaryKind, second: Tensor) -> bool:
    """Whether ``x op second`` is x, for floats."""
    if second.dtype is not DType.FLOAT32 or second.data is None or op not in _NEUTRAL:
        return False
    return bool((second.data == _NEUTRAL[op]).all())


def _written_by(edit: Rewriter, tensor: Tensor) -> ops.Attributes | None:
    producer = edit.producer(tensor.name)
    return None if producer is None else producer.attributes


_BOUNDED = {
    ops.UnaryKind.LOGISTIC: (0.0, 1.0),
    ops.UnaryKind.TANH: (-1.0, 1.0),
    ops.UnaryKind.HARD_SIGMOID: (0.0, 1.0),
    ops.UnaryKind.ABS: (0.0, None),
    ops.UnaryKind.SQUARE: (0.0, None),
    ops.UnaryKind.SQRT: (0.0, None),
    ops.UnaryKind.EXP: (0.0, None),
}


def value_bounds(edit: Rewriter, tensor: Tensor) -> tuple[float | None, float | None]:
    """Real limits that the producer of a float tensor guarantees; None is unbounded."""
    producer = edit.producer(tensor.name)
    if producer is None:
        return None, None
    a = producer.attributes
    if isinstance(a, (ops.Reshape, ops.Transpose, ops.Slice, ops.Split, ops.BroadcastTo)):
        return value_bounds(edit, edit.tensor(producer.inputs[0]))
    if isinstance(a, ops.Softmax):
        return 0.0, None
    if isinstance(a, ops.Unary):
        return _BOUNDED.get(a.op, (None, None))
    clamp = a.clamp if isinstance(a, ops.Clip) else getattr(a, "activation", ops.NONE)
    return clamp.low, clamp.high


def _is_clamped_before(edit: Rewriter, clamp: ops.Clamp, x: Tensor) -> bool:
    if x.dtype is not DType.FLOAT32:
        return False
    low, high = value_bounds(edit, x)
    return (clamp.low is None or (low is not None and low >= clamp.low)) and (
        clamp.high is None or (high is not None and high <= clamp.high)
    )


def _drop_broadcasts(edit: Rewriter, operator: Operator) -> None:
    """Let an elementwise operator broadcast by itself where its output keeps its shape."""
    for name in operator.inputs:
        source = edit.producer(name)
        if source is None or not isinstance(source.attributes, ops.BroadcastTo):
            continue
        inputs = tuple(source.inputs[0] if n == name else n for n in operator.inputs)
        shapes = [edit.tensor(n).shape for n in inputs]
        if broadcast(*shapes) == edit.outs(operator)[0].shape:
            operator = edit.change(operator, operator.attributes, inputs)
