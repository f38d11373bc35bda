"""Writing a model with its own axis order (NCHW) into the graph's NHWC without leaving transposes behind.

A ``Value`` is a tensor of the source model: it has the shape that the model knows, and says how its elements are
stored in a tensor of the graph. Each axis of the model is a product of stored axes, major first; axes of one need
none. Transposing, squeezing and flattening a value change this description only. An operator that needs a certain
order (a convolution: N, H, W, C) asks for it with ``store``, which writes a Transpose only where the stored order
differs; operators that do not care work on the stored tensor as it is. So a convolutional network imports without
transposes inside, and a dense layer after a flatten has its weight columns permuted instead of its input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, Shape, ops
from tinyopt.graph.shapes import broadcast
from tinyopt.importers.factors import distribute, refinement
from tinyopt.importers.tidy import rename_tensors, without_dead_operators
from tinyopt.importers.values import MAXIMUM_ELEMENTS, CannotLower, Value, constant, normal_axis

_MAXIMUM_TRANSPOSED_AXES = 5
"""Tensors of more axes have neighbours merged before they are transposed."""

Groups = Sequence[Sequence[int]]
"""A wanted storage order: for each stored axis, the axes of the value that it holds, major first."""


class LayoutBuilder:
    """Builds a graph from values; every method takes and returns values in the source model's axis order.

    ``scope`` is the name that the next operators and tensors get.
    """

    def __init__(self, name: str) -> None:
        self.graph = GraphBuilder(name)
        self.scope = ""
        self._stored: dict[tuple[object, ...], str] = {}
        self._held: list[object] = []  # keeps arrays alive whose id is a key of _stored
        self._inputs: set[str] = set()
        self._outputs: list[tuple[str, str]] = []

    # ---- ends of the graph ----

    def input(
        self,
        name: str,
        shape: Shape,
        dtype: DType,
        quantization: Quantization | None = None,
        *,
        channels_last: bool = False,
    ) -> Value:
        """``shape``: in the model's order. ``channels_last``: the graph's input is stored as N, H, W, C."""
        if math.prod(shape) > MAXIMUM_ELEMENTS:
            raise ModelError(f"input '{name}' has shape {list(shape)}, which is larger than tinyopt takes")
        rank = len(shape)
        order = [0, *range(2, rank), 1] if channels_last and rank >= 3 else list(range(rank))
        tensor = self.graph.input(name, tuple(shape[a] for a in order), dtype, quantization)
        self._inputs.add(tensor)
        return self.value(tensor, [[a] for a in order], tuple(shape))

    def output(self, value: Value, name: str, *, channels_last: bool = False) -> None:
        """Declare an output under the model's name."""
        rank = value.rank
        order = [0, *range(2, rank), 1] if channels_last and rank >= 3 else list(range(rank))
        self.scope = name
        tensor = self.store(value, [[a] for a in order])
        taken = [t for t, _ in self._outputs]
        if tensor in taken or tensor in self._inputs or self.graph.tensor(tensor).is_constant:
            tensor = self.emit(ops.Reshape(self.graph.tensor(tensor).shape), [tensor])
        self._outputs.append((tensor, name))
        self.graph.output(tensor)

    def state(self, name: str, initial: Array) -> Value:
        """A value that lives from one inference to the next, stored in the model's order."""
        tensor = self.graph.state(name, initial)
        self._inputs.add(tensor)
        return self.value(tensor, [[a] for a in range(initial.ndim)], tuple(initial.shape))

    def assign(self, name: str, value: Value) -> None:
        """After the inference, the state takes this value."""
        self.scope = name
        self.graph.assign(name, self.store(value, [[a] for a in range(value.rank)]))

    def build(self) -> Graph:
        """The graph, with its outputs under the model's names."""
        graph = self.graph.build()
        wanted = {t: name for t, name in self._outputs if t != name}
        for name in set(wanted.values()) - set(wanted):
            if name in graph.tensors and name not in graph.inputs:  # an inner tensor has taken the output's name
                wanted[name] = graph.fresh_name(f"{name}_inner")
        wanted = {t: name for t, name in wanted.items() if name not in graph.inputs}
        return without_dead_operators(rename_tensors(graph, wanted))

    # ---- values and their storage ----

    def value(self, tensor: str, groups: Groups, shape: Shape) -> Value:
        """The value stored in ``tensor``; each stored axis holds at most one axis of more than one element."""
        factors: list[list[int]] = [[] for _ in shape]
        for position, axes in enumerate(groups):
            for axis in axes:
                if shape[axis] > 1:
                    factors[axis].append(position)
        return Value(tuple(shape), tensor, tuple(tuple(f) for f in factors))

    def emit(
        self,
        attributes: ops.Attributes,
        inputs: Sequence[str],
        *,
        quantization: Quantization | None = None,
        dtype: DType | None = None,
        suffix: str = "",
    ) -> str:
        return self.emit_multi(attributes, inputs, quantization=quantization, dtype=dtype, suffix=suffix)[0]

    def emit_multi(
        self,
        attributes: ops.Attributes,
        inputs: Sequence[str],
        *,
        quantization: Quantization | None = None,
        dtype: DType | None = None,
        suffix: str = "",
    ) -> list[str]:
        """Add an operator on stored tensors, named after the scope. Data movement keeps its input's quantization."""
        if quantization is None and not isinstance(attributes, (ops.Dequantize, ops.ArgMax, ops.Cast)):
            quantization = self.graph.tensor(inputs[0]).quantization
        names = self.graph.add_multi(attributes, inputs, (self.scope or "t") + suffix, None, dtype, [quantization])
        for name in names:
            if self.graph.tensor(name).size > MAXIMUM_ELEMENTS:
                raise ModelError(f"tensor '{name}' {list(self.graph.tensor(name).shape)} is larger than tinyopt takes")
        return names

    def dtype(self, value: Value) -> DType:
        """Element type as the model sees it (a quantized constant is float32)."""
        if value.data is not None:
            return DType.FLOAT32 if value.quantization is not None else DType.of(value.data)
        return self.graph.tensor(value.tensor).dtype

    def store(self, value: Value, groups: Groups) -> str:
        """The name of a tensor that holds the value with its axes grouped and ordered as ``groups`` says.

        Axes of one may be left out, and a group may be empty (a stored axis of one).
        """
        target = tuple(math.prod(value.shape[a] for a in group) for group in groups)
        if value.data is not None:
            return self._store_constant(value, groups, target)
        wanted = [value.atoms(group) for group in groups]
        key = (value.tensor, tuple(map(tuple, wanted)), target)
        if key not in self._stored:
            self._stored[key] = self._move(value.tensor, wanted, target)
        return self._stored[key]

    def is_stored(self, value: Value, groups: Groups) -> bool:
        """True when ``store`` would not have to transpose."""
        if value.is_constant:
            return True
        flat = [atom for group in groups for atom in value.atoms(group)]
        return flat == sorted(flat)

    def _store_constant(self, value: Value, groups: Groups, target: Shape) -> str:
        assert value.data is not None
        key = (id(value.data), value.quantization, tuple(tuple(g) for g in groups), value.shape)
        if key not in self._stored:
            self._held.append(value.data)
            order = [axis for group in groups for axis in group]
            rest = [axis for axis in range(value.rank) if axis not in order]  # axes of one
            quantization = value.quantization
            if quantization is not None and quantization.axis is not None:
                position = next(i for i, g in enumerate(groups) if quantization.axis in g)
                if target[position] != len(quantization.scales):
                    value, quantization = constant(value.real, value.name), None
                else:
                    quantization = replace(quantization, axis=position)
            assert value.data is not None
            data = np.array(value.data.transpose([*rest, *order]).reshape(target), order="C")
            name = self.graph.constant(value.name or f"{self.scope}_constant", data, quantization)
            if quantization is not None:
                name = self.graph.add(ops.Dequantize(), [name], name=f"{name}_real")
            self._stored[key] = name
        return self._stored[key]

    def _move(self, tensor: str, wanted: list[list[int]], target: Shape) -> str:
        """Reshape and transpose a stored tensor so that the wanted axes come in order and are merged by group."""
        stored = self.graph.tensor(tensor).shape
        order = [atom for group in wanted for atom in group]
        if order == sorted(order):
            return self._reshaped(tensor, target)
        if len(wanted) == len(stored) and all(len(group) <= 1 for group in wanted):
            units = iter([axis for axis in range(len(stored)) if axis not in order])
            perm = tuple(group[0] if group else next(units) for group in wanted)
            return self.emit(ops.Transpose(perm), [tensor], suffix="_layout")
        if len(stored) <= _MAXIMUM_TRANSPOSED_AXES:  # axes of one stay in front
            perm = (*(axis for axis in range(len(stored)) if axis not in order), *order)
            return self._reshaped(self.emit(ops.Transpose(perm), [tensor], suffix="_layout"), target)
        runs: list[list[int]] = []  # axes that stay together
        for atom in sorted(order):
            if runs and order.index(atom) == order.index(runs[-1][-1]) + 1:
                runs[-1].append(atom)
            else:
                runs.append([atom])
        lead = 1 if target[:1] == (1,) else 0  # keep a batch axis of one in front
        tensor = self._reshaped(tensor, (1,) * lead + tuple(math.prod(stored[a] for a in run) for run in runs))
        placed = sorted(range(len(runs)), key=lambda r: order.index(runs[r][0]))
        perm = (*range(lead), *(r + lead for r in placed))
        tensor = self.emit(ops.Transpose(perm), [tensor], suffix="_layout")
        return self._reshaped(tensor, target)

    def _reshaped(self, tensor: str, shape: Shape) -> str:
        if self.graph.tensor(tensor).shape == shape:
            return tensor
        return self.emit(ops.Reshape(shape), [tensor], suffix="_shape")

    def stored_groups(self, value: Value, needed: Sequence[int] = ()) -> list[list[int]] | None:
        """The groups in which an activation is stored now, or None when an axis is spread over several stored axes, or
        an axis of ``needed`` (of one element) has no stored axis to itself."""
        if any(len(f) > 1 for f in value.factors):
            return None
        groups: list[list[int]] = [[] for _ in self.graph.tensor(value.tensor).shape]
        for axis, factor in enumerate(value.factors):
            if factor:
                groups[factor[0]] = [axis]
        missing = [axis for axis in range(value.rank) if not value.factors[axis]]
        for position, group in enumerate(groups):
            choice = [axis for axis in missing if axis in needed] or [axis for axis in missing if axis]
            if position == 0 and 0 in missing:
                choice = [0]
            if not group and choice:
                groups[position] = [choice[0]]
                missing.remove(choice[0])
        placed = {axis for group in groups for axis in group}
        return groups if placed.issuperset(needed) else None

    def separate(self, value: Value, needed: Sequence[int] = ()) -> tuple[str, list[list[int]]]:
        """The value stored with each axis for itself, in the present order where there is one; ``needed`` axes are
        present even when they have one element. Returns the tensor and its groups (one axis or none each)."""
        if value.data is None:
            groups = self.stored_groups(value, needed)
            if groups is not None:
                return value.tensor, groups
        axes = self.order(value)
        groups = [[axis] for axis in axes]
        return self.store(value, groups), groups

    def order(self, value: Value) -> list[int]:
        """All axes of a value in the order in which they are stored; axes of one keep their left neighbour."""
        key: list[tuple[float, int]] = []
        last = -1.0
        for axis in range(value.rank):
            if value.data is not None:
                last = float(axis)
            elif value.factors[axis]:
                last = float(value.factors[axis][0])
            key.append((last, axis))
        return [axis for _, axis in sorted(key)]

    # ---- shape changes that cost nothing ----

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        shape = tuple(value.shape[a] for a in perm)
        if value.data is not None:
            quantization = value.quantization
            if quantization is not None and quantization.axis is not None:
                quantization = replace(quantization, axis=list(perm).index(quantization.axis))
            return replace(value, shape=shape, data=value.data.transpose(perm), quantization=quantization)
        return replace(value, shape=shape, factors=tuple(value.factors[a] for a in perm))

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in another shape, by relabelling where the stored axes allow it."""
        target = tuple(int(d) for d in shape)
        if math.prod(target) != value.size or any(d < 1 for d in target):
            raise ModelError(f"cannot reshape {list(value.shape)} to {list(target)}")
        if value.data is not None:
            return self._reshape_constant(value, target)
        parts = distribute(value, self.graph.tensor(value.tensor).shape, target)
        if parts is None:
            groups = [[axis] for axis in range(value.rank)]
            tensor = self._reshaped(self.store(value, groups), target)
            return self.value(tensor, [[axis] for axis in range(len(target))], target)
        factors, split = parts
        return replace(value, shape=target, tensor=self._reshaped(value.tensor, split), factors=factors)

    def _reshape_constant(self, value: Value, target: Shape) -> Value:
        assert value.data is not None
        quantization, data = value.quantization, value.data
        if quantization is not None and quantization.axis is not None:
            before = math.prod(value.shape[: quantization.axis])
            kept = [
                axis
                for axis, size in enumerate(target)
                if size == value.shape[quantization.axis] and math.prod(target[:axis]) == before
            ]
            if kept:
                quantization = replace(quantization, axis=kept[0])
            else:
                data, quantization = value.real, None
        return replace(value, shape=target, data=data.reshape(target), quantization=quantization)

    # ---- operators that work in any order ----

    def elementwise(
        self,
        attributes: ops.Attributes,
        value: Value,
        *,
        quantization: Quantization | None = None,
        dtype: DType | None = None,
    ) -> Value:
        """An operator on each element."""
        if value.data is not None:
            tensor = self.store(value, [[axis] for axis in range(value.rank)])
            value = self.value(tensor, [[axis] for axis in range(value.rank)], value.shape)
        tensor = self.emit(attributes, [value.tensor], quantization=quantization, dtype=dtype)
        return replace(value, tensor=tensor)

    def broadcasting(
        self, attributes: ops.Attributes, left: Value, right: Value, *, leading: Value | None = None
    ) -> Value:
        """An operator on two operands that broadcast as in numpy. The order of the larger operand (or of ``leading``)
        is kept."""
        shape = broadcast(left.shape, right.shape)
        if leading is None:
            leading = max(
                (left, right), key=lambda v: (not v.is_constant, v.size, self.order(v) != sorted(self.order(v)))
            )
        refined = refinement(leading, len(shape), self.graph)
        pair = [self._refine(v, refined, len(shape)) for v in (left, right)]
        first = pair[0] if leading is left else pair[1]
        fine = broadcast(pair[0].shape, pair[1].shape)
        groups = self.stored_groups(first) if first.data is None else None
        covered = {axis for group in groups or [] for axis in group}
        if groups is None or any(d > 1 and axis not in covered for axis, d in enumerate(fine)):
            groups = [[axis] for axis in self.order(first)]
        names = [self._operand(v, groups) for v in pair]
        tensor = self.emit(attributes, names)
        return self.reshape(self.value(tensor, groups, fine), shape)

    def _refine(self, value: Value, refined: Sequence[Sequence[int]], rank: int) -> Value:
        """Give a value leading axes of one, and split its axes into the parts that the leading operand stores."""
        padded = (1,) * (rank - value.rank) + value.shape
        shape: list[int] = []
        for size, parts in zip(padded, refined):
            if size == 1:
                shape += [1] * len(parts)
            else:  # where the leading operand has one element, there is one part
                shape += parts if math.prod(parts) == size else [size]
        return self.reshape(value, shape)

    def _operand(self, value: Value, groups: Groups) -> str:
        """Constants lose their leading axes of one."""
        if value.data is None:
            return self.store(value, groups)
        kept = list(groups)
        while len(kept) > 1 and math.prod(value.shape[a] for a in kept[0]) == 1:
            kept = kept[1:]
        return self.store(value, kept)

    def binary(self, op: ops.BinaryKind, left: Value, right: Value) -> Value:
        """An infinite constant that is added (an attention mask) becomes a large finite one."""
        if op is ops.BinaryKind.ADD:
            left, right = (self._finite(v) for v in (left, right))
        return self.broadcasting(ops.Binary(op), left, right)

    def _finite(self, value: Value) -> Value:
        if value.data is None or value.data.dtype != np.float32 or not np.isinf(value.data).any():
            return value
        self.graph.note(f"'{self.scope}': infinite values in an added mask became ±1e9")
        return replace(value, data=np.clip(value.data, -1e9, 1e9))

    def reduce(self, op: ops.ReduceKind, value: Value, axes: Sequence[int], keep_dims: bool) -> Value:
        reduced = sorted({normal_axis(axis, value.rank) for axis in axes})
        shape = tuple(1 if axis in reduced else d for axis, d in enumerate(value.shape))
        final = shape if keep_dims else tuple(d for axis, d in enumerate(shape) if axis not in reduced)
        if value.data is not None:
            result: Array = getattr(np, op.value)(value.real, axis=tuple(reduced), keepdims=keep_dims)
            return constant(np.asarray(result, value.real.dtype))
        atoms = tuple(sorted(value.atoms(reduced)))
        if not atoms:
            return self.reshape(value, final)
        tensor = self.emit(ops.Reduce(op, atoms, keep_dims), [value.tensor])
        factors = [() if axis in reduced else f for axis, f in enumerate(value.factors)]
        if not keep_dims:
            factors = [tuple(a - sum(r < a for r in atoms) for a in f) for f in factors]
        return self.reshape(Value(shape, tensor, tuple(factors)), final)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        axis = normal_axis(axis, values[0].rank)
        values = [v for v in values if v.size] or list(values[:1])
        if len(values) == 1:
            return values[0]
        if all(v.data is not None for v in values):
            return constant(np.concatenate([v.real for v in values], axis))
        leading = max(values, key=lambda v: (not v.is_constant, v.size))
        _, groups = self.separate(leading, [axis])
        position = groups.index([axis])
        tensor = self.emit(ops.Concat(position), [self.store(v, groups) for v in values])
        shape = list(leading.shape)
        shape[axis] = sum(v.shape[axis] for v in values)
        return self.value(tensor, groups, tuple(shape))

    def slice(self, value: Value, begin: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> Value:
        """x[begin : begin + size*stride : stride] on every axis."""
        if any(s < 1 for s in size):
            raise CannotLower(f"the slice of {list(value.shape)} is empty")
        if value.data is not None:
            index = tuple(np.arange(b, b + n * s, s) if s else np.zeros(n, int) for b, n, s in zip(begin, size, stride))
            return constant(value.real[np.ix_(*index)] if index else value.real, value.name)
        touched = [a for a in range(value.rank) if (begin[a], size[a], stride[a]) != (0, value.shape[a], 1)]
        if not touched:
            return value
        tensor, groups = self.separate(value, touched)
        pick = [(begin[g[0]], size[g[0]], stride[g[0]]) if g else (0, 1, 1) for g in groups]
        attributes = ops.Slice(*(tuple(p[i] for p in pick) for i in range(3)))
        return self.value(self.emit(attributes, [tensor]), groups, tuple(size))

    def split(self, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
        axis = normal_axis(axis, value.rank)
        if sum(sizes) != value.shape[axis] or min(sizes, default=-1) < 0:
            raise ModelError(f"split sizes {list(sizes)} do not make {value.shape[axis]}")
        if 0 in sizes:  # empty parts stay constants, which a concatenation drops
            parts = iter(self.split(value, axis, [n for n in sizes if n]))
            empty = tuple(0 if a == axis else d for a, d in enumerate(value.shape))
            return [next(parts) if n else constant(np.zeros(empty, np.float32)) for n in sizes]
        shapes = [tuple(n if a == axis else d for a, d in enumerate(value.shape)) for n in sizes]
        if value.data is not None:
            return [constant(part) for part in np.split(value.real, np.cumsum(sizes)[:-1], axis)]
        if len(sizes) == 1:
            return [value]
        tensor, groups = self.separate(value, [axis])
        names = self.emit_multi(ops.Split(groups.index([axis]), tuple(int(n) for n in sizes)), [tensor])
        return [self.value(name, groups, shape) for name, shape in zip(names, shapes)]

    def pad(
        self, value: Value, before: Sequence[int], after: Sequence[int], mode: ops.PadMode, number: float = 0.0
    ) -> Value:
        """Negative amounts cut."""
        if any(n < 0 for n in (*before, *after)):
            begin = [max(-n, 0) for n in before]
            size = [d - b - max(-n, 0) for d, b, n in zip(value.shape, begin, after)]
            value = self.slice(value, begin, size, [1] * value.rank)
            before, after = [max(n, 0) for n in before], [max(n, 0) for n in after]
        touched = [axis for axis in range(value.rank) if before[axis] or after[axis]]
        if not touched:
            return value
        tensor, groups = self.separate(value, touched)
        amounts = [tuple(n[g[0]] if g else 0 for g in groups) for n in (before, after)]
        shape = tuple(b + d + a for b, d, a in zip(before, value.shape, after))
        return self.value(self.emit(ops.Pad(amounts[0], amounts[1], mode, number), [tensor]), groups, shape)

    def expand(self, value: Value, shape: Sequence[int]) -> Value:
        """Broadcast to a larger shape."""
        target = broadcast(value.shape, tuple(shape))
        if math.prod(target) > MAXIMUM_ELEMENTS:
            raise ModelError(f"a broadcast to {list(target)} is larger than tinyopt takes")
        value = self.reshape(value, (1,) * (len(target) - value.rank) + value.shape)
        if value.shape == target:
            return value
        if value.data is not None:
            return constant(np.broadcast_to(value.real, target))
        grown = [axis for axis in range(value.rank) if value.shape[axis] != target[axis]]
        tensor, groups = self.separate(value, grown)
        stored = tuple(target[g[0]] if g else 1 for g in groups)
        return self.value(self.emit(ops.BroadcastTo(stored), [tensor]), groups, target)

    def tile(self, value: Value, repeats: Sequence[int]) -> Value:
        for axis, count in enumerate(repeats):
            if count > 4096 or count * value.size > MAXIMUM_ELEMENTS:
                raise ModelError(f"{count} repeats of {list(value.shape)} are more than tinyopt takes")
            if count < 1:
                raise CannotLower("zero repeats make an empty tensor")
            if count > 1 and value.shape[axis] == 1:
                value = self.expand(value, [count if a == axis else d for a, d in enumerate(value.shape)])
            elif count > 1:
                value = self.concat([value] * count, axis)
        return value

    def gather(self, value: Value, indices: Value, axis: int) -> Value:
        """numpy.take with constant or computed indices (already non-negative)."""
        axis = normal_axis(axis, value.rank)
        shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
        if value.data is not None and indices.data is not None:
            return constant(np.take(value.real, indices.data, axis), value.name)
        if value.data is None and indices.data is not None and indices.rank <= 1:
            tensor, groups = self.separate(value, [axis])
            flat = replace(indices, shape=(indices.size,), data=indices.data.reshape(-1))
            result = self.emit(ops.Gather(groups.index([axis])), [tensor, self.store(flat, [[0]])])
            kept = (*value.shape[:axis], indices.size, *value.shape[axis + 1 :])
            return self.reshape(self.value(result, groups, kept), shape)
        names = [self.store(v, [[a] for a in range(v.rank)]) for v in (value, indices)]
        return self.value(self.emit(ops.Gather(axis), names), [[a] for a in range(len(shape))], shape)
