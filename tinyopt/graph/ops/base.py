"""What all operator kinds have in common: attributes, fused activations, borders."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, ClassVar

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Clamp:
    """Limits of a fused activation on real values; None is unbounded."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        names = {(0.0, None): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (None, None): "none"}
        return names.get((self.low, self.high), f"clamp({self.low},{self.high})")


NONE = Clamp()
RELU = Clamp(0.0, None)
RELU6 = Clamp(0.0, 6.0)
RELU_N1_TO_1 = Clamp(-1.0, 1.0)


@dataclass(frozen=True)
class Padding:
    """Zero padding of an image (real zero: the zero point of a quantized tensor)."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __str__(self) -> str:
        return f"{self.top},{self.bottom},{self.left},{self.right}"

    @property
    def any(self) -> bool:
        return bool(self.top or self.bottom or self.left or self.right)


NO_PADDING = Padding()


class Attributes:
    """Base of all operator attributes."""

    inputs: ClassVar[tuple[int, int | None]]
    """Smallest and largest number of inputs; None: no limit."""
    outputs: ClassVar[tuple[int, int | None]] = (1, 1)

    @property
    def kind(self) -> str:
        """The operator's name in dumps and reports: ``Conv2d``, ``Add``, ``Relu`` …"""
        return type(self).__name__

    def describe(self) -> str:
        """The attributes that differ from their defaults, as ``name=value`` text."""
        parts = []
        for field in fields(self):  # type: ignore[arg-type]
            value: Any = getattr(self, field.name)
            if value == field.default:
                continue
            if isinstance(value, Enum):
                value = value.value
            elif isinstance(value, tuple):
                value = "x".join(str(v) for v in value)
            parts.append(f"{field.name}={value}")
        return " ".join(parts)
