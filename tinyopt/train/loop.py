"""What a training run says while it goes on, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class EpochLog:
    """One epoch: losses are means per sample; validation figures are None without validation data."""

    epoch: int
    train_loss: float
    learning_rate: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Position:
    """Where training is: ``epoch`` from 0, ``step`` counted from 0 over all epochs."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    epoch: int
    step: int
    steps_per_epoch: int
    epochs: int

    @property
    def progress(self) -> float:
        """Share of all steps that are done, 0 to 1."""
        return min(self.step / (self.steps_per_epoch * self.epochs), 1.0)


class Callback:
    """Called during training; override what is needed. ``state_dict`` goes into checkpoints (tensors, numbers, text,
    lists and dictionaries of them), so that an interrupted run goes on with the same callbacks."""

    def on_start(self, module: nn.Module) -> None:
        """Before the optimiser is made: the place to add parametrizations and hooks."""

    def on_epoch_start(self, position: Position) -> None:
        """Before the first step of an epoch."""

    def on_step_end(self, position: Position) -> None:
        """After an update of the parameters; ``position.step`` counts it already."""

    def on_epoch_end(self, position: Position, log: EpochLog) -> None:
        """After validation."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The opposite of ``state_dict``."""


@dataclass(frozen=True)
class TrainResult:
    """``history``: one entry per epoch. ``best_epoch``: counted from 1, of the best validation (the last epoch without
    validation data). ``checkpoint``: the file that training can be continued from, or None."""

    history: tuple[EpochLog, ...]
    best_epoch: int
    stopped_early: bool
    seconds: float
    checkpoint: Path | None = None

    @property
    def best(self) -> EpochLog:
        """The epoch whose weights the module holds when the best ones are restored."""
        return self.history[self.best_epoch - 1]
