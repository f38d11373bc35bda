"""Values keep their meaning through any chain of operators, however they are stored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.errors import ModelError
from tinyopt.execute.float import run_sample
from tinyopt.graph import DType, ops
from tinyopt.importers.layers import Layers
from tinyopt.importers.values import CannotLower, Value, constant, normal_axis

Pair = tuple[Value, Any]
"""A value and the array that it stands for."""


def factorizations(draw: st.DrawFn, size: int) -> list[int]:
    """A random shape of so many elements, with some axes of one."""
    shape: list[int] = []
    while size > 1:
        divisors = [d for d in range(2, size + 1) if size % d == 0]
        shape.append(draw(st.sampled_from(divisors)))
        size //= shape[-1]
    for _ in range(draw(st.integers(0, 2))):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    return shape or [1]


class Chain:
    """Applies drawn operators to a value and to an array side by side."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.net = Layers("chain")
        self.random = np.random.default_rng(3)

    def axis(self, value: Value) -> int:
        return self.draw(st.integers(0, value.rank - 1))

    def image(self, pair: Pair) -> Pair:
        """A 1x1 convolution: stores the value channels-last."""
        value, array = pair
        if value.rank != 4 or value.shape[0] != 1:
            return pair
        weights = self.random.standard_normal((value.shape[1], value.shape[1], 1, 1)).astype(np.float32)
        y = self.net.conv(
            value, constant(weights), None, stride=(1, 1), padding=[(0, 0)] * 2, dilation=(1, 1), groups=1
        )
        return y, np.einsum("nchw,oc->nohw", array, weights[:, :, 0, 0])

    def transpose(self, pair: Pair) -> Pair:
        perm = self.draw(st.permutations(range(pair[0].rank)))
        return self.net.transpose(pair[0], perm), pair[1].transpose(perm)

    def reshape(self, pair: Pair) -> Pair:
        shape = factorizations(self.draw, pair[0].size)
        return self.net.reshape(pair[0], shape), pair[1].reshape(shape)

    def flatten(self, pair: Pair) -> Pair:
        cut = self.draw(st.integers(0, pair[0].rank))
        shape = (math.prod(pair[0].shape[:cut]), math.prod(pair[0].shape[cut:]))
        return self.net.reshape(pair[0], shape), pair[1].reshape(shape)

    def negate(self, pair: Pair) -> Pair:
        return self.net.unary(ops.UnaryKind.NEG, pair[0]), -pair[1]

    def add(self, pair: Pair) -> Pair:
        """A constant that broadcasts, from either side, possibly enlarging the value."""
        value, array = pair
        shape = [d if self.draw(st.booleans()) else 1 for d in value.shape]
        if value.size < 200 and self.draw(st.booleans()):
            shape = [2 if d == 1 and self.draw(st.booleans()) else s for d, s in zip(value.shape, shape)]
        shape = shape[self.draw(st.integers(0, len(shape))) :]
        other = self.random.standard_normal(shape).astype(np.float32)
        return self.net.binary(ops.BinaryKind.ADD, constant(other), value), other + array

    def add_mean(self, pair: Pair) -> Pair:
        """Two activations, one broadcast and maybe stored in another way."""
        value, array = pair
        axis = self.axis(value)
        mean = self.net.reduce(ops.ReduceKind.MEAN, value, [axis], True)
        return self.net.binary(ops.BinaryKind.SUB, value, mean), array - array.mean(axis, keepdims=True)

    def add_turned(self, pair: Pair) -> Pair:
        """A value and its own transpose, where that has the same shape."""
        value, array = pair
        for a in range(value.rank):
            for b in range(a):
                if value.shape[a] == value.shape[b] > 1:
                    perm = list(range(value.rank))
                    perm[a], perm[b] = b, a
                    return (
                        self.net.binary(ops.BinaryKind.ADD, value, self.net.transpose(value, perm)),
                        array + array.transpose(perm),
                    )
        return pair

    def reduce(self, pair: Pair) -> Pair:
        axis, keep = self.axis(pair[0]), self.draw(st.booleans())
        if pair[0].rank == 1:
            keep = True
        return self.net.reduce(ops.ReduceKind.MAX, pair[0], [axis], keep), pair[1].max(axis, keepdims=keep)

    def concat(self, pair: Pair) -> Pair:
        axis = self.axis(pair[0])
        if pair[0].size > 300:
            return pair
        negative = self.net.unary(ops.UnaryKind.NEG, pair[0])
        return self.net.concat([pair[0], negative], axis), np.concatenate([pair[1], -pair[1]], axis)

    def slice(self, pair: Pair) -> Pair:
        axis = self.axis(pair[0])
        extent = pair[0].shape[axis]
        begin = self.draw(st.integers(0, extent - 1))
        end = self.draw(st.integers(begin + 1, extent))
        index = [slice(None)] * pair[0].rank
        index[axis] = slice(begin, end)
        return self.net.cut(pair[0], axis, begin, end), pair[1][tuple(index)]

    def split(self, pair: Pair) -> Pair:
        axis = self.axis(pair[0])
        extent = pair[0].shape[axis]
        if extent < 2:
            return pair
        size = self.draw(st.integers(1, extent - 1))
        return self.net.split(pair[0], axis, [size, extent - size])[1], np.split(pair[1], [size], axis)[1]

    def pad(self, pair: Pair) -> Pair:
        before = [self.draw(st.integers(0, 1)) for _ in pair[0].shape]
        after = [self.draw(st.integers(0, 1)) for _ in pair[0].shape]
        if pair[0].size > 100 or pair[0].rank > 4:
            return pair
        return (
            self.net.pad(pair[0], before, after, ops.PadMode.CONSTANT, 0.5),
            np.pad(pair[1], list(zip(before, after)), constant_values=0.5),
        )

    def gather(self, pair: Pair) -> Pair:
        axis = self.axis(pair[0])
        indices = self.random.integers(0, pair[0].shape[axis], self.draw(st.sampled_from([(2,), (1,), (1, 2)])))
        return (
            self.net.gather(pair[0], constant(indices.astype(np.int32)), axis),
            np.take(pair[1], indices, axis),
        )

    def expand(self, pair: Pair) -> Pair:
        if pair[0].size > 100:
            return pair
        shape = [2 if d == 1 else d for d in pair[0].shape]
        return self.net.expand(pair[0], shape), np.broadcast_to(pair[1], shape)

    def softmax(self, pair: Pair) -> Pair:
        axis = self.axis(pair[0])
        exponentials = np.exp(pair[1] - pair[1].max(axis, keepdims=True))
        return self.net.softmax(pair[0], axis), exponentials / exponentials.sum(axis, keepdims=True)

    def linear(self, pair: Pair) -> Pair:
        weights = self.random.standard_normal((3, pair[0].shape[-1])).astype(np.float32) * 0.3
        return self.net.linear(pair[0], constant(weights), None), pair[1] @ weights.T

    def layer_norm(self, pair: Pair) -> Pair:
        count = self.draw(st.integers(1, pair[0].rank))
        gamma = self.random.standard_normal(pair[0].shape[-count:]).astype(np.float32)
        axes = tuple(range(pair[0].rank - count, pair[0].rank))
        mean, variance = pair[1].mean(axes, keepdims=True), pair[1].var(axes, keepdims=True)
        return (
            self.net.layer_norm(pair[0], count, constant(gamma), None, 0.1),
            (pair[1] - mean) / np.sqrt(variance + 0.1) * gamma,
        )

    def matmul(self, pair: Pair) -> Pair:
        value, array = pair
        if value.rank < 2 or value.size > 300:
            return pair
        swap = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
        return self.net.matmul(value, self.net.transpose(value, swap)), array @ array.transpose(swap)


