"""Evaluating ONNX operators on constants: the shape arithmetic around reshapes and slices, and prepared weights.

Only what a model's constants need is here; an operator that is not listed is lowered like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyopt.errors import ModelError
from tinyopt.graph import Array

LIMIT = 1 << 25
"""Largest constant, in elements, that is computed during an import."""

Attributes = Mapping[str, Any]
Fold = Callable[[Sequence[Any], Attributes], Any]
"""(input arrays, None where absent; attributes) → array or list of arrays."""


def check_size(shape: Sequence[int]) -> None:
    """Raises ModelError for a constant that only a damaged file asks for."""
    if any(d < 0 for d in shape) or math.prod(int(d) for d in shape) > LIMIT:
        raise ModelError(f"a constant of shape {[int(d) for d in shape]} is larger than tinyopt computes")


def _axes(inputs: Sequence[Any], attributes: Attributes) -> tuple[int, ...] | None:
    axes = inputs[1] if len(inputs) > 1 and inputs[1] is not None else attributes.get("axes")
    return None if axes is None else tuple(int(a) for a in np.asarray(axes).reshape(-1))


def _divide(i: Sequence[Any], a: Attributes) -> Any:
    if np.issubdtype(i[0].dtype, np.integer):
        if (np.asarray(i[1]) == 0).any():
            raise ModelError("a constant is divided by zero")
        return (np.sign(i[0]) * np.sign(i[1]) * (np.abs(i[0]) // np.abs(i[1]))).astype(i[0].dtype)
    return i[0] / i[1]


def _squeeze(i: Sequence[Any], a: Attributes) -> Any:
    return np.squeeze(i[0], _axes(i, a))


def _unsqueeze(i: Sequence[Any], a: Attributes) -> Any:
    axes = _axes(i, a) or ()
    check_size((len(axes), 1))
    return np.expand_dims(i[0], axes)


def _reshape(i: Sequence[Any], a: Attributes) -> Any:
    shape = [int(d) for d in i[1]]
    if not a.get("allowzero", 0):
        shape = [i[0].shape[axis] if d == 0 else d for axis, d in enumerate(shape)]
    return i[0].reshape(shape)


def _slice(i: Sequence[Any], a: Attributes) -> Any:
    x = i[0]
    if len(i) > 1:
        starts, ends = i[1], i[2]
        axes = i[3] if len(i) > 3 and i[3] is not None else range(len(starts))
        steps = i[4] if len(i) > 4 and i[4] is not None else [1] * len(starts)
    else:
        starts, ends = a["starts"], a["ends"]
        axes, steps = a.get("axes", range(len(starts))), [1] * len(starts)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        begin, stop, stride = slice_bounds(x.shape[int(axis)], int(start), int(end), int(step))
        index[int(axis)] = slice(begin, stop if stop >= 0 else None, stride)
    return x[tuple(index)]


def slice_bounds(extent: int, start: int, end: int, step: int) -> tuple[int, int, int]:
    """ONNX start and end (negative from the end, clamped) as range bounds; the end may be -1 for a negative step."""
    if step == 0:
        raise ModelError("a slice has step 0")
    start = start + extent if start < 0 else start
    end = end + extent if end < 0 else end
    if step > 0:
        return min(max(start, 0), extent), min(max(end, 0), extent), step
    return min(max(start, 0), extent - 1), min(max(end, -1), extent - 1), step


def _range(i: Sequence[Any], a: Attributes) -> Any:
    start, limit, delta = (x.reshape(-1)[0] for x in i)
    if delta == 0:
        raise ModelError("a range has step 0")
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    check_size((count,))
    return (start + np.arange(count) * delta).astype(i[0].dtype)


def _constant_of_shape(i: Sequence[Any], a: Attributes) -> Any:
    shape = tuple(int(d) for d in i[0].reshape(-1))
    check_size(shape)
    value = a.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value).reshape(-1)
    return np.full(shape, fill[0], fill.dtype)


def _expand(i: Sequence[Any], a: Attributes) -> Any:
    shape = np.broadcast_shapes(i[0].shape, tuple(int(d) for d in i[1]))
    check_size(shape)
    return np.array(np.broadcast_to(i[0], shape))


def _tile(i: Sequence[Any], a: Attributes) -> Any:
    repeats = [int(n) for n in i[1]]
    check_size([d * n for d, n in zip(i[0].shape, repeats)])
    return np.tile(i[0], repeats)


def _pad(i: Sequence[Any], a: Attributes) -> Any:
    pads = [int(n) for n in (i[1] if len(i) > 1 else a["pads"])]
    if (len(i) > 3 and i[3] is not None) or a.get("mode", b"constant") != b"constant" or min(pads) < 0:
        return NotImplemented
    half = len(pads) // 2
    check_size([d + b + e for d, b, e in zip(i[0].shape, pads[:half], pads[half:])])
    value = i[2] if len(i) > 2 and i[2] is not None else a.get("value", 0)
    return np.pad(i[0], list(zip(pads[:half], pads[half:])), constant_values=np.asarray(value).reshape(-1)[0])


def _matmul(i: Sequence[Any], a: Attributes) -> Any:
    check_size((math.prod(i[0].shape), i[1].shape[-1] if i[1].ndim > 1 else 1))
    return np.matmul(i[0], i[1])


def _cast(i: Sequence[Any], a: Attributes) -> Any:
    from onnx import helper

    wanted = np.dtype(helper.tensor_dtype_to_np_dtype(int(a["to"])))
    return i[0].astype(wanted)


def _transpose(i: Sequence[Any], a: Attributes) -> Any:
    return np.transpose(i[0], a.get("perm"))


def _binary(function: Callable[..., Any]) -> Fold:
    def fold(i: Sequence[Any], a: Attributes) -> Any:
        check_size(np.broadcast_shapes(*(x.shape for x in i)))
        return function(*i)

    return fold


def _unary(function: Callable[..., Any]) -> Fold:
    return lambda i, a: function(i[0])


def _reduction(function: Callable[..., Any]) -> Fold:
    def fold(i: Sequence[Any], a: Attributes) -> Any:
        axes = _axes(i, a)
        if axes is None and a.get("noop_with_empty_axes", 0):
            return i[0]
        return np.asarray(function(i[0], axis=axes, keepdims=bool(a.get("keepdims", 1))), i[0].dtype)

    return fold


def _many(function: Callable[..., Any]) -> Fold:
    def fold(i: Sequence[Any], a: Attributes) -> Any:
        result = i[0]
        for other in i[1:]:
            result = function(result, other)
        return result

    return fold


FOLDS: dict[str, Fold] = {
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _divide,
    "Mod": _binary(np.mod),
    "Pow": _binary(lambda x, y: np.power(x, y).astype(x.dtype)),
    "Min": _many(np.minimum),
    "Max": _many(np.maximum),
    "Sum": _many(np.add),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Where": _binary(np.where),
    "Not": _unary(np.logical_not),
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Sign": _unary(np.sign),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Round": _unary(np.rint),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Log": _unary(np.log),
    "Reciprocal": _unary(lambda x: np.asarray(1 / x, x.dtype)),
    "Identity": _unary(lambda x: x),
    "Relu": _unary(lambda x: np.maximum(x, 0)),
    "Cast": _cast,
    "Gather": lambda i, a: np.take(i[0], i[1], int(a.get("axis", 0))),
    "Concat": lambda i, a: np.concatenate(list(i), int(a["axis"])),
    "Reshape": _reshape,
    "Flatten": lambda i, a: i[0].reshape(math.prod(i[0].shape[: a.get("axis", 1)]), -1),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Transpose": _transpose,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "MatMul": _matmul,
    "ReduceSum": _reduction(np.sum),
    "ReduceProd": _reduction(np.prod),
    "ReduceMean": _reduction(np.mean),
    "ReduceMax": _reduction(np.max),
    "ReduceMin": _reduction(np.min),
    "NonZero": _unary(lambda x: np.array(np.nonzero(x))),
    "Shape": lambda i, a: np.array(i[0].shape, np.int64)[a.get("start", 0) : a.get("end")],
    "Size": lambda i, a: np.array(i[0].size, np.int64),
}


def fold(operator: str, inputs: Sequence[Array | None], attributes: Attributes) -> Any:
    """The result of an operator on constants, or NotImplemented.

    Raises:
        ModelError: when the result would be absurdly large or a division by zero.
    """
    function = FOLDS.get(operator)
    if function is None or not inputs or inputs[0] is None:
        return NotImplemented
    with np.errstate(all="ignore"):
        return function(inputs, attributes)
