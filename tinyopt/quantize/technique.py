"""What a technique of post-training quantization is: a frozen configuration that changes one of two graphs.

``FloatTechnique``s rewrite the float graph, without changing what it computes, into one that loses less in integers.
``IntegerTechnique``s change the integer constants of the quantized graph, without changing its formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from tinyopt.data import Samples
from tinyopt.graph import Graph
from tinyopt.quantize.weights import WeightFormat

Progress: TypeAlias = "Callable[[str, int, int], None]"
"""Called with (what is being done, steps done, steps)."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a technique may look at. ``graph``: the float graph as it is quantized; ``samples``: calibration data that
    fit it; ``weights``: layer → format, in the order of the graph; ``per_channel``: whether channels have scales of
    their own."""

    graph: Graph
    samples: Samples
    weights: Mapping[str, WeightFormat]
    per_channel: bool
    on_progress: Progress

    @property
    def layers(self) -> Sequence[str]:
        return tuple(self.weights)


@dataclass(frozen=True, eq=False)
class Changed:
    """The new graph, and a note for every layer to which the technique does not apply."""

    graph: Graph
    notes: tuple[str, ...] = ()


@runtime_checkable
class FloatTechnique(Protocol):
    """Rewrites the float graph before its ranges are calibrated."""

    def prepare(self, setting: Setting) -> Changed:
        """A float graph that computes the same as ``setting.graph``, with the same operators."""


@runtime_checkable
class IntegerTechnique(Protocol):
    """Improves the constants of the quantized graph."""

    def refine(self, quantized: Graph, setting: Setting) -> Changed:
        """The quantized graph with other integer weights or biases, in the same formats."""


Technique: TypeAlias = "FloatTechnique | IntegerTechnique"
