"""What a technique of post-training quantization is: a frozen configuration that changes one of two graphs.

``FloatTechnique``s rewrite the float graph, without changing what it computes, into one that loses less in integers.
``IntegerTechnique``s change the integer constants of the quantized graph, without changing its formats; all of them
run in one walk, so that each layer is improved on what the layers before it have become.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from tinyopt.data import Samples
from tinyopt.graph import Graph
from tinyopt.quantize.walk import Constants, Layer
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
    """Improves the integer constants of one layer after the other, on what reaches each in the quantized graph."""

    @property
    def name(self) -> str:
        """What notes and progress call it."""

    @property
    def samples(self) -> int:
        """At most that many calibration samples are used."""

    def improve(self, layer: Layer, setting: Setting) -> Constants | str:
        """Other weights or another bias of a layer, in the same formats; or why the technique does not apply."""


Technique: TypeAlias = "FloatTechnique | IntegerTechnique"
