"""Dead and constant channels leave the graph, and only those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.optimise.test_exactness import assert_same
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, graph_macs, ops
from tinyopt.graph.ops import Padding
from tinyopt.optimise import optimise
from tinyopt.optimise.ranges import channel_ranges

random = np.random.default_rng(11)
SAME = Padding(1, 1, 1, 1)
NO_PADDING = Padding()


class Int8:
    """A builder of int8 networks in which the tests choose the dead channels."""

    def __init__(self, channels: int = 4) -> None:
        self.b = GraphBuilder("g")
        self.x = self.b.input("x", (1, 6, 6, channels), DType.INT8, Quantization.per_tensor(0.1, 7))

    def conv(
        self, x: str, weights: np.ndarray, bias: list[int], *, padding: Padding = NO_PADDING, zero: int = -128
    ) -> str:
        names = [
            self.b.constant("w", weights.astype(np.int8), Quantization.per_tensor(0.01)),
            self.b.constant("b", np.array(bias, np.int32)),
        ]
        a = ops.Conv2d(padding=padding, activation=ops.RELU)
        return self.b.add(a, [x, *names], quantization=Quantization.per_tensor(0.05, zero))

    def depthwise(self, x: str, bias: list[int]) -> str:
        channels = self.b.tensor(x).shape[3]
        w = random.integers(1, 100, (1, 3, 3, channels)).astype(np.int8)
        names = [self.b.constant("w", w, Quantization.per_tensor(0.01)), self.b.constant("b", np.array(bias, np.int32))]
        a = ops.DepthwiseConv2d(padding=SAME, activation=ops.RELU)
        return self.b.add(a, [x, *names], quantization=Quantization.per_tensor(0.05, -128))

    def check(self, *outputs: str) -> Graph:
        for name in outputs:
            self.b.output(name)
        graph = self.b.build()
        changed = optimise(graph)
        assert_same(graph, changed)
        return changed


def weights(out: int, size: int, into: int, dead: tuple[int, ...] = ()) -> np.ndarray:
    result = random.integers(20, 127, (out, size, size, into)) * random.choice([-1, 1], (out, size, size, into))
    result[list(dead)] = 0
    return result


def channels(graph: Graph) -> list[int]:
    """Output channels of the layers, in order."""
    return [graph.outs(o)[0].shape[-1] for o in graph.operators if o.kind.endswith("Conv2d")]


def test_a_constant_channel_moves_into_the_bias_of_the_next_layer() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 3, 4, (1, 4)), [100, 900, 0, 0, -900, 5])
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5, zero=0))
    assert channels(changed) == [4, 5]


def test_a_constant_channel_passes_through_a_depthwise_layer_when_it_is_real_zero() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4, (1, 4)), [0, -50, 0, 0, 0, 0])
    y = g.depthwise(y, [3, 900, 3, 3, -900, 3])
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5, zero=0))
    assert channels(changed) == [4, 4, 5]


def test_a_constant_channel_that_differs_at_the_border_stays() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4, (1,)), [0, 5000, 0, 0, 0, 0])
    y = g.depthwise(y, [3] * 6)
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5, zero=0))
    assert channels(changed) == [6, 6, 5]


def test_a_constant_that_is_not_zero_does_not_fold_into_a_padded_layer() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4, (1, 2)), [0, 5000, -5000, 0, 0, 0])
    changed = g.check(g.conv(y, weights(5, 3, 6), [0] * 5, padding=SAME))
    assert channels(changed) == [5, 5]


def test_a_channel_that_is_always_clamped_is_constant_too() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4), [0, -(2**24), 2**24, 0, 0, 0])
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5))
    assert channels(changed) == [4, 5]


def test_a_channel_that_is_multiplied_by_zero_is_dead() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 3, 4), [0] * 6)
    y = g.depthwise(y, [0] * 6)
    w = weights(5, 1, 6)
    w[..., 2:4] = 0
    changed = g.check(g.conv(y, w, [0] * 5))
    assert channels(changed) == [4, 4, 5]


def test_death_spreads_backwards_through_layers_that_only_feed_the_dead() -> None:
    g = Int8()
    first = weights(6, 1, 4)
    second = weights(6, 1, 6, (0, 1, 2))
    second[3:, :, :, 4:] = 0
    y = g.conv(g.conv(g.x, first, [0] * 6), second, [0] * 6)
    changed = g.check(g.conv(y, weights(3, 1, 6), [0] * 3))
    assert channels(changed) == [4, 3, 3]


def test_both_sides_of_a_residual_agree() -> None:
    g = Int8()
    a = g.conv(g.x, weights(6, 1, 4, (0, 1, 2)), [9] * 6)
    b = g.conv(g.x, weights(6, 1, 4, (1, 2, 3)), [7] * 6)
    y = g.b.add(ops.Binary(ops.BinaryKind.ADD), [a, b], quantization=Quantization.per_tensor(0.06, -100))
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5))
    assert channels(changed) == [4, 4, 5]


def test_concatenation_split_and_flattening_follow_their_channels() -> None:
    g = Int8()
    a = g.conv(g.x, weights(6, 1, 4, (0, 5)), [9] * 6)
    b = g.conv(g.x, weights(4, 1, 4, (1,)), [7] * 4)
    q = Quantization.per_tensor(0.05, -128)
    joined = g.b.add(ops.Concat(3), [a, b], quantization=q)
    left, right = g.b.add_multi(ops.Split(3, (5, 5)), [joined], quantizations=[q])
    flat = g.b.add(ops.Reshape((1, 180)), [right], quantization=q)
    w = g.b.constant("w", weights(3, 1, 180)[:, 0, 0].astype(np.int8), Quantization.per_tensor(0.01))
    dense = g.b.add(ops.FullyConnected(), [flat, w], quantization=Quantization.per_tensor(1.0))
    changed = g.check(dense, g.conv(left, weights(3, 1, 5), [0] * 3))
    assert channels(changed) == [4, 3, 3]
    kinds = {o.kind: changed.outs(o) for o in changed.operators}
    assert [t.shape[-1] for t in kinds["Split"]] == [4, 3]
    assert kinds["Reshape"][0].shape == (1, 108)


def test_outputs_and_states_keep_their_shape() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4, (0, 1)), [9] * 6)
    state = g.b.state("s", np.zeros((1, 6, 6, 6), np.int8), Quantization.per_tensor(0.05, -128))
    z = g.b.add(ops.Binary(ops.BinaryKind.ADD), [y, state], quantization=Quantization.per_tensor(0.05, -128))
    g.b.assign("s", z)
    assert channels(g.check(y, z)) == [6]


def test_a_tensor_keeps_at_least_one_channel() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 1, 4, (0, 1, 2, 3, 4, 5)), [9] * 6)
    changed = g.check(g.conv(y, weights(5, 1, 6), [0] * 5))
    assert channels(changed) == [1, 5]


def test_a_layer_without_bias_gets_one() -> None:
    g = Int8()
    y = g.conv(g.x, weights(4, 1, 4, (1,)), [0, 3000, 0, 0])
    w = g.b.constant("w", weights(3, 1, 4).astype(np.int8), Quantization.per_channel([0.01, 0.02, 0.03], 0))
    changed = g.check(g.b.add(ops.Conv2d(), [y, w], quantization=Quantization.per_tensor(0.2)))
    assert channels(changed) == [3, 3]
    assert len(changed.operators[1].inputs) == 3


def test_ranges_bound_what_the_executor_computes() -> None:
    g = Int8()
    y = g.conv(g.x, weights(6, 3, 4, (2,)), [0, -40000, 5, 40000, 0, 0], padding=SAME, zero=-20)
    z = g.depthwise(y, [0, 3, 0, -30000, 0, 0])
    total = g.b.add(ops.Binary(ops.BinaryKind.SUB), [y, z], quantization=Quantization.per_tensor(0.3, 4))
    g.b.output(
        g.b.add(
            ops.AveragePool2d((2, 2), padding=Padding(1, 0, 0, 1)),
            [total],
            quantization=Quantization.per_tensor(0.3, 4),
        )
    )
    graph = g.b.build()
    ranges = channel_ranges(graph)

    def inside(tensor: object, values: np.ndarray) -> None:
        known = ranges[tensor.name]  # type: ignore[attr-defined]
        rows = values.reshape(-1, values.shape[-1])
        assert (rows >= known.low).all() and (rows <= known.high).all()

    executor = Executor(graph, observe=inside)
    for _ in range(20):
        executor({"x": random.choice([-128, 127, 7], (1, 6, 6, 4)).astype(np.int8)})


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "macs"),
    [
        ("kws_ref_model.tflite", 2_656_768),
        ("vww_96_int8.tflite", 3_727_313),
        ("pretrainedResnet_quant.tflite", 12_501_632),
        ("ad01_int8.tflite", 264_192),
    ],
)
def test_the_official_models_keep_every_bit(mlperf: Path, file: str, macs: int) -> None:
    from tinyopt.importers import load

    graph = load(mlperf / file)
    changed = optimise(graph)
    assert graph_macs(changed) == macs
    tensor = graph.tensors[graph.inputs[0]]
    first, second = Executor(graph), Executor(changed)
    values = [np.full(tensor.shape, v, np.int8) for v in (-128, 0, 127)]
    values += [random.integers(-128, 128, tensor.shape).astype(np.int8) for _ in range(5)]
    for value in values:
        wanted, got = first({tensor.name: value}), second({tensor.name: value})
        assert all(np.array_equal(wanted[name], got[name]) for name in graph.outputs)
