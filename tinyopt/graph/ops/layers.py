"""Layers with weights: convolutions, matrix products, recurrent layers."""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.graph.ops.base import NO_PADDING, NONE, Attributes, Clamp, Padding


@dataclass(frozen=True)
class Conv2d(Attributes):
    """x [N,H,W,C], weights [O,KH,KW,C/groups], bias [O]? → [N,OH,OW,O]. 1-D convolutions have H or KH = 1."""

    inputs = (2, 3)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = NO_PADDING
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
    padding: Padding = NO_PADDING
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
    padding: Padding = NO_PADDING
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
