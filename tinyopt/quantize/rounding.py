"""The rounding of everything that quantization writes."""

from __future__ import annotations

import numpy as np

from tinyopt.graph import Array


def round_half_away(values: Array) -> Array:
    """To the nearest integer, halves away from zero."""
    result: Array = np.sign(values) * np.floor(np.abs(values) + 0.5)
    return result
