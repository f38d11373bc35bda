"""How to factorize: the method, and what decides the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from tinyopt.compress.factorize.methods import METHODS, MethodName
from tinyopt.errors import ModelError
from tinyopt.graph import Graph

Cost: TypeAlias = Callable[[Graph], float]
"""What a graph costs, in any unit; see ``PredictedCycles`` and ``MeasuredCycles``."""


@dataclass(frozen=True)
class Energy:
    """In every layer the smallest rank that keeps this share of the energy of its weights, 0 to 1."""

    keep: float = 0.95

    def __post_init__(self) -> None:
        _check(0 < self.keep <= 1, f"an energy to keep of {self.keep} makes no sense; give more than 0, at most 1")


@dataclass(frozen=True)
class Ranks:
    """These ranks: one for ``svd``, ``spatial`` and ``cp``, two for ``tucker`` (outputs, inputs), three for a
    convolution's ``tensor_train``. One number serves all bonds."""

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        _check(
            bool(self.values) and min(self.values) >= 1, f"ranks of {list(self.values)} make no sense; give 1 or more"
        )


@dataclass(frozen=True)
class ParameterBudget:
    """The network may have this share of its parameters (all constants, 0 to 1); it is shared out so that the
    product of the energies that the layers keep is large (Zhang et al. 2016)."""

    share: float

    def __post_init__(self) -> None:
        _check(0 < self.share <= 1, f"a share of {self.share} of the parameters makes no sense; give 0 to 1")


@dataclass(frozen=True)
class CostBudget:
    """The same with what the network costs: this share of ``cost(graph)``, e.g. of its predicted cycles."""

    share: float
    cost: Cost

    def __post_init__(self) -> None:
        _check(0 < self.share <= 1, f"a share of {self.share} of the cost makes no sense; give 0 to 1")


Rule: TypeAlias = "Energy | Ranks | ParameterBudget | CostBudget"


@dataclass(frozen=True)
class LayerChoice:
    """What to do with one layer: another method, another rule, or both."""

    method: MethodName | Literal["auto"] | None = None
    rule: Energy | Ranks | None = None


@dataclass(frozen=True)
class Factorization:
    """Replace layers by chains of smaller ones that compute nearly the same.

    - ``method``: ``svd`` (fully connected, 1x1), ``spatial`` (KHx1 then 1xKW), ``tucker`` (1x1, KHxKW, 1x1), ``cp``
      (1x1, depthwise, 1x1), ``tensor_train`` (1x1, KHx1, 1xKW, 1x1; fully connected: two small ones), or ``auto``: the
      one of svd, spatial and tucker that needs least.
    - ``rule``: what decides the ranks.
    - ``layers``: operator name → a choice of its own, or None to leave it.
    - ``multiple_of``: ranks are rounded up to a multiple, which kernels that compute several channels at once like.
    - ``cost``: what a layer must cost less in after than before, or it is left as it is. Without one, it must have
      fewer weights and no more multiply-accumulates.
    - ``strict``: a layer of ``layers`` that cannot be factorized, or does not pay, is an error instead of being left.
    """

    method: MethodName | Literal["auto"] = "auto"
    rule: Rule = field(default_factory=Energy)
    layers: Mapping[str, LayerChoice | None] = field(default_factory=dict)
    multiple_of: int = 1
    cost: Cost | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        _check(self.multiple_of >= 1, f"ranks cannot be multiples of {self.multiple_of}")
        known = (None, "auto", *METHODS)
        for method in (self.method, *(choice.method for choice in self.layers.values() if choice is not None)):
            _check(method in known, f"there is no factorization '{method}'; there are auto, {', '.join(METHODS)}")


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise ModelError(message)
