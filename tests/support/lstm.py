"""Random LSTM layers that the TFLite format can express: one scale per gate, states that start at zero."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops


def with_states(
    builder: GraphBuilder, attributes: ops.Lstm, operands: list[str], states: list[str], outs: dict
) -> Graph:
    """The layer with its states kept from one inference to the next, as TFLite keeps them."""
    y, h, c = builder.add_multi(attributes, [*operands, *states], **outs)
    builder.assign("h0", h)
    builder.assign("c0", c)
    builder.output(y)
    return builder.build()


def lstm_s8(seed: int, *, keep: bool) -> Graph:
    random = np.random.default_rng(seed)
    steps, inputs, hidden = (int(n) for n in random.integers(1, 9, 3))
    exponent = int(random.choice((-15, -13, -12, -11, -9)))
    builder = GraphBuilder("lstm")
    shown = Quantization.per_tensor(random.choice((1 / 128, 0.009)), int(random.integers(-128, 128)))
    cell = Quantization.per_tensor(2.0**exponent)
    given_x = Quantization.per_tensor(random.uniform(0.005, 0.05), int(random.integers(-128, 128)))
    operands = [builder.input("x", (1, steps, inputs), DType.INT8, given_x)]
    for name, columns in (("w", inputs), ("r", hidden)):
        data = random.integers(-127, 127, (4 * hidden, columns), dtype=np.int8, endpoint=True)
        scales = random.uniform(0.001, 0.03, 4).repeat(hidden)
        operands.append(builder.constant(name, data, Quantization.per_channel(scales, 0)))
    operands.append(builder.constant("b", random.integers(-9000, 9000, 4 * hidden, dtype=np.int32)))
    h0, c0 = np.full((1, hidden), shown.zero_point, np.int8), np.zeros((1, hidden), np.int16)
    attributes = ops.Lstm(False, float(random.choice((0.0, 0.4))), ops.LstmQuantization(exponent))
    outs = {"dtype": [DType.INT8, DType.INT8, DType.INT16], "quantizations": [shown, shown, cell]}
    if keep:
        return with_states(
            builder, attributes, operands, [builder.state("h0", h0, shown), builder.state("c0", c0, cell)], outs
        )
    operands += [builder.constant("h0", h0, shown), builder.constant("c0", c0, cell)]
    builder.output(builder.add_multi(attributes, operands, **outs)[0])
    return builder.build()


def float_lstm() -> Graph:
    random = np.random.default_rng(1)
    builder = GraphBuilder("lstm")
    operands = [builder.input("x", (1, 7, 5), DType.FLOAT32)]
    for name, shape in (("w", (16, 5)), ("r", (16, 4)), ("b", (16,))):
        operands.append(builder.constant(name, random.normal(size=shape).astype(np.float32)))
    operands += [builder.constant(name, np.zeros((1, 4), np.float32)) for name in ("h0", "c0")]
    builder.output(builder.add_multi(ops.Lstm(), operands)[0])
    return builder.build()
