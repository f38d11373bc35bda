"""Convolutions in groups and depthwise ones of several outputs a channel: every window, weights of any format."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels.cases.packed import ACTIVATIONS, KERNELS, Maker, window_of
from tinyopt.graph import Graph, ops


@st.composite
def grouped(draw) -> Graph:
    kernel, groups = draw(KERNELS), draw(st.sampled_from([2, 2, 3, 4, 8]))
    size, window = window_of(draw, kernel)
    depth, channels = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    shape = (draw(st.integers(1, 2)), *size, groups * depth)
    maker = Maker(draw, "grouped", shape, (groups * channels, *kernel, depth), 0)
    return maker.finish(ops.Conv2d(**window, groups=groups, activation=draw(ACTIVATIONS)))


@st.composite
def grouped_pointwise(draw) -> Graph:
    """One pixel's channels of a group are the whole patch."""
    groups, depth, channels = draw(st.integers(2, 5)), draw(st.integers(1, 24)), draw(st.integers(1, 9))
    shape = (1, draw(st.integers(1, 5)), draw(st.integers(1, 5)), groups * depth)
    maker = Maker(draw, "grouped", shape, (groups * channels, 1, 1, depth), 0)
    return maker.finish(ops.Conv2d(groups=groups, activation=draw(ACTIVATIONS)))


@st.composite
def multiplied(draw) -> Graph:
    kernel, multiplier = draw(KERNELS), draw(st.integers(2, 4))
    size, window = window_of(draw, kernel)
    channels = draw(st.integers(1, 12))
    shape = (draw(st.integers(1, 2)), *size, channels)
    maker = Maker(draw, "multiplied", shape, (1, *kernel, channels * multiplier), 3)
    return maker.finish(ops.DepthwiseConv2d(**window, multiplier=multiplier, activation=draw(ACTIVATIONS)))


@st.composite
def multiplied_3x3(draw) -> Graph:
    stride, (size, window) = draw(st.integers(1, 2)), window_of(draw, (3, 3))
    window.update(stride=(stride, stride), dilation=(1, 1))
    channels, multiplier = draw(st.integers(4, 9)), draw(st.integers(2, 3))
    maker = Maker(draw, "multiplied", (1, *size, channels), (1, 3, 3, channels * multiplier), 3)
    return maker.finish(ops.DepthwiseConv2d(**window, multiplier=multiplier, activation=draw(ACTIVATIONS)))


CASES = {
    "grouped_conv2d": grouped(),
    "grouped_pointwise": grouped_pointwise(),
    "multiplied_depthwise": multiplied(),
    "multiplied_depthwise_3x3": multiplied_3x3(),
}
