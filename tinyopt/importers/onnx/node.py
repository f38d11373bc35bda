"""One ONNX node as its lowering sees it: values in, attributes by name, the opset that governs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyopt.importers.layers import Layers
from tinyopt.importers.values import CannotLower, Value

Result = Value | Sequence[Value | None]


@dataclass(frozen=True)
class Node:
    """A call: ``inputs`` has None where an optional input is absent."""

    operator: str
    name: str
    inputs: Sequence[Value | None]
    attributes: Mapping[str, Any]
    opset: int
    outputs: Sequence[str]
    """Names of the results; empty where a result is not used."""

    @property
    def x(self) -> Value:
        return self.input(0)

    def input(self, index: int) -> Value:
        value = self.optional(index)
        if value is None:
            raise CannotLower(f"input {index} is missing")
        return value

    def optional(self, index: int) -> Value | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def ints(self, name: str, default: Sequence[int]) -> list[int]:
        return [int(v) for v in self.attribute(name, default)]

    def numbers(self, index: int, attribute: str = "") -> list[int] | None:
        """Integers from a constant input, or from the attribute that older opsets used; None when neither is there."""
        value = self.optional(index)
        if value is not None:
            return [int(v) for v in value.real.reshape(-1)]
        given = self.attributes.get(attribute) if attribute else None
        return None if given is None else [int(v) for v in np.asarray(given).reshape(-1)]

    def scalar(self, index: int, attribute: str = "", default: float | None = None) -> float | None:
        """A number from a constant input or an attribute."""
        value = self.optional(index)
        if value is not None:
            if value.size != 1:
                raise CannotLower(f"input {index} must be a single number")
            return float(value.real.reshape(-1)[0])
        given = self.attributes.get(attribute, default) if attribute else default
        return None if given is None else float(given)


Lowering = Callable[[Layers, Node], Result]
OPERATORS: dict[str, Lowering] = {}


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Register a lowering for operator types."""

    def register(function: Lowering) -> Lowering:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register
