"""Operator kinds: one frozen attribute dataclass each.

An operator of the graph is its attributes, the names of its input tensors and the names of its output tensors. The
class documents the inputs in order, with shapes. N is the batch, H and W the image, C channels. Optional inputs come
last and are simply absent. ``activation`` is a clamp that is applied to the real-valued result before it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, ClassVar

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Clamp:
    """Limits of a fused activation on real values; None is unbounded."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        names = {(0.0, None): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (None, None): "none"}
        return names.get((self.low, self.high), f"clamp({self.low},{self.high})")


NONE = Clamp()
RELU = Clamp(0.0, None)
RELU6 = Clamp(0.0, 6.0)
RELU_N1_TO_1 = Clamp(-1.0, 1.0)


@dataclass(frozen=True)
class Padding:
    """Zero padding of an image (real zero: the zero point of a quantized tensor)."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __str__(self) -> str:
        return f"{self.top},{self.bottom},{self.left},{self.right}"

    @property
    def any(self) -> bool:
        return bool(self.top or self.bottom or self.left or self.right)


class Attributes:
    """Base of all operator attributes."""

    inputs: ClassVar[tuple[int, int | None]]
    """Smallest and largest number of inputs; None: no limit."""
    outputs: ClassVar[tuple[int, int | None]] = (1, 1)

    @property
    def kind(self) -> str:
        """The operator's name in dumps and reports: ``Conv2d``, ``Add``, ``Relu`` …"""
        return type(self).__name__

    def describe(self) -> str:
        """The attributes that differ from their defaults, as ``name=value`` text."""
        parts = []
        for field in fields(self):  # type: ignore[arg-type]
            value: Any = getattr(self, field.name)
            if value == field.default:
                continue
            if isinstance(value, Enum):
                value = value.value
            elif isinstance(value, tuple):
                value = "x".join(str(v) for v in value)
            parts.append(f"{field.name}={value}")
        return " ".join(parts)


# ---- convolutions and matrix products -------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv2d(Attributes):
    """x [N,H,W,C], weights [O,KH,KW,C/groups], bias [O]? → [N,OH,OW,O]. 1-D convolutions have H or KH = 1."""

    inputs = (2, 3)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: Clamp = NONE


@dataclass(frozen=True)
class DepthwiseConv2d(Attributes):
    """x [N,H,W,C], weights [1,KH,KW,C*multiplier], bias [C*multiplier]? → [N,OH,OW,C*multiplier].

    Output channel ``o`` reads input channel ``o // multiplier``. Per-channel weights have axis 3.
    """

    inputs = (2, 3)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    multiplier: int = 1
    activation: Clamp = NONE


@dataclass(frozen=True)
class TransposeConv2d(Attributes):
    """x [N,H,W,C], weights [O,KH,KW,C], bias [O]? → [N,OH,OW,O].

    OH = (H-1)*stride + (KH-1)*dilation + 1 - top - bottom, and OW likewise. ``padding`` is cut from the full
    result; bottom and right may be negative (output padding).
    """

    inputs = (2, 3)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    activation: Clamp = NONE


@dataclass(frozen=True)
class FullyConnected(Attributes):
    """x [...,I], weights [O,I], bias [O]? → [...,O]."""

    inputs = (2, 3)
    activation: Clamp = NONE


@dataclass(frozen=True)
class MatMul(Attributes):
    """a [...,M,K] (or [...,K,M] transposed), b [...,K,N] (or [...,N,K]) → [...,M,N]; leading axes broadcast."""

    inputs = (2, 2)
    transpose_a: bool = False
    transpose_b: bool = False


class DynamicRange(Attributes):
    """A layer of float32 tensors whose products are integers: its weights are int8 (zero point 0, one scale or one per
    output channel), the range of its input is taken at run time and the input rounded to int8 with it; sums become
    float32 again, where the float32 bias is added. ``layer`` says which layer; its inputs and shapes are these.

    ``symmetric``: the range is that of the largest magnitude, with zero point 0; else it is from the smallest to the
    largest value, zero among them. An image of a convolution has a range of its own, and so has a row (all but the last
    axis) of a fully connected layer. TensorFlow Lite's hybrid operators; docs/contract/dynamic.md.
    """

    inputs = (2, 3)
    layer: Conv2d | DepthwiseConv2d | FullyConnected
    symmetric: bool

    @staticmethod
    def of(layer: Conv2d | DepthwiseConv2d | FullyConnected, symmetric: bool) -> DynamicRange:
        """The same layer with a run-time range."""
        if isinstance(layer, Conv2d):
            return DynamicConv2d(layer, symmetric)
        if isinstance(layer, DepthwiseConv2d):
            return DynamicDepthwiseConv2d(layer, symmetric)
        return DynamicFullyConnected(layer, symmetric)

    def describe(self) -> str:
        return " ".join(part for part in (self.layer.describe(), "symmetric" if self.symmetric else "") if part)


