"""Quantized recurrent layers: LSTM after TensorFlow Lite Micro, GRU of the same ingredients.

Contract: docs/contract/recurrent.md. Every gate is the sum of two int16 products with scale 2**-12, one of the input
and one of the hidden state; logistic and tanh give Q0.15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyopt.execute.integer.arithmetic import multiply_by_quantized_multiplier, quantize_multiplier
from tinyopt.execute.integer.convolution import product_multiplier
from tinyopt.execute.integer.gates import GATE_EXPONENT, logistic_s16, tanh_s16
from tinyopt.execute.integer.registry import integer
from tinyopt.graph import Array, Tensor, ops

Multiplier = tuple[int, int]
"""Q31 significand and left shift."""
UNSCALED: Multiplier = quantize_multiplier(2.0**-15)
"""Brings a product with a Q0.15 factor back to the scale of the other factor."""
Q15 = 2.0**-15


@dataclass(frozen=True, eq=False)
class GateProduct:
    """One matrix product of the gates: int8 vector in, int16 sums with scale 2**-12 out.

    ``bias`` (int32 [rows]) includes the input's zero point: ``bias - zero_point * sum(weights)``.
    """

    weights: Array
    bias: Array
    multiplier: Array
    shift: Array

    @staticmethod
    def of(x: Tensor, weights: Tensor, data: Array, bias: Array | None) -> GateProduct:
        """``x``: the tensor whose quantization the vectors have. ``data``: int8 [rows, columns], of ``weights``."""
        assert weights.quantization is not None
        rows = data.shape[0]
        folded = (0 if bias is None else bias.astype(np.int64)) - x.zero_point * data.astype(np.int64).sum(axis=1)
        scales = weights.quantization.scales
        pairs = {s: quantize_multiplier(product_multiplier(x.scale, s, 2.0**GATE_EXPONENT)) for s in set(scales)}
        chosen = [pairs[s] for s in (scales if len(scales) == rows else scales[:1] * rows)]
        return GateProduct(
            data,
            folded.astype(np.int32),
            np.array([m for m, _ in chosen], np.int32),
            np.array([s for _, s in chosen], np.int8),
        )

    def __call__(self, vectors: Array) -> Array:
        """int8 [..., columns] → int64 [..., rows] in the int16 range."""
        products = vectors.astype(np.float64) @ self.weights.astype(np.float64).T  # exact: far below 2**53
        sums = (products.astype(np.int64) + self.bias).astype(np.int32)
        return _saturate(multiply_by_quantized_multiplier(sums, self.multiplier, self.shift))

    def rows(self, first: int, last: int) -> GateProduct:
        """The product of some of the rows."""
        part = slice(first, last)
        return GateProduct(self.weights[part], self.bias[part], self.multiplier[part], self.shift[part])


def _saturate(values: Array, low: int = -32768, high: int = 32767) -> Array:
    result: Array = np.clip(values, low, high)
    return result


def _scaled(values: Array, multiplier: Multiplier) -> Array:
    return multiply_by_quantized_multiplier(values, *multiplier)


def _steps(count: int, reverse: bool) -> range:
    return range(count - 1, -1, -1) if reverse else range(count)


# ---- LSTM -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LstmParameters:
    """What the arithmetic of an int8 LSTM needs besides its sizes."""

    inputs: GateProduct
    recurrent: GateProduct
    cell: Multiplier
    """Scale of input gate * candidate, to the cell state."""
    output: Multiplier
    """Scale of output gate * tanh(cell state), to the hidden state."""
    output_zero: int
    cell_exponent: int
    cell_clip: int
    """Limit of the cell state's magnitude; 32768 where there is none."""

    @staticmethod
    def of(a: ops.Lstm, arrays: Sequence[Array], ins: Sequence[Tensor], y: Tensor) -> LstmParameters:
        assert a.quantization is not None
        exponent = a.quantization.cell_exponent
        clip = min(float(np.float32(a.cell_clip)) / 2.0**exponent, 32767.0) if a.cell_clip > 0 else 32768.0
        return LstmParameters(
            GateProduct.of(ins[0], ins[1], arrays[1], arrays[3]),
            GateProduct.of(y, ins[2], arrays[2], None),
            quantize_multiplier(Q15 * Q15 / 2.0**exponent),
            quantize_multiplier(Q15 * Q15 / y.scale),
            y.zero_point,
            exponent,
            int(clip),
        )


