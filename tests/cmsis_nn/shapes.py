"""Operators of shapes for which CMSIS-NN has functions of its own, beside those of the common sweep: convolutions along
one line, depthwise convolutions of one input channel, and rows of every length for elementwise functions."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernels.cases.convolution import ACTIVATIONS, Maker
from tinyopt.graph import DType, Graph, Quantization, ops
from tinyopt.graph.ops import BinaryKind

_PAIRS = st.sampled_from([(1 / 3, 2.0), (0.02, 0.02), (1.0, 0.004)])


def _padding(draw, size: int, kernel: int, stride: int) -> tuple[int, int]:
    """As TensorFlow's SAME and VALID pad, and as nothing does."""
    same = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    grown = max(kernel - size, 0)
    kinds = [
        (same // 2, same - same // 2),
        (min(grown // 2, kernel - 1), grown - grown // 2),
        (draw(st.integers(0, min(3, kernel - 1))), grown),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def _line(draw) -> Graph:
    m = Maker(draw, DType.INT8, "line")
    width, kernel, stride = draw(st.integers(1, 40)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    depth, outputs = draw(st.sampled_from([1, 2, 3, 4, 8, 20])), draw(st.integers(1, 19))
    left, right = _padding(draw, width, kernel, stride)
    x = m.input((1, 1, width, depth))
    names, quantization = m.parameters((outputs, 1, kernel, depth), 0, kernel * depth)
    attributes = ops.Conv2d(
        stride=(draw(st.integers(1, 2)), stride),
        padding=ops.Padding(0, 0, left, right),
        activation=draw(ACTIVATIONS),
    )
    return m.finish(attributes, [x, *names], quantization)


@st.composite
def _depthwise(draw) -> Graph:
    m = Maker(draw, DType.INT8, "depthwise")
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (5, 3), (1, 4)]))
    stride = draw(st.sampled_from([(1, 1), (1, 2), (2, 2)]))
    depth, multiplier = draw(
        st.sampled_from([(1, 2), (1, 8), (1, 17), (4, 1), (7, 1), (16, 1), (33, 1), (3, 4), (5, 3)])
    )
    top, bottom = _padding(draw, height, kernel[0], stride[0])
    left, right = _padding(draw, width, kernel[1], stride[1])
    x = m.input((1, height, width, depth))
    names, quantization = m.parameters((1, *kernel, depth * multiplier), 3, kernel[0] * kernel[1])
    padding = ops.Padding(top, bottom, left, right)
    attributes = ops.DepthwiseConv2d(
        stride=stride, padding=padding, multiplier=multiplier, activation=draw(ACTIVATIONS)
    )
    return m.finish(attributes, [x, *names], quantization)


@st.composite
def _binary(draw) -> Graph:
    m = Maker(draw, DType.INT8, "binary")
    shape = (1, draw(st.integers(1, 70)))
    kind = draw(st.sampled_from([BinaryKind.ADD, BinaryKind.MUL]))
    first, second = draw(_PAIRS)
    a = m.builder.input("a", shape, DType.INT8, m.activation_quantization(first))
    b = m.builder.input("b", shape, DType.INT8, m.activation_quantization(second))
    spread = first + second if kind is BinaryKind.ADD else 100 * first * second
    scale = spread * draw(st.sampled_from([0.3, 1.0, 40.0]))
    return m.finish(ops.Binary(kind, draw(ACTIVATIONS)), [a, b], m.activation_quantization(scale))


@st.composite
def _softmax(draw) -> Graph:
    m = Maker(draw, DType.INT8, "softmax")
    scale = draw(st.sampled_from([0.01, 0.1, 0.5, 4.0]))
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 4, 5, 11, 12, 37, 300, 511])))
    x = m.builder.input("x", shape, DType.INT8, m.activation_quantization(scale))
    return m.finish(ops.Softmax(), [x], Quantization.per_tensor(1 / 256, -128))


@st.composite
def _pool(draw) -> Graph:
    m = Maker(draw, DType.INT8, "pool")
    kind = draw(st.sampled_from([ops.AveragePool2d, ops.MaxPool2d]))
    height, width, kernel = (
        draw(st.integers(1, 9)),
        draw(st.integers(1, 9)),
        draw(st.sampled_from([(2, 2), (3, 2), (1, 9)])),
    )
    stride = draw(st.sampled_from([(1, 1), (2, 2), (1, 3)]))
    top, bottom = _padding(draw, height, kernel[0], stride[0])
    left, right = _padding(draw, width, kernel[1], stride[1])
    quantization = m.activation_quantization(0.05)
    x = m.builder.input("x", (1, height, width, draw(st.sampled_from([1, 3, 4, 17, 40]))), DType.INT8, quantization)
    padding = ops.Padding(top, bottom, left, right)
    attributes = kind(kernel=kernel, stride=stride, padding=padding, activation=draw(ACTIVATIONS))
    return m.finish(attributes, [x], quantization)


def own_graphs(count: int) -> list[Graph]:
    """``count`` operators of each sort, the same ones in every run."""
    found: list[Graph] = []
    for strategy in (_line(), _depthwise(), _binary(), _softmax(), _pool()):

        @settings(
            max_examples=count,
            phases=[Phase.generate],
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def collect(graph: Graph) -> None:
            found.append(graph)

        collect()
    return found
