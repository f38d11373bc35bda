"""Quantized recurrent layers stay close to the float layers they come from, also as streaming models."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.execute import Executor
from tinyopt.graph import Array, DType, Graph, GraphBuilder, ops
from tinyopt.quantize import quantize

STEPS, INPUTS, HIDDEN = 30, 8, 16
LAYERS = {
    "lstm": ops.Lstm(),
    "reverse lstm": ops.Lstm(reverse=True),
    "clipped lstm": ops.Lstm(cell_clip=0.5),
    "gru": ops.Gru(),
    "gru, reset first": ops.Gru(linear_before_reset=False),
}


def layer(attributes: ops.Lstm | ops.Gru, steps: int, *, streaming: bool) -> Graph:
    """One float layer with a dense layer behind it; ``streaming``: the states are kept between inferences."""
    random = np.random.default_rng(0)
    gates, biases = (4, 1) if isinstance(attributes, ops.Lstm) else (3, 2)
    rows = gates * HIDDEN
    builder = GraphBuilder("recurrent")
    names = [builder.input("x", (1, steps, INPUTS), DType.FLOAT32)]
    for index, shape in enumerate([(rows, INPUTS), (rows, HIDDEN), *[(rows,)] * biases]):
        names.append(builder.constant(f"p{index}", random.uniform(-0.5, 0.5, shape).astype(np.float32)))
    zero = np.zeros((1, HIDDEN), np.float32)
    count = 2 if isinstance(attributes, ops.Lstm) else 1
    states = [builder.state(f"s{i}", zero) if streaming else builder.constant(f"s{i}", zero) for i in range(count)]
    y, *last = builder.add_multi(attributes, [*names, *states])
    if streaming:
        for state, value in zip(states, last):
            builder.assign(state, value)
    dense = builder.constant("dense", random.uniform(-0.5, 0.5, (4, HIDDEN)).astype(np.float32))
    builder.output(builder.add(ops.FullyConnected(), [y, dense]))
    return builder.build()


def sequences(count: int) -> Array:
    """Smooth sequences, as sensors give: float32 [count, 1, STEPS, INPUTS]."""
    noise = np.random.default_rng(1).normal(size=(count, 1, STEPS, INPUTS))
    return np.cumsum(noise, axis=2).clip(-4, 4).astype(np.float32)


def outputs(floating: Graph, integer: Graph, inputs: Array) -> tuple[Array, Array]:
    """Real values of both graphs for the inputs in turn."""
    source, result = integer.tensors[integer.inputs[0]], integer.tensors[integer.outputs[0]]
    assert source.quantization is not None
    assert result.quantization is not None
    reference, executor = Executor(floating), Executor(integer)
    expected = [reference({floating.inputs[0]: x})[floating.outputs[0]] for x in inputs]
    got = [executor({source.name: source.quantization.quantize(x, DType.INT8)})[integer.outputs[0]] for x in inputs]
    return np.concatenate(expected), result.quantization.dequantize(np.concatenate(got))


def assert_close(expected: Array, got: Array) -> None:
    error = got - expected
    noise = float((error**2).mean() / (expected**2).mean())
    assert 10 * np.log10(1 / noise) > 28, f"signal to quantization noise {10 * np.log10(1 / noise):.1f} dB"


@pytest.mark.parametrize("name", LAYERS)
def test_an_int8_layer_follows_the_float_layer(name: str) -> None:
    floating = layer(LAYERS[name], STEPS, streaming=False)
    integer = quantize(floating, sequences(20))
    recurrent = next(o for o in integer.operators if isinstance(o.attributes, (ops.Lstm, ops.Gru)))
    assert integer.tensors[recurrent.outputs[0]].dtype is DType.INT8
    assert_close(*outputs(floating, integer, sequences(5)))


@pytest.mark.parametrize("name", [name for name in LAYERS if "reverse" not in name])
def test_a_streaming_int8_layer_follows_the_float_layer_over_many_inferences(name: str) -> None:
    floating = layer(LAYERS[name], 1, streaming=True)
    integer = quantize(floating, sequences(20).reshape(-1, 1, 1, INPUTS))
    assert {integer.tensors[s.read].dtype for s in integer.states} <= {DType.INT8, DType.INT16}
    assert_close(*outputs(floating, integer, sequences(5).reshape(-1, 1, 1, INPUTS)))
