"""Energy of an inference: measured by a meter between two edges of the trigger, or estimated from cycles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hil.protocol import BlockClient
from tinyopt.board import Board

LEAST_SECONDS = 2.0
"""How long the inferences between two edges take together, at least: a thousand samples of a slow meter."""


@dataclass(frozen=True)
class EnergyMeter:
    """A meter that is wired to the board. ``name``: for the record. ``record``: runs its argument while it records;
    energy of one inference and its uncertainty, in joules, of so many inferences between two edges."""

    name: str
    record: Callable[[Callable[[], None], int], tuple[float, float]]

    def measure(self, client: BlockClient, inputs: Sequence[bytes], seconds: float) -> dict[str, Any]:
        """Energy of the inference of one sample. ``seconds``: what one takes, about.

        Raises:
            TinyoptError: the meter or the device failed.
        """
        runs = max(1, math.ceil(LEAST_SECONDS / seconds)) if seconds > 0 else 1
        client.run(inputs)

        def inferences() -> None:
            client.repeat(runs, seconds=runs * seconds)

        joules, uncertainty = self.record(inferences, runs)
        return {
            "source": f"measured with {self.name}",
            "nj": round(joules * 1e9, 3),
            "error_nj": round(uncertainty * 1e9, 3),
            "inferences": runs,
        }


def estimated_energy(board: Board, model_cycles: int | None, counted_cycles: int | None) -> dict[str, Any] | None:
    """From cycles and the board's energy per cycle; None where one of the two is not known."""
    cycles = model_cycles if model_cycles is not None else counted_cycles
    if board.energy is None or cycles is None:
        return None
    energy = cycles * board.energy.nj_per_cycle
    return {
        "source": "estimated",
        "nj": round(energy, 3),
        "error_nj": round(energy * board.energy.error_percent / 100, 3),
    }
