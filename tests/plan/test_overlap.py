"""Outputs that follow their inputs at a distance: never over what is still to be read, and never in vain."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.build.host import HostModel
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, Tensor, ops
from tinyopt.plan import make_plan
from tinyopt.plan.overlap import convolution_lag, window_lag

BOARDS = [load_board("host").model_copy(update={"features": frozenset(features)}) for features in ({"dsp"}, ())]
ACTIVATION = Quantization.per_tensor(0.05, -3)


def block_starts(pixels: int, block: int) -> list[int]:
    """Where blocks after the first one start: whole ones, then single pixels for what is left."""
    starts, at = [], 0
    while at < pixels:
        starts.append(at)
        at += block if pixels - at >= block else 1
    return starts[1:]


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    block=st.sampled_from([1, 2, 3, 4]),
)
def test_the_lag_is_the_smallest_that_is_safe(
    size: tuple[int, int], kernel: int, stride: int, pad: int, channels: tuple[int, int], block: int
) -> None:
    if min(size) + 2 * pad < kernel:
        return
    a = ops.Conv2d(stride=(stride, stride), padding=ops.Padding(pad, pad, pad, pad))
    height, width = ((n + 2 * pad - kernel) // stride + 1 for n in size)
    x = Tensor("x", (1, *size, channels[0]), DType.INT8)
    y = Tensor("y", (1, height, width, channels[1]), DType.INT8)

    def is_safe(lag: int) -> bool:
        """Play it through: bytes of the input that are read after an output was written over them."""
        pixels = [(r, c) for r in range(height) for c in range(width)]
        reads = []
        for r, c in pixels:
            rows = [q for q in range(r * stride - pad, r * stride - pad + kernel) if 0 <= q < size[0]]
            columns = [q for q in range(c * stride - pad, c * stride - pad + kernel) if 0 <= q < size[1]]
            reads.append(min(((q * size[1] + p) * channels[0] for q in rows for p in columns), default=10**9))
        return all(start * channels[1] - lag <= min(reads[start:]) for start in block_starts(len(pixels), block))

    lag = convolution_lag(x, y, a, block)
    assert is_safe(lag)
    # The model looks at the corner of the window, which may lie in the padding: it may be careful, never careless.
    assert lag == 0 or not is_safe(lag - 1) or pad > 0


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    ahead=st.integers(0, 2),
)
def test_rows_in_the_window_may_be_overwritten_others_not(
    size: tuple[int, int], kernel: int, stride: int, pad: int, channels: tuple[int, int], ahead: int
) -> None:
    if min(size) + 2 * pad < kernel:
        return
    a = ops.Conv2d(stride=(stride, stride), padding=ops.Padding(pad, pad, pad, pad))
    height, width = ((n + 2 * pad - kernel) // stride + 1 for n in size)
    x = Tensor("x", (1, *size, channels[0]), DType.INT8)
    y = Tensor("y", (1, height, width, channels[1]), DType.INT8)
    rows = kernel + ahead
    lag = window_lag(x, y, a, rows, 4)
    at = 0
    while at < height * width:  # blocks in order: the rows of the window are read, then outputs are written
        unread = max(0, at // width * stride - pad + rows) * size[1] * channels[0]
        at += 4 if height * width - at >= 4 else 1
        assert unread >= size[0] * size[1] * channels[0] or at * channels[1] - lag <= unread


def network(seed: int) -> Graph:
    """A few convolutions in a row, most of them wider than their input."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder("row")
    channels = int(rng.integers(1, 5))
    name = builder.input("x", (1, 9, 8, channels), DType.INT8, ACTIVATION)
    for index in range(4):
        wider = int(rng.integers(1, 9))
        kernel = int(rng.choice([1, 3]))
        weights = rng.integers(-127, 128, (wider, kernel, kernel, channels)).astype(np.int8)
        w = builder.constant(f"w{index}", weights, Quantization.per_tensor(0.02))
        pad = kernel // 2
        stride = int(rng.choice([1, 1, 2]))
        attributes = ops.Conv2d(stride=(stride, stride), padding=ops.Padding(pad, pad, pad, pad))
        name = builder.add(attributes, [name, w], name=f"conv{index}", quantization=ACTIVATION)
        channels = wider
    builder.output(name)
    return builder.build()


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_networks_whose_outputs_follow_their_inputs_are_exact(seed: int) -> None:
    graph = network(seed)
    sample = np.random.default_rng(seed).integers(-128, 128, graph.tensors["x"].shape).astype(np.int8)
    wanted = Executor(graph)({"x": sample})
    for board in BOARDS:  # blocks of four pixels, of three
        found = HostModel(make_plan(graph, board)).run({"x": sample})
        for name in graph.outputs:
            assert np.array_equal(found[name], wanted[name])
