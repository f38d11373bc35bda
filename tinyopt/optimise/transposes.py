"""Transpose elimination: transposes move towards the outputs until they meet another one, or a dense layer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.optimise.rewriter import Rewriter

_ELEMENTWISE = (ops.Unary, ops.Clip, ops.Quantize, ops.Dequantize, ops.Cast)


def sink_transposes(graph: Graph) -> Graph:
    """Merge neighbouring transposes, sink them below elementwise operators and concatenations, and put a transpose
    that is only flattened for a dense layer into the order of that layer's weights.

    A transpose that several operators read stays where it is, so that none is computed twice.
    """
    edit = Rewriter(graph)
    for operator in edit.scan():
        a = operator.attributes
        if isinstance(a, ops.FullyConnected):
            _permute_weights(edit, operator)
            continue
        above = [edit.producer(name) for name in operator.inputs]
        first = above[0]
        if isinstance(a, ops.Transpose):
            if first is not None and isinstance(first.attributes, ops.Transpose):
                perm = tuple(first.attributes.perm[axis] for axis in a.perm)
                edit.change(operator, ops.Transpose(perm), first.inputs)
        elif isinstance(a, (*_ELEMENTWISE, ops.Binary, ops.Concat)):
            _sink(edit, operator, above)
    return edit.finish()


def _sink(edit: Rewriter, operator: Operator, above: list[Operator | None]) -> None:
    """op(transpose(x), …) → transpose(op(x, …))."""
    a, y = operator.attributes, edit.outs(operator)[0]
    perms = {o.attributes.perm for o in above if o is not None and isinstance(o.attributes, ops.Transpose)}
    if len(perms) != 1 or (y.quantization is not None and y.quantization.axis is not None):
        return
    (perm,) = perms
    inverse = tuple(int(axis) for axis in np.argsort(perm))
    inputs = []
    for tensor, source in zip(edit.ins(operator), above):
        if source is not None and isinstance(source.attributes, ops.Transpose):
            if not edit.has_one_reader(tensor.name):
                return
            inputs.append(source.inputs[0])
        elif tensor.data is not None and tensor.quantization is None:
            data = _permuted(tensor.data, inverse)
            inputs.append(tensor.name if data is None else edit.constant(f"{tensor.name}_permuted", data))
        elif tensor.data is not None and tensor.size == 1:
            inputs.append(tensor.name)
        else:
            return
    if isinstance(a, ops.Concat):
        a = replace(a, axis=perm[a.axis])
    shape = tuple(y.shape[axis] for axis in inverse)
    middle = edit.activation(f"{y.name}_stored", y, shape=shape)
    edit.substitute(
        operator,
        replace(operator, attributes=a, inputs=tuple(inputs), outputs=(middle,)),
        Operator(f"{operator.name}_transpose", ops.Transpose(perm), (middle,), operator.outputs),
    )


def _permuted(data: Array, inverse: tuple[int, ...]) -> Array | None:
    """A constant that broadcasts in the order before the transpose; None where a scalar needs no change."""
    if data.size == 1:
        return None
    full = data.reshape((1,) * (len(inverse) - data.ndim) + data.shape)
    return np.transpose(full, inverse)


def _permute_weights(edit: Rewriter, layer: Operator) -> None:
    """transpose → flatten → dense: the columns of the weights in the order in which the elements already lie."""
    reshape = edit.producer(layer.inputs[0])
    if reshape is None or not isinstance(reshape.attributes, ops.Reshape):
        return
    transpose = edit.producer(reshape.inputs[0])
    weights = edit.ins(layer)[1]
    if transpose is None or not isinstance(transpose.attributes, ops.Transpose) or not weights.is_constant:
        return
    if weights.quantization is not None and weights.quantization.axis not in (None, 0):
        return
    perm = transpose.attributes.perm
    x, flat = edit.ins(transpose)[0], edit.outs(reshape)[0]
    leading = _whole_rows(x, perm, flat)
    if leading is None or not (edit.has_one_reader(flat.name) and edit.has_one_reader(reshape.inputs[0])):
        return
    # Where element i of a transposed row lies in a stored row.
    stored = np.arange(math.prod(x.shape[leading:])).reshape(x.shape[leading:])
    order = np.transpose(stored, [axis - leading for axis in perm[leading:]]).reshape(-1)
    data = np.empty_like(weights.value)
    data[:, order] = weights.value
    name = edit.constant(f"{weights.name}_permuted", data, weights.quantization)
    edit.change(reshape, reshape.attributes, transpose.inputs)
    edit.change(layer, layer.attributes, (layer.inputs[0], name, *layer.inputs[2:]))


def _whole_rows(x: Tensor, perm: tuple[int, ...], flat: Tensor) -> int | None:
    """How many leading axes the transpose leaves alone, when all others are one row of the dense layer."""
    leading = next((k for k, axis in enumerate(perm) if axis != k), len(perm))
    while leading >= 0 and math.prod(x.shape[leading:]) < flat.shape[-1]:
        leading -= 1
    return leading if leading >= 0 and math.prod(x.shape[leading:]) == flat.shape[-1] else None
