"""One way to compute an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from tinyopt.graph import Graph, Operator
from tinyopt.plan.kernel import Call, Constant, Kernel, Value


@dataclass(frozen=True, eq=False)
class Option:
    """A kernel that can compute an operator, and what that costs."""

    graph: Graph
    operator: Operator
    kernel: Kernel
    cycles: float

    @cached_property
    def call(self) -> Call:
        """The operator lowered for the kernel; packing constants takes time, so it is done when it is asked for."""
        return replace(self.kernel.lower(self.graph, self.operator, self.kernel), predicted_cycles=self.cycles)

    @cached_property
    def constant_bytes(self) -> int:
        return sum(constant.nbytes for constant in constants_of(self.call.parameters))


def constants_of(value: Value | Mapping[str, Value]) -> list[Constant]:
    """All constants inside a parameter value, in order."""
    if isinstance(value, Constant):
        return [value]
    if isinstance(value, Mapping):
        return [constant for item in value.values() for constant in constants_of(item)]
    if isinstance(value, tuple):
        return [constant for item in value for constant in constants_of(item)]
    return []
