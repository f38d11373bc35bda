"""Layers of signs, packed as bits."""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.graph.ops.base import NO_PADDING, NONE, Attributes, Clamp, Padding


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
    padding: Padding = NO_PADDING
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
    padding: Padding = NO_PADDING
