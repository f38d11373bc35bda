"""What many inferences come to: latency, its spread, and accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Of single inferences, in microseconds. ``jitter_us``: standard deviation. ``noise_us``: standard error of the
    median (1.25 standard deviations over the root of the number of samples, as for a normal distribution)."""

    median_us: float
    p95_us: float
    max_us: float
    min_us: float
    mean_us: float
    jitter_us: float
    noise_us: float

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def latency(microseconds: Sequence[float]) -> Latency | None:
    """None without samples."""
    if not microseconds:
        return None
    ordered = sorted(microseconds)
    spread = statistics.pstdev(ordered) if len(ordered) > 1 else 0.0
    return Latency(
        median_us=statistics.median(ordered),
        p95_us=percentile(ordered, 95),
        max_us=ordered[-1],
        min_us=ordered[0],
        mean_us=statistics.fmean(ordered),
        jitter_us=spread,
        noise_us=1.2533 * spread / math.sqrt(len(ordered)),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all reach or stay below (nearest rank)."""
    rank = max(1, math.ceil(percent / 100 * len(ordered)))
    return ordered[rank - 1]


def accuracy_noise(accuracy: float, samples: int) -> float:
    """Standard error of a share of ``samples`` that are right."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / samples) if samples else 0.0
