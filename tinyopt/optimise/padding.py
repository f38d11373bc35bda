"""Padding fusion: a Pad of the image becomes the padding of the convolution or pooling that reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyopt.errors import GraphError
from tinyopt.execute.integer.movement import pad_value
from tinyopt.graph import DType, Graph, Operator, infer_shapes, ops
from tinyopt.optimise.identities import value_bounds
from tinyopt.optimise.rewriter import Rewriter


def fuse_padding(graph: Graph) -> Graph:
    """Merge neighbouring constant Pads, and constant Pads of height and width into their readers.

    Into a convolution when the padding is real zero; into a max pooling when no element of the image is smaller.
    Average pooling counts a Pad's elements but not its own padding, so that these stay apart.
    """
    edit = Rewriter(graph)
    for operator in edit.scan():
        pad = edit.producer(operator.inputs[0])
        if pad is None or not isinstance(pad.attributes, ops.Pad) or pad.attributes.mode is not ops.PadMode.CONSTANT:
            continue
        a = operator.attributes
        if isinstance(a, ops.Pad):
            _merge_pads(edit, pad, operator, a)
        elif isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d, ops.MaxPool2d)) and _is_exact(
            edit, pad.attributes, a, pad
        ):
            _fuse(edit, pad, operator, a)
    return edit.finish()


def _is_exact(edit: Rewriter, a: ops.Pad, reader: ops.Attributes, pad: Operator) -> bool:
    """Whether the elements that the Pad writes act in the reader as its own padding does."""
    (x,) = edit.ins(pad)
    if not isinstance(reader, ops.MaxPool2d):
        return bool(pad_value(a, x).item() == (0 if x.quantization is None else x.zero_point))
    if x.dtype is DType.FLOAT32:
        if a.value <= float(np.finfo(np.float32).min):
            return True
        low, _ = value_bounds(edit, x)
        return low is not None and a.value <= low
    return int(pad_value(a, x).item()) == int(np.iinfo(x.dtype.numpy).min)


def _merge_pads(edit: Rewriter, first: Operator, second: Operator, a: ops.Pad) -> None:
    b = first.attributes
    assert isinstance(b, ops.Pad)
    x = edit.ins(first)[0]
    if a.mode is not ops.PadMode.CONSTANT or pad_value(a, x).item() != pad_value(b, x).item():
        return
    before = tuple(p + q for p, q in zip(a.before, b.before))
    after = tuple(p + q for p, q in zip(a.after, b.after))
    edit.change(second, replace(a, before=before, after=after), first.inputs)


def _fuse(
    edit: Rewriter, pad: Operator, operator: Operator, a: ops.Conv2d | ops.DepthwiseConv2d | ops.MaxPool2d
) -> None:
    p = pad.attributes
    assert isinstance(p, ops.Pad)
    if len(p.before) != 4 or p.before[0] or p.before[3] or p.after[0] or p.after[3]:
        return
    old = a.padding
    padding = ops.Padding(
        old.top + p.before[1], old.bottom + p.after[1], old.left + p.before[2], old.right + p.after[2]
    )
    inputs = (pad.inputs[0], *operator.inputs[1:])
    attributes = replace(a, padding=padding)
    try:
        shapes = infer_shapes(attributes, [edit.tensor(n).shape for n in inputs])
    except GraphError:
        return  # a pooling window would lie in the padding
    if shapes == [edit.outs(operator)[0].shape]:
        edit.change(operator, attributes, inputs)
