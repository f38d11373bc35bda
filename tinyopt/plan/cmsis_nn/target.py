"""A library on one kind of core, and what its kernels have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinyopt.cmsis_nn import Library, buffer_size
from tinyopt.graph import Array, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Constant, Kernel, Value

Core = Literal["c", "dsp", "mve"]
"""Which of its implementations CMSIS-NN compiles to: plain C, the DSP extension, Helium."""


@dataclass(frozen=True, eq=False)
class Target:
    """A library on a core."""

    library: Library
    core: Core

    @staticmethod
    def of(library: Library, features: frozenset[str]) -> Target:
        return Target(library, "mve" if "mve" in features else "dsp" if "dsp" in features else "c")

    def size(self, function: str, *numbers: int) -> int:
        """Bytes that ``function`` says its buffer needs, see ``buffer_size``."""
        return buffer_size(self.library, self.core, function, numbers)

    def kernel(
        self,
        name: str,
        family: str,
        source: str,
        functions: tuple[str, ...],
        accepts: Callable[[Graph, Operator], bool],
        lower: Callable[[Graph, Operator, Kernel], Call],
        cost: Callable[[Graph, Operator], float],
        *,
        uses_scratch: bool = False,
    ) -> tuple[Kernel, ...]:
        """The kernel, where the library has its functions."""
        if not self.library.has(*functions):
            return ()
        return (
            Kernel(
                f"{name}_s8_cmsis_nn",
                f"cmsis_nn_{family}_s8",
                source,
                accepts,
                lower,
                cost,
                needs=(),
                uses_scratch=uses_scratch,
                library=self.library,
                functions=functions,
            ),
        )


def dims(n: int, h: int, w: int, c: int) -> dict[str, Value]:
    """A ``cmsis_nn_dims``."""
    return {"n": n, "h": h, "w": w, "c": c}


def image(tensor: Tensor) -> tuple[int, int, int, int]:
    """The extents of an image tensor [N,H,W,C]."""
    batches, height, width, channels = tensor.shape
    return batches, height, width, channels


def tile(height_width: tuple[int, int]) -> dict[str, Value]:
    """A ``cmsis_nn_tile``."""
    return {"w": height_width[1], "h": height_width[0]}


def limits(low: int, high: int) -> dict[str, Value]:
    """A ``cmsis_nn_activation``."""
    return {"min": low, "max": high}


def scales(multipliers: Array, shifts: Array, channels: int) -> dict[str, Value]:
    """The fields ``multipliers`` and ``shifts``, one for every channel, also where all are equal."""
    return {
        "multipliers": Constant(np.broadcast_to(multipliers, channels).astype(np.int32), weights=False),
        "shifts": Constant(np.broadcast_to(shifts, channels).astype(np.int32), weights=False),
    }


def corner(padding: ops.Padding) -> tuple[int, int]:
    """Rows above and columns before the image: all that CMSIS-NN is told of padding."""
    return padding.top, padding.left
