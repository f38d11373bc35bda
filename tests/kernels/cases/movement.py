"""Single-operator graphs of every data movement: all element sizes, ranks from 1 to 6, constants among the inputs."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

DTYPES = (DType.INT8, DType.INT8, DType.INT16, DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL)
Draw = st.DrawFn


def quantization_for(dtype: DType) -> Quantization | None:
    return (
        Quantization.per_tensor(0.05, -7 if dtype is DType.INT8 else 0) if dtype in (DType.INT8, DType.INT16) else None
    )


def values(dtype: DType, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Deterministic data that fills the range of the type."""
    random = np.random.default_rng(seed)
    if dtype is DType.FLOAT32:
        return random.normal(size=shape).astype(np.float32)
    if dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    low, high = dtype.limits
    return random.integers(low, high, shape, dtype=dtype.numpy, endpoint=True)


@st.composite
def shapes(draw: Draw, min_rank: int = 1, max_rank: int = 5, limit: int = 600) -> tuple[int, ...]:
    rank = draw(st.integers(min_rank, max_rank))
    shape: list[int] = []
    for _ in range(rank):
        shape.append(draw(st.integers(1, max(1, min(9, limit // math.prod(shape))))))
    return tuple(shape)


def single(attributes: ops.Attributes, shape: tuple[int, ...], dtype: DType) -> Graph:
    """A graph of one operator with one input and equal quantization on all tensors."""
    builder = GraphBuilder(type(attributes).__name__.lower())
    x = builder.input("x", shape, dtype, quantization_for(dtype))
    for name in builder.add_multi(attributes, [x], dtype=dtype, quantizations=[quantization_for(dtype)]):
        builder.output(name)
    return builder.build()


@st.composite
def transpose(draw: Draw) -> Graph:
    shape = draw(shapes(1, 6))
    perm = tuple(draw(st.permutations(range(len(shape)))))
    return single(ops.Transpose(perm), shape, draw(st.sampled_from(DTYPES)))


@st.composite
def transpose_long(draw: Draw) -> Graph:
    """Axes and runs on both sides of the lengths from which copies go another way."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(2, 20)), draw(st.integers(1, 36)))
    perm = draw(st.sampled_from(((0, 2, 1, 3), (2, 1, 0, 3), (0, 2, 3, 1), (3, 2, 1, 0))))
    return single(ops.Transpose(perm), shape, draw(st.sampled_from((DType.INT8, DType.INT8, DType.INT16))))


@st.composite
def slice_(draw: Draw) -> Graph:
    shape = draw(shapes(1, 5))
    begins, sizes, strides = [], [], []
    for extent in shape:
        stride = draw(st.sampled_from((1, 1, 1, 2, 3, -1, -2)))
        begin = draw(st.integers(0, extent - 1))
        room = (extent - 1 - begin if stride > 0 else begin) // abs(stride) + 1
        begins.append(begin)
        sizes.append(draw(st.integers(1, room)))
        strides.append(stride)
    attributes = ops.Slice(tuple(begins), tuple(sizes), tuple(strides))
    return single(attributes, shape, draw(st.sampled_from(DTYPES)))


@st.composite
def broadcast_to(draw: Draw) -> Graph:
    target = draw(shapes(1, 5))
    shape = tuple(1 if draw(st.booleans()) else extent for extent in target)
    shape = shape[draw(st.integers(0, len(shape) - 1)) :]
    return single(ops.BroadcastTo(target), shape, draw(st.sampled_from(DTYPES)))


@st.composite
def reshape(draw: Draw) -> Graph:
    shape = draw(shapes(1, 4))
    return single(ops.Reshape((math.prod(shape),)), shape, draw(st.sampled_from(DTYPES)))


@st.composite
def split(draw: Draw) -> Graph:
    shape = draw(shapes(1, 5))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes: list[int] = []
    while sum(sizes) < shape[axis]:
        sizes.append(draw(st.integers(1, shape[axis] - sum(sizes))))
    return single(ops.Split(axis, tuple(sizes)), shape, draw(st.sampled_from(DTYPES)))


@st.composite
def concat(draw: Draw) -> Graph:
    shape = draw(shapes(1, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(DTYPES))
    quantization = quantization_for(dtype)
    builder = GraphBuilder("concat")
    parts = []
    for index in range(draw(st.integers(1, 5))):
        part = (*shape[:axis], draw(st.integers(1, 5)), *shape[axis + 1 :])
        if draw(st.integers(0, 3)) == 0:
            parts.append(builder.constant(f"c{index}", values(dtype, part, index), quantization))
        else:
            parts.append(builder.input(f"x{index}", part, dtype, quantization))
    builder.output(builder.add(ops.Concat(axis), parts, dtype=dtype, quantization=quantization))
    return builder.build()


@st.composite
def pad(draw: Draw) -> Graph:
    shape = draw(shapes(1, 5, limit=200))
    mode = draw(st.sampled_from(ops.PadMode))
    most = [min(extent - 1, 3) if mode is ops.PadMode.REFLECT else 3 for extent in shape]
    widths = [tuple(draw(st.sampled_from((0, 0, 1, 2, 3))) for _ in range(2)) for _ in shape]
    before = tuple(min(width[0], limit) for width, limit in zip(widths, most))
    after = tuple(min(width[1], limit) for width, limit in zip(widths, most))
    value = draw(st.sampled_from((0.0, 1.0, -2.5, 300.0))) if mode is ops.PadMode.CONSTANT else 0.0
    return single(ops.Pad(before, after, mode, value), shape, draw(st.sampled_from(DTYPES)))


@st.composite
def gather(draw: Draw) -> Graph:
    """Data and indices, each an input or a constant (not both constants). Inputs of indices go past the axis."""
    shape = draw(shapes(1, 4))
    axis = draw(st.integers(0, len(shape) - 1))
    dtype = draw(st.sampled_from(DTYPES))
    index_type = draw(st.sampled_from((DType.INT32, DType.INT64)))
    index_shape = draw(st.sampled_from(((), (1,), (5,), (2, 3))))
    quantization = quantization_for(dtype)
    builder = GraphBuilder("gather")
    form = draw(st.sampled_from(("inputs", "table", "fixed")))
    if form == "table":
        x = builder.constant("table", values(dtype, shape, 1), quantization)
    else:
        x = builder.input("x", shape, dtype, quantization)
    if form == "fixed":
        chosen = np.random.default_rng(2).integers(0, shape[axis], index_shape)
        indices = builder.constant("indices", np.asarray(chosen, index_type.numpy))
    else:
        indices = builder.input("indices", index_shape, index_type)
    builder.output(builder.add(ops.Gather(axis), [x, indices], dtype=dtype, quantization=quantization))
    return builder.build()


@st.composite
def constant_only(draw: Draw) -> Graph:
    """An operator of constants alone, for a graph that was not folded."""
    shape = draw(shapes(1, 3))
    dtype = draw(st.sampled_from(DTYPES))
    builder = GraphBuilder("constant")
    x = builder.constant("x", values(dtype, shape, 3), quantization_for(dtype))
    perm = tuple(reversed(range(len(shape))))
    builder.output(builder.add(ops.Transpose(perm), [x], dtype=dtype, quantization=quantization_for(dtype)))
    return builder.build()


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "transpose": transpose(),
    "transpose_long": transpose_long(),
    "slice": slice_(),
    "broadcast_to": broadcast_to(),
    "reshape": reshape(),
    "split": split(),
    "concat": concat(),
    "pad": pad(),
    "gather": gather(),
    "constant_only": constant_only(),
}
