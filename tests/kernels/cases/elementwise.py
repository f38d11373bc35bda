"""Single-operator graphs of elementwise arithmetic: every operator, broadcasting, constants, int8 and float32."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kernels.cases.quantized import CLAMPS, Draw, Shape, quantizations, shapes, single, values
from tinyopt.graph import DType, Graph, Quantization, ops


@st.composite
def broadcast_pairs(draw: Draw) -> tuple[Shape, Shape]:
    """Two shapes that broadcast; mostly equal, or one of them per channel or a scalar, sometimes both partial."""
    full = draw(shapes(1, 5))
    how = draw(st.sampled_from(("same", "same", "channel", "scalar", "mixed")))
    if how == "same":
        return full, full
    if how == "channel":
        other: Shape = full[-1:]
    elif how == "scalar":
        other = (1,)
    else:
        keep = [draw(st.integers(0, 2)) for _ in full]
        other = tuple(d if k != 1 else 1 for d, k in zip(full, keep))
        full = tuple(d if k != 2 else 1 for d, k in zip(full, keep))
        other = other[draw(st.integers(0, len(other) - 1)) :]
    return (other, full) if draw(st.booleans()) else (full, other)


def _nonzero(data: np.ndarray, quantization: Quantization | None) -> np.ndarray:
    """Data without real zeros, for divisors."""
    zero = 0 if quantization is None else quantization.zero_point
    return np.where(data == zero, np.asarray(zero - 1 if zero > 0 else zero + 1, data.dtype), data)


@st.composite
def binary(draw: Draw, op: ops.BinaryKind, dtype: DType) -> Graph:
    a, b = draw(broadcast_pairs())
    first, second = draw(quantizations(dtype)), draw(quantizations(dtype))
    output = draw(quantizations(dtype))
    extreme = op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM)
    if extreme and (dtype is DType.INT16 or draw(st.booleans())):
        second = output = first
    operands: list[tuple[Shape | np.ndarray, Quantization | None]] = [(a, first), (b, second)]
    constant = draw(st.sampled_from((None, None, 1, 1, 0)))
    if op is ops.BinaryKind.DIV:
        constant = 1 if constant is None and dtype is DType.FLOAT32 else constant
    if constant is not None:
        shape, quantization = (a, b)[constant], (first, second)[constant]
        data = values(dtype, shape, draw(st.integers(0, 99)))
        operands[constant] = (_nonzero(data, quantization) if op is ops.BinaryKind.DIV else data, quantization)
    clamp = ops.NONE if op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM) else draw(CLAMPS)
    return single(ops.Binary(op, clamp), operands, dtype, output)


@st.composite
def unary(draw: Draw, op: ops.UnaryKind, dtype: DType) -> Graph:
    x, y = draw(quantizations(dtype)), draw(quantizations(dtype))
    alpha = draw(st.sampled_from((0.01, 0.2, 1.0))) if op in (ops.UnaryKind.ELU, ops.UnaryKind.LEAKY_RELU) else 0.0
    if dtype is DType.INT8 and op is ops.UnaryKind.LOGISTIC and draw(st.booleans()):
        y = Quantization.per_tensor(1 / 256, -128)
    if dtype is DType.INT8 and op is ops.UnaryKind.TANH and draw(st.booleans()):
        y = Quantization.per_tensor(1 / 128, 0)
    if dtype is DType.INT16 and op in (ops.UnaryKind.LOGISTIC, ops.UnaryKind.TANH):
        x = draw(st.sampled_from((x, Quantization.per_tensor(2**-12, 0), Quantization.per_tensor(2**-11, 0))))
        y = Quantization.per_tensor(1 / 32768, 0)
    return single(ops.Unary(op, float(np.float32(alpha))), [(draw(shapes()), x)], dtype, y)


@st.composite
def clip(draw: Draw, dtype: DType) -> Graph:
    x = draw(quantizations(dtype))
    y = draw(st.sampled_from((x, draw(quantizations(dtype)))))
    clamp = draw(st.sampled_from((ops.RELU, ops.RELU6, ops.RELU_N1_TO_1, ops.Clamp(-2.5, 2.0), ops.Clamp(None, 1.5))))
    return single(ops.Clip(clamp), [(draw(shapes()), x)], dtype, y)


@st.composite
def prelu(draw: Draw, dtype: DType) -> Graph:
    shape = draw(shapes(2, 4))
    alpha = draw(st.sampled_from((shape[-1:], (1,) * (len(shape) - 1) + shape[-1:], shape, (1,))))
    slopes = values(dtype, alpha, draw(st.integers(0, 99)))
    inputs = [(shape, draw(quantizations(dtype))), (slopes, draw(quantizations(dtype)))]
    return single(ops.Prelu(), inputs, dtype, draw(quantizations(dtype)))


_SUFFIXES = {"s8": DType.INT8, "f32": DType.FLOAT32}
_BINARY_S16 = [op for op in ops.BinaryKind if op is not ops.BinaryKind.DIV]
_UNARY_S16 = (ops.UnaryKind.LOGISTIC, ops.UnaryKind.TANH, ops.UnaryKind.LEAKY_RELU)

CASES: dict[str, st.SearchStrategy[Graph]] = {
    **{f"{op.value}_{suffix}": binary(op, dtype) for op in ops.BinaryKind for suffix, dtype in _SUFFIXES.items()},
    **{f"{op.value}_{suffix}": unary(op, dtype) for op in ops.UnaryKind for suffix, dtype in _SUFFIXES.items()},
    **{f"{op.value}_s16": binary(op, DType.INT16) for op in _BINARY_S16},
    **{f"{op.value}_s16": unary(op, DType.INT16) for op in _UNARY_S16},
    "clip_s16": clip(DType.INT16),
    **{f"clip_{suffix}": clip(dtype) for suffix, dtype in _SUFFIXES.items()},
    **{f"prelu_{suffix}": prelu(dtype) for suffix, dtype in _SUFFIXES.items()},
}
