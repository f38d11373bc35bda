"""Which operators of a float graph become integer operators."""

from __future__ import annotations

from tinyopt.execute.integer import integer_functions
from tinyopt.execute.integer.normalisation import MAX_DEPTH as LAYER_NORM_DEPTH
from tinyopt.execute.integer.softmax import MAX_DEPTH as SOFTMAX_DEPTH
from tinyopt.graph import DType, Graph, Operator, ops

_COMPUTE = (
    ops.Conv2d,
    ops.DepthwiseConv2d,
    ops.TransposeConv2d,
    ops.FullyConnected,
    ops.MatMul,
    ops.Binary,
    ops.Unary,
    ops.Clip,
    ops.Prelu,
    ops.LayerNorm,
    ops.MaxPool2d,
    ops.AveragePool2d,
    ops.Reduce,
    ops.Softmax,
    ops.LogSoftmax,
    ops.Lstm,
    ops.Gru,
)
_MOVE = (
    ops.Reshape,
    ops.Transpose,
    ops.BroadcastTo,
    ops.Concat,
    ops.Split,
    ops.Slice,
    ops.Pad,
    ops.Gather,
    ops.Resize2d,
    ops.ArgMax,
)
"""These follow their input: moving float data through int8 would only lose precision."""


_WIDE = (
    ops.Conv2d,
    ops.DepthwiseConv2d,
    ops.TransposeConv2d,
    ops.FullyConnected,
    ops.MatMul,
    ops.Clip,
    ops.MaxPool2d,
    ops.AveragePool2d,
    ops.Softmax,
    ops.Reshape,
    ops.Transpose,
    ops.BroadcastTo,
    ops.Concat,
    ops.Split,
    ops.Slice,
    ops.Pad,
    ops.Gather,
)
"""What TensorFlow Lite Micro computes on int16 activations; of others it does so for some kinds."""
_WIDE_KINDS = (
    *(ops.BinaryKind.ADD, ops.BinaryKind.SUB, ops.BinaryKind.MUL, ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM),
    *(ops.UnaryKind.LOGISTIC, ops.UnaryKind.TANH, ops.UnaryKind.LEAKY_RELU, ops.UnaryKind.ABS),
    *(ops.ReduceKind.MEAN, ops.ReduceKind.SUM),
)


def integer_operators(graph: Graph, *, int8_edges: bool, dtype: DType = DType.INT8) -> tuple[list[Operator], list[str]]:
    """The operators that become integer, in order, and a note for each computation that stays in float32.

    ``int8_edges``: whether the inputs of the graph arrive as integers. ``dtype``: of the activations, int8 or int16.
    """
    chosen: list[Operator] = []
    notes: list[str] = []
    integer: set[str] = {state.read for state in graph.states}
    if int8_edges:
        integer.update(graph.inputs)
    for operator in graph.operators:
        reason = _obstacle(graph, operator)
        if reason is None and dtype is DType.INT16 and not _has_int16(operator):
            reason = "it has no int16 form"
        if reason is None and isinstance(operator.attributes, _MOVE):
            sources = [t for t in graph.ins(operator) if t.dtype is DType.FLOAT32]
            if not any(t.is_constant or t.name in integer for t in sources):
                continue
        if reason is None:
            chosen.append(operator)
            integer.update(operator.outputs)
        elif reason:
            notes.append(f"'{operator.name}' ({operator.kind}) stays in float32: {reason}")
    return chosen, notes


def _has_int16(operator: Operator) -> bool:
    return isinstance(operator.attributes, _WIDE) or getattr(operator.attributes, "op", None) in _WIDE_KINDS


def _obstacle(graph: Graph, operator: Operator) -> str | None:
    """Why an operator cannot become integer: None when it can, an empty text where there is nothing to convert."""
    a, ins = operator.attributes, graph.ins(operator)
    if not any(t.dtype is DType.FLOAT32 for t in (*ins, *graph.outs(operator))):
        return ""
    if not isinstance(a, (*_COMPUTE, *_MOVE)) or type(a) not in integer_functions():
        return "it has no int8 form"
    parameters = ins[1:3]
    if isinstance(a, (ops.Lstm, ops.Gru)):
        parameters = ins[1 : 4 if isinstance(a, ops.Lstm) else 5]
    elif not isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected, ops.LayerNorm)):
        parameters = ()
    for tensor in parameters:
        if not tensor.is_constant:
            return f"its parameter '{tensor.name}' is computed, and must be constant for int8"
    if ins[0].is_constant and not isinstance(a, (ops.Gather, ops.Binary, ops.Concat, ops.MatMul)):
        return "" if isinstance(a, _MOVE) else f"its input '{ins[0].name}' is constant"
    if isinstance(a, (ops.Softmax, ops.LogSoftmax)) and ins[0].shape[-1] > SOFTMAX_DEPTH:
        return f"int8 handles at most {SOFTMAX_DEPTH} classes"
    if isinstance(a, ops.LayerNorm) and ins[0].shape[-1] > LAYER_NORM_DEPTH:
        return f"int8 normalises at most {LAYER_NORM_DEPTH} values"
    return None
