"""Where others reach into a forward pass: one transformation per activation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from torch import Tensor, nn

from tinyopt.bridge.names import attribute_names
from tinyopt.errors import GraphError
from tinyopt.graph import Graph

Transform = Callable[[Tensor], Tensor]


class ActivationHooks(nn.Module, MutableMapping[str, Transform]):
    """Tensor name → a callable on that activation, called with the value [batch, …] in graph layout.

    What it returns takes the value's place for every reader, for ``features`` and for the outputs. Inputs of the graph
    are activations too. A callable that is an ``nn.Module`` becomes a submodule: its parameters are trained, and it is
    part of the state dictionary.

    Raises:
        GraphError: on setting a name that is no activation of the graph.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        produced = [name for operator in graph.operators for name in operator.outputs]
        self._attributes = attribute_names([*graph.given, *produced])
        self._graph_name = graph.name
        self._transforms: dict[str, Transform | None] = {}

    def __setitem__(self, name: str, transform: Transform) -> None:
        if name not in self._attributes:
            raise GraphError(f"graph '{self._graph_name}' has no activation '{name}' to transform")
        if name in self._transforms:
            del self[name]
        if isinstance(transform, nn.Module):
            self.add_module(self._attributes[name], transform)
            self._transforms[name] = None  # a copy of this module must find its own submodule, not ours
        else:
            self._transforms[name] = transform

    def __getitem__(self, name: str) -> Transform:
        transform = self._transforms[name]
        if transform is not None:
            return transform
        module = self._modules[self._attributes[name]]
        assert module is not None
        return module

    def __delitem__(self, name: str) -> None:
        if self._transforms.pop(name) is None:
            del self._modules[self._attributes[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._transforms)

    def __len__(self) -> int:
        return len(self._transforms)

    def __contains__(self, name: object) -> bool:
        return name in self._transforms

    # A module is compared by identity; a mapping would compare by content and lose its hash.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def forward(self, name: str, value: Any) -> Any:
        """The value after its transformation (itself where there is none)."""
        return self[name](value) if name in self._transforms else value
