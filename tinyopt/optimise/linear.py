"""Folding of per-channel scales and shifts into the weights and bias of a neighbouring layer (float graphs)."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias, TypeGuard

import numpy as np

from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.optimise.rewriter import Rewriter

Layer: TypeAlias = ops.Conv2d | ops.DepthwiseConv2d | ops.TransposeConv2d | ops.FullyConnected


def is_layer(a: ops.Attributes | None) -> TypeGuard[Layer]:
    """Whether an operator has weights and a bias."""
    return isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d, ops.TransposeConv2d, ops.FullyConnected))


def fold_channel_constants(graph: Graph) -> Graph:
    """Add, Sub, Mul and Div by a constant per channel (or a single one) into the layer before or after."""
    edit = Rewriter(graph)
    for operator in edit.scan():
        a = operator.attributes
        if isinstance(a, ops.Binary) and edit.outs(operator)[0].dtype is DType.FLOAT32:
            affine = _affine(edit, operator, a)
            if affine is not None:
                position, scale, shift = affine
                absorb(edit, operator, operator.inputs[position], scale, shift, a.activation)
    return edit.finish()


def _affine(edit: Rewriter, operator: Operator, a: ops.Binary) -> tuple[int, Array, Array] | None:
    """A Binary with a constant as (position of the variable input, scale [C], shift [C]), float64."""
    ins, y = edit.ins(operator), edit.outs(operator)[0]
    constants = [t.is_constant for t in ins]
    if sum(constants) != 1 or not y.shape:
        return None
    position = constants.index(False)
    x, constant = ins[position], ins[1 - position]
    channels = y.shape[-1]
    if x.shape != y.shape or constant.size not in (1, channels) or constant.size != (constant.shape or (1,))[-1]:
        return None
    c = np.broadcast_to(constant.value.astype(np.float64).reshape(-1), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    if a.op is ops.BinaryKind.ADD:
        return position, ones, c
    if a.op is ops.BinaryKind.MUL:
        return position, c, zeros
    if a.op is ops.BinaryKind.SUB:
        return (0, ones, -c) if position == 0 else (1, -ones, c)
    if a.op is ops.BinaryKind.DIV and position == 0 and (c != 0).all():
        return 0, 1.0 / c, zeros
    return None


def absorb(edit: Rewriter, operator: Operator, source: str, scale: Array, shift: Array, activation: ops.Clamp) -> bool:
    """Replace ``operator``, which computes activation(scale * source + shift), by changing a neighbouring layer.

    ``scale`` and ``shift``: float64 [C]. Into the layer that writes ``source`` when nothing else reads it; else, when
    there is no activation, into the only layer that reads the result. True when it was done.
    """
    layer = edit.producer(source)
    if layer is not None and is_layer(layer.attributes) and edit.has_one_reader(source):
        a = layer.attributes
        parameters = _scaled_outputs(edit, layer, a, scale, shift) if a.activation == ops.NONE else None
        if parameters is not None:
            attributes = replace(a, activation=activation)
            inputs = (layer.inputs[0], *_add_parameters(edit, layer, *parameters))
            changed = replace(layer, attributes=attributes, inputs=inputs, outputs=operator.outputs)
            edit.substitute([layer, operator], changed)
            return True
    result = operator.outputs[0]
    if activation != ops.NONE or not edit.has_one_reader(result):
        return False
    (reader,) = edit.readers(result)
    if not is_layer(reader.attributes) or reader.inputs[0] != result:
        return False
    parameters = _scaled_inputs(edit, reader, reader.attributes, scale, shift)
    if parameters is None:
        return False
    inputs = (source, *_add_parameters(edit, reader, *parameters))
    edit.substitute([operator, reader], replace(reader, inputs=inputs))
    return True


def _parameters(edit: Rewriter, layer: Operator) -> tuple[Array, Array, Tensor] | None:
    """Weights and bias in float64, and the weight tensor; None where they are not float constants."""
    tensors = edit.ins(layer)[1:]
    if any(t.data is None or t.dtype is not DType.FLOAT32 for t in tensors):
        return None
    weights = tensors[0].value.astype(np.float64)
    channels = edit.outs(layer)[0].shape[-1]
    bias = tensors[1].value.astype(np.float64) if len(tensors) > 1 else np.zeros(channels)
    return weights, bias, tensors[0]


def _scaled_outputs(
    edit: Rewriter, layer: Operator, a: Layer, scale: Array, shift: Array
) -> tuple[Array, Array] | None:
    """Parameters of scale * layer + shift."""
    parameters = _parameters(edit, layer)
    if parameters is None:
        return None
    weights, bias, _ = parameters
    if not isinstance(a, ops.DepthwiseConv2d):
        weights = weights * scale.reshape(-1, *[1] * (weights.ndim - 1))
    else:
        weights = weights * scale
    return _representable(weights, bias * scale + shift)


def _scaled_inputs(edit: Rewriter, layer: Operator, a: Layer, scale: Array, shift: Array) -> tuple[Array, Array] | None:
    """Parameters of layer(scale * x + shift); None where the shift does not reach a zero padding."""
    parameters = _parameters(edit, layer)
    if parameters is None:
        return None
    bordered = isinstance(a, ops.TransposeConv2d) or (not isinstance(a, ops.FullyConnected) and a.padding.any)
    if bordered and (shift != 0).any():
        return None
    weights, bias, _ = parameters
    if isinstance(a, ops.DepthwiseConv2d):
        scale, shift = np.repeat(scale, a.multiplier), np.repeat(shift, a.multiplier)
        return _representable(weights * scale, bias + (weights * shift).sum((0, 1, 2)))
    if isinstance(a, ops.Conv2d) and a.groups > 1:
        rows = weights.shape[0] // a.groups
        scale, shift = (np.repeat(v.reshape(a.groups, 1, 1, -1), rows, axis=0) for v in (scale, shift))
    return _representable(weights * scale, bias + (weights * shift).sum(tuple(range(1, weights.ndim))))


def _representable(weights: Array, bias: Array) -> tuple[Array, Array] | None:
    """Both, unless a value is beyond float32."""
    limit = float(np.finfo(np.float32).max)
    return (weights, bias) if np.abs(weights).max() <= limit and np.abs(bias).max() <= limit else None


def _add_parameters(edit: Rewriter, layer: Operator, weights: Array, bias: Array) -> tuple[str, str]:
    stem = layer.inputs[2] if len(layer.inputs) > 2 else f"{layer.name}_bias"
    return (
        edit.constant(f"{layer.inputs[1]}_scaled", weights.astype(np.float32)),
        edit.constant(f"{stem}_scaled", bias.astype(np.float32)),
    )


def matmul_to_fully_connected(graph: Graph) -> Graph:
    """A product with a constant matrix becomes a fully connected layer, which can take a bias and an activation.

    Quantized: when the matrix is int8 with zero point 0, as weights must be.
    """
    edit = Rewriter(graph)
    for operator in edit.scan():
        a = operator.attributes
        if not isinstance(a, ops.MatMul) or a.transpose_a:
            continue
        x, matrix = edit.ins(operator)
        y = edit.outs(operator)[0]
        if x.is_constant or matrix.data is None or matrix.size != matrix.shape[-1] * matrix.shape[-2]:
            continue
        if x.shape[:-1] != y.shape[:-1] or (matrix.dtype is not DType.FLOAT32 and not _is_symmetric(matrix)):
            continue
        weights = matrix.value.reshape(matrix.shape[-2:])
        if not a.transpose_b:
            weights = weights.T
        name = edit.constant(f"{matrix.name}_weights", weights, matrix.quantization)
        edit.change(operator, ops.FullyConnected(), (x.name, name))
    return edit.finish()


def _is_symmetric(matrix: Tensor) -> bool:
    q = matrix.quantization
    return matrix.dtype is DType.INT8 and q is not None and q.axis is None and q.zero_points == (0,)
