"""What a plan is made for: latency, RAM, flash, energy, or a weighted mix of them."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from tinyopt.errors import TinyoptError

OBJECTIVES = ("latency", "ram", "flash", "energy")


@dataclass(frozen=True)
class Objective:
    """Weights of the figures of a plan, zero or more, at least one positive; only their ratios matter.

    The planner makes the sum of weight times figure small, each figure as a multiple of what the model would have were
    that figure alone decisive. So with ``latency=1,flash=0.5`` one percent of the model's cycles is worth two percent
    of its flash.
    """

    latency: float = 0.0
    ram: float = 0.0
    flash: float = 0.0
    energy: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise TinyoptError(f"the weight of objective '{name}' is {weight}; it must be a number from 0 upwards")
        if not any(self.weights.values()):
            raise TinyoptError("an objective needs at least one weight above zero")

    @staticmethod
    def parse(text: str | Objective) -> Objective:
        """``"latency"``, ``"flash"``, ``"latency=1,flash=0.5"``; a name without a number has weight 1.

        Raises:
            TinyoptError: for an unknown or repeated name, or a weight that is no number from 0 upwards.
        """
        if isinstance(text, Objective):
            return text
        weights: dict[str, float] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if name not in OBJECTIVES:
                near = difflib.get_close_matches(name, OBJECTIVES, n=1)
                hint = f" (did you mean '{near[0]}'?)" if near else ""
                raise TinyoptError(
                    f"unknown objective '{name}'{hint}; choose one of {', '.join(OBJECTIVES)}, "
                    "or a mix such as latency=1,flash=0.5"
                )
            if name in weights:
                raise TinyoptError(f"the objective '{text}' names '{name}' twice")
            try:
                weights[name] = float(number) if equals else 1.0
            except ValueError:
                raise TinyoptError(
                    f"the weight of objective '{name}' is '{number}'; it must be a number from 0 upwards"
                ) from None
        return Objective(**weights)

    @property
    def weights(self) -> dict[str, float]:
        """Name → weight, all four."""
        return {name: getattr(self, name) for name in OBJECTIVES}

    @property
    def only(self) -> str | None:
        """The one objective that has a weight; None for a mix."""
        named = [name for name, weight in self.weights.items() if weight > 0]
        return named[0] if len(named) == 1 else None

    def __str__(self) -> str:
        return self.only or ",".join(f"{name}={weight:g}" for name, weight in self.weights.items() if weight > 0)
