"""What a graph is made of besides tensors: operators, and values that live from one inference to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyopt.graph.ops import Attributes
from tinyopt.graph.types import Array


@dataclass(frozen=True)
class Operator:
    """One computation: attributes, names of inputs and outputs, and the name it had in the model's source."""

    name: str
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.attributes.kind


@dataclass(frozen=True, eq=False)
class State:
    """A value that lives from one inference to the next (streaming models).

    At the start of an inference the tensor ``read`` (no operator writes it) holds the state; at its end the state
    takes the value of the tensor ``write``. Before the first inference, and after a reset, it holds ``initial``.
    """

    name: str
    read: str
    write: str
    initial: Array

    def __post_init__(self) -> None:
        frozen = np.array(self.initial)
        frozen.flags.writeable = False
        object.__setattr__(self, "initial", frozen)
