"""Convolutions in groups: few and many channels in a group, pointwise and windowed, weights of any format."""

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


CASES = {"grouped_conv2d": grouped(), "grouped_pointwise": grouped_pointwise()}
