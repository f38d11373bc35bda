"""Weights in training: real weights behind the integers of a format, and those integers at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tinyopt.errors import ModelError
from tinyopt.graph import Array
from tinyopt.quantize.aware.activations import SMALLEST_RATIO
from tinyopt.quantize.aware.functions import fake_quantize, nearest_of, replaced, signs
from tinyopt.quantize.parameters import tensor_constant
from tinyopt.quantize.rounding import round_half_away
from tinyopt.quantize.weights import Binary, Clustered, UniformFormat, WeightFormat

_BINARY_LIMIT = 4.0
"""Real weights beyond this multiple of the scale get no gradient that would move them: they may still turn."""

Factor = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Rows:
    """Integers of one weight tensor: ``values`` int8 [channels, n], ``scales`` float64 [channels] (float32 values)."""

    values: Array
    scales: Array

    @property
    def real(self) -> Array:
        result: Array = self.values * self.scales[:, None]
        return result


@dataclass(frozen=True, eq=False)
class Trained:
    """The weight format of a trained layer: its integers are known. A recurrent layer has two tensors of them."""

    tensors: tuple[Rows, ...]
    bits: float

    def integers(self, rows: Array, least_scales: Array | None = None) -> tuple[Array, Array]:
        """The trained integers and scales. ``rows`` says which tensor is meant, by its values.

        Scales are raised to ``least_scales`` where bias or sums would leave 32 bits, which rounds once more.
        """
        alike = [t for t in self.tensors if t.values.shape == rows.shape]
        if not alike:
            raise ModelError(f"no trained integers of shape {list(rows.shape)}")
        found = min(alike, key=lambda t: float(np.abs(t.real - rows).max(initial=0.0)))
        if least_scales is None or (found.scales >= least_scales).all():
            return found.values, found.scales
        scales = np.maximum(found.scales, least_scales).astype(np.float32).astype(np.float64)
        return round_half_away(found.real / scales[:, None]).astype(np.int8), scales


class WeightQuantizer(nn.Module):
    """A parametrization: real weights in graph layout → the values that the format gives them.

    ``axis``: that of the output channels. ``learned``: scales are trained (as ratios to those that the format finds
    for the weights at the start); else the format finds integers and scales anew at every step. Groups of int4 weights
    keep the multipliers, and clustered weights the codebook, of the start where scales are learned.

    ``factor`` [channels]: what a batch norm behind the layer multiplies its channels with. The quantization then acts
    on weight * factor, as it does once the batch norm is folded, and the result is divided by it again (Jacob et al.
    2018; Krishnamoorthi 2018). ``keep_zeros``: weights that are zero at the start stay zero.
    """

    start: Tensor
    steps: Tensor | None
    book: Tensor | None
    alive: Tensor | None

    def __init__(
        self,
        weights: Tensor,
        form: WeightFormat,
        axis: int,
        *,
        per_channel: bool,
        learned: bool,
        keep_zeros: bool,
        factor: Factor | None = None,
    ) -> None:
        super().__init__()
        self.form, self.axis, self.per_channel = form, axis, per_channel
        self.learned = learned and (isinstance(form, (UniformFormat, Binary, Clustered)))
        self._factor = factor
        with torch.no_grad():
            rows = self._rows(weights.detach())
        integers, scales = form.integers(_numpy(rows))
        steps, book = None, None
        if isinstance(form, UniformFormat):
            found, scales = form.steps(_numpy(rows))
            if (found != 1).any():
                steps = torch.from_numpy(found.astype(np.float32))
        elif isinstance(form, Clustered):
            book = torch.from_numpy(np.unique(integers).astype(np.float32))
        zero = rows == 0
        if isinstance(form, Binary):  # single zeros have no place among -1 and 1
            zero = zero.all(1, keepdim=True).expand_as(rows)
        alive = (~zero).float() if (keep_zeros or isinstance(form, Binary)) and bool(zero.any()) else None
        self.register_buffer("start", torch.from_numpy(scales.astype(np.float32))[:, None])
        self.register_buffer("steps", steps)
        self.register_buffer("book", book)
        self.register_buffer("alive", alive)
        self.ratio = nn.Parameter(torch.ones(len(scales), 1)) if self.learned else None
        self.scales = self.start.reshape(-1)
        """Of the last forward pass, [channels] or [1], without gradient."""

    def freeze(self) -> None:
        """Keep the learned scales as they are from now on."""
        if self.ratio is not None:
            self.ratio.requires_grad_(False)

    def forward(self, weights: Tensor) -> Tensor:
        rows = self._rows(weights)
        values, scales = self._quantized(rows)
        self.scales = scales.detach().reshape(-1)
        values = values.reshape(weights.movedim(self.axis, 0).shape)
        if self._factor is not None:
            values = values / self._channel_factor().reshape(-1, *[1] * (values.ndim - 1))
        return values.movedim(0, self.axis)

    def integers(self, weights: Tensor) -> Rows:
        """What the forward pass makes of the weights behind it, as integers."""
        with torch.no_grad():
            values, scales = self._quantized(self._rows(weights.detach()))
        whole = torch.round(values / scales).to(torch.int8)
        return Rows(whole.cpu().numpy(), scales.reshape(-1).cpu().numpy().astype(np.float64))

    def factor(self) -> Tensor | None:
        """What the batch norm behind the layer multiplies its channels with [channels], if there is one."""
        return None if self._factor is None else self._channel_factor()

    def _channel_factor(self) -> Tensor:
        assert self._factor is not None
        factor = self._factor().detach()
        tiny = factor.abs() < 1e-12
        return torch.where(tiny, torch.full_like(factor, 1e-12), factor)

    def _rows(self, weights: Tensor) -> Tensor:
        """[channels, n] with the factor of the batch norm; [1, n] for one scale per layer."""
        rows = weights.movedim(self.axis, 0).reshape(weights.shape[self.axis], -1)
        if self._factor is not None:
            rows = rows * self._channel_factor()[:, None]
        return rows if self.per_channel else rows.reshape(1, -1)

    def _quantized(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Real values on the grid of the format [channels, n], and scales [channels, 1]."""
        if self.ratio is None:
            integers, found = self.form.integers(_numpy(rows))
            scales = torch.from_numpy(found.astype(np.float32)).to(rows.device)[:, None]
            values = replaced(rows, torch.from_numpy(integers.astype(np.float32)).to(rows.device) * scales)
        else:
            scales = self.start * self.ratio.clamp(min=SMALLEST_RATIO)
            values = self._with_scales(rows, scales)
        return values if self.alive is None else values * self.alive, scales

    def _with_scales(self, rows: Tensor, scales: Tensor) -> Tensor:
        form = self.form
        if isinstance(form, UniformFormat):
            if self.steps is None:
                return fake_quantize(rows, scales, 0, form.low, form.high)
            return fake_quantize(rows / self.steps, scales, 0, form.low, form.high) * self.steps
        if self.book is not None:
            return nearest_of(rows, scales, self.book)
        return signs(rows, scales, _BINARY_LIMIT)


class ConstantQuantizer(nn.Module):
    """A parametrization: a constant operand as int8 with the range of its values, as ``quantize`` writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(())
        """Of the last forward pass."""

    def forward(self, values: Tensor) -> Tensor:
        integers, quantization = tensor_constant(_numpy(values))
        self.scale = torch.tensor(quantization.scale, dtype=torch.float32, device=values.device)
        real = torch.from_numpy(quantization.dequantize(integers).reshape(values.shape)).to(values.device)
        return replaced(values, real)


def _numpy(values: Tensor) -> Array:
    result: Array = values.detach().cpu().numpy()
    return result