@dataclass(frozen=True)
class DynamicConv2d(DynamicRange):
    """``Conv2d`` with a run-time range."""

    layer: Conv2d = Conv2d()
    symmetric: bool = False


@dataclass(frozen=True)
class DynamicDepthwiseConv2d(DynamicRange):
    """``DepthwiseConv2d`` with a run-time range."""

    layer: DepthwiseConv2d = DepthwiseConv2d()
    symmetric: bool = False


@dataclass(frozen=True)
class DynamicFullyConnected(DynamicRange):
    """``FullyConnected`` with a run-time range for every row."""

    layer: FullyConnected = FullyConnected()
    symmetric: bool = False


@dataclass(frozen=True)
class PackSigns(Attributes):
    """x int8 [...,C] → int32 [...,ceil(C/32)]: bit ``c % 32`` of word ``c // 32`` is set where x is not negative.

    Signs as bits, 1 for +1 and 0 for -1; what is left over of the last word is 0. The output has the quantization that
    a tensor of -1 and 1 has in its place: one scale, zero point 0.
    """

    inputs = (1, 1)


@dataclass(frozen=True)
class XnorConv2d(Attributes):
    """x [N,H,W,words], weights [O,KH,KW,words], bias or thresholds [O] → [N,OH,OW,O] or [N,OH,OW,ceil(O/32)].

    A convolution of signs: x and weights are packed as by ``PackSigns``, ``channels`` signs a pixel; padding counts as
    zero. int8 output: the third input is the bias, and sums are requantized as those of ``Conv2d``. int32 output: the
    third input has thresholds, and bit ``o`` is set where the sum of channel ``o`` reaches its threshold.
    Rastegari et al. 2016 (XNOR-Net).
    """

    inputs = (3, 3)
    channels: int
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    activation: Clamp = NONE
    packed: bool = False


@dataclass(frozen=True)
class OrPool2d(Attributes):
    """x int32 [N,H,W,words] → [N,OH,OW,words]: the maximum of packed signs, which is the or of words.

    Signs are packed as by ``PackSigns``; padding never wins.
    """

    inputs = (1, 1)
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()


# ---- elementwise ----------------------------------------------------------------------------------------------


class BinaryKind(str, Enum):
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"


@dataclass(frozen=True)
class Binary(Attributes):
    """a, b with numpy broadcasting → broadcast shape. Either may be a constant."""

    inputs = (2, 2)
    op: BinaryKind
    activation: Clamp = NONE

    @property
    def kind(self) -> str:
        return self.op.value.capitalize()


class UnaryKind(str, Enum):
    LOGISTIC = "logistic"
    TANH = "tanh"
    HARD_SWISH = "hard_swish"
    HARD_SIGMOID = "hard_sigmoid"  # clip(x/6 + 1/2, 0, 1)
    GELU = "gelu"  # exact, with erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    SILU = "silu"
    ELU = "elu"  # alpha
    SOFTPLUS = "softplus"
    LEAKY_RELU = "leaky_relu"  # alpha
    ABS = "abs"
    NEG = "neg"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    SQUARE = "square"
    ERF = "erf"
    SIGN = "sign"  # 1 where x >= 0, else -1: zero is positive
    SIGNUM = "signum"  # -1, 0 or 1


@dataclass(frozen=True)
class Unary(Attributes):
    """x → same shape."""

    inputs = (1, 1)
    op: UnaryKind
    alpha: float = 0.0

    @property
    def kind(self) -> str:
        return "".join(part.capitalize() for part in self.op.value.split("_"))


@dataclass(frozen=True)
class Clip(Attributes):
    """x → clamp(x), a stand-alone relu, relu6 or clip."""

    inputs = (1, 1)
    clamp: Clamp = RELU


