"""How to train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tinyopt.errors import TrainingError

MOST_EPOCHS = 1_000_000
LARGEST_RATE = 1e30
"""Beyond it, single precision overflows."""


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults suit small networks of convolutions.

    - ``learning_rate``: the largest one. ``schedule``: ``cosine`` falls to zero over all steps (Loshchilov and Hutter
      2017), ``step`` multiplies by ``step_factor`` after every ``step_epochs`` epochs, ``constant`` stays. During
      ``warm_up_epochs`` (may be a fraction) it rises linearly from zero.
    - ``weight_decay``: decoupled for ``adamw`` (Loshchilov and Hutter 2019), L2 for ``sgd`` (momentum ``momentum``,
      Nesterov); on parameters of two or more axes only, so biases and normalisations are left alone.
    - ``label_smoothing``: of the default loss (Szegedy et al. 2016).
    - ``gradient_clip``: largest norm of all gradients together, or None.
    - ``patience``: stop after so many epochs without a better validation; None never stops early.
    - ``restore_best``: end with the weights of the best validation rather than the last; needs validation data.
      Set it to False where a callback changes the network as training goes on (gradual pruning): the best epoch may
      be an early one.
    - ``mixed_precision``: compute in bfloat16 where torch deems it safe (convolutions, matrix products), with weights
      and updates in float32. Half the time on processors and GPUs with bfloat16 instructions. In training for integers
      convolutions then see values of eight significant bits: up to half a step of int8 of noise, nothing for fewer
      bits, too much for int16; validation and the converted network are exact all the same.
    - ``seed`` fixes the order of samples, augmentation, and torch's own random numbers.
    - ``device``: a torch device, or ``auto``: a GPU where there is one.

    Raises:
        TrainingError: when a value makes no sense.
    """

    epochs: int = 10
    batch_size: int = 64
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warm_up_epochs: float = 0.0
    step_epochs: int = 30
    step_factor: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    gradient_clip: float | None = None
    patience: int | None = None
    restore_best: bool = True
    mixed_precision: bool = False
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        rules = {
            "epochs": 1 <= self.epochs <= MOST_EPOCHS,
            "batch_size": self.batch_size >= 1,
            "optimiser": self.optimiser in ("adamw", "sgd"),
            "learning_rate": 0 < self.learning_rate <= LARGEST_RATE,
            "schedule": self.schedule in ("cosine", "step", "constant"),
            "warm_up_epochs": 0 <= self.warm_up_epochs < math.inf,
            "step_epochs": self.step_epochs >= 1,
            "step_factor": 0 < self.step_factor <= 1,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": 0 <= self.weight_decay < math.inf,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "gradient_clip": self.gradient_clip is None or self.gradient_clip > 0,
            "patience": self.patience is None or self.patience >= 1,
            "seed": 0 <= self.seed < 1 << 63,
        }
        for name, holds in rules.items():
            if not holds:
                raise TrainingError(f"the training setting {name} = {getattr(self, name)!r} makes no sense")

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs."""
        warm = self.warm_up_epochs * steps_per_epoch
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        if self.schedule == "cosine":
            total = max(self.epochs * steps_per_epoch - warm, 1)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min((step - warm) / total, 1)))
        if self.schedule == "step":
            return float(self.learning_rate * self.step_factor ** (step // steps_per_epoch // self.step_epochs))
        return self.learning_rate
