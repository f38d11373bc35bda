"""Values that are known at import time: shape arithmetic, and constants that the file stores in another format.

Converters leave chains such as SHAPE → STRIDED_SLICE → PACK → RESHAPE for a size that is fixed once the batch is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyopt.graph import Array, Tensor, ops

_BINARY: dict[ops.BinaryKind, Callable[[Array, Array], Array]] = {
    ops.BinaryKind.ADD: np.add,
    ops.BinaryKind.SUB: np.subtract,
    ops.BinaryKind.MUL: np.multiply,
    ops.BinaryKind.MINIMUM: np.minimum,
    ops.BinaryKind.MAXIMUM: np.maximum,
}


def fold(attributes: ops.Attributes, inputs: Sequence[Tensor], output: Tensor) -> list[Array] | None:
    """The outputs of an operator on constants, or None when it is to be computed on the device.

    ``output`` is the first output, for its type and quantization. Only operators whose result is exact are folded.
    """
    x = inputs[0].value
    a: Any = attributes
    if isinstance(attributes, ops.Reshape):
        return [x.reshape(a.shape)]
    if isinstance(attributes, ops.Transpose):
        return [x.transpose(a.perm)]
    if isinstance(attributes, ops.BroadcastTo):
        return [np.broadcast_to(x, a.shape)]
    if isinstance(attributes, ops.Concat):
        return [np.concatenate([t.value for t in inputs], axis=a.axis)]
    if isinstance(attributes, ops.Split):
        return np.split(x, np.cumsum(a.sizes)[:-1], axis=a.axis)
    if isinstance(attributes, ops.Slice):
        index = tuple(
            slice(b, end if (end := b + n * s) >= 0 else None, s) for b, n, s in zip(a.begin, a.size, a.stride)
        )
        return [x[index]]
    if isinstance(attributes, ops.Gather):
        return [np.take(x, inputs[1].value, axis=a.axis)]
    if isinstance(attributes, ops.Cast):
        with np.errstate(all="ignore"):
            return [x.astype(output.dtype.numpy)]
    if isinstance(attributes, ops.Dequantize) and inputs[0].quantization is not None:
        return [inputs[0].quantization.dequantize(x)]
    if isinstance(attributes, ops.Quantize) and inputs[0].quantization is None and output.quantization is not None:
        return [output.quantization.quantize(x, output.dtype)]
    sizes = inputs[0].dtype.is_integer and inputs[0].quantization is None
    if isinstance(attributes, ops.Binary) and attributes.op in _BINARY and sizes and attributes.activation == ops.NONE:
        with np.errstate(all="ignore"):
            return [_BINARY[attributes.op](x, inputs[1].value)]
    return None
