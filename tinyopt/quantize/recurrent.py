"""The number formats of quantized LSTM and GRU layers, from float weights and calibrated ranges.

The formats are those of docs/contract/recurrent.md. Weights are symmetric int8 with one scale per row; sums of gates
need no range, their format is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array, DType, Quantization, Tensor, ops

STATE_OF_GRU = Quantization.per_tensor(2.0**-15)
"""The hidden state of a quantized GRU: int16."""
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -15, 2
_LARGEST_BIAS = 2**30


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """What replaces the parameters of a float recurrent layer.

    ``constants``: weights, recurrent weights and biases, in the order of the operator's inputs. ``output`` is the
    quantization of y, and of the hidden state of an LSTM. ``state`` is that of the int16 state: the cell state of an
    LSTM, the hidden state of a GRU.
    """

    attributes: ops.Lstm | ops.Gru
    constants: tuple[Tensor, ...]
    output: Quantization
    state: Quantization

    @property
    def output_types(self) -> tuple[tuple[DType, Quantization], ...]:
        """Element type and quantization of each output of the operator, and of the state inputs but for y."""
        whole = (DType.INT8, self.output)
        small = (DType.INT16, self.state)
        return (whole, whole, small) if isinstance(self.attributes, ops.Lstm) else (whole, small)

    def quantize_state(self, index: int, value: Array) -> Array:
        """A float value of state input ``index`` (LSTM: 0 hidden, 1 cell; GRU: 0 hidden) in its integer format."""
        dtype, quantization = self.output_types[1 + index]
        return quantization.quantize(value, dtype)


def cell_exponent(limit: float) -> int:
    """Exponent of the int16 scale that holds cell states up to the magnitude ``limit``, at least ±1.

    Raises:
        DataError: when the limit is not finite, or needs a scale above 2**2 (131,068: the layer diverges).
    """
    if not math.isfinite(limit):
        raise DataError("the cell state of an LSTM is not finite on the calibration data; check the data and weights")
    exponent = max(math.ceil(math.log2(max(limit, 1e-30) / 32767)), _SMALLEST_EXPONENT)
    if exponent > _LARGEST_EXPONENT:
        raise DataError(f"the cell state of an LSTM reaches {limit:.3g}; int8 quantization holds 131068 at most")
    return exponent


def cell_limit(
    a: ops.Lstm, parameters: tuple[Array, Array, Array], samples: Iterable[tuple[Array, Array, Array]]
) -> float:
    """The largest magnitude of the cell state inside a float layer: over all steps, not only the last one.

    ``parameters``: weights [4H,I], recurrent [4H,H], bias [4H]; a sample: x [N,T,I], h0 [N,H], c0 [N,H].
    """
    weights, recurrent, bias = (np.asarray(p, np.float32) for p in parameters)
    largest = 0.0
    for x, hidden, cell in samples:
        from_input = x @ weights.T + bias
        largest = max(largest, float(np.abs(cell).max()))
        for step in range(x.shape[1] - 1, -1, -1) if a.reverse else range(x.shape[1]):
            into, forget, candidate, out = np.split(from_input[:, step] + hidden @ recurrent.T, 4, axis=-1)
            cell = _logistic(forget) * cell + _logistic(into) * np.tanh(candidate)
            if a.cell_clip > 0:
                cell = np.clip(cell, -a.cell_clip, a.cell_clip)
            hidden = _logistic(out) * np.tanh(cell)
            largest = max(largest, float(np.abs(cell).max()))
    return largest


def quantize_lstm(
    a: ops.Lstm, tensors: tuple[Tensor, Tensor, Tensor], x: Quantization, y: Quantization, largest_cell: float
) -> QuantizedLayer:
    """An LSTM in int8.

    ``tensors``: the float constants weights, recurrent, bias. ``x``, ``y``: int8 quantization of input and output.
    ``largest_cell``: what ``cell_limit`` found.
    """
    weights, recurrent, bias = tensors
    exponent = cell_exponent(largest_cell)
    rows, bias_q = _product(weights, bias, x)
    recurrent_rows = _weights(recurrent, np.zeros(recurrent.shape[0]), y)
    attributes = ops.Lstm(a.reverse, a.cell_clip, ops.LstmQuantization(exponent))
    return QuantizedLayer(attributes, (rows, recurrent_rows, bias_q), y, Quantization.per_tensor(2.0**exponent))


def quantize_gru(
    a: ops.Gru, tensors: tuple[Tensor, Tensor, Tensor, Tensor], x: Quantization, y: Quantization
) -> QuantizedLayer:
    """A GRU in int8.

    ``tensors``: the float constants weights, recurrent, bias, recurrent bias. ``x``, ``y``: int8 quantization of
    input and output.
    """
    weights, recurrent, bias, recurrent_bias = tensors
    rows, bias_q = _product(weights, bias, x)
    recurrent_rows, recurrent_bias_q = _product(recurrent, recurrent_bias, y)
    return QuantizedLayer(a, (rows, recurrent_rows, bias_q, recurrent_bias_q), y, STATE_OF_GRU)


def _logistic(values: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-np.clip(values, -80, 80)))
    return result


def _weights(tensor: Tensor, bias: Array, x: Quantization) -> Tensor:
    """int8 rows. A scale is never so small that the row's bias would not fit 32 bits."""
    data = tensor.value.astype(np.float64)
    scales = np.maximum(np.abs(data).max(axis=1) / 127, np.abs(bias) / (x.scale * _LARGEST_BIAS))
    quantization = Quantization.per_channel(np.where(scales > 1e-12, scales, 1.0), 0)
    stored = np.clip(quantization.quantize(tensor.value, DType.INT8), -127, 127).astype(np.int8)
    return Tensor.constant(tensor.name, stored, quantization)


def _product(weights: Tensor, bias: Tensor, x: Quantization) -> tuple[Tensor, Tensor]:
    """Weights and bias of one matrix product whose vectors have the quantization ``x``."""
    rows = _weights(weights, bias.value, x)
    assert rows.quantization is not None
    scale = x.scale * np.asarray(rows.quantization.scales)
    stored = np.rint(bias.value / scale).astype(np.int32)
    return rows, Tensor.constant(bias.name, stored, Quantization.per_channel(scale, 0))