@integer(ops.Lstm)
def lstm(a: ops.Lstm, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    p = LstmParameters.of(a, arrays, ins, outs[0])
    hidden, cell = arrays[4], arrays[5].astype(np.int64)
    from_input = p.inputs(arrays[0])
    y = np.empty(outs[0].shape, np.int8)
    for step in _steps(y.shape[1], a.reverse):
        gates = np.split(_saturate(from_input[:, step] + p.recurrent(hidden)), 4, axis=-1)
        into, forget, out = (logistic_s16(gates[k]) for k in (0, 1, 3))
        candidate = tanh_s16(gates[2], GATE_EXPONENT)
        kept = _saturate(_scaled(forget * cell, UNSCALED))
        added = _saturate(_scaled(into * candidate, p.cell))
        cell = _saturate(_saturate(kept + added), -p.cell_clip, p.cell_clip)
        shown = _scaled(tanh_s16(cell, p.cell_exponent) * out, p.output) + p.output_zero
        hidden = _saturate(shown, -128, 127).astype(np.int8)
        y[:, step] = hidden
    return [y, hidden.copy(), cell.astype(np.int16)]


# ---- GRU ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GruParameters:
    """What the arithmetic of an int8 GRU needs besides its sizes."""

    inputs: GateProduct
    recurrent: GateProduct
    output: Multiplier
    """Scale of the int16 state, to the int8 output."""
    output_zero: int

    @staticmethod
    def of(a: ops.Gru, arrays: Sequence[Array], ins: Sequence[Tensor], y: Tensor) -> GruParameters:
        return GruParameters(
            GateProduct.of(ins[0], ins[1], arrays[1], arrays[3]),
            GateProduct.of(y, ins[2], arrays[2], arrays[4]),
            quantize_multiplier(Q15 / y.scale),
            y.zero_point,
        )

    def shown(self, state: Array) -> Array:
        """Q0.15 → int8 with the quantization of the output."""
        return _saturate(_scaled(state, self.output) + self.output_zero, -128, 127).astype(np.int8)


def _rounded_q15(values: Array) -> Array:
    """A product with a Q0.15 factor, back to the other factor's scale: to nearest, ties up."""
    return values + (1 << 14) >> 15


@integer(ops.Gru)
def gru(a: ops.Gru, arrays: Sequence[Array], ins: Sequence[Tensor], outs: Sequence[Tensor]) -> list[Array]:
    p = GruParameters.of(a, arrays, ins, outs[0])
    state = arrays[5].astype(np.int64)
    size = state.shape[1]
    gates_product, new_product = p.recurrent.rows(0, 2 * size), p.recurrent.rows(2 * size, 3 * size)
    from_input = p.inputs(arrays[0])
    y = np.empty(outs[0].shape, np.int8)
    for step in _steps(y.shape[1], a.reverse):
        seen = p.shown(state)
        gates = logistic_s16(_saturate(from_input[:, step, : 2 * size] + gates_product(seen)))
        reset, update = gates[:, :size], gates[:, size:]
        if a.linear_before_reset:
            recalled = _rounded_q15(reset * new_product(seen))
        else:
            recalled = new_product(p.shown(_rounded_q15(reset * state)))
        candidate = tanh_s16(_saturate(from_input[:, step, 2 * size :] + recalled), GATE_EXPONENT)
        state = _rounded_q15((32768 - update) * candidate + update * state)
        y[:, step] = p.shown(state)
    return [y, state.astype(np.int16)]
