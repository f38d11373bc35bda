"""Rounding with gradients: forward as integers compute, backward through a straight-through estimator.

Bengio et al. 2013 for the estimator; Esser et al. 2020 (learned step size quantization) for the gradient of the step;
Choi et al. 2018 (PACT) for the gradient of the ends of a range. All compute in float32, whatever the type of x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NEARLY = 2.0**-12
"""Of an integer: what is that close below a half is one. Means and rescaled sums of integers are often halves exactly,
and a division in float32 may end on either side."""


def fake_quantize(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """x as the real values of integers from ``low`` to ``high``: (q - zero_point) * scale, halves away from zero.

    ``scale`` is broadcast against x. The gradient of x passes where x is inside the range; that of the scale is the
    one of Esser et al. 2020, multiplied by 1 / sqrt(elements per scale * largest integer).
    """
    result: Tensor = _FakeQuantize.apply(x.float(), scale, zero_point, low, high)  # type: ignore[no-untyped-call]
    return result


def clipped_quantize(x: Tensor, bottom: Tensor, top: Tensor, scale: Tensor, zero_point: int) -> Tensor:
    """As ``fake_quantize`` to int8, with gradients for the ends of the range: every value beyond an end moves it.

    ``scale`` and ``zero_point`` follow from ``bottom`` and ``top`` and get no gradient of their own.
    """
    result: Tensor = _ClippedQuantize.apply(x.float(), bottom, top, scale, zero_point)  # type: ignore[no-untyped-call]
    return result


def signs(x: Tensor, scale: Tensor, limit: float) -> Tensor:
    """-scale or scale; zero becomes scale. The gradient of x passes where its magnitude is at most limit * scale."""
    result: Tensor = _Signs.apply(x.float(), scale, limit)  # type: ignore[no-untyped-call]
    return result


def nearest_of(x: Tensor, scale: Tensor, book: Tensor) -> Tensor:
    """scale times the value of a sorted codebook that is nearest to x / scale; gradients as in ``fake_quantize``."""
    result: Tensor = _NearestOf.apply(x.float(), scale, book)  # type: ignore[no-untyped-call]
    return result


def replaced(x: Tensor, value: Tensor) -> Tensor:
    """``value`` (a tensor of its own, without gradient) forward, the gradient to x backward."""
    result: Tensor = _Replaced.apply(x, value)  # type: ignore[no-untyped-call]
    return result


def round_half_away(x: Tensor) -> Tensor:
    """To the nearest integer, halves away from zero, and what float32 makes of halves as well."""
    return x.abs().add_(0.5 + _NEARLY).floor_().copysign_(x)  # trunc would take several times as long


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()  # torch.dot would copy tensors that are not contiguous


def _reduced(gradient: Tensor, like: Tensor) -> Tensor:
    """A gradient summed over the axes along which ``like`` was broadcast."""
    return gradient.sum_to_size(like.shape) if like.ndim else gradient.sum()


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
        exact = x / scale
        first, last = low - zero_point, high - zero_point
        rounded = round_half_away(exact)
        whole = rounded.clamp(first, last)
        outside = rounded != whole
        learned = ctx.needs_input_grad[1]
        ctx.save_for_backward(outside, exact if learned else None, whole if learned else None, scale)
        ctx.largest = max(-first, last)
        return whole * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        outside, exact, whole, scale = ctx.saved_tensors
        passed = gradient.masked_fill(outside, 0.0)
        for_scale = None
        if exact is not None:  # inside the range whole - exact, beyond it whole
            if scale.ndim == 0:
                for_scale = _dot(gradient, whole) - _dot(passed, exact)
            else:
                for_scale = _reduced(gradient * whole - passed * exact, scale)
            for_scale = for_scale / float(whole.numel() / scale.numel() * ctx.largest) ** 0.5
        return passed, for_scale, None, None, None


class _ClippedQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bottom: Tensor, top: Tensor, scale: Tensor, zero_point: int) -> Tensor:
        ctx.save_for_backward(x < bottom, x > top)
        return round_half_away(x / scale).clamp_(-128 - zero_point, 127 - zero_point) * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        below, above = ctx.saved_tensors
        return gradient * ~(below | above), (gradient * below).sum(), (gradient * above).sum(), None, None


class _Signs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, limit: float) -> Tensor:
        sign = torch.where(x < 0, -1.0, 1.0)
        ctx.save_for_backward(x.abs() <= limit * scale, sign, scale)
        return sign * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        inside, sign, scale = ctx.saved_tensors
        for_scale = _reduced(gradient * sign, scale) / float(sign.numel() / scale.numel()) ** 0.5
        return gradient * inside, for_scale, None


class _NearestOf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, book: Tensor) -> Tensor:
        exact = x / scale
        whole = book[torch.bucketize(exact.contiguous(), 0.5 * (book[1:] + book[:-1]))]
        ctx.save_for_backward(whole - exact, scale)
        ctx.largest = float(book.abs().max())
        return whole * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        slope, scale = ctx.saved_tensors
        per_scale = slope.numel() / scale.numel()
        return gradient, _reduced(gradient * slope, scale) / (per_scale * max(ctx.largest, 1.0)) ** 0.5, None


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None
