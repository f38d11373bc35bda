"""Augmentation: random changes of training samples that keep their labels.

An augmentation is called with a batch of the network's first input [samples, …] and a generator, and returns a batch
of the same shape. The same generator state gives the same result. Any function of that form serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.graph import Array

Augment = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True)
class HorizontalFlip:
    """Each image [samples, H, W, C] is mirrored left to right with this probability."""

    probability: float = 0.5

    def __call__(self, batch: Array, generator: np.random.Generator) -> Array:
        chosen = generator.random(len(batch)) < self.probability
        result: Array = batch.copy()
        result[chosen] = batch[chosen, :, ::-1]
        return result


@dataclass(frozen=True)
class PadCrop:
    """Images [samples, H, W, C] shifted by up to ``padding`` pixels each way, zeros coming in (He et al. 2016)."""

    padding: int = 4

    def __call__(self, batch: Array, generator: np.random.Generator) -> Array:
        p = self.padding
        count, height, width, _ = batch.shape
        padded = np.pad(batch, ((0, 0), (p, p), (p, p), (0, 0)))
        tops, lefts = generator.integers(0, 2 * p, (2, count), endpoint=True)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (1, 2))
        result: Array = windows[np.arange(count), tops, lefts].transpose(0, 2, 3, 1)
        return np.ascontiguousarray(result)


@dataclass(frozen=True)
class TimeShift:
    """Signals or spectrograms [samples, time, …] moved by up to ``steps`` along time; ``fill`` comes in."""

    steps: int
    fill: float = 0.0

    def __call__(self, batch: Array, generator: np.random.Generator) -> Array:
        result = np.full_like(batch, self.fill)
        length = batch.shape[1]
        for index, shift in enumerate(generator.integers(-self.steps, self.steps, len(batch), endpoint=True)):
            first, last = max(shift, 0), min(length, length + shift)
            if first < last:
                result[index, first:last] = batch[index, first - shift : last - shift]
        return result


@dataclass(frozen=True)
class Noise:
    """Gaussian noise added to every element; ``deviation`` in the units of the data."""

    deviation: float

    def __call__(self, batch: Array, generator: np.random.Generator) -> Array:
        noise = generator.standard_normal(batch.shape, np.float32) * np.float32(self.deviation)
        result: Array = (batch + noise).astype(batch.dtype, copy=False)
        return result


@dataclass(frozen=True)
class Chain:
    """Several augmentations, one after the other."""

    parts: tuple[Augment, ...]

    def __call__(self, batch: Array, generator: np.random.Generator) -> Array:
        for part in self.parts:
            batch = part(batch, generator)
        return batch
