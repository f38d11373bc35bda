"""Which channel of an input goes to which channel of an output: the structure that channel removal has to respect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array, Graph, Operator, ops


@dataclass(frozen=True, eq=False)
class Link:
    """Channel ``source[k]`` of an input and channel ``target[k]`` of an output stay or go together."""

    input: int
    output: int
    source: Array
    target: Array


_ELEMENTWISE = (ops.Unary, ops.Clip, ops.Quantize, ops.Dequantize, ops.Cast)
_SPATIAL = (ops.MaxPool2d, ops.AveragePool2d, ops.Resize2d)


def channel_links(graph: Graph, operator: Operator) -> list[Link] | None:
    """The links of an operator that treats each channel (last axis) by itself; None for every other operator.

    Inputs without a link (a single channel that is broadcast over all) must keep their channels. Layers with weights
    are not described here, except for the depthwise convolution.
    """
    a, ins, outs = operator.attributes, graph.ins(operator), graph.outs(operator)
    if any(not t.shape for t in outs) or not ins[0].shape:
        return None
    channels = [t.shape[-1] if t.shape else 1 for t in ins]
    result = outs[0].shape[-1]
    rank = len(ins[0].shape)
    if isinstance(a, ops.DepthwiseConv2d):
        return [Link(0, 0, np.repeat(np.arange(channels[0]), a.multiplier), np.arange(result))]
    if isinstance(a, (*_ELEMENTWISE, *_SPATIAL)):
        return [_identity(0, result)]
    if isinstance(a, (ops.Binary, ops.Prelu, ops.BatchNorm)):
        return [_identity(k, result) for k, count in enumerate(channels) if count == result]
    if isinstance(a, ops.Pad):
        return None if a.before[-1] or a.after[-1] else [_identity(0, result)]
    if isinstance(a, ops.Reduce):
        return None if rank - 1 in a.axes else [_identity(0, result)]
    if isinstance(a, ops.Transpose):
        return [_identity(0, result)] if a.perm[-1] == rank - 1 else None
    if isinstance(a, ops.BroadcastTo):
        return [_identity(0, result)] if channels[0] == result else None
    if isinstance(a, ops.Reshape):
        return _reshape(channels[0], result)
    if isinstance(a, ops.Concat):
        return _concat(channels) if a.axis == rank - 1 else [_identity(k, result) for k in range(len(ins))]
    if isinstance(a, ops.Split):
        return _split(a, rank, result)
    if isinstance(a, ops.Slice):
        if a.stride[-1] != 1 and a.size[-1] > 1:
            return None
        return [Link(0, 0, np.arange(a.begin[-1], a.begin[-1] + a.size[-1]), np.arange(result))]
    return None


def _identity(position: int, channels: int, output: int = 0) -> Link:
    return Link(position, output, np.arange(channels), np.arange(channels))


def _reshape(before: int, after: int) -> list[Link] | None:
    """Flattening puts whole pixels side by side: the channel is what remains of the index."""
    if after % before == 0:
        return [Link(0, 0, np.arange(after) % before, np.arange(after))]
    if before % after == 0:
        return [Link(0, 0, np.arange(before), np.arange(before) % after)]
    return None


def _concat(channels: list[int]) -> list[Link]:
    starts = np.cumsum([0, *channels])
    return [Link(k, 0, np.arange(n), starts[k] + np.arange(n)) for k, n in enumerate(channels)]


def _split(a: ops.Split, rank: int, channels: int) -> list[Link]:
    if a.axis != rank - 1:
        return [_identity(0, channels, k) for k in range(len(a.sizes))]
    starts = np.cumsum([0, *a.sizes])
    return [Link(0, k, starts[k] + np.arange(n), np.arange(n)) for k, n in enumerate(a.sizes)]
