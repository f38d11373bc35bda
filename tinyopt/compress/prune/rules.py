"""How every operator couples the channels of its inputs and outputs."""

from __future__ import annotations

import numpy as np

from tinyopt.compress.prune.coupling import NO_ATOM, Labels, Role
from tinyopt.compress.prune.tracing import Tracer, reshaped, rule
from tinyopt.graph import Array, Operator, ops

# ---- layers with weights --------------------------------------------------------------------------------------

_COMPUTED = "has weights that are computed"


@rule(ops.Conv2d)
def _conv2d(t: Tracer, o: Operator, a: ops.Conv2d) -> None:
    if not t.constant(o, (1, 2)):
        t.freeze_inputs(o, _COMPUTED)
        return
    atoms = t.read(o, 3)
    channels, outputs = t.shape(o.inputs[0])[3], t.shape(o.inputs[1])[0]
    if a.groups > 1 and channels == a.groups:  # a depthwise convolution in other words
        _depthwise_like(t, o, atoms, outputs // channels, weights_axis=0)
        return
    if atoms is not None:
        matrix = atoms.reshape(a.groups, -1)
        t.tie_rows(matrix, o)
        t.cut(o, 1, 3, matrix[0], Role.COLUMN)
    _born(t, o, 3, outputs, a.groups)


def _born(t: Tracer, o: Operator, axis: int, outputs: int, groups: int = 1) -> None:
    """The output channels of a layer: weights [O, …], bias [O]. Convolution groups keep equal sizes."""
    atoms = t.atoms.fresh(outputs)
    t.tie_rows(atoms.reshape(groups, -1), o)
    t.cut(o, 1, 0, atoms, Role.ROW)
    t.cut(o, 2, 0, atoms, Role.ROW)
    t.give(o, axis, atoms)


def _depthwise_like(t: Tracer, o: Operator, atoms: Array | None, multiplier: int, weights_axis: int) -> None:
    if atoms is None:
        return
    made = np.repeat(atoms, multiplier)
    t.cut(o, 1, weights_axis, made, Role.ROW)
    t.cut(o, 2, 0, made, Role.ROW)
    t.give(o, 3, made)


@rule(ops.DepthwiseConv2d)
def _depthwise(t: Tracer, o: Operator, a: ops.DepthwiseConv2d) -> None:
    if not t.constant(o, (1, 2)):
        t.freeze_inputs(o, _COMPUTED)
        return
    _depthwise_like(t, o, t.read(o, 3), a.multiplier, weights_axis=3)


@rule(ops.TransposeConv2d, ops.FullyConnected)
def _layer(t: Tracer, o: Operator, a: ops.TransposeConv2d | ops.FullyConnected) -> None:
    if not t.constant(o, (1, 2)):
        t.freeze_inputs(o, _COMPUTED)
        return
    axis = len(t.shape(o.inputs[0])) - 1
    weights = t.shape(o.inputs[1])
    atoms = t.read(o, axis)
    if atoms is not None:
        t.cut(o, 1, len(weights) - 1, atoms, Role.COLUMN)
    _born(t, o, axis, weights[0])


@rule(ops.MatMul)
def _matmul(t: Tracer, o: Operator, a: ops.MatMul) -> None:
    """Products with a constant are dense layers; of two activations, they couple what they sum over."""
    x, y = o.inputs
    rank_x, rank_y, rank = len(t.shape(x)), len(t.shape(y)), len(t.shape(o.outputs[0]))
    rows, inner_x = (rank_x - 1, rank_x - 2) if a.transpose_a else (rank_x - 2, rank_x - 1)
    inner_y, columns = (rank_y - 1, rank_y - 2) if a.transpose_b else (rank_y - 2, rank_y - 1)
    if t.constant(o, (1,)) and not t.constant(o, (0,)):
        atoms = t.read(o, inner_x)
        if atoms is not None:
            t.cut(o, 1, inner_y, atoms, Role.COLUMN)
        made = t.atoms.fresh(t.shape(y)[columns])
        t.cut(o, 1, columns, made, Role.ROW)
        t.give(o, rank - 1, made)
        return
    one, other = t.labels.get(x), t.labels.get(y)
    why = f"'{o.name}' (MatMul) multiplies it with channels that stay"
    if one is not None and other is not None and one.axis == inner_x and other.axis == inner_y:
        t.atoms.unite(one.atoms, other.atoms, why)
        t.contracted.append(one.atoms)
        return
    if other is not None and other.axis == columns:
        t.give(o, rank - 1, other.atoms)
        t.freeze([x], why)
    elif one is not None and one.axis == rows and other is None:
        t.give(o, rank - 2, one.atoms)
    else:
        t.freeze_inputs(o, "multiplies it with channels that stay")


@rule(ops.Lstm, ops.Gru)
def _recurrent(t: Tracer, o: Operator, a: ops.Lstm | ops.Gru) -> None:
    gates, biases, states = (4, (3,), (4, 5)) if isinstance(a, ops.Lstm) else (3, (3, 4), (5,))
    if not t.constant(o, (1, 2, *biases)):
        t.freeze_inputs(o, _COMPUTED)
        return
    atoms = t.read(o, 2)
    if atoms is not None:
        t.cut(o, 1, 1, atoms, Role.COLUMN)
    hidden = t.atoms.fresh(t.shape(o.inputs[2])[1])
    stacked = np.tile(hidden, gates)
    for position in (1, 2, *biases):
        t.cut(o, position, 0, stacked, Role.ROW)
    t.cut(o, 2, 1, hidden, Role.COLUMN)
    for position in states:
        labels = t.labels.get(o.inputs[position])
        if t.constant(o, (position,)):
            t.cut(o, position, 1, hidden, Role.SCALE)
        elif labels is not None and labels.axis == 1:
            t.atoms.unite(hidden, labels.atoms, f"an initial state of '{o.name}' stays")
        else:
            t.freeze([o.inputs[position]], f"it is an initial state of '{o.name}'")
            t.atoms.freeze(hidden, f"the initial state '{o.inputs[position]}' keeps its size")
    for output in range(len(o.outputs)):
        t.give(o, 2 if output == 0 else 1, hidden, output)


@rule(ops.Gather)
def _gather(t: Tracer, o: Operator, a: ops.Gather) -> None:
    """An embedding table makes channels; other gathers keep what they read."""
    table = t.shape(o.inputs[0])
    if t.constant(o, (0,)) and a.axis == 0 and len(table) == 2:
        atoms = t.atoms.fresh(table[1])
        t.cut(o, 0, 1, atoms, Role.ROW)
        t.give(o, len(t.shape(o.outputs[0])) - 1, atoms)
        return
    t.freeze_inputs(o, "picks entries by number")


# ---- elementwise ----------------------------------------------------------------------------------------------


@rule(ops.Unary, ops.Clip, ops.Cast)
def _same(t: Tracer, o: Operator, a: ops.Unary | ops.Clip | ops.Cast) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is not None:
        t.labels[o.outputs[0]] = labels


@rule(ops.Binary, ops.Prelu)
def _binary(t: Tracer, o: Operator, a: ops.Binary | ops.Prelu) -> None:
    result = t.shape(o.outputs[0])
    rank = len(result)
    chosen: int | None = None
    for name in o.inputs:
        labels = t.labels.get(name)
        if labels is not None and chosen is None:
            axis = labels.axis + rank - len(t.shape(name))
            if len(labels.atoms) == result[axis]:
                chosen = axis
    if chosen is None:
        t.freeze_inputs(o, "spreads one channel over many")
        return
    atoms: Array | None = None
    for position, name in enumerate(o.inputs):
        labels = t.on_axis(o, position, chosen, rank)
        if labels is None or len(labels.atoms) != result[chosen]:
            t.freeze([name], f"'{o.name}' ({o.kind}) spreads it over other channels")
        elif atoms is None:
            atoms = labels.atoms
        else:
            t.atoms.unite(atoms, labels.atoms, f"'{o.name}' ({o.kind}) joins it with a channel that stays")
    assert atoms is not None
    for position, name in enumerate(o.inputs):
        if name in t.labels:
            continue
        own = chosen - rank + len(t.shape(name))
        if own < 0 or t.shape(name)[own] != result[chosen]:
            continue
        if t.constant(o, (position,)):
            t.cut(o, position, own, atoms, Role.SCALE)
        else:
            t.atoms.freeze(atoms, f"'{o.name}' ({o.kind}) joins it with '{name}', whose channels stay")
    t.give(o, chosen, atoms)


@rule(ops.BatchNorm)
def _batch_norm(t: Tracer, o: Operator, a: ops.BatchNorm) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    if labels.axis == len(t.shape(o.inputs[0])) - 1:
        if not t.constant(o, (1, 2, 3, 4)):
            t.freeze_inputs(o, "has parameters that are computed")
            return
        for position in (1, 2, 3, 4):
            t.cut(o, position, 0, labels.atoms, Role.SCALE)
    t.labels[o.outputs[0]] = labels


@rule(ops.LayerNorm, ops.Softmax, ops.LogSoftmax)
def _over_last_axis(t: Tracer, o: Operator, a: ops.LayerNorm | ops.Softmax | ops.LogSoftmax) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is not None and labels.axis != len(t.shape(o.inputs[0])) - 1:
        t.labels[o.outputs[0]] = labels
    else:
        t.freeze_inputs(o, "normalises over all channels")


# ---- pooling and reductions -----------------------------------------------------------------------------------


@rule(ops.MaxPool2d, ops.AveragePool2d, ops.Resize2d)
def _spatial(t: Tracer, o: Operator, a: ops.MaxPool2d | ops.AveragePool2d | ops.Resize2d) -> None:
    t.give(o, 3, t.read(o, 3))


@rule(ops.Reduce)
def _reduce(t: Tracer, o: Operator, a: ops.Reduce) -> None:
    _shortened(t, o, a.axes, a.keep_dims)


@rule(ops.ArgMax)
def _arg_max(t: Tracer, o: Operator, a: ops.ArgMax) -> None:
    _shortened(t, o, (a.axis,), a.keep_dims)


def _shortened(t: Tracer, o: Operator, axes: tuple[int, ...], keep_dims: bool) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    if labels.axis in axes:
        t.freeze_inputs(o, "reduces over the channels")
        return
    axis = labels.axis if keep_dims else labels.axis - sum(other < labels.axis for other in axes)
    t.give(o, axis, labels.atoms)


# ---- data movement --------------------------------------------------------------------------------------------


@rule(ops.Reshape)
def _reshape(t: Tracer, o: Operator, a: ops.Reshape) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    result = reshaped(t, labels, t.shape(o.inputs[0]), a.shape)
    if result is None:
        t.freeze_inputs(o, "mixes the channels with other axes")
    else:
        t.labels[o.outputs[0]] = result


@rule(ops.Transpose)
def _transpose(t: Tracer, o: Operator, a: ops.Transpose) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is not None:
        t.give(o, a.perm.index(labels.axis), labels.atoms)


@rule(ops.BroadcastTo)
def _broadcast_to(t: Tracer, o: Operator, a: ops.BroadcastTo) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    axis = labels.axis + len(a.shape) - len(t.shape(o.inputs[0]))
    if a.shape[axis] == len(labels.atoms):
        t.give(o, axis, labels.atoms)
    else:
        t.freeze_inputs(o, "spreads one channel over many")


@rule(ops.Concat)
def _concat(t: Tracer, o: Operator, a: ops.Concat) -> None:
    axes = [t.labels[name].axis for name in o.inputs if name in t.labels]
    if not axes:
        return
    axis = a.axis if a.axis in axes else axes[0]
    parts: list[Array] = []
    for name in o.inputs:
        labels = t.labels.get(name)
        if labels is not None and labels.axis == axis:
            parts.append(labels.atoms)
            continue
        t.freeze([name], f"'{o.name}' (Concat) joins it along another axis")
        parts.append(np.full(t.shape(name)[axis], NO_ATOM))
    if axis == a.axis:
        t.give(o, axis, np.concatenate(parts))
        return
    t.tie_rows(np.stack(parts), o)
    t.give(o, axis, next(part for part in parts if (part >= 0).any()))


@rule(ops.Split)
def _split(t: Tracer, o: Operator, a: ops.Split) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    start = 0
    for index, size in enumerate(a.sizes):
        part = labels.atoms[start : start + size] if labels.axis == a.axis else labels.atoms
        t.give(o, labels.axis, part, index)
        start += size


@rule(ops.Slice)
def _slice(t: Tracer, o: Operator, a: ops.Slice) -> None:
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    axis = labels.axis
    if a.stride[axis] != 1:
        t.freeze_inputs(o, "takes channels in steps")
        return
    t.give(o, axis, labels.atoms[a.begin[axis] : a.begin[axis] + a.size[axis]])


@rule(ops.Pad)
def _pad(t: Tracer, o: Operator, a: ops.Pad) -> None:
    """Channels that a padding adds (the short cut of some residual networks) are atoms too."""
    labels = t.labels.get(o.inputs[0])
    if labels is None:
        return
    axis = labels.axis
    before, after = a.before[axis], a.after[axis]
    if (before or after) and a.mode is not ops.PadMode.CONSTANT:
        t.freeze_inputs(o, "mirrors channels")
        return
    padded = [t.atoms.fresh(before), labels.atoms, t.atoms.fresh(after)]
    t.labels[o.outputs[0]] = Labels(axis, np.concatenate(padded))
