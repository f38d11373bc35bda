"""ONNX operators that move data: shapes, joins, cuts, lookups, padding, resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinyopt.graph import Array, DType, ops
from tinyopt.graph.ops import PadMode, ResizeMethod
from tinyopt.importers.layers import Layers
from tinyopt.importers.onnx.folding import slice_bounds
from tinyopt.importers.onnx.node import Node, Result, lowers
from tinyopt.importers.values import CannotLower, Value, constant, normal_axis


@lowers("Identity", "Dropout")
def _identity(net: Layers, node: Node) -> Result:
    if node.operator == "Dropout" and node.scalar(2):
        raise CannotLower("runs in training mode; export the model for inference")
    return [node.x, constant(np.ones(node.x.shape, bool)) if any(node.outputs[1:]) else None]


@lowers("Shape")
def _shape(net: Layers, node: Node) -> Value:
    shape = node.x.shape[node.attribute("start", 0) : node.attribute("end")]
    return constant(np.array(shape, np.int64))


@lowers("Size")
def _size(net: Layers, node: Node) -> Value:
    return constant(np.array(node.x.size, np.int64))


@lowers("Reshape")
def _reshape(net: Layers, node: Node) -> Value:
    wanted = node.numbers(1, "shape")
    if wanted is None:
        raise CannotLower("its shape is missing")
    if not node.attribute("allowzero", 0):
        wanted = [node.x.shape[axis] if d == 0 else d for axis, d in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        if known < 1 or node.x.size % known:
            raise CannotLower(f"{list(node.x.shape)} does not make {wanted}")
        wanted = [node.x.size // known if d == -1 else d for d in wanted]
    return net.reshape(node.x, wanted)


@lowers("Flatten")
def _flatten(net: Layers, node: Node) -> Value:
    axis = int(node.attribute("axis", 1))
    axis = axis + node.x.rank if axis < 0 else axis
    return net.reshape(node.x, (math.prod(node.x.shape[:axis]), math.prod(node.x.shape[axis:])))


@lowers("Squeeze")
def _squeeze(net: Layers, node: Node) -> Value:
    axes = node.numbers(1, "axes")
    shape = node.x.shape
    drop = (
        {normal_axis(a, len(shape)) for a in axes} if axes is not None else {a for a, d in enumerate(shape) if d == 1}
    )
    return net.reshape(node.x, [d for a, d in enumerate(shape) if a not in drop])


@lowers("Unsqueeze")
def _unsqueeze(net: Layers, node: Node) -> Value:
    axes = node.numbers(1, "axes") or []
    rank = node.x.rank + len(axes)
    places = {normal_axis(a, rank) for a in axes}
    rest = iter(node.x.shape)
    return net.reshape(node.x, [1 if a in places else next(rest) for a in range(rank)])


@lowers("Transpose")
def _transpose(net: Layers, node: Node) -> Value:
    perm = node.ints("perm", list(reversed(range(node.x.rank))))
    if sorted(perm) != list(range(node.x.rank)):
        raise CannotLower(f"{perm} is no permutation of {node.x.rank} axes")
    return net.transpose(node.x, perm)


@lowers("Expand")
def _expand(net: Layers, node: Node) -> Value:
    return net.expand(node.x, node.numbers(1) or [])


@lowers("Tile")
def _tile(net: Layers, node: Node) -> Value:
    return net.tile(node.x, node.numbers(1) or [])


@lowers("Concat")
def _concat(net: Layers, node: Node) -> Value:
    return net.concat([node.input(i) for i in range(len(node.inputs))], int(node.attribute("axis", 1)))


@lowers("Split")
def _split(net: Layers, node: Node) -> Result:
    axis = normal_axis(int(node.attribute("axis", 0)), node.x.rank)
    sizes = node.numbers(1, "split")
    if sizes is None:
        extent, count = node.x.shape[axis], len(node.outputs)
        size = -(-extent // count)
        sizes = [min(size, extent - start) for start in range(0, extent, size)]
    if len(sizes) != len(node.outputs):
        raise CannotLower(f"{len(sizes)} parts for {len(node.outputs)} outputs")
    return net.split(node.x, axis, sizes)


@lowers("Slice")
def _slice(net: Layers, node: Node) -> Value:
    x = node.x
    starts, ends = node.numbers(1, "starts"), node.numbers(2, "ends")
    if starts is None or ends is None:
        raise CannotLower("its bounds are missing")
    axes = node.numbers(3, "axes") or list(range(len(starts)))
    steps = node.numbers(4) or [1] * len(starts)
    begin, size, stride = [0] * x.rank, list(x.shape), [1] * x.rank
    for start, end, axis, step in zip(starts, ends, axes, steps):
        first, stop, jump = slice_bounds(x.shape[axis], start, end, step)
        axis = normal_axis(axis, x.rank)
        begin[axis], stride[axis] = first, jump
        size[axis] = max(0, -(-(stop - first) // jump))
    return net.slice(x, begin, size, stride)


@lowers("Gather")
def _gather(net: Layers, node: Node) -> Value:
    axis = normal_axis(int(node.attribute("axis", 0)), node.x.rank)
    extent, indices = node.x.shape[axis], node.input(1)
    if indices.data is not None:
        data = np.where(indices.data < 0, indices.data + extent, indices.data).astype(np.int32)
        if data.size and (data.min() < 0 or data.max() >= extent):
            raise CannotLower(f"an index is outside 0..{extent - 1}")
        if data.ndim == 0:  # one index: a slice
            part = net.cut(node.x, axis, int(data), int(data) + 1)
            return net.reshape(part, [d for a, d in enumerate(node.x.shape) if a != axis])
        indices = constant(data, indices.name)
    return net.gather(node.x, indices, axis)


@lowers("DepthToSpace")
def _depth_to_space(net: Layers, node: Node) -> Value:
    r, (n, c, h, w) = int(node.attribute("blocksize", 1)), node.x.shape
    if node.attribute("mode", "DCR") == "CRD":
        parts = net.transpose(net.reshape(node.x, (n, c // (r * r), r, r, h, w)), (0, 1, 4, 2, 5, 3))
    else:
        parts = net.transpose(net.reshape(node.x, (n, r, r, c // (r * r), h, w)), (0, 3, 4, 1, 5, 2))
    return net.reshape(parts, (n, c // (r * r), h * r, w * r))


@lowers("SpaceToDepth")
def _space_to_depth(net: Layers, node: Node) -> Value:
    r, (n, c, h, w) = int(node.attribute("blocksize", 1)), node.x.shape
    order = (0, 1, 3, 5, 2, 4) if node.attribute("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    parts = net.transpose(net.reshape(node.x, (n, c, h // r, r, w // r, r)), order)
    return net.reshape(parts, (n, c * r * r, h // r, w // r))


@lowers("Trilu")
def _trilu(net: Layers, node: Node) -> Value:
    if net.dtype(node.x) is not DType.FLOAT32:
        raise CannotLower(f"a triangle of {net.dtype(node.x).value}")
    offset = (node.numbers(1) or [0])[0]
    shape = node.x.shape[-2:]
    mask = np.triu(np.ones(shape), offset) if node.attribute("upper", 1) else np.tril(np.ones(shape), offset)
    return net.binary(ops.BinaryKind.MUL, node.x, constant(mask.astype(np.float32)))


@lowers("Pad")
def _pad(net: Layers, node: Node) -> Value:
    rank = node.x.rank
    pads = node.numbers(1, "pads")
    axes = node.numbers(3) or list(range(rank))
    mode = node.attribute("mode", "constant")
    if pads is None or len(pads) != 2 * len(axes):
        raise CannotLower(f"pads {pads} for {len(axes)} axes")
    if mode not in ("constant", "reflect", "edge"):
        raise CannotLower(f"padding mode '{mode}'")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
    return net.pad(node.x, before, after, PadMode(mode), float(node.scalar(2, "value", 0.0) or 0.0))


# ---- resizing -------------------------------------------------------------------------------------------------


def _coordinates(mode: str, extent: int, size: int, scale: float) -> Array:
    """Where each output position lies in the input (ONNX, Resize, coordinate_transformation_mode).

    Single precision, as in other runtimes: it decides between neighbours.
    """
    position: Array = np.arange(size, dtype=np.float32)
    factor, half = np.float32(scale), np.float32(0.5)
    if mode == "asymmetric":
        position = position / factor
    elif mode == "align_corners":
        position = position * np.float32(extent - 1) / np.float32(max(size - 1, 1))
    elif mode == "pytorch_half_pixel" and size == 1:
        position = position * 0
    elif mode in ("half_pixel", "pytorch_half_pixel"):
        position = (position + half) / factor - half
    elif mode == "half_pixel_symmetric":
        adjusted = np.float32(size) / (factor * extent)
        position = extent * half * (1 - adjusted) + (position + half) / factor - half
    else:
        raise CannotLower(f"coordinate transformation '{mode}'")
    return position


_ROUND: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _matrix(source: Array, extent: int, cubic: float | None, outside: bool) -> Array:
    """Interpolation along one axis as a matrix [output, input]: linear, or cubic with coefficient ``cubic``."""
    matrix = np.zeros((len(source), extent))
    for row, place in enumerate(source):
        base = math.floor(place)
        taps = range(base, base + 2) if cubic is None else range(base - 1, base + 3)
        weights = []
        for tap in taps:
            distance = abs(place - tap)
            weight = max(1 - distance, 0.0) if cubic is None else _cubic(distance, cubic)
            weights.append(0.0 if outside and not 0 <= tap < extent else weight)
        total = sum(weights) if outside else 1.0
        for tap, weight in zip(taps, weights):
            matrix[row, min(max(tap, 0), extent - 1)] += weight / total
    return matrix.astype(np.float32)


def _cubic(distance: float, a: float) -> float:
    """The convolution kernel of Keys 1981."""
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance * distance + 1
    if distance < 2:
        return a * (((distance - 5) * distance + 8) * distance - 4)
    return 0.0


def _target(node: Node, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """Output size and scale of every axis."""
    index = 1 if node.operator == "Upsample" or node.opset < 11 else 2
    scales_input = node.optional(index)
    scales: Sequence[float] = []
    if scales_input is not None:
        scales = [float(v) for v in scales_input.real.reshape(-1)]
    elif node.attributes.get("scales") is not None:
        scales = [float(v) for v in node.attributes["scales"]]
    sizes = node.numbers(3) if index == 2 else None
    axes = [normal_axis(a, len(shape)) for a in node.ints("axes", range(len(shape)))]
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    final_size, final_scale = list(shape), [1.0] * len(shape)
    if len(scales) == len(axes):
        for axis, scale in zip(axes, scales):
            final_size[axis], final_scale[axis] = math.floor(shape[axis] * scale), scale
    elif sizes is not None and len(sizes) == len(axes):
        factors = [size / shape[axis] for axis, size in zip(axes, sizes)]
        if policy != "stretch":
            common = min(factors) if policy == "not_larger" else max(factors)
            factors, sizes = [common] * len(axes), [math.floor(common * shape[a] + 0.5) for a in axes]
        for axis, size, factor in zip(axes, sizes, factors):
            final_size[axis], final_scale[axis] = size, factor
    else:
        raise CannotLower("neither scales nor sizes are known")
    return final_size, final_scale


@lowers("Resize", "Upsample")
def _resize(net: Layers, node: Node) -> Value:
    x = node.x
    sizes, scales = _target(node, x.shape)
    old = node.operator == "Upsample" or node.opset < 11
    mode = node.attribute("mode", "nearest")
    transform = "asymmetric" if old else node.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else node.attribute("nearest_mode", "round_prefer_floor")
    if node.attribute("antialias", 0):
        raise CannotLower("antialiased resizing")
    if mode not in ("nearest", "linear", "cubic") or any(s < 1 for s in sizes):
        raise CannotLower(f"resizing to {sizes} with mode '{mode}'")
    changed = [axis for axis in range(x.rank) if sizes[axis] != x.shape[axis] or scales[axis] != 1]
    places = {axis: _coordinates(transform, x.shape[axis], sizes[axis], scales[axis]) for axis in changed}
    if mode == "nearest":
        rows = {a: np.clip(_ROUND[rounding](p), 0, x.shape[a] - 1).astype(np.int32) for a, p in places.items()}
        native = _native(x, changed, lambda a, flags: np.array_equal(rows[a], _nearest(x, sizes, a, *flags)))
        if native is not None:
            return net.resize(x, sizes[2:], ResizeMethod.NEAREST, align_corners=native[0], half_pixel=native[1])
        for axis, index in rows.items():
            x = net.gather(x, constant(index), axis)
        return x
    cubic = float(node.attribute("cubic_coeff_a", -0.75)) if mode == "cubic" else None
    outside = bool(node.attribute("exclude_outside", 0))
    matrices = {a: _matrix(p, x.shape[a], cubic, outside) for a, p in places.items()}
    if mode == "linear":
        native = _native(x, changed, lambda a, f: np.allclose(matrices[a], _bilinear(x, sizes, a, *f), atol=1e-5))
        if native is not None:
            return net.resize(x, sizes[2:], ResizeMethod.BILINEAR, align_corners=native[0], half_pixel=native[1])
    net.graph.note(f"'{node.name}': a {mode} resize that has no kernel was written as matrix products")
    for axis, matrix in matrices.items():
        order = [a for a in range(x.rank) if a != axis] + [axis]
        y = net.linear(net.transpose(x, order), constant(matrix), None)
        x = net.transpose(y, [int(i) for i in np.argsort(order)])
    return x


def _native(x: Value, changed: list[int], same: Callable[[int, tuple[bool, bool]], bool]) -> tuple[bool, bool] | None:
    """(align_corners, half_pixel) of a Resize2d that samples at the same points, if there is one."""
    if x.rank not in (3, 4) or any(axis < 2 for axis in changed):
        return None
    for flags in ((False, False), (True, False), (False, True)):
        if all(same(axis, flags) for axis in changed):
            return flags
    return None


def _source(extent: int, size: int, align: bool, half: bool, bilinear: bool) -> Array:
    scale = (extent - 1) / (size - 1) if align and size > 1 else extent / size
    position = np.arange(size, dtype=np.float64)
    return (position + 0.5) * scale - (0.5 if bilinear else 0.0) if half else position * scale


def _nearest(x: Value, sizes: list[int], axis: int, align: bool, half: bool) -> Array:
    source = _source(x.shape[axis], sizes[axis], align, half, bilinear=False)
    index = np.floor(source + 0.5) if align else np.floor(source)
    return np.clip(index, 0, x.shape[axis] - 1).astype(np.int32)


def _bilinear(x: Value, sizes: list[int], axis: int, align: bool, half: bool) -> Array:
    source = _source(x.shape[axis], sizes[axis], align, half, bilinear=True)
    return _matrix(np.clip(source, 0, x.shape[axis] - 1), x.shape[axis], None, False)
