"""What the case strategies share: quantization parameters, shapes, constants and one-operator graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

CASES: dict[str, st.SearchStrategy[Graph]] = {}
Draw = st.DrawFn
Shape = tuple[int, ...]

CLAMPS = st.sampled_from((ops.NONE, ops.NONE, ops.RELU, ops.RELU6, ops.RELU_N1_TO_1))
SCALES = st.floats(-6.5, 0.5).map(lambda exponent: float(np.float32(math.exp(exponent))))


@st.composite
def quantizations(draw: Draw, dtype: DType = DType.INT8) -> Quantization | None:
    """Per-tensor parameters of an activation; None for float32, symmetric for int16."""
    if dtype is DType.FLOAT32:
        return None
    low, high = dtype.limits
    zero = 0 if dtype in (DType.INT16, DType.INT32) else draw(st.one_of(st.integers(low, high), st.just(low)))
    return Quantization.per_tensor(draw(SCALES), zero)


@st.composite
def shapes(draw: Draw, min_rank: int = 1, max_rank: int = 4, limit: int = 500) -> Shape:
    shape: list[int] = []
    for _ in range(draw(st.integers(min_rank, max_rank))):
        shape.append(draw(st.integers(1, max(1, min(9, limit // math.prod(shape))))))
    return tuple(shape)


def values(dtype: DType, shape: Shape, seed: int) -> np.ndarray:
    """Deterministic data: the whole range of an integer type, a normal distribution of floats."""
    random = np.random.default_rng(seed)
    if dtype is DType.FLOAT32:
        return (3 * random.normal(size=shape)).astype(np.float32)
    if dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    low, high = dtype.limits
    return random.integers(low, high, shape, dtype=dtype.numpy, endpoint=True)


def single(
    attributes: ops.Attributes,
    inputs: Sequence[tuple[Shape, Quantization | None] | tuple[np.ndarray, Quantization | None]],
    dtype: DType,
    output: Quantization | None,
    *,
    output_dtype: DType | None = None,
) -> Graph:
    """One operator. An input given as an array is a constant, one given as a shape an input of the graph."""
    builder = GraphBuilder(attributes.kind.lower())
    names = []
    for index, (what, quantization) in enumerate(inputs):
        if isinstance(what, np.ndarray):
            names.append(builder.constant(f"c{index}", what, quantization))
        else:
            names.append(builder.input(f"x{index}", what, dtype, quantization))
    builder.output(builder.add(attributes, names, dtype=output_dtype, quantization=output))
    return builder.build()
