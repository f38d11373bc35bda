"""Single-operator graphs of LSTM and GRU layers: float32 and int8, one step and many, both directions."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

GATES = {"lstm": 4, "gru": 3}


class _Layer:
    """The sizes and the random source that the operands of one layer share."""

    def __init__(self, draw: st.DrawFn, kind: str) -> None:
        self.draw, self.gates = draw, GATES[kind]
        self.batch = draw(st.sampled_from((1, 1, 1, 2)))
        self.steps, self.inputs, self.hidden = (draw(st.integers(1, 6)) for _ in range(3))
        self.fixed = draw(st.booleans())
        self.random = np.random.default_rng(draw(st.integers(0, 1000)))
        self.builder = GraphBuilder(kind)
        self.state = (self.batch, self.hidden)

    def first_state(self, name: str, value: np.ndarray, quantization: Quantization | None) -> str:
        """A constant, or an input of the same type."""
        if self.fixed:
            return self.builder.constant(name, value, quantization)
        return self.builder.input(name, self.state, DType.of(value), quantization)

    def finish(self, attributes: ops.Attributes, inputs: list[str], dtypes: list[DType], quantizations: list) -> Graph:
        for name in self.builder.add_multi(attributes, inputs, dtype=dtypes, quantizations=quantizations):
            self.builder.output(name)
        return self.builder.build()


def _float_parameters(layer: _Layer, biases: int) -> list[str]:
    rows = layer.gates * layer.hidden
    shapes = [(rows, layer.inputs), (rows, layer.hidden), *[(rows,)] * biases]
    scale = layer.draw(st.sampled_from((0.1, 1.0, 3.0)))
    return [
        layer.builder.constant(f"p{i}", layer.random.normal(0, scale, shape).astype(np.float32))
        for i, shape in enumerate(shapes)
    ]


@st.composite
def lstm_f32(draw: st.DrawFn) -> Graph:
    layer = _Layer(draw, "lstm")
    x = layer.builder.input("x", (layer.batch, layer.steps, layer.inputs), DType.FLOAT32)
    inputs = [x, *_float_parameters(layer, 1)]
    for name in ("h0", "c0"):
        inputs.append(layer.first_state(name, layer.random.normal(size=layer.state).astype(np.float32), None))
    attributes = ops.Lstm(draw(st.booleans()), draw(st.sampled_from((0.0, 0.0, 0.5))))
    return layer.finish(attributes, inputs, [DType.FLOAT32] * 3, [None])


@st.composite
def gru_f32(draw: st.DrawFn) -> Graph:
    layer = _Layer(draw, "gru")
    x = layer.builder.input("x", (layer.batch, layer.steps, layer.inputs), DType.FLOAT32)
    inputs = [x, *_float_parameters(layer, 2)]
    inputs.append(layer.first_state("h0", layer.random.normal(size=layer.state).astype(np.float32), None))
    return layer.finish(ops.Gru(draw(st.booleans()), draw(st.booleans())), inputs, [DType.FLOAT32] * 2, [None])


def _row_quantization(layer: _Layer, form: str) -> Quantization:
    """Per tensor, one scale per gate (as TFLite stores an LSTM), or one per row."""
    scale = layer.draw(st.sampled_from((0.0005, 0.01, 0.05)))
    if form == "tensor":
        return Quantization.per_tensor(scale)
    factors = layer.random.uniform(0.5, 2.0, layer.gates * (layer.hidden if form == "row" else 1))
    return Quantization.per_channel(scale * (factors if form == "row" else factors.repeat(layer.hidden)), 0)


def _quantized_parameters(layer: _Layer, biases: int) -> list[str]:
    rows = layer.gates * layer.hidden
    names = []
    for name, columns in (("weights", layer.inputs), ("recurrent", layer.hidden)):
        data = layer.random.integers(-127, 127, (rows, columns), dtype=np.int8, endpoint=True)
        form = layer.draw(st.sampled_from(("tensor", "gate", "row")))
        names.append(layer.builder.constant(name, data, _row_quantization(layer, form)))
    for index in range(biases):
        names.append(layer.builder.constant(f"b{index}", layer.random.integers(-9000, 9000, rows, dtype=np.int32)))
    return names


def _activation(layer: _Layer) -> Quantization:
    scale = layer.draw(st.sampled_from((1 / 128, 0.02, 0.1)))
    return Quantization.per_tensor(scale, layer.draw(st.sampled_from((-128, -5, 0, 127))))


@st.composite
def lstm_s8(draw: st.DrawFn) -> Graph:
    layer = _Layer(draw, "lstm")
    exponent = draw(st.sampled_from((-15, -13, -12, -11, -9, 0, 2)))
    hidden, cell = _activation(layer), Quantization.per_tensor(2.0**exponent)
    x = layer.builder.input("x", (layer.batch, layer.steps, layer.inputs), DType.INT8, _activation(layer))
    inputs = [x, *_quantized_parameters(layer, 1)]
    h0 = layer.random.integers(-128, 127, layer.state, dtype=np.int8, endpoint=True)
    c0 = layer.random.integers(-32768, 32767, layer.state, dtype=np.int16, endpoint=True)
    inputs += [layer.first_state("h0", h0, hidden), layer.first_state("c0", c0, cell)]
    clip = draw(st.sampled_from((0.0, 0.0, 0.7, 100.0)))
    attributes = ops.Lstm(draw(st.booleans()), clip, ops.LstmQuantization(exponent))
    return layer.finish(attributes, inputs, [DType.INT8, DType.INT8, DType.INT16], [hidden, hidden, cell])


@st.composite
def gru_s8(draw: st.DrawFn) -> Graph:
    layer = _Layer(draw, "gru")
    output, state = _activation(layer), Quantization.per_tensor(2.0**-15)
    x = layer.builder.input("x", (layer.batch, layer.steps, layer.inputs), DType.INT8, _activation(layer))
    inputs = [x, *_quantized_parameters(layer, 2)]
    h0 = layer.random.integers(-32768, 32767, layer.state, dtype=np.int16, endpoint=True)
    inputs.append(layer.first_state("h0", h0, state))
    attributes = ops.Gru(draw(st.booleans()), draw(st.booleans()))
    return layer.finish(attributes, inputs, [DType.INT8, DType.INT16], [output, state])


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "lstm_f32": lstm_f32(),
    "gru_f32": gru_f32(),
    "lstm_s8": lstm_s8(),
    "gru_s8": gru_s8(),
}
