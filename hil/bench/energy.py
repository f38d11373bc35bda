"""Energy of an inference: measured by a meter between edges of the trigger, or estimated from cycles."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from hil.meters import Meter, record
from hil.protocol import BlockClient
from tinyopt.board import Board

WINDOW_SECONDS = 0.5
"""How long the inferences between two edges take together, at least: hundreds of samples of a slow meter."""
WINDOWS = 5
PAUSE_SECONDS = 0.1
"""Between two windows: the idle power is seen there, too."""


def measured_energy(meter: Meter, client: BlockClient, inputs: Sequence[bytes], seconds: float) -> dict[str, Any]:
    """Energy of the inference of one sample, idle power subtracted. ``seconds``: what one takes on the device, about.

    Raises:
        TinyoptError: the meter or the device failed, or the trace does not show the inferences.
    """
    runs = max(1, math.ceil(WINDOW_SECONDS / seconds)) if seconds > 0 else 1
    begun = time.monotonic()
    client.run(inputs)
    expected = runs * (time.monotonic() - begun)

    def inferences() -> None:
        for window in range(WINDOWS):
            if window:
                time.sleep(PAUSE_SECONDS)
            client.repeat(runs, seconds=expected)

    reading, _ = record(meter, inferences, runs, WINDOWS)
    return {
        "source": f"measured: {reading.source}",
        "nj": _figures(reading.joules * 1e9),
        "error_nj": _figures(reading.uncertainty_joules * 1e9),
        "idle_uw": round(reading.idle_watts * 1e6, 3),
        "latency_us": round(reading.seconds * 1e6, 3),
        "windows": reading.windows,
        "inferences": reading.inferences,
        "notes": list(reading.notes),
    }


def _figures(value: float) -> float:
    """With six figures, however small: an uncertainty is never rounded to none."""
    return float(f"{value:.6g}")


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
