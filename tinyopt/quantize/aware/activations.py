"""Activations in training: how the range of each is found, and the fake quantization that uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tinyopt.errors import DataError
from tinyopt.graph import DType, Quantization
from tinyopt.quantize.aware.functions import clipped_quantize, fake_quantize
from tinyopt.quantize.formats import Format
from tinyopt.quantize.parameters import activation_quantization
from tinyopt.quantize.weights import SMALLEST_SCALE

SMALLEST_RATIO = 1e-3
"""A learned step stays at least this fraction of the calibrated one."""


class ActivationQuantizer(nn.Module):
    """Fake quantization of one activation, or of several that share a format.

    ``frozen``: the range is not changed any more; part of the state dictionary, so that it survives a checkpoint.
    """

    frozen: Tensor

    def __init__(self, start: Format, *, symmetric: bool) -> None:
        super().__init__()
        self.dtype, self.symmetric = start.dtype, symmetric
        self.low, self.high = start.dtype.limits
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))

    def freeze(self) -> None:
        """Keep the range as it is from now on."""
        self.frozen.fill_(True)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def parameters_now(self) -> tuple[Tensor, int]:
        """Scale (a scalar tensor, with its gradient) and zero point."""
        raise RuntimeError(f"{type(self).__name__} has no parameters")  # pragma: no cover - every class has its own

    def format(self) -> Format:
        """The number format that the forward pass uses now."""
        with torch.no_grad():
            scale, zero_point = self.parameters_now()
        return Format(self.dtype, Quantization.per_tensor(float(scale), zero_point))

    def forward(self, x: Tensor) -> Tensor:
        scale, zero_point = self.parameters_now()
        return fake_quantize(x, scale, zero_point, self.low, self.high)


class FixedQuantizer(ActivationQuantizer):
    """A format that does not change: calibrated before training, or given by the operator (softmax, logistic)."""

    scale: Tensor

    def __init__(self, start: Format, *, symmetric: bool = False) -> None:
        super().__init__(start, symmetric=symmetric)
        self.register_buffer("scale", torch.tensor(start.quantization.scale, dtype=torch.float32))
        self.zero_point = start.quantization.zero_point

    def parameters_now(self) -> tuple[Tensor, int]:
        return self.scale, self.zero_point


class StepQuantizer(ActivationQuantizer):
    """A learned step (Esser et al. 2020) with the zero point of the calibrated range.

    What is learned is the ratio to the calibrated step, so that one learning rate suits all tensors.
    """

    start: Tensor

    def __init__(self, start: Format, *, symmetric: bool) -> None:
        super().__init__(start, symmetric=symmetric)
        self.register_buffer("start", torch.tensor(start.quantization.scale, dtype=torch.float32))
        self.zero_point = start.quantization.zero_point
        self.ratio = nn.Parameter(torch.ones(()))

    def parameters_now(self) -> tuple[Tensor, int]:
        return self.start * self.ratio.clamp(min=SMALLEST_RATIO), self.zero_point


class ClippingQuantizer(ActivationQuantizer):
    """Learned ends of the range (Choi et al. 2018), each as a multiple of the calibrated one; an end at zero stays."""

    ends: Tensor

    def __init__(self, start: Format, *, symmetric: bool) -> None:
        super().__init__(start, symmetric=symmetric)
        q = start.quantization
        ends = [(self.low - q.zero_point) * q.scale, (self.high - q.zero_point) * q.scale]
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.float32))
        self.ratios = nn.Parameter(torch.ones(2))

    def _range(self) -> tuple[Tensor, Tensor]:
        bottom, top = self.ends * self.ratios.clamp(min=SMALLEST_RATIO)
        if self.symmetric:
            bottom = -top
        return bottom, top

    def _parameters_of(self, bottom: Tensor, top: Tensor) -> tuple[Tensor, int]:
        q = activation_quantization(float(bottom.detach()), float(top.detach()), symmetric=self.symmetric)
        return torch.tensor(q.scale, dtype=torch.float32, device=self.ends.device), q.zero_point

    def parameters_now(self) -> tuple[Tensor, int]:
        return self._parameters_of(*self._range())

    def forward(self, x: Tensor) -> Tensor:
        bottom, top = self._range()
        return clipped_quantize(x, bottom, top, *self._parameters_of(bottom, top))


class ObservingQuantizer(ActivationQuantizer):
    """The range of what is seen in training, as a moving average of the extremes of batches (Jacob et al. 2018)."""

    ends: Tensor

    def __init__(self, start: Format, *, symmetric: bool, momentum: float) -> None:
        super().__init__(start, symmetric=symmetric)
        q = start.quantization
        ends = [(self.low - q.zero_point) * q.scale, (self.high - q.zero_point) * q.scale]
        self.register_buffer("ends", torch.tensor(ends, dtype=torch.float32))
        self.momentum = momentum

    def parameters_now(self) -> tuple[Tensor, int]:
        q = activation_quantization(float(self.ends[0]), float(self.ends[1]), symmetric=self.symmetric)
        return torch.tensor(q.scale, dtype=torch.float32, device=self.ends.device), q.zero_point

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not bool(self.frozen):
            with torch.no_grad():
                self.ends.lerp_(torch.stack(torch.aminmax(x.detach())), self.momentum)
        return super().forward(x)


@runtime_checkable
class ActivationRanges(Protocol):
    """How the ranges of activations are found in training."""

    def quantizer(self, start: Format, *, symmetric: bool) -> ActivationQuantizer:
        """The fake quantization of an int8 tensor whose calibrated format is ``start``."""


@dataclass(frozen=True)
class LearnedStep:
    """Steps are trained with the weights (Esser et al. 2020); zero points stay those of calibration."""

    def quantizer(self, start: Format, *, symmetric: bool) -> ActivationQuantizer:
        return StepQuantizer(start, symmetric=symmetric)


@dataclass(frozen=True)
class LearnedClipping:
    """The ends of the ranges are trained with the weights (PACT, Choi et al. 2018). ``decay`` pulls them towards zero:
    their weight decay, in the paper an L2 penalty."""

    decay: float = 1e-2

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise DataError(f"the decay of learned clipping must lie from 0 up to 1, not {self.decay}")

    def quantizer(self, start: Format, *, symmetric: bool) -> ActivationQuantizer:
        return ClippingQuantizer(start, symmetric=symmetric)


@dataclass(frozen=True)
class Observed:
    """Ranges follow the extremes of the batches; ``momentum``: the share of the newest one (Jacob et al. 2018)."""

    momentum: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.momentum <= 1.0:
            raise DataError(f"the momentum of observed ranges must lie between 0 and 1, not {self.momentum}")

    def quantizer(self, start: Format, *, symmetric: bool) -> ActivationQuantizer:
        return ObservingQuantizer(start, symmetric=symmetric, momentum=self.momentum)


@dataclass(frozen=True)
class Calibrated:
    """Ranges stay those of calibration; only weights are trained."""

    def quantizer(self, start: Format, *, symmetric: bool) -> ActivationQuantizer:
        return FixedQuantizer(start, symmetric=symmetric)


def range_of(form: Format, *, symmetric: bool) -> tuple[float, float]:
    """The real range whose int8 parameters are exactly those of ``form``."""
    scale, zero_point = max(form.quantization.scale, SMALLEST_SCALE), form.quantization.zero_point
    low, high = form.dtype.limits
    if symmetric and form.dtype is DType.INT8:
        return -127 * scale, 127 * scale
    return (low - zero_point) * scale, (high - zero_point) * scale