STEPS = [
    name for name, member in vars(Chain).items() if callable(member) and not name.startswith("_") and name != "axis"
]


@settings(max_examples=250)
@given(st.data())
def test_any_chain_of_operators_computes_what_numpy_computes(data: st.DataObject) -> None:
    chain = Chain(data.draw)  # type: ignore[arg-type]
    shape = data.draw(st.sampled_from([(1, 4, 3, 5), (1, 6, 4, 4), (1, 12, 2, 1), (1, 4, 6), (1, 8), (1, 1, 4, 6)]))
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    last = data.draw(st.booleans())
    pair: Pair = chain.net.input("x", shape, DType.FLOAT32, channels_last=last), x
    for _ in range(data.draw(st.integers(1, 7))):
        step = data.draw(st.sampled_from(STEPS))
        if pair[0].rank > 6 or pair[0].size > 3000:
            break
        pair = getattr(chain, step)(pair)
        assert pair[0].shape == pair[1].shape
    chain.net.output(pair[0], "y")
    graph = chain.net.build()
    rank = len(shape)
    given_x = x.transpose(0, *range(2, rank), 1) if last and rank >= 3 else x
    (result,) = run_sample(graph, {"x": np.ascontiguousarray(given_x)}).values()
    assert graph.outputs == ("y",)
    assert np.allclose(result, pair[1], rtol=1e-3, atol=1e-3 * (1 + float(np.abs(pair[1]).max())))


def test_flattening_an_image_for_a_dense_layer_moves_the_weights_not_the_image() -> None:
    net = Layers("flat")
    x = net.input("x", (1, 3, 4, 5), DType.FLOAT32, channels_last=True)
    net.output(net.linear(net.reshape(x, (1, 60)), constant(np.eye(60, dtype=np.float32)), None), "y")
    graph = net.build()
    assert [operator.kind for operator in graph.operators] == ["Reshape", "FullyConnected"]
    image = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)
    (y,) = run_sample(graph, {"x": np.ascontiguousarray(image.transpose(0, 2, 3, 1))}).values()
    assert np.array_equal(y, image.reshape(1, 60))


def test_a_channel_shuffle_is_one_small_transpose() -> None:
    net = Layers("shuffle")
    x = net.input("x", (1, 6, 4, 5), DType.FLOAT32, channels_last=True)
    groups = net.transpose(net.reshape(x, (1, 2, 3, 4, 5)), (0, 2, 1, 3, 4))
    net.output(net.reshape(groups, (1, 6, 4, 5)), "y", channels_last=True)
    assert [operator.kind for operator in net.build().operators] == ["Reshape", "Transpose", "Reshape"]


def test_impossible_shapes_are_refused() -> None:
    net = Layers("bad")
    x = net.input("x", (1, 6), DType.FLOAT32)
    with pytest.raises(ModelError, match=r"cannot reshape \[1, 6\] to \[4\]"):
        net.reshape(x, (4,))
    with pytest.raises(CannotLower, match="empty"):
        net.cut(x, 1, 3, 3)
    with pytest.raises(ModelError, match="larger than tinyopt takes"):
        net.expand(x, (1 << 20, 1 << 10, 6))
    with pytest.raises(ModelError, match="axis 2 is out of range"):
        normal_axis(2, 2)
