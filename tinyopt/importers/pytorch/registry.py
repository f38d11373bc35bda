"""Where lowerings of ATen operators are registered, and the form of their arguments.

A lowering gets the layer builder and the operator's arguments by their schema names, and returns a value, a list of
values (operators with several results), or raises CannotLower with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Union

from tinyopt.importers.layers import Layers
from tinyopt.importers.values import CannotLower, Value

Result = Union[Value, "list[Value | None]"]


class Arguments:
    """The arguments of one call, by schema name (defaults filled in), and the shape of the first result."""

    def __init__(self, values: dict[str, Any], result_shape: tuple[int, ...] | None) -> None:
        self._values = values
        self.result_shape = result_shape

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        value = self._values.get(name)
        return default if value is None else value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())

    @property
    def x(self) -> Value:
        """The first argument, a tensor."""
        return self.value(next(iter(self._values)))

    def value(self, name: str) -> Value:
        value = self._values[name]
        if not isinstance(value, Value):
            raise CannotLower(f"'{name}' is not a tensor")
        return value

    def ints(self, name: str, count: int) -> list[int]:
        """A size argument, repeated to ``count`` entries when a single number stands for all."""
        value = self._values.get(name)
        items = [value] if isinstance(value, int) else list(value or [])
        return [int(items[0])] * count if len(items) == 1 else [int(v) for v in items]


Lowering = Callable[[Layers, Arguments], Result]
OPERATORS: dict[str, Lowering] = {}
"""Short name of an ATen operator → its lowering; filled by the modules beside this one."""


def operator(*names: str) -> Callable[[Lowering], Lowering]:
    def register(function: Lowering) -> Lowering:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register