@dataclass(frozen=True)
class Prelu(Attributes):
    """x [...,C], alpha broadcastable to x (constant) → x where x ≥ 0 else alpha * x."""

    inputs = (2, 2)


@dataclass(frozen=True)
class BatchNorm(Attributes):
    """x [...,C], gamma [C], beta [C], mean [C], variance [C] → gamma * (x - mean) / sqrt(variance + epsilon) + beta."""

    inputs = (5, 5)
    epsilon: float = 1e-5


@dataclass(frozen=True)
class LayerNorm(Attributes):
    """x [...,D], gamma [D], beta [D] → normalised over the last axis (Ba et al. 2016)."""

    inputs = (3, 3)
    epsilon: float = 1e-5


# ---- pooling and reductions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxPool2d(Attributes):
    """x [N,H,W,C] → [N,OH,OW,C]; padding never wins."""

    inputs = (1, 1)
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    activation: Clamp = NONE


@dataclass(frozen=True)
class AveragePool2d(Attributes):
    """x [N,H,W,C] → [N,OH,OW,C]; the mean of the elements inside the image (padding is not counted)."""

    inputs = (1, 1)
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    activation: Clamp = NONE


class ReduceKind(str, Enum):
    MEAN = "mean"
    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Reduce(Attributes):
    """x → reduced over ``axes`` (non-negative, ascending); the axes stay as 1 when ``keep_dims``."""

    inputs = (1, 1)
    op: ReduceKind
    axes: tuple[int, ...]
    keep_dims: bool = False

    @property
    def kind(self) -> str:
        return "Reduce" + self.op.value.capitalize()


@dataclass(frozen=True)
class Softmax(Attributes):
    """x → softmax(beta * x) over the last axis."""

    inputs = (1, 1)
    beta: float = 1.0


@dataclass(frozen=True)
class LogSoftmax(Attributes):
    """x → log(softmax(x)) over the last axis."""

    inputs = (1, 1)


@dataclass(frozen=True)
class ArgMax(Attributes):
    """x → index of the first largest element along ``axis``: int32 (or int64, as the output tensor says)."""

    inputs = (1, 1)
    axis: int
    keep_dims: bool = False
    dtype: str = "int32"


# ---- data movement --------------------------------------------------------------------------------------------


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


# ---- number formats -------------------------------------------------------------------------------------------


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


# ---- recurrent ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LstmQuantization:
    """Inner number formats of an int8 LSTM: the cell state is int16 with scale 2**cell_exponent (from -20
    to 2); the hidden state has the quantization of the output tensor."""

    cell_exponent: int


@dataclass(frozen=True)
class Lstm(Attributes):
    """x [N,T,I], weights [4H,I], recurrent [4H,H], bias [4H], h0 [N,H], c0 [N,H] → y [N,T,H], h [N,H], c [N,H].

    Gate order in the stacked rows: input, forget, cell, output (as PyTorch). ``reverse`` runs from the last step.
    ``cell_clip`` > 0 clamps the cell state. Hochreiter and Schmidhuber 1997.

    Quantized (``quantization`` set): x int8; weights int8, symmetric, per tensor or per row; bias int32 with scale
    x scale * weight scale; h0, y, h int8 of one quantization; c0, c int16 with scale 2**cell_exponent.
    """

    inputs = (6, 6)
    outputs = (3, 3)
    reverse: bool = False
    cell_clip: float = 0.0
    quantization: LstmQuantization | None = None


@dataclass(frozen=True)
class Gru(Attributes):
    """x [N,T,I], weights [3H,I], recurrent [3H,H], bias [3H], recurrent_bias [3H], h0 [N,H] → y [N,T,H], h [N,H].

    Gate order: reset, update, new (as PyTorch). ``linear_before_reset``: the reset gate multiplies after the
    recurrent product, n = tanh(Wx + b + r * (Rh + rb)), as PyTorch and cuDNN; else n = tanh(Wx + b + R(r*h) + rb).
    Cho et al. 2014.

    Quantized: x int8; weights int8, symmetric, per tensor or per row; bias int32 with scale x scale * weight scale,
    recurrent_bias int32 with scale y scale * recurrent scale; y int8; h0, h int16 with scale 2**-15.
    """

    inputs = (6, 6)
    outputs = (2, 2)
    reverse: bool = False
    linear_before_reset: bool = True
