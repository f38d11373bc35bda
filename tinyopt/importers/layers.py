"""Layers of a channels-first source (PyTorch, ONNX), written into the graph.

Every method takes values in the source's axis order (N, C, H, W for images, N, C, L for sequences of a 1-D
convolution) and returns values in that order; how they are stored is ``layout``'s business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyopt.graph import Array, ops
from tinyopt.graph.ops import BinaryKind, Clamp, Padding, ReduceKind, ResizeMethod, UnaryKind
from tinyopt.importers.layout import LayoutBuilder
from tinyopt.importers.values import CannotLower, Value, constant, normal_axis

NHWC = ((0,), (2,), (3,), (1,))
Pairs = Sequence[tuple[int, int]]
"""(before, after) for each spatial axis."""


def _padding(pairs: Pairs) -> Padding:
    return Padding(*pairs[0], *pairs[1])


class Layers(LayoutBuilder):
    """A ``LayoutBuilder`` with the layers that both importers need."""

    # ---- convolutions ----

    def _image(self, x: Value) -> tuple[Value, bool]:
        """A 4-D view of an image or of a sequence (H = 1), and whether it was a sequence."""
        if x.rank == 3:
            return self.reshape(x, (x.shape[0], x.shape[1], 1, x.shape[2])), True
        if x.rank != 4:
            raise CannotLower(f"works on {x.rank - 2} spatial axes; one or two are supported")
        return x, False

    def _from_image(self, y: Value, sequence: bool) -> Value:
        return self.reshape(y, (y.shape[0], y.shape[1], y.shape[3])) if sequence else y

    def conv(
        self,
        x: Value,
        w: Value,
        bias: Value | None,
        *,
        stride: Sequence[int],
        padding: Pairs,
        dilation: Sequence[int],
        groups: int,
    ) -> Value:
        """x [N,C,(H,)W], w [O,C/groups,(KH,)KW], bias [O] → [N,O,(OH,)OW]."""
        x, sequence = self._image(x)
        w = self._kernel(w, sequence)
        if sequence:
            stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        if x.shape[1] != w.shape[1] * groups or groups < 1 or w.shape[0] % groups:
            raise CannotLower(f"weights {list(w.shape)} with {groups} groups do not fit {x.shape[1]} input channels")
        depthwise = groups == x.shape[1] > 1
        common = (tuple(stride), _padding(padding), tuple(dilation))
        attributes: ops.Attributes
        if depthwise:
            attributes = ops.DepthwiseConv2d(*common, multiplier=w.shape[0] // groups)  # type: ignore[arg-type]
            weights = self.store(w, ((1,), (2,), (3,), (0,)))
        else:
            attributes = ops.Conv2d(*common, groups=groups)  # type: ignore[arg-type]
            weights = self.store(w, NHWC)
        return self._convolve(attributes, x, weights, w.shape[0], bias, sequence)

    def _kernel(self, w: Value, sequence: bool) -> Value:
        if not w.is_constant:
            raise CannotLower("has weights that are computed from the model's input")
        if w.rank != 4 - sequence:
            raise CannotLower(f"has weights of {w.rank} axes")
        return self.reshape(w, (*w.shape[:2], 1, w.shape[2])) if sequence else w

    def _convolve(
        self, attributes: ops.Attributes, x: Value, weights: str, channels: int, bias: Value | None, sequence: bool
    ) -> Value:
        inputs = [self.store(x, NHWC), weights]
        if bias is not None:
            inputs.append(self.store(self.reshape(bias, (channels,)), ((0,),)))
        tensor = self.emit(attributes, inputs)
        n, h, wide, c = self.graph.tensor(tensor).shape
        return self._from_image(self.value(tensor, NHWC, (n, c, h, wide)), sequence)

    def conv_transpose(
        self,
        x: Value,
        w: Value,
        bias: Value | None,
        *,
        stride: Sequence[int],
        padding: Pairs,
        dilation: Sequence[int],
        groups: int,
    ) -> Value:
        """x [N,C,(H,)W], w [C,O/groups,(KH,)KW]; ``padding`` is cut from the full result."""
        x, sequence = self._image(x)
        w = self._kernel(w, sequence)
        if sequence:
            stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        if x.shape[1] != w.shape[0] or w.shape[0] % groups:
            raise CannotLower(f"weights {list(w.shape)} with {groups} groups do not fit {x.shape[1]} input channels")
        if groups > 1:
            w = _dense(w, groups)
            self.graph.note(f"'{self.scope}': a grouped transposed convolution was made dense (zeros between groups)")
        attributes = ops.TransposeConv2d(tuple(stride), _padding(padding), tuple(dilation))  # type: ignore[arg-type]
        weights = self.store(w, ((1,), (2,), (3,), (0,)))
        return self._convolve(attributes, x, weights, w.shape[1], bias, sequence)

    # ---- pooling ----

    def pool(
        self,
        x: Value,
        *,
        maximum: bool,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Pairs,
        dilation: Sequence[int] = (1, 1),
        ceil_mode: bool = False,
        count_padding: bool = False,
    ) -> Value:
        """Maximum or average pooling of x [N,C,(H,)W].

        ``ceil_mode`` keeps a last window that starts inside the image or its leading padding. ``count_padding``: an
        average includes the zeros of the padding (but never what lies beyond it).
        """
        if any(d != 1 for d in dilation):
            raise CannotLower("a dilated pooling window is not supported")
        if x.data is None and self.dtype(x).is_integer and self.graph.tensor(x.tensor).quantization is None:
            raise CannotLower("pooling of integers that are not quantized")
        x, sequence = self._image(x)
        if sequence:
            kernel, stride, padding = (1, *kernel), (1, *stride), ((0, 0), *padding)
        extra = [0, 0]
        if ceil_mode:
            extra = [_ceil_extra(d, k, s, *pair) for d, k, s, pair in zip(x.shape[2:], kernel, stride, padding)]
        if not maximum and count_padding and any(n for pair in padding for n in pair):
            before, after = ((0, 0, padding[0][i], padding[1][i]) for i in range(2))
            x = self.pad(x, before, after, ops.PadMode.CONSTANT)
            padding = ((0, 0), (0, 0))
        padding = [(before, after + more) for (before, after), more in zip(padding, extra)]
        kind = ops.MaxPool2d if maximum else ops.AveragePool2d
        tensor = self.emit(
            kind(tuple(kernel), tuple(stride), _padding(padding)),  # type: ignore[arg-type]
            [self.store(x, NHWC)],
        )
        n, h, wide, c = self.graph.tensor(tensor).shape
        return self._from_image(self.value(tensor, NHWC, (n, c, h, wide)), sequence)

    def adaptive_pool(self, x: Value, sizes: Sequence[int], *, maximum: bool) -> Value:
        """Pooling to a given output size; window i covers floor(i*in/out) .. ceil((i+1)*in/out)."""
        op = ReduceKind.MAX if maximum else ReduceKind.MEAN
        first = x.rank - len(sizes)
        if all(size == 1 for size in sizes):
            return self.reduce(op, x, range(first, x.rank), keep_dims=True)
        spatial = x.shape[first:]
        if all(extent % size == 0 for extent, size in zip(spatial, sizes)):
            kernel = [extent // size for extent, size in zip(spatial, sizes)]
            return self.pool(x, maximum=maximum, kernel=kernel, stride=kernel, padding=[(0, 0)] * len(sizes))
        for axis, size in enumerate(sizes, first):
            extent = x.shape[axis]
            if size == extent:
                continue
            parts = []
            for index in range(size):
                begin, end = index * extent // size, -(-(index + 1) * extent // size)
                parts.append(self.reduce(op, self.cut(x, axis, begin, end), [axis], keep_dims=True))
            x = self.concat(parts, axis)
        return x

    def cut(self, x: Value, axis: int, begin: int, end: int, step: int = 1) -> Value:
        """x[begin:end:step] along one axis."""
        size = [max(0, -(-(end - begin) // step)) if a == axis else d for a, d in enumerate(x.shape)]
        start = [begin if a == axis else 0 for a in range(x.rank)]
        return self.slice(x, start, size, [step if a == axis else 1 for a in range(x.rank)])

    # ---- matrix products ----

    def linear(self, x: Value, w: Value, bias: Value | None) -> Value:
        """x [...,I], constant w [O,I], bias [O] → [...,O]. Weight columns follow the order in which x is stored."""
        if not w.is_constant:
            y = self.matmul(x, self.transpose(w, (1, 0)))
            return y if bias is None else self.binary(BinaryKind.ADD, y, bias)
        if x.data is None:
            factors = x.factors[-1]
            if list(factors) != sorted(factors):
                stored = self.graph.tensor(x.tensor).shape
                sizes = [stored[a] for a in factors]
                order = np.argsort(factors, kind="stable")
                parts = self.reshape(w, (w.shape[0], *sizes))
                w = self.reshape(self.transpose(parts, (0, *(int(i) + 1 for i in order))), w.shape)
                x = replace(x, factors=(*x.factors[:-1], tuple(sorted(factors))))
        groups = [[axis] for axis in range(x.rank)]
        inputs = [self.store(x, groups), self.store(w, ((0,), (1,)))]
        if bias is not None:
            inputs.append(self.store(self.reshape(bias, (w.shape[0],)), ((0,),)))
        return self.value(self.emit(ops.FullyConnected(), inputs), groups, (*x.shape[:-1], w.shape[0]))

    def matmul(self, a: Value, b: Value) -> Value:
        """numpy.matmul."""
        if a.rank < 1 or b.rank < 1:
            raise CannotLower("a matrix product needs operands with axes")
        if a.rank == 1:
            y = self.matmul(self.reshape(a, (1, *a.shape)), b)
            return self.reshape(y, y.shape[:-1] if b.rank == 1 else (*y.shape[:-2], y.shape[-1]))
        if b.rank == 1:
            y = self.matmul(a, self.reshape(b, (*b.shape, 1)))
            return self.reshape(y, y.shape[:-1])
        if b.is_constant and math.prod(b.shape[:-2]) == 1 and b.rank <= a.rank:
            return self.linear(a, self.transpose(self.reshape(b, b.shape[-2:]), (1, 0)), None)
        names, flags = [], []
        for operand in (a, b):
            batch = [[axis] for axis in range(operand.rank - 2)]
            row, column = [operand.rank - 2], [operand.rank - 1]
            flip = not self.is_stored(operand, [*batch, row, column]) and self.is_stored(operand, [*batch, column, row])
            names.append(self.store(operand, [*batch, column, row] if flip else [*batch, row, column]))
            flags.append(flip)
        tensor = self.emit(ops.MatMul(flags[0], flags[1]), names)
        shape = self.graph.tensor(tensor).shape
        return self.value(tensor, [[axis] for axis in range(len(shape))], shape)

    # ---- normalisation ----

    def batch_norm(
        self, x: Value, gamma: Value | None, beta: Value | None, mean: Value, variance: Value, epsilon: float
    ) -> Value:
        """Normalise over axis 1 with stored statistics."""
        channels = x.shape[1] if x.rank > 1 else 0
        parameters = [
            constant(np.full(channels, default, np.float32)) if v is None else v
            for v, default in ((gamma, 1.0), (beta, 0.0), (mean, 0.0), (variance, 1.0))
        ]
        if any(p.shape != (channels,) for p in parameters):
            raise CannotLower(f"its parameters do not fit {channels} channels")
        last = self.stored_groups(x) if x.data is None else None
        if last is not None and last[-1] == [1]:
            names = [self.store(p, ((0,),)) for p in parameters]
            return replace(x, tensor=self.emit(ops.BatchNorm(epsilon), [x.tensor, *names]))
        g, b, m, v = (p.real for p in parameters)
        scale = g / np.sqrt(v + np.float32(epsilon))
        return self._channel_affine(x, scale, b - m * scale)

    def _channel_affine(self, x: Value, scale: Array | None, shift: Array | None) -> Value:
        """x * scale[c] + shift[c], channels on axis 1."""
        shape = (-1, *(1,) * (x.rank - 2))
        for kind, values in ((BinaryKind.MUL, scale), (BinaryKind.ADD, shift)):
            if values is not None:
                x = self.binary(kind, x, constant(np.asarray(values, np.float32).reshape(shape)))
        return x

    def layer_norm(self, x: Value, axes: int, gamma: Value | None, beta: Value | None, epsilon: float) -> Value:
        """Normalise over the last ``axes`` axes."""
        shape, size = x.shape, math.prod(x.shape[x.rank - axes :])
        flat = self.reshape(x, (*shape[: x.rank - axes], size))
        parameters = [
            constant(np.full(size, default, np.float32))
            if v is None
            else self.reshape(self.expand(v, shape[-axes:]), [size])
            for v, default in ((gamma, 1.0), (beta, 0.0))
        ]
        if flat.data is None and list(flat.factors[-1]) != sorted(flat.factors[-1]):
            # Statistics do not depend on the order: normalise as stored, with the parameters permuted.
            stored = self.graph.tensor(flat.tensor).shape
            factors = flat.factors[-1]
            order = [int(i) for i in np.argsort(factors)]
            sizes = [stored[a] for a in factors]
            parameters = [
                self.reshape(self.transpose(self.reshape(constant(p.real), sizes), order), [size]) for p in parameters
            ]
            groups = [[axis] for axis in range(flat.rank)]
            ordered = replace(flat, factors=(*flat.factors[:-1], tuple(sorted(factors))))
            tensor = self.emit(ops.LayerNorm(epsilon), [self.store(ordered, groups), *self._vectors(parameters)])
            y = self.reshape(self.value(tensor, groups, flat.shape), (*flat.shape[:-1], *(sizes[i] for i in order)))
            inverse = [int(i) for i in np.argsort(order)]
            y = self.transpose(y, [*range(flat.rank - 1), *(i + flat.rank - 1 for i in inverse)])
            return self.reshape(y, shape)
        groups = [[axis] for axis in range(flat.rank)]
        tensor = self.emit(ops.LayerNorm(epsilon), [self.store(flat, groups), *self._vectors(parameters)])
        return self.reshape(self.value(tensor, groups, flat.shape), shape)

    def _vectors(self, values: Sequence[Value]) -> list[str]:
        return [self.store(v, ((0,),)) for v in values]

    def group_norm(self, x: Value, groups: int, gamma: Value | None, beta: Value | None, epsilon: float) -> Value:
        """Normalise over groups of channels and all space, written with elementary operators (Wu and He 2018)."""
        n, c = x.shape[:2]
        if groups < 1 or c % groups:
            raise CannotLower(f"{c} channels do not make {groups} groups")
        grouped = self.reshape(x, (n, groups, c // groups, *x.shape[2:]))
        axes = range(2, grouped.rank)
        mean = self.reduce(ReduceKind.MEAN, grouped, axes, keep_dims=True)
        centred = self.binary(BinaryKind.SUB, grouped, mean)
        variance = self.reduce(ReduceKind.MEAN, self.unary(UnaryKind.SQUARE, centred), axes, keep_dims=True)
        shifted = self.binary(BinaryKind.ADD, variance, constant(np.float32(epsilon).reshape(1)))
        normal = self.binary(BinaryKind.MUL, centred, self.unary(UnaryKind.RSQRT, shifted))
        return self._channel_affine(
            self.reshape(normal, x.shape), *(None if v is None else v.real for v in (gamma, beta))
        )

    # ---- elementwise ----

    def unary(self, op: UnaryKind, x: Value, alpha: float = 0.0) -> Value:
        return self.elementwise(ops.Unary(op, alpha), x)

    def clip(self, x: Value, low: float | None, high: float | None) -> Value:
        limits = [None if v is None or math.isinf(v) else float(v) for v in (low, high)]
        if limits == [None, None]:
            return x
        return self.elementwise(ops.Clip(Clamp(*limits)), x)

    def prelu(self, x: Value, alpha: Value) -> Value:
        """alpha broadcasts to x; a single slope becomes a leaky relu."""
        if alpha.is_constant and alpha.size == 1:
            return self.unary(UnaryKind.LEAKY_RELU, x, float(alpha.real.reshape(-1)[0]))
        return self.broadcasting(ops.Prelu(), x, alpha, leading=x)

    # ---- along one axis ----

    def _last(self, x: Value, axis: int) -> tuple[str, list[list[int]]]:
        """x stored with ``axis`` last, the others as they are."""
        axis = normal_axis(axis, x.rank)
        groups = self.stored_groups(x, [axis]) if x.data is None else None
        if groups is not None and groups[-1] == [axis]:
            return x.tensor, groups
        groups = [[a] for a in self.order(x) if a != axis] + [[axis]]
        return self.store(x, groups), groups

    def softmax(self, x: Value, axis: int, *, log: bool = False) -> Value:
        tensor, groups = self._last(x, axis)
        return self.value(self.emit(ops.LogSoftmax() if log else ops.Softmax(), [tensor]), groups, x.shape)

    def argmax(self, x: Value, axis: int, keep_dims: bool) -> Value:
        """Indices as int32 (an MCU has no use for 64 bits)."""
        axis = normal_axis(axis, x.rank)
        tensor, groups = self.separate(x, [axis])
        position = groups.index([axis])
        shape = tuple(1 if a == axis else d for a, d in enumerate(x.shape))
        y = self.value(self.emit(ops.ArgMax(position, keep_dims=True), [tensor]), groups, shape)
        return y if keep_dims else self.reshape(y, tuple(d for a, d in enumerate(x.shape) if a != axis))

    def resize(
        self, x: Value, size: Sequence[int], method: ResizeMethod, *, align_corners: bool, half_pixel: bool
    ) -> Value:
        """x [N,C,(H,)W] → spatial ``size``."""
        image, sequence = self._image(x)
        target = (1, *size) if sequence else tuple(size)
        if target == image.shape[2:]:
            return x
        attributes = ops.Resize2d((int(target[0]), int(target[1])), method, align_corners, half_pixel)
        tensor = self.emit(attributes, [self.store(image, NHWC)])
        return self._from_image(self.value(tensor, NHWC, (*image.shape[:2], *target)), sequence)

    # ---- recurrent ----

    def lstm(
        self, x: Value, w: Array, r: Array, b: Array, h: Value, c: Value, *, reverse: bool = False, clip: float = 0.0
    ) -> list[Value]:
        """x [N,T,I], gates input, forget, cell, output → y [N,T,H], h [N,H], c [N,H]."""
        return self._recurrent(ops.Lstm(reverse, clip), x, [w, r, b], [h, c])

    def gru(
        self, x: Value, w: Array, r: Array, b: Array, rb: Array, h: Value, *, reverse: bool, linear_before_reset: bool
    ) -> list[Value]:
        """x [N,T,I], gates reset, update, new → y [N,T,H], h [N,H]."""
        return self._recurrent(ops.Gru(reverse, linear_before_reset), x, [w, r, b, rb], [h])

    def _recurrent(
        self, attributes: ops.Attributes, x: Value, parameters: Sequence[Array], states: Sequence[Value]
    ) -> list[Value]:
        names = [self.store(x, ((0,), (1,), (2,)))]
        for array in parameters:
            value = constant(np.ascontiguousarray(array, np.float32))
            names.append(self.store(value, [[a] for a in range(value.rank)]))
        names += [self.store(state, ((0,), (1,))) for state in states]
        outputs = self.emit_multi(attributes, names)
        shapes = [self.graph.tensor(name).shape for name in outputs]
        return [self.value(n, [[a] for a in range(len(s))], s) for n, s in zip(outputs, shapes)]


def _ceil_extra(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """How much more padding at the end lets the last, partial window in."""
    span = size + before + after - kernel
    count = -(-span // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return max((count - 1) * stride - span, 0)


def _dense(w: Value, groups: int) -> Value:
    """Grouped transposed-convolution weights [C,O/groups,...] as dense ones [C,O,...] with zeros between the groups."""
    real = w.real
    rows, columns = real.shape[0] // groups, real.shape[1]
    dense = np.zeros((real.shape[0], columns * groups, *real.shape[2:]), np.float32)
    for group in range(groups):
        block = slice(group * rows, (group + 1) * rows)
        dense[block, group * columns : (group + 1) * columns] = real[block]
    return constant(dense, w.name)
