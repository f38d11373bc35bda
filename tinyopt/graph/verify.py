"""The rules that every graph keeps: names, order, shapes, element types, finite constants, quantization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.graph import ops
from tinyopt.graph.operator import Operator, State
from tinyopt.graph.shapes import infer_shapes
from tinyopt.graph.types import DType, Tensor

_BIASED = (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected)
_MOVES = (ops.Reshape, ops.Transpose, ops.BroadcastTo, ops.Split, ops.Slice, ops.Pad, ops.MaxPool2d, ops.Resize2d)
_SIGNS = "the input must be quantized int8, the output int32 with a scale"
_MOVED = "input and output must have the same quantization (insert a Quantize to change it)"


def verify(
    graph: str,
    tensors: Mapping[str, Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str],
    outputs: Sequence[str],
    states: Sequence[State],
) -> None:
    """Check all parts of a graph; ``graph`` is its name.

    Raises:
        GraphError: with the name of the operator and tensor that break a rule.
    """
    known = {*inputs, *(state.read for state in states)}
    for name in (*inputs, *outputs):
        if name not in tensors:
            raise GraphError(f"graph '{graph}' lists '{name}' as input or output but has no such tensor")
    for name in inputs:
        if tensors[name].is_constant:
            raise GraphError(f"input '{name}' of graph '{graph}' is a constant")
    if len(set(inputs)) != len(inputs):
        raise GraphError(f"graph '{graph}' lists an input twice")
    if not outputs:
        raise GraphError(f"graph '{graph}' has no output")
    for key, tensor in tensors.items():
        if key != tensor.name:
            raise GraphError(f"tensor '{tensor.name}' is filed under the name '{key}'")
        if tensor.data is not None:
            known.add(key)
            if tensor.dtype is DType.FLOAT32 and not np.isfinite(tensor.data).all():
                bad = int(np.size(tensor.data) - np.isfinite(tensor.data).sum())
                raise GraphError(f"constant '{key}' holds {bad} NaN or infinite value(s); the model file is damaged")
        elif tensor.quantization is not None and tensor.quantization.axis is not None:
            raise GraphError(f"'{key}' has one scale per channel, which only constants may have")
    for operator in operators:
        _verify_operator(operator, tensors, known)
    for name in outputs:
        if name not in known:
            raise GraphError(f"nothing produces the output '{name}'")
    _verify_states(graph, tensors, set(inputs), states, known)


def _verify_operator(operator: Operator, tensors: Mapping[str, Tensor], known: set[str]) -> None:
    where = f"operator '{operator.name}' ({operator.kind})"
    for name in (*operator.inputs, *operator.outputs):
        if name not in tensors:
            raise GraphError(f"{where} names the tensor '{name}', which does not exist")
    for name in operator.inputs:
        if name not in known:
            raise GraphError(f"{where} reads '{name}' before anything has written it")
    inputs = tuple(tensors[name] for name in operator.inputs)
    outputs = tuple(tensors[name] for name in operator.outputs)
    try:
        shapes = infer_shapes(operator.attributes, [t.shape for t in inputs])
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None
    if len(shapes) != len(outputs):
        raise GraphError(f"{where} has {len(outputs)} outputs, needs {len(shapes)}")
    for tensor, shape in zip(outputs, shapes):
        if tensor.name in known:
            raise GraphError(f"{where} writes '{tensor.name}', which already has a value")
        if tensor.shape != shape:
            raise GraphError(f"{where} makes {list(shape)} but '{tensor.name}' is declared {list(tensor.shape)}")
        known.add(tensor.name)
    reason = _dtype_problem(operator.attributes, inputs, outputs)
    if reason:
        raise GraphError(f"{where}: {reason}")


def _dtype_problem(attributes: ops.Attributes, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> str | None:
    x, y = inputs[0], outputs[0]
    if isinstance(attributes, _BIASED):
        return _biased_problem(attributes, inputs, y)
    if isinstance(attributes, ops.PackSigns):
        signs = y.dtype is DType.INT32 and y.quantization is not None
        return None if x.dtype is DType.INT8 and x.quantization is not None and signs else _SIGNS
    if isinstance(attributes, ops.XnorConv2d):
        return _xnor_problem(attributes, inputs, y)
    if isinstance(attributes, ops.OrPool2d):
        packed = x.dtype is y.dtype is DType.INT32 and x.quantization is not None
        return None if packed and x.quantization == y.quantization else "packed signs are int32, with one scale"
    if isinstance(attributes, ops.DynamicRange):
        return _dynamic_problem(attributes, inputs, y)
    if isinstance(attributes, ops.Quantize):
        if x.dtype is not DType.FLOAT32 and x.quantization is None:
            return f"the input must be float32 or quantized, '{x.name}' is plain {x.dtype.value}"
        return None if y.quantization is not None and y.dtype.is_integer else "the output must be quantized"
    if isinstance(attributes, ops.Dequantize):
        if y.dtype is not DType.FLOAT32:
            return "the output must be float32"
        return None if x.quantization is not None else "the input must be quantized"
    if isinstance(attributes, ops.Cast):
        return None if y.dtype.value == attributes.dtype else f"the output must be {attributes.dtype}"
    if isinstance(attributes, ops.ArgMax):
        return None if y.dtype.value == attributes.dtype else f"the output must be {attributes.dtype}"
    if isinstance(attributes, ops.Gather):
        if inputs[1].dtype not in (DType.INT32, DType.INT64):
            return "the indices must be int32 or int64"
        if inputs[1].data is not None:
            extent = x.shape[attributes.axis]
            if inputs[1].data.size and not (inputs[1].data.min() >= 0 and inputs[1].data.max() < extent):
                return f"an index is outside 0..{extent - 1}"
        if x.dtype is not y.dtype:
            return f"input is {x.dtype.value} but output is {y.dtype.value}"
        return None if x.quantization == y.quantization else _MOVED
    if isinstance(attributes, (ops.Lstm, ops.Gru)):
        return _recurrent_problem(attributes, inputs, outputs)
    for tensor in (*inputs[1:], *outputs):
        if tensor.dtype is not x.dtype:
            return f"'{x.name}' is {x.dtype.value} but '{tensor.name}' is {tensor.dtype.value}"
    if isinstance(attributes, _MOVES) and x.quantization != y.quantization:
        return _MOVED
    if any((t.quantization is None) != (x.quantization is None) for t in (*inputs[1:], *outputs)):
        return "either all tensors are quantized or none"
    return None


def _xnor_problem(attributes: ops.XnorConv2d, inputs: tuple[Tensor, ...], y: Tensor) -> str | None:
    if any(t.dtype is not DType.INT32 for t in inputs) or any(t.quantization is None for t in (*inputs[:2], y)):
        return "packed signs, weights and thresholds are int32, with scales for input, weights and output"
    if inputs[1].quantization is not None and inputs[1].quantization.axis not in (None, 0):
        return "per-channel scales of packed weights belong to axis 0"
    if y.dtype is not (DType.INT32 if attributes.packed else DType.INT8):
        return f"the output must be {'int32' if attributes.packed else 'int8'}"
    return None


def _dynamic_problem(attributes: ops.DynamicRange, inputs: tuple[Tensor, ...], y: Tensor) -> str | None:
    x, w = inputs[:2]
    if any(t.dtype is not DType.FLOAT32 for t in (x, *inputs[2:], y)):
        return "input, bias and output of a layer with a run-time range are float32"
    if w.dtype is not DType.INT8 or w.quantization is None or not w.is_constant:
        return "the weights of a layer with a run-time range are int8 constants with scales"
    return _weights_problem(attributes.layer, w)


def _weights_problem(layer: ops.Attributes, w: Tensor) -> str | None:
    """Weights are symmetric, with one scale or one per output channel."""
    assert w.quantization is not None
    if any(w.quantization.zero_points):
        return "the weights must be symmetric (zero point 0)"
    axis = 3 if isinstance(layer, ops.DepthwiseConv2d) else 0
    if w.quantization.axis not in (None, axis):
        return f"weights have scales along axis {w.quantization.axis}; per-channel scales belong to axis {axis}"
    return None


def _biased_problem(attributes: ops.Attributes, inputs: tuple[Tensor, ...], y: Tensor) -> str | None:
    x, w = inputs[0], inputs[1]
    if x.dtype is not y.dtype:
        return f"input is {x.dtype.value} but output is {y.dtype.value}"
    if x.dtype is DType.FLOAT32:
        if any(t.dtype is not DType.FLOAT32 for t in inputs):
            return "a float operator needs float weights and bias"
        return None
    if x.dtype not in (DType.INT8, DType.INT16) or w.dtype is not DType.INT8:
        return f"{x.dtype.value} input with {w.dtype.value} weights is not a supported combination"
    if x.quantization is None or w.quantization is None or y.quantization is None:
        return "an integer operator needs quantization parameters on input, weights and output"
    problem = _weights_problem(attributes, w)
    if problem:
        return problem
    if len(inputs) > 2:
        wanted = (DType.INT32,) if x.dtype is DType.INT8 else (DType.INT32, DType.INT64)
        if inputs[2].dtype not in wanted:
            return f"the bias of an {x.dtype.value} operator must be {wanted[-1].value}, got {inputs[2].dtype.value}"
    return None


def _recurrent_problem(
    attributes: ops.Lstm | ops.Gru, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> str | None:
    x, y = inputs[0], outputs[0]
    lstm = isinstance(attributes, ops.Lstm)
    if x.dtype is DType.FLOAT32:
        wrong = [t for t in (*inputs, *outputs) if t.dtype is not DType.FLOAT32]
        if wrong:
            return f"'{wrong[0].name}' is {wrong[0].dtype.value}, but a float layer needs float tensors"
        return None
    biases, states = inputs[3 : 4 if lstm else 5], inputs[4 if lstm else 5 :]
    wanted = [(t, DType.INT8) for t in (x, *inputs[1:3], y)] + [(t, DType.INT32) for t in biases]
    state_types = (DType.INT8, DType.INT16) if lstm else (DType.INT16,)
    wanted += [(t, kind) for group in (states, outputs[1:]) for t, kind in zip(group, state_types)]
    for tensor, kind in wanted:
        if tensor.dtype is not kind or (kind is not DType.INT32 and tensor.quantization is None):
            return f"'{tensor.name}' must be quantized {kind.value} in a quantized recurrent layer"
    for tensor in inputs[1:3]:
        if (
            tensor.quantization is None
            or any(tensor.quantization.zero_points)
            or tensor.quantization.axis not in (None, 0)
        ):
            return f"the weights '{tensor.name}' must be symmetric, per tensor or per row"
    exponent = -15
    if isinstance(attributes, ops.Lstm):
        if attributes.quantization is None or not -20 <= attributes.quantization.cell_exponent <= 2:
            return "an int8 LSTM needs a quantization with a cell exponent from -20 to 2"
        exponent = attributes.quantization.cell_exponent
        if states[0].quantization != y.quantization or outputs[1].quantization != y.quantization:
            return "the hidden state must have the quantization of the output"
    for tensor in (states[-1], outputs[-1]):
        if (tensor.scale, tensor.zero_point) != (2.0**exponent, 0):
            return f"the state '{tensor.name}' must have scale 2**{exponent} and zero point 0"
    return None


def _verify_states(
    graph: str, tensors: Mapping[str, Tensor], inputs: set[str], states: Sequence[State], known: set[str]
) -> None:
    reads = [state.read for state in states]
    if len(set(reads)) != len(reads) or set(reads) & inputs:
        raise GraphError(f"two states of graph '{graph}' share the tensor they are read from")
    for state in states:
        for name in (state.read, state.write):
            if name not in tensors or name not in known:
                raise GraphError(f"state '{state.name}' uses the tensor '{name}', which nothing produces")
        read, write = tensors[state.read], tensors[state.write]
        if read.is_constant:
            raise GraphError(f"state '{state.name}' is read from the constant '{state.read}'")
        if (read.shape, read.dtype) != (write.shape, write.dtype) or read.quantization != write.quantization:
            raise GraphError(f"state '{state.name}' is read and written with different types")
        if tuple(state.initial.shape) != read.shape or state.initial.dtype != read.dtype.numpy:
            raise GraphError(f"state '{state.name}' starts with a value of the wrong type")
