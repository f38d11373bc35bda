"""Recurrent layers: the int16 gates, one step at a time or many at once, and torch's own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.cases import recurrent
from kernels.cases.movement import values
from tinyopt.errors import GraphError
from tinyopt.execute import Executor
from tinyopt.execute.executor import run_operator
from tinyopt.execute.integer.gates import logistic_s16, tanh_s16
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops

EVERY_INT16 = np.arange(-32768, 32768)


def test_logistic_is_within_one_and_a_half_units_of_the_real_function() -> None:
    real = 1 / (1 + np.exp(-EVERY_INT16 / 4096))
    assert np.abs(logistic_s16(EVERY_INT16) - 32768 * real).max() < 1.5


@pytest.mark.parametrize("exponent", [-15, -13, -12, -11, -8, 0, 2])
def test_tanh_is_within_three_units_of_the_real_function_and_odd(exponent: int) -> None:
    shown = tanh_s16(EVERY_INT16, exponent)
    assert np.abs(shown - 32768 * np.tanh(EVERY_INT16 * 2.0**exponent)).max() < 3
    assert np.abs(shown[1:32768] + shown[:32768:-1]).max() <= 3


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@settings(max_examples=30)
@given(data=st.data())
def test_many_steps_at_once_equal_one_step_at_a_time_with_the_state_handed_on(kind: str, data: st.DataObject) -> None:
    graph = data.draw(recurrent.CASES[f"{kind}_s8"])
    operator = graph.operators[0]
    arrays = [
        t.data if t.data is not None else values(t.dtype, t.shape, index) for index, t in enumerate(graph.ins(operator))
    ]
    whole = run_operator(graph, operator, arrays)
    builder = GraphBuilder("step")
    x, *rest = graph.ins(operator)
    names = [builder.input(x.name, (x.shape[0], 1, x.shape[2]), x.dtype, x.quantization)]
    for t in rest:
        names.append(
            builder.input(t.name, t.shape, t.dtype, t.quantization)
            if t.data is None
            else builder.constant(t.name, t.data, t.quantization)
        )
    outs = graph.outs(operator)
    y, *_ = builder.add_multi(
        operator.attributes, names, dtype=[t.dtype for t in outs], quantizations=[t.quantization for t in outs]
    )
    builder.output(y)
    step = builder.build()
    order = range(x.shape[1])
    states = arrays[-len(outs) + 1 :]
    for k in reversed(order) if operator.attributes.reverse else order:  # type: ignore[attr-defined]
        parameters = arrays[1 : len(arrays) - len(states)]
        one, *states = run_operator(step, step.operators[0], [arrays[0][:, k : k + 1], *parameters, *states])
        np.testing.assert_array_equal(one[:, 0], whole[0][:, k])
    for state, last in zip(states, whole[1:]):
        np.testing.assert_array_equal(state, last)


def _layer(attributes: ops.Attributes, parameters: list[Array], states: int, x: Array, hidden: int) -> list[Array]:
    builder = GraphBuilder("layer")
    names = [builder.input("x", x.shape, DType.FLOAT32)]
    names += [builder.constant(f"p{i}", p) for i, p in enumerate(parameters)]
    names += [builder.constant(f"s{i}", np.zeros((1, hidden), np.float32)) for i in range(states)]
    for name in builder.add_multi(attributes, names):
        builder.output(name)
    return list(Executor(builder.build())({"x": x}).values())


def test_the_float_lstm_equals_torch() -> None:
    torch.manual_seed(0)
    module = torch.nn.LSTM(5, 4, batch_first=True)
    x = torch.randn(1, 6, 5)
    with torch.no_grad():
        expected, (h, c) = module(x)
        w, r, b, rb = (p.numpy() for p in module.parameters())
    got = _layer(ops.Lstm(), [w, r, b + rb], 2, x.numpy(), 4)
    for ours, theirs in zip(got, (expected, h[0], c[0])):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_the_float_gru_equals_torch() -> None:
    torch.manual_seed(0)
    module = torch.nn.GRU(5, 4, batch_first=True)
    x = torch.randn(1, 6, 5)
    with torch.no_grad():
        expected, h = module(x)
        parameters = [p.numpy() for p in module.parameters()]
    got = _layer(ops.Gru(), parameters, 1, x.numpy(), 4)
    for ours, theirs in zip(got, (expected, h[0])):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)


def _int8_gru(state: Quantization, weights_zero: int) -> Graph:
    builder = GraphBuilder("gru")
    q = Quantization.per_tensor(0.1)
    weights = Quantization.per_tensor(0.1, weights_zero)
    x = builder.input("x", (1, 2, 3), DType.INT8, q)
    names = [builder.constant(n, np.ones((6, k), np.int8), weights) for n, k in (("w", 3), ("r", 2))]
    names += [builder.constant(n, np.zeros(6, np.int32)) for n in ("b", "rb")]
    names.append(builder.constant("h0", np.zeros((1, 2), np.int16), state))
    types = {"dtype": [DType.INT8, DType.INT16], "quantizations": [q, state]}
    builder.output(builder.add_multi(ops.Gru(), [x, *names], **types)[0])  # type: ignore[arg-type]
    return builder.build()


def test_a_quantized_layer_with_another_state_format_or_asymmetric_weights_is_refused() -> None:
    assert _int8_gru(Quantization.per_tensor(2.0**-15), 0).operators
    with pytest.raises(GraphError, match=r"scale 2\*\*-15"):
        _int8_gru(Quantization.per_tensor(0.01), 0)
    with pytest.raises(GraphError, match="symmetric"):
        _int8_gru(Quantization.per_tensor(2.0**-15), 4)
