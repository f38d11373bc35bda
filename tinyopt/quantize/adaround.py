"""Weights rounded up or down so that the layer's output comes nearest, not each weight (AdaRound, Nagel 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from tinyopt.errors import DataError
from tinyopt.graph import Array, ops
from tinyopt.quantize.layers import output_axis
from tinyopt.quantize.patches import Positions, has_patches, rows_of_weights, weights_of_rows
from tinyopt.quantize.reconstruct import steps_of_weights
from tinyopt.quantize.technique import Setting
from tinyopt.quantize.walk import Constants, Layer
from tinyopt.quantize.weights import UniformFormat

_STRETCH = 0.1
"""The rectified sigmoid reaches from -0.1 to 1.1 before it is cut off, so that it can arrive at 0 and 1."""


@dataclass(frozen=True)
class AdaRound:
    """Learns for each weight whether it is rounded up or down, layer after layer, on the inputs that the layer has in
    the quantized graph.

    ``steps`` of Adam with ``learning_rate``, each on ``batch`` output positions out of at most ``positions`` of
    ``samples`` calibration samples. ``regularisation`` weighs the term that drives every decision to 0 or 1; it sets
    in after the share ``warm_up`` of the steps. The same ``seed`` gives the same result. Formats without equal steps
    (binary, clustered) are left as they are.
    """

    steps: int = 1000
    learning_rate: float = 0.03
    batch: int = 256
    positions: int = 16384
    samples: int = 256
    regularisation: float = 0.1
    warm_up: float = 0.2
    seed: int = 0
    name: ClassVar[str] = "AdaRound"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise DataError(f"a seed is a number from 0 upwards, not {self.seed}")
        if min(self.steps, self.batch, self.positions, self.samples) < 1:
            raise DataError("AdaRound needs at least one step, and one position and sample to take it on")
        if not 0.0 <= self.warm_up < 1.0:
            raise DataError(f"the warm-up of AdaRound is a share of its steps from 0 up to 1, not {self.warm_up}")

    def improve(self, layer: Layer, setting: Setting) -> Constants | str:
        operator, constants = layer.operator, layer.constants
        form, per_channel = setting.weights[operator.name], setting.per_channel
        if not isinstance(form, UniformFormat):
            return f"the values of {form} are not equal steps"
        if not has_patches(operator):
            return f"it does not handle {operator.kind}"
        steps = steps_of_weights(layer, form, per_channel)
        grid = rows_of_weights(operator, np.broadcast_to(steps * constants.weight_scales, layer.weights.shape))
        wanted = rows_of_weights(operator, layer.weights)
        places = Positions(operator, layer.weights.shape, layer.x.shape, self.positions, self.seed)
        whole = self._learn(
            places.patches(layer.x),
            places.patches(layer.x_quantized),
            wanted,
            grid,
            (form.low, form.high),
            (_groups_of(layer.bias, wanted.shape), _groups_of(constants.real_bias, wanted.shape)),
            getattr(operator.attributes, "activation", ops.NONE),
        )
        integers = weights_of_rows(operator, whole, layer.weights.shape) * steps
        # Channels that were written as zero because they cannot move the output stay dead.
        axes = tuple(i for i in range(integers.ndim) if i != output_axis(operator))
        alive = np.abs(constants.weights).max(axes, keepdims=True) > 0
        return replace(constants, weights=(integers * alive).astype(np.int8))

    def _learn(
        self,
        x: Array,
        x_quantized: Array,
        weights: Array,
        grid: Array,
        ends: tuple[int, int],
        biases: tuple[Array, Array],
        clamp: ops.Clamp,
    ) -> Array:
        """Whole numbers of steps [groups, outputs, k]. ``x``: [positions, groups, k]."""
        random = torch.Generator().manual_seed(self.seed)
        step = torch.from_numpy(np.ascontiguousarray(grid, np.float32))
        exact = torch.from_numpy(np.ascontiguousarray(weights / grid, np.float32))
        floor = torch.floor(exact)
        rest = (exact - floor).clamp(0.01, 0.99)
        choice = torch.logit((rest + _STRETCH) / (1 + 2 * _STRETCH)).requires_grad_()
        inputs = torch.from_numpy(np.ascontiguousarray(x_quantized.transpose(1, 0, 2)))
        real = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)))
        bias, bias_quantized = (torch.from_numpy(b)[:, None, :] for b in biases)
        activate = _clamp(clamp)
        with torch.no_grad():
            kernel = torch.tensor(weights)
            target = activate(real @ kernel.transpose(1, 2) + bias)
            power = float(target.var()) or 1.0
        optimiser = torch.optim.Adam([choice], lr=self.learning_rate)
        start = int(self.warm_up * self.steps)
        count = inputs.shape[1]
        for number in range(self.steps):
            places = torch.randint(count, (min(self.batch, count),), generator=random)
            up = _rectified(choice)
            kernel = (floor + up).clamp(*ends) * step
            got = activate(inputs[:, places] @ kernel.transpose(1, 2) + bias_quantized)
            # Relative to the power of the output, so that one regularisation suits every layer.
            loss = (got - target[:, places]).square().mean() / power * kernel.shape[1]
            if number >= start:
                share = (number - start) / max(self.steps - start, 1)
                sharpness = 2.0 + 9.0 * (1.0 + np.cos(share * np.pi))
                loss = loss + self.regularisation * (1.0 - (2.0 * up - 1.0).abs().pow(sharpness)).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            result = (floor + (_rectified(choice) >= 0.5)).clamp(*ends)
        return result.numpy().astype(np.int64)


def _rectified(choice: torch.Tensor) -> torch.Tensor:
    return (torch.sigmoid(choice) * (1 + 2 * _STRETCH) - _STRETCH).clamp(0.0, 1.0)


def _clamp(clamp: ops.Clamp) -> Callable[[torch.Tensor], torch.Tensor]:
    if clamp.low is None and clamp.high is None:
        return lambda x: x
    return lambda x: x.clamp(clamp.low, clamp.high)


def _groups_of(bias: Array | None, shape: tuple[int, ...]) -> Array:
    """A bias as float32 [groups, outputs / groups]."""
    if bias is None:
        return np.zeros(shape[:2], np.float32)
    return bias.astype(np.float32).reshape(shape[:2])
