"""Element types, quantization parameters and tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyopt.errors import GraphError

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class DType(str, Enum):
    """Element type of a tensor."""

    FLOAT32 = "float32"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of one element."""
        return np.dtype(self.value)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.numpy.itemsize)

    @property
    def c_type(self) -> str:
        """The C99 type of one element."""
        return {"float32": "float", "bool": "uint8_t"}.get(self.value, f"{self.value}_t")

    @property
    def is_integer(self) -> bool:
        return self not in (DType.FLOAT32, DType.BOOL)

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        info = np.iinfo(self.numpy)
        return int(info.min), int(info.max)

    @staticmethod
    def of(array: Array) -> DType:
        """The type of a numpy array.

        Raises:
            GraphError: for an element type that the graph does not have (float64, complex, …).
        """
        try:
            return DType(array.dtype.name)
        except ValueError:
            raise GraphError(f"element type {array.dtype} is not supported") from None


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: ``real = scale * (q - zero_point)``.

    Per tensor when ``axis`` is None (one scale), else one scale per index of that axis (per channel). Scales are
    float32 values held as Python floats. Specification: the TensorFlow Lite 8-bit quantization specification.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or len(self.scales) != len(self.zero_points):
            raise GraphError(
                f"quantization needs as many zero points as scales, got {len(self.scales)} scales and "
                f"{len(self.zero_points)} zero points"
            )
        if self.axis is None and len(self.scales) != 1:
            raise GraphError("per-tensor quantization has exactly one scale")
        for scale in self.scales:
            if not (math.isfinite(scale) and scale > 0):
                raise GraphError(f"quantization scale {scale} is not a positive finite number")

    @staticmethod
    def per_tensor(scale: float, zero_point: int = 0) -> Quantization:
        return Quantization((float(np.float32(scale)),), (int(zero_point),))

    @staticmethod
    def per_channel(scales: npt.ArrayLike, axis: int, zero_points: npt.ArrayLike | None = None) -> Quantization:
        """``scales``: float [channels]. Zero points default to 0 (symmetric)."""
        values = tuple(float(v) for v in np.asarray(scales, np.float32).reshape(-1))
        zeros = (
            (0,) * len(values) if zero_points is None else tuple(int(z) for z in np.asarray(zero_points).reshape(-1))
        )
        return Quantization(values, zeros, axis)

    @property
    def scale(self) -> float:
        """The scale of per-tensor quantization.

        Raises:
            GraphError: when the quantization is per channel.
        """
        if len(self.scales) != 1:
            raise GraphError("a per-channel quantized tensor was used where one scale is needed")
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The zero point of per-tensor quantization; raises GraphError when per channel."""
        if len(self.zero_points) != 1:
            raise GraphError("a per-channel quantized tensor was used where one zero point is needed")
        return self.zero_points[0]

    def take(self, indices: Array) -> Quantization:
        """The quantization of the channels ``indices`` (itself when per tensor)."""
        if self.axis is None:
            return self
        return Quantization(
            tuple(self.scales[int(i)] for i in indices),
            tuple(self.zero_points[int(i)] for i in indices),
            self.axis,
        )

    def _broadcast(self, rank: int) -> tuple[Array, Array]:
        scales = np.asarray(self.scales, np.float32)
        zeros = np.asarray(self.zero_points, np.int64)
        if self.axis is not None:
            shape = [1] * rank
            shape[self.axis] = -1
            scales, zeros = scales.reshape(shape), zeros.reshape(shape)
        return scales, zeros

    def dequantize(self, values: Array) -> Array:
        """Integer array to float32 of the same shape."""
        scales, zeros = self._broadcast(values.ndim)
        result: Array = ((values.astype(np.int64) - zeros).astype(np.float32) * scales).astype(np.float32)
        return result

    def quantize(self, values: Array, dtype: DType) -> Array:
        """Float array to integers of ``dtype``: round half away from zero, saturate (TFLite's rule)."""
        scales, zeros = self._broadcast(values.ndim)
        scaled = np.asarray(values, np.float32) / scales
        # Adding one half first would round 0.49999997 up.
        whole = np.trunc(scaled)
        rounded = whole + np.sign(scaled) * (np.abs(scaled - whole) >= 0.5)
        low, high = dtype.limits
        result: Array = np.clip(rounded.astype(np.float64) + zeros, low, high).astype(dtype.numpy)
        return result

    def describe(self) -> str:
        """Short text: ``0.0235 zp=-128`` or ``per-channel[64] axis=0``."""
        if self.axis is None:
            return f"{self.scale:.6g} zp={self.zero_point}"
        return f"per-channel[{len(self.scales)}] axis={self.axis}"


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named value of the graph: an activation, or a constant when ``data`` is set.

    ``data`` is made read-only. Layout of images is NHWC; batch is 1 on devices.
    """

    name: str
    shape: Shape
    dtype: DType
    data: Array | None = None
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(d) for d in self.shape))
        if any(d < 1 for d in self.shape):
            raise GraphError(f"tensor '{self.name}' has shape {list(self.shape)}; every dimension must be at least 1")
        if self.data is not None:
            if tuple(self.data.shape) != self.shape or self.data.dtype != self.dtype.numpy:
                raise GraphError(
                    f"constant '{self.name}' is declared {self.dtype.value}{list(self.shape)} but holds "
                    f"{self.data.dtype}{list(self.data.shape)}"
                )
            if self.data.flags.writeable:
                frozen = self.data.copy()
                frozen.flags.writeable = False
                object.__setattr__(self, "data", frozen)
        quantization = self.quantization
        if quantization is not None and quantization.axis is not None:
            axis = quantization.axis
            if not 0 <= axis < len(self.shape) or self.shape[axis] != len(quantization.scales):
                raise GraphError(
                    f"tensor '{self.name}' {list(self.shape)} has {len(quantization.scales)} scales on axis {axis}"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, so that the data of a copy are read-only too.
        return Tensor, (self.name, self.shape, self.dtype, self.data, self.quantization)

    @staticmethod
    def constant(name: str, data: Array, quantization: Quantization | None = None) -> Tensor:
        data = np.asarray(data)
        return Tensor(name, tuple(data.shape), DType.of(data), data, quantization)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def value(self) -> Array:
        """The data of a constant; raises GraphError for an activation."""
        if self.data is None:
            raise GraphError(f"tensor '{self.name}' is not a constant")
        return self.data

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def scale(self) -> float:
        """Per-tensor scale; raises GraphError when the tensor is not quantized per tensor."""
        return self._quantized().scale

    @property
    def zero_point(self) -> int:
        """Per-tensor zero point; raises GraphError when the tensor is not quantized per tensor."""
        return self._quantized().zero_point

    def _quantized(self) -> Quantization:
        if self.quantization is None:
            raise GraphError(f"tensor '{self.name}' is not quantized")
        return self.quantization

    def renamed(self, name: str) -> Tensor:
        return replace(self, name=name)
