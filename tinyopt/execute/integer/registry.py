"""Where the integer executor's operators are registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinyopt.graph import Array, Graph, Operator, Tensor
from tinyopt.graph.ops import Attributes

A = TypeVar("A", bound=Attributes)
Function = Callable[[Any, Sequence[Array], Sequence[Tensor], Sequence[Tensor]], list[Array]]
"""(attributes, input arrays, input tensors, output tensors) → output arrays."""

FUNCTIONS: dict[type[Attributes], Function] = {}


def integer(kind: type[Attributes]) -> Callable[[Function], Function]:
    """Register the exact numpy implementation of an operator kind.

    The function gets the arrays of all inputs (constants too), with the shapes and dtypes of the tensors beside them,
    and returns arrays of exactly the outputs' shapes and dtypes. It serves quantized tensors; operators that only move
    data serve every dtype. Float32 arithmetic is the float executor's.
    """

    def register(function: Function) -> Function:
        FUNCTIONS[kind] = function
        return function

    return register


__all__ = ["FUNCTIONS", "Function", "Graph", "Operator", "integer"]
