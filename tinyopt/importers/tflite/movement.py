"""Operators of TFLite that move data: shapes, slices, joins, padding, and gathering."""

from __future__ import annotations

import math

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import DType, Shape, ops
from tinyopt.importers.tflite.lowering import CannotLower, Node, lowers


@lowers("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(node: Node) -> None:
    """The declared shape of the output says it all; only where it is open, the shape input is asked."""
    x, shape = node.tensor(node.input(0)), node.output().shape
    if math.prod(shape) != x.size and node.code == "RESHAPE" and node.has(1):
        shape = _resolved(node.numbers(1, "a shape"), x.size)
    node.move(ops.Reshape(shape), [x.name])


def _resolved(numbers: list[int], size: int) -> Shape:
    """A shape in which one -1 stands for what is left."""
    known = math.prod(n for n in numbers if n != -1)
    if known < 1 or numbers.count(-1) > 1 or size % known:
        raise ModelError(f"{size} elements cannot have the shape {numbers}")
    return tuple(size // known if n == -1 else n for n in numbers)


@lowers("TRANSPOSE")
def transpose(node: Node) -> None:
    node.move(ops.Transpose(tuple(node.numbers(1, "a permutation"))), [node.input(0)])


@lowers("BROADCAST_TO")
def broadcast_to(node: Node) -> None:
    node.move(ops.BroadcastTo(tuple(node.numbers(1, "a shape"))), [node.input(0)])


@lowers("CONCATENATION")
def concatenation(node: Node) -> None:
    if node.activation() != ops.NONE:
        raise CannotLower("a fused activation")
    y = node.output()
    names = [node.requantized(name, y) for name in node.inputs()]
    if not names:
        raise ModelError("there is nothing to join")
    _join(node, names, node.axis(node.option("Axis"), len(node.tensor(names[0]).shape)))


@lowers("PACK")
def pack(node: Node) -> None:
    y = node.output()
    names = [node.requantized(name, y) for name in node.inputs()]
    if not names:
        raise ModelError("there is nothing to join")
    shape = node.tensor(names[0]).shape
    axis = node.axis(node.option("Axis"), len(shape) + 1)
    wide = [node.reshaped(name, (*shape[:axis], 1, *shape[axis:]), f"{y.name}/part") for name in names]
    _join(node, wide, axis)


def _join(node: Node, names: list[str], axis: int) -> None:
    kinds = {node.tensor(name).dtype for name in names}
    if len(kinds) > 1:
        raise ModelError(f"inputs of different types: {', '.join(sorted(kind.value for kind in kinds))}")
    node.move(ops.Concat(axis), names)


@lowers("SPLIT")
def split(node: Node) -> None:
    x = node.tensor(node.input(1))
    axis = node.axis(node.number(0, "an axis"), len(x.shape))
    parts = len(node.operator.outputs)
    if not parts or x.shape[axis] % parts:
        raise ModelError(f"axis {axis} of {list(x.shape)} does not split into {parts} equal parts")
    _split(node, x.name, axis, (x.shape[axis] // parts,) * parts)


@lowers("SPLIT_V")
def split_v(node: Node) -> None:
    x = node.tensor(node.input(0))
    axis = node.axis(node.number(2, "an axis"), len(x.shape))
    sizes = node.numbers(1, "sizes")
    if sizes.count(-1) == 1:
        rest = x.shape[axis] - sum(size for size in sizes if size != -1)
        sizes = [rest if size == -1 else size for size in sizes]
    if not sizes or len(sizes) != len(node.operator.outputs):
        raise ModelError(f"{len(sizes)} sizes for {len(node.operator.outputs)} outputs")
    _split(node, x.name, axis, tuple(sizes))


def _split(node: Node, x: str, axis: int, sizes: tuple[int, ...]) -> None:
    tensor = node.tensor(x)
    stems = [node.output(i).name for i in range(len(sizes))]
    names = node.steps(ops.Split(axis, sizes), [x], stems, tensor.dtype, tensor.quantization)
    for position, name in enumerate(names):
        node.finish_moved(name, position)


@lowers("UNPACK")
def unpack(node: Node) -> None:
    x = node.tensor(node.input(0))
    axis = node.axis(node.option("Axis"), len(x.shape))
    parts = len(node.operator.outputs)
    if parts != x.shape[axis]:
        raise ModelError(f"axis {axis} of {list(x.shape)} does not unpack into {parts} outputs")
    stems = [f"{node.output(i).name}/wide" for i in range(parts)]
    names = node.steps(ops.Split(axis, (1,) * parts), [x.name], stems, x.dtype, x.quantization)
    narrow = (*x.shape[:axis], *x.shape[axis + 1 :])
    for position, name in enumerate(names):
        node.finish_moved(node.reshaped(name, narrow, node.output(position).name), position)


@lowers("SLICE")
def slice_(node: Node) -> None:
    x = node.tensor(node.input(0))
    begin, size = node.numbers(1, "a begin"), node.numbers(2, "a size")
    if not len(begin) == len(size) == len(x.shape):
        raise ModelError(f"begin {begin} and size {size} do not fit {list(x.shape)}")
    sizes = tuple(extent - b if n == -1 else n for b, n, extent in zip(begin, size, x.shape))
    node.move(ops.Slice(tuple(begin), sizes, (1,) * len(sizes)), [x.name])


@lowers("STRIDED_SLICE")
def strided_slice(node: Node) -> None:
    """Python's slicing, with the bits of five masks for ``:``, ``...``, ``newaxis`` and single indices."""
    x = node.tensor(node.input(0))
    begins, ends, strides = (node.numbers(i, what) for i, what in ((1, "a begin"), (2, "an end"), (3, "strides")))
    if not len(begins) == len(ends) == len(strides):
        raise ModelError(f"begin {begins}, end {ends} and strides {strides} have different lengths")
    if node.option("Offset"):
        ends = [begin + end for begin, end in zip(begins, ends)]

    def bit(mask: str, position: int) -> bool:
        return bool(node.option(mask) >> position & 1)

    spread = sum(not bit("NewAxisMask", i) and not bit("EllipsisMask", i) for i in range(len(begins)))
    begin: list[int] = []
    size: list[int] = []
    step: list[int] = []
    shape: list[int] = []  # of the result: without single indices, with new axes

    def whole(count: int) -> None:
        for _ in range(count):
            extent = x.shape[len(begin)]
            begin.append(0)
            size.append(extent)
            step.append(1)
            shape.append(extent)

    for i, stride in enumerate(strides):
        if bit("EllipsisMask", i):
            whole(len(x.shape) - spread)
        elif bit("NewAxisMask", i):
            shape.append(1)
        else:
            if len(begin) >= len(x.shape):
                raise ModelError(f"more slices than the {len(x.shape)} axes of the input")
            extent = x.shape[len(begin)]
            if bit("ShrinkAxisMask", i):
                first = begins[i] + extent if begins[i] < 0 else begins[i]
                begin, size, step = [*begin, first], [*size, 1], [*step, 1]
                continue
            start = None if bit("BeginMask", i) else begins[i]
            stop = None if bit("EndMask", i) else ends[i]
            if stride == 0:
                raise ModelError("a stride is 0")
            indices = range(*slice(start, stop, stride).indices(extent))
            if not len(indices):
                raise ModelError(f"the slice of axis {len(begin)} is empty")
            begin, size, step = [*begin, indices[0]], [*size, len(indices)], [*step, stride]
            shape.append(len(indices))
    whole(len(x.shape) - len(begin))
    attributes = ops.Slice(tuple(begin), tuple(size), tuple(step))
    if tuple(shape) == tuple(size):
        node.move(attributes, [x.name])
    else:
        y = node.output()
        part = node.step(attributes, [x.name], f"{y.name}/part", x.dtype, x.quantization)
        node.finish_moved(node.reshaped(part, tuple(shape), y.name))


@lowers("REVERSE_V2")
def reverse(node: Node) -> None:
    x = node.tensor(node.input(0))
    axes = {node.axis(axis, len(x.shape)) for axis in node.numbers(1, "axes")}
    begin = tuple(d - 1 if i in axes else 0 for i, d in enumerate(x.shape))
    node.move(ops.Slice(begin, x.shape, tuple(-1 if i in axes else 1 for i in range(len(x.shape)))), [x.name])


@lowers("PAD", "PADV2")
def pad(node: Node) -> None:
    x = node.tensor(node.input(0))
    before, after = _pads(node, len(x.shape))
    value = 0.0
    if node.code == "PADV2":
        fill = node.tensor(node.input(2))
        if fill.data is None:
            raise CannotLower("a padding value computed at run time")
        if fill.size != 1 or fill.dtype is not x.dtype:
            raise ModelError(f"the padding value must be one {x.dtype.value} number")
        numbers = fill.data if fill.quantization is None else fill.quantization.dequantize(fill.data)
        value = float(numbers.reshape(-1)[0])
    node.move(ops.Pad(before, after, ops.PadMode.CONSTANT, value), [x.name])


def _pads(node: Node, rank: int) -> tuple[Shape, Shape]:
    pads = node.numbers(1, "paddings")
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise ModelError(f"paddings {pads} do not fit {rank} axes")
    return tuple(pads[::2]), tuple(pads[1::2])


@lowers("MIRROR_PAD")
def mirror_pad(node: Node) -> None:
    x = node.tensor(node.input(0))
    before, after = _pads(node, len(x.shape))
    if node.option("Mode") == 0:
        node.move(ops.Pad(before, after, ops.PadMode.REFLECT), [x.name])
        return
    if max((*before, *after, 0)) <= 1:  # one element mirrored about the border is the border itself
        node.move(ops.Pad(before, after, ops.PadMode.EDGE), [x.name])
        return
    name, y = x.name, node.output()
    for axis, (b, a, extent) in enumerate(zip(before, after, x.shape)):
        if b > extent or a > extent:
            raise ModelError(f"a mirror of {max(b, a)} elements on an axis of {extent}")
        if b or a:
            node.importer.spend(4 * (b + extent + a))
            order = np.pad(np.arange(extent, dtype=np.int32), (b, a), mode="symmetric")
            indices = node.importer.builder.constant(f"{y.name}/order_{axis}", order)
            stem = f"{y.name}/axis_{axis}"
            name = node.step(ops.Gather(axis), [name, indices], stem, x.dtype, x.quantization)
    node.finish_moved(name)


@lowers("GATHER")
def gather(node: Node) -> None:
    if node.option("BatchDims"):
        raise CannotLower("batch dimensions")
    x = node.tensor(node.input(0))
    _gather(node, x.name, node.input(1), node.axis(node.option("Axis"), len(x.shape)))


@lowers("EMBEDDING_LOOKUP")
def embedding_lookup(node: Node) -> None:
    table = node.input(1)
    if node.output().dtype is DType.FLOAT32:
        table = node.float_weights(table)
    _gather(node, table, node.input(0), 0)


def _gather(node: Node, x: str, indices: str, axis: int) -> None:
    order = node.tensor(indices)
    if order.dtype not in (DType.INT32, DType.INT64):
        raise CannotLower(f"indices of type {order.dtype.value}")
    extent = node.tensor(x).shape[axis]
    if order.data is not None and order.size and not 0 <= int(order.data.min()) <= int(order.data.max()) < extent:
        raise ModelError(f"an index of '{indices}' is outside 0..{extent - 1}")
    node.move(ops.Gather(axis), [x, indices])


@lowers("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def blocks(node: Node) -> None:
    """Blocks of pixels to channels and back: a transposition of six axes."""
    x, y, block = node.tensor(node.input(0)), node.output(), node.option("BlockSize")
    if len(x.shape) != 4 or block < 1:
        raise ModelError(f"block size {block} on an input of {len(x.shape)} axes")
    n, h, w, c = x.shape
    if node.code == "SPACE_TO_DEPTH":
        inner = (n, h // block, block, w // block, block, c)
        shape = (n, h // block, w // block, block * block * c)
    else:
        inner = (n, h, w, block, block, c // (block * block))
        shape = (n, h * block, w * block, c // (block * block))
    name = node.reshaped(x.name, inner, f"{y.name}/blocks")
    name = node.step(ops.Transpose((0, 1, 3, 2, 4, 5)), [name], f"{y.name}/order", x.dtype, x.quantization)
    node.finish_moved(node.reshaped(name, shape, y.name))


@lowers("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")
def batches(node: Node) -> None:
    """Every block-th pixel as an image of its own, and back: how converters write dilation in one dimension."""
    x, y = node.tensor(node.input(0)), node.output()
    block, ends = node.numbers(1, "a block shape"), node.numbers(2, "paddings or crops")
    axes = len(block)
    if not 0 < axes < len(x.shape) or min(block) < 1 or len(ends) != 2 * axes or min(ends) < 0:
        raise ModelError(f"blocks {block} and paddings {ends} do not fit an input of {len(x.shape)} axes")
    before, after, rest = ends[::2], ends[1::2], x.shape[1 + axes :]
    none, count, name = (0,) * len(rest), math.prod(block), x.name

    def step(attributes: ops.Attributes, stem: str) -> str:
        return node.step(attributes, [name], f"{y.name}/{stem}", x.dtype, x.quantization)

    if node.code == "SPACE_TO_BATCH_ND":
        if any(ends):
            name = step(ops.Pad((0, *before, *none), (0, *after, *none)), "padded")
        shape = node.tensor(name).shape
        small = [d // b for d, b in zip(shape[1:], block)]
        inner = (shape[0], *(n for pair in zip(small, block) for n in pair), *rest)
        inside, outside = [2 + 2 * i for i in range(axes)], [1 + 2 * i for i in range(axes)]
        perm = (*inside, 0, *outside, *range(1 + 2 * axes, len(inner)))
        name = node.reshaped(name, inner, f"{y.name}/blocks")
        name = step(ops.Transpose(perm), "order")
        node.finish_moved(node.reshaped(name, (count * shape[0], *small, *rest), y.name))
        return
    if x.shape[0] % count:
        raise ModelError(f"a batch of {x.shape[0]} is no multiple of blocks of {count}")
    images, small = x.shape[0] // count, list(x.shape[1 : 1 + axes])
    inner = (*block, images, *small, *rest)
    pairs = [n for i in range(axes) for n in (axes + 1 + i, i)]
    name = node.reshaped(name, inner, f"{y.name}/blocks")
    name = step(ops.Transpose((axes, *pairs, *range(1 + 2 * axes, len(inner)))), "order")
    large = [d * b for d, b in zip(small, block)]
    name = node.reshaped(name, (images, *large, *rest), f"{y.name}/image" if any(ends) else y.name)
    if any(ends):
        size = (images, *(d - b - a for d, b, a in zip(large, before, after)), *rest)
        name = step(ops.Slice((0, *before, *none), size, (1,) * len(size)), "cropped")
    node.finish_moved(name)


@lowers("SHAPE")
def shape_of(node: Node) -> None:
    y = node.output()
    shape = np.asarray(node.tensor(node.input(0)).shape, y.dtype.numpy)
    node.finish(node.importer.builder.constant(y.name, shape))
