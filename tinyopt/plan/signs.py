"""Signs as bits: exact graph → graph, for layers of -1 and 1 that read signs.

A sign that only convolutions and fully connected layers with weights of -1 and 1 read becomes bits: 32 of them take
four bytes, and one exclusive or makes 32 products. Where the result of such a layer goes through a sign again, nothing
is left of bias, requantization and sign but a threshold for the sum of each channel: so bits go from layer to layer.
Every value that is left in the graph is the same as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from tinyopt.execute.integer.convolution import finish, fully_connected_multipliers, output_multipliers
from tinyopt.execute.integer.signs import pack_signs
from tinyopt.execute.integer.unary import unary_table
from tinyopt.graph import Array, DType, Graph, Operator, Tensor, ops
from tinyopt.optimise.rewriter import Rewriter

Price = Callable[[Graph, Operator], float]
"""Predicted cycles of an operator with its best kernel; infinite where it has none."""

_CHANNELS_AT_ONCE = 64


def with_packed_signs(graph: Graph, price: Price, keep: Collection[str] = (), *, always: bool = False) -> Graph:
    """The graph with signs as bits, if that takes fewer cycles (or in any case: ``always``).

    ``keep``: operators that are left alone.
    """
    flat = _signs_in_front_of_flattening(graph, keep)
    packed = _packed(flat, keep)
    if packed is flat:
        return graph
    packed = _merged(_pooled(packed, keep), keep)
    if always:
        return packed
    before, after = set(graph.operators), set(packed.operators)
    gain = _sum(graph, before - after, price) - _sum(packed, after - before, price)
    return packed if gain >= 0 else graph


def _sum(graph: Graph, operators: Collection[Operator], price: Price) -> float:
    """Reshapes cost nothing."""
    return sum(price(graph, operator) for operator in operators if not isinstance(operator.attributes, ops.Reshape))


# ---- where signs are taken -------------------------------------------------------------------------------------


def _signs_in_front_of_flattening(graph: Graph, keep: Collection[str]) -> Graph:
    """Signs of a flattened image are those of the image, whose channels fill words."""
    edit = Rewriter(graph)
    for sign in edit.scan():
        if sign.name in keep or not _is_sign(edit, sign):
            continue
        row = sign.inputs[0]
        reshape = edit.producer(row)
        if reshape is None or not isinstance(reshape.attributes, ops.Reshape) or not edit.has_one_reader(row):
            continue
        (image,), (y,) = edit.ins(reshape), edit.outs(sign)
        if len(image.shape) != 4 or y.shape != (1, image.size):
            continue
        signs = edit.activation(f"{y.name}/image", y, shape=image.shape)
        edit.substitute(
            [reshape, sign],
            Operator(sign.name, sign.attributes, (image.name,), (signs,)),
            Operator(reshape.name, reshape.attributes, (signs,), (y.name,)),
        )
    return edit.finish()


# ---- from int8 signs to bits -----------------------------------------------------------------------------------


def _packed(graph: Graph, keep: Collection[str]) -> Graph:
    edit = Rewriter(graph)
    for sign in edit.scan():
        if sign.name in keep or not _is_sign(edit, sign):
            continue
        layers = _layers_behind(edit, sign, keep)
        if layers:
            _pack(edit, sign, layers)
    return edit.finish()


def _is_sign(edit: Rewriter, operator: Operator) -> bool:
    """Whether an operator makes the int8 values -1 and 1, with real zero for positive."""
    a = operator.attributes
    if not (isinstance(a, ops.Unary) and a.op is ops.UnaryKind.SIGN):
        return False
    (x,), (y,) = edit.ins(operator), edit.outs(operator)
    if x.is_constant or any(t.dtype is not DType.INT8 or t.quantization is None for t in (x, y)) or y.zero_point != 0:
        return False
    assert x.quantization is not None and y.quantization is not None
    signs = np.where(np.arange(-128, 128) >= x.zero_point, 1, -1)
    return bool(np.array_equal(unary_table(a, x.quantization, y.quantization), signs))


def _layers_behind(edit: Rewriter, sign: Operator, keep: Collection[str]) -> list[tuple[Operator, Operator | None]]:
    """Every layer that reads a sign, and the reshape in between, if any; empty where not all can read bits."""
    y = edit.outs(sign)[0]
    found: list[tuple[Operator, Operator | None]] = []
    for reader in edit.readers(y.name):
        if isinstance(reader.attributes, ops.Reshape) and _flattens(edit, reader):
            found += [(layer, reader) for layer in edit.readers(reader.outputs[0])]
        else:
            found.append((reader, None))
    fit = found and y.name not in edit.kept
    return found if fit and all(layer.name not in keep and _reads_bits(edit, layer) for layer, _ in found) else []


def _flattens(edit: Rewriter, reshape: Operator) -> bool:
    """Whether an image [1,H,W,C] becomes a row [1,H*W*C] that only fully connected layers read."""
    (x,), (y,) = edit.ins(reshape), edit.outs(reshape)
    readers = edit.readers(y.name)
    dense = bool(readers) and all(isinstance(reader.attributes, ops.FullyConnected) for reader in readers)
    return len(x.shape) == 4 and x.shape[0] == 1 and y.shape == (1, x.size) and dense and y.name not in edit.kept


def _reads_bits(edit: Rewriter, layer: Operator) -> bool:
    a = layer.attributes
    if not isinstance(a, (ops.Conv2d, ops.FullyConnected)) or (isinstance(a, ops.Conv2d) and a.groups != 1):
        return False
    x, w, *bias = edit.ins(layer)
    y = edit.outs(layer)[0]
    if any(not t.is_constant for t in (w, *bias)) or w.dtype is not DType.INT8 or y.dtype is not DType.INT8:
        return False
    if isinstance(a, ops.FullyConnected) and not _scales_agree(x, w, y):
        return False
    return bool((np.abs(w.value) == 1).all())


def _scales_agree(x: Tensor, w: Tensor, y: Tensor) -> bool:
    """Whether a fully connected layer rounds its multipliers as a convolution does."""
    pairs = zip(fully_connected_multipliers(x, w, y), output_multipliers(x, w, y))
    return all(np.array_equal(one, two) for one, two in pairs)


def _pack(edit: Rewriter, sign: Operator, layers: Sequence[tuple[Operator, Operator | None]]) -> None:
    y = edit.outs(sign)[0]
    words = -(-y.shape[-1] // 32)
    bits = edit.activation(f"{y.name}/bits", y, shape=(*y.shape[:-1], words), dtype=DType.INT32)
    edit.substitute(sign, Operator(sign.name, ops.PackSigns(), sign.inputs, (bits,)))
    for layer, reshape in layers:
        if isinstance(layer.attributes, ops.Conv2d):
            _convolution(edit, layer, bits)
        else:
            _connected(edit, layer, bits, y if reshape is not None else None)
    for _, reshape in layers:
        if reshape is not None and edit.producer(reshape.outputs[0]) is not None:
            edit.substitute(reshape)


def _convolution(edit: Rewriter, layer: Operator, bits: str) -> None:
    a = layer.attributes
    assert isinstance(a, ops.Conv2d)
    x, w = edit.ins(layer)[:2]
    attributes = ops.XnorConv2d(x.shape[3], a.stride, a.padding, a.dilation, a.activation)
    inputs = (bits, *_constants(edit, layer, w.value))
    edit.substitute(layer, Operator(layer.name, attributes, inputs, layer.outputs))


def _connected(edit: Rewriter, layer: Operator, bits: str, image: Tensor | None) -> None:
    """A fully connected layer is a convolution: of the whole ``image`` that was flattened, or of a pixel per row."""
    a, w, y = layer.attributes, edit.ins(layer)[1], edit.outs(layer)[0]
    assert isinstance(a, ops.FullyConnected)
    packed = edit.tensor(bits)
    before = []
    if image is not None:
        kernel, channels = w.value.reshape(w.shape[0], *image.shape[1:]), image.shape[3]
    else:
        kernel, channels = w.value.reshape(w.shape[0], 1, 1, -1), w.shape[1]
        shape = (math.prod(packed.shape[:-1]), 1, 1, packed.shape[-1])
        pixels = edit.activation(f"{layer.name}/pixels", packed, shape=shape)
        before.append(Operator(f"{layer.name}/pixels", ops.Reshape(shape), (bits,), (pixels,)))
        bits = pixels
    rows = (edit.tensor(bits).shape[0], 1, 1, w.shape[0])
    sums = edit.activation(f"{layer.name}/rows", y, shape=rows)
    attributes = ops.XnorConv2d(channels, activation=a.activation)
    edit.substitute(
        layer,
        *before,
        Operator(layer.name, attributes, (bits, *_constants(edit, layer, kernel)), (sums,)),
        Operator(f"{layer.name}/output", ops.Reshape(y.shape), (sums,), layer.outputs),
    )


def _constants(edit: Rewriter, layer: Operator, weights: Array) -> tuple[str, str]:
    """Packed weights and bias. ``weights``: [O,KH,KW,C]."""
    _, w, *bias = edit.ins(layer)
    packed = edit.constant(f"{w.name}/bits", pack_signs(weights > 0), w.quantization)
    if bias:
        return packed, bias[0].name
    return packed, edit.constant(f"{layer.name}/bias", np.zeros(weights.shape[0], np.int32))


# ---- maxima of signs -------------------------------------------------------------------------------------------


def _pooled(graph: Graph, keep: Collection[str]) -> Graph:
    """The sign of a maximum is the maximum of signs, so layers in front of a max-pooling can give signs themselves."""
    edit = Rewriter(graph)
    for sign in edit.scan():
        if not isinstance(sign.attributes, ops.PackSigns) or sign.name in keep:
            continue
        pool = edit.producer(sign.inputs[0])
        if pool is None or pool.name in keep or not edit.has_one_reader(sign.inputs[0]):
            continue
        a = pool.attributes
        if not isinstance(a, ops.MaxPool2d) or a.activation != ops.NONE:
            continue
        layer = edit.producer(pool.inputs[0])
        merges = layer is not None and isinstance(layer.attributes, ops.XnorConv2d) and not layer.attributes.packed
        if not merges or not edit.has_one_reader(pool.inputs[0]):
            continue
        (x,), (bits,) = edit.ins(pool), edit.outs(sign)
        before = edit.activation(f"{x.name}/bits", bits, shape=(*x.shape[:-1], bits.shape[-1]))
        edit.substitute(
            [pool, sign],
            Operator(sign.name, sign.attributes, (x.name,), (before,)),
            Operator(pool.name, ops.OrPool2d(a.kernel, a.stride, a.padding), (before,), sign.outputs),
        )
    return edit.finish()


# ---- from a sum to the next sign -------------------------------------------------------------------------------


def _merged(graph: Graph, keep: Collection[str]) -> Graph:
    """Layers whose results only become signs give those signs themselves."""
    edit = Rewriter(graph)
    for sign in edit.scan():
        if not isinstance(sign.attributes, ops.PackSigns) or sign.name in keep:
            continue
        source, reshape = sign.inputs[0], None
        if not edit.has_one_reader(source):
            continue
        producer = edit.producer(source)
        if producer is not None and isinstance(producer.attributes, ops.Reshape):
            x, y = edit.ins(producer)[0], edit.outs(producer)[0]
            if x.shape[-1:] != y.shape[-1:] or not edit.has_one_reader(x.name):
                continue
            reshape, producer = producer, edit.producer(x.name)
        if producer is None or not isinstance(producer.attributes, ops.XnorConv2d) or producer.attributes.packed:
            continue
        thresholds = _thresholds(edit, producer)
        if thresholds is None:
            continue
        _merge(edit, producer, reshape, sign, thresholds)
    return edit.finish()


def _thresholds(edit: Rewriter, layer: Operator) -> Array | None:
    """The least sum of each channel whose result is not negative, int32 [O]; None where results do not rise with sums
    (because they wrap)."""
    a, ins, y = layer.attributes, edit.ins(layer), edit.outs(layer)[0]
    assert isinstance(a, ops.XnorConv2d)
    x, w, bias = ins
    largest = a.channels * w.shape[1] * w.shape[2]
    sums = np.arange(-largest, largest + 1, dtype=np.int64)
    multipliers, shifts = (np.broadcast_to(part, w.shape[:1]) for part in output_multipliers(x, w, y))
    found = []
    for first in range(0, w.shape[0], _CHANNELS_AT_ONCE):
        part = slice(first, first + _CHANNELS_AT_ONCE)
        some = np.repeat(sums[:, None], len(multipliers[part]), axis=1)
        arrays = (some, w.value, bias.value[part])
        results = finish(some, arrays, ins, y, (multipliers[part], shifts[part]), a.activation)
        positive = results >= y.zero_point
        if (positive[:-1] & ~positive[1:]).any():
            return None
        found.append(largest + 1 - positive.sum(axis=0))
    return np.concatenate(found).astype(np.int32)


def _merge(edit: Rewriter, layer: Operator, reshape: Operator | None, sign: Operator, thresholds: Array) -> None:
    assert isinstance(layer.attributes, ops.XnorConv2d)
    bits = edit.outs(sign)[0]
    third = edit.constant(f"{layer.name}/thresholds", thresholds)
    attributes = replace(layer.attributes, activation=ops.NONE, packed=True)
    inputs = (*layer.inputs[:2], third)
    if reshape is None:
        edit.substitute([layer, sign], Operator(layer.name, attributes, inputs, sign.outputs))
        return
    shape = (*edit.outs(layer)[0].shape[:-1], bits.shape[-1])
    whole = edit.activation(f"{layer.name}/bits", bits, shape=shape)
    edit.substitute(
        [layer, reshape, sign],
        Operator(layer.name, attributes, inputs, (whole,)),
        Operator(sign.name, ops.Reshape(bits.shape), (whole,), sign.outputs),
    )


__all__ = ["with_packed_signs"]
