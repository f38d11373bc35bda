"""Data movement, and changes of number format."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tinyopt.graph.ops.base import Attributes, Shape


@dataclass(frozen=True)
class Reshape(Attributes):
    """x → the same elements in ``shape``. Squeeze, flatten and expand_dims are reshapes."""

    inputs = (1, 1)
    shape: Shape


@dataclass(frozen=True)
class Transpose(Attributes):
    """x → axes permuted: output axis i is input axis ``perm[i]``."""

    inputs = (1, 1)
    perm: tuple[int, ...]


@dataclass(frozen=True)
class BroadcastTo(Attributes):
    """x → numpy-broadcast to ``shape``."""

    inputs = (1, 1)
    shape: Shape


@dataclass(frozen=True)
class Concat(Attributes):
    """x0, x1, … → joined along ``axis`` (non-negative)."""

    inputs = (1, None)
    axis: int


@dataclass(frozen=True)
class Split(Attributes):
    """x → one output per entry of ``sizes`` along ``axis``."""

    inputs = (1, 1)
    outputs = (1, None)
    axis: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Slice(Attributes):
    """x → x[begin : begin + size*stride : stride] per axis. ``size`` is the output shape; a stride may be negative."""

    inputs = (1, 1)
    begin: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]


class PadMode(str, Enum):
    CONSTANT = "constant"
    REFLECT = "reflect"
    EDGE = "edge"


@dataclass(frozen=True)
class Pad(Attributes):
    """x → padded. ``before`` and ``after`` per axis. ``value``: real value (quantized with x's parameters; 0 is the
    zero point)."""

    inputs = (1, 1)
    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: PadMode = PadMode.CONSTANT
    value: float = 0.0


@dataclass(frozen=True)
class Gather(Attributes):
    """x, indices (int32 or int64) → x indexed along ``axis`` as numpy.take.

    An embedding lookup is axis 0 of a constant.
    """

    inputs = (2, 2)
    axis: int = 0


class ResizeMethod(str, Enum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"


@dataclass(frozen=True)
class Resize2d(Attributes):
    """x [N,H,W,C] → [N,size[0],size[1],C]; coordinates as in TFLite (align_corners, half_pixel_centers)."""

    inputs = (1, 1)
    size: tuple[int, int]
    method: ResizeMethod = ResizeMethod.NEAREST
    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class Quantize(Attributes):
    """x (float32, or quantized: a requantize) → quantized as the output tensor says."""

    inputs = (1, 1)


@dataclass(frozen=True)
class Dequantize(Attributes):
    """x (quantized) → float32."""

    inputs = (1, 1)


@dataclass(frozen=True)
class Cast(Attributes):
    """x → converted by value to ``dtype`` (C rules: float to integer truncates)."""

    inputs = (1, 1)
    dtype: str
