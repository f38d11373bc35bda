"""What to prune, by which measure, and on which schedule: frozen values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph
from tinyopt.train import TrainSettings


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise TinyoptError(message)


def _share(name: str, value: float) -> None:
    _need(math.isfinite(value) and 0 <= value < 1, f"{name} must be a share from 0 to below 1, not {value!r}")


MOST_STEPS = 1000
"""Of an iterative schedule: more take less than a thousandth each."""

# ---- criteria -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class L1:
    """Magnitude: the mean of |w| over what is judged together (Han et al. 2015; Li et al. 2017 for filters)."""


@dataclass(frozen=True)
class L2:
    """Magnitude: the root of the mean of w²."""


@dataclass(frozen=True)
class ActivationStatistics:
    """What passes through, over data without labels.

    ``mean``: for channels, the mean of |activation| where layers read it; for single weights, |w| times the root mean
    square of the activation that it multiplies (Sun et al. 2023). ``nonzero``: the share of activations that are not
    zero, one minus the APoZ of Hu et al. 2016; for weights, times |w|. ``samples``: at most so many are used.
    """

    kind: Literal["mean", "nonzero"] = "mean"
    samples: int = 512

    def __post_init__(self) -> None:
        _need(self.kind in ("mean", "nonzero"), f"activation statistics are 'mean' or 'nonzero', not {self.kind!r}")
        _need(self.samples >= 1, "activation statistics need at least one sample")


@dataclass(frozen=True)
class Taylor:
    """First-order change of the loss: (gradient · weight)², summed before squaring over what leaves together, averaged
    over batches (Molchanov et al. 2019). Needs data with labels. ``samples``: at most so many are used."""

    samples: int = 512
    batch_size: int = 32

    def __post_init__(self) -> None:
        _need(self.samples >= 1 and self.batch_size >= 1, "the Taylor criterion needs at least one sample a batch")


@dataclass(frozen=True)
class Random:
    """By lot: the control that every criterion has to beat."""

    seed: int = 0

    def __post_init__(self) -> None:
        _need(self.seed >= 0, f"a seed is a number from 0 upwards, not {self.seed}")


Criterion: TypeAlias = "L1 | L2 | ActivationStatistics | Taylor | Random"

# ---- configurations -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnstructuredPruning:
    """Single weights become zero.

    ``amount``: share of the weights of all layers together (``scope="global"``: the least important ones anywhere) or
    of each layer (``"layer"``). ``layer_limit``: no layer loses a larger share. ``skip``: layers that are left
    alone, by name or kind (``"DepthwiseConv2d"``), with * and ? as wildcards; ``layers``: where given, all others are.
    """

    amount: float = 0.5
    scope: Literal["global", "layer"] = "global"
    criterion: Criterion = L1()
    layer_limit: float = 0.99
    skip: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _share("amount", self.amount)
        _share("layer_limit", self.layer_limit)
        _need(self.scope in ("global", "layer"), f"scope is 'global' or 'layer', not {self.scope!r}")

    def at(self, amount: float) -> UnstructuredPruning:
        """The same with another amount."""
        return replace(self, amount=amount)


@dataclass(frozen=True)
class NMPruning:
    """At most ``n`` of every ``m`` weights that follow each other in a row stay (Mishra et al. 2021 for 2:4).

    A row is all weights of one output channel in the order of the graph ([O, KH·KW·C] of a convolution), so a
    depthwise layer, with a few taps a channel, is left alone. ``skip``, ``layers``: as in ``UnstructuredPruning``.
    """

    n: int = 2
    m: int = 4
    criterion: Criterion = L1()
    skip: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _need(1 <= self.n < self.m, f"n:m sparsity needs 1 <= n < m, not {self.n}:{self.m}")

    @property
    def amount(self) -> float:
        """Share of the weights that become zero."""
        return 1 - self.n / self.m

    def at(self, amount: float) -> NMPruning | None:
        """The pattern on the way that removes at most ``amount``; None while that is nothing."""
        n = math.ceil(self.m * (1 - amount) - 1e-9)
        return None if n >= self.m else replace(self, n=max(n, self.n))


@dataclass(frozen=True)
class BlockPruning:
    """Blocks of weights become zero together: ``shape`` is (output channels, weights in a row), so (1, 4) is four
    weights of one output channel, (4, 1) the same weight of four channels. Blocks at the edge are smaller. Other
    fields as in ``UnstructuredPruning``; a block is judged by the mean over its weights."""

    amount: float = 0.5
    shape: tuple[int, int] = (1, 4)
    scope: Literal["global", "layer"] = "global"
    criterion: Criterion = L1()
    layer_limit: float = 0.99
    skip: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _share("amount", self.amount)
        _share("layer_limit", self.layer_limit)
        _need(self.scope in ("global", "layer"), f"scope is 'global' or 'layer', not {self.scope!r}")
        _need(len(self.shape) == 2 and min(self.shape) >= 1, f"a block is (rows, columns), not {self.shape!r}")

    def at(self, amount: float) -> BlockPruning:
        """The same with another amount."""
        return replace(self, amount=amount)


Cost = Callable[[Graph], float]
"""What a graph costs, in any unit; smaller is better."""


@dataclass(frozen=True)
class Target:
    """Prune until a cost is small enough.

    ``cost``: ``"macs"``, ``"parameters"`` (bytes of the float weights divided by four: what int8 weights take), or a
    function from a float graph to a number, e.g. ``tinyopt.compress.factorize.PredictedCycles(board)``. ``at_most``: in
    that unit; or ``ratio``: a share of what the graph costs before pruning.
    """

    cost: Literal["macs", "parameters"] | Cost = "macs"
    at_most: float | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cost, str):
            _need(self.cost in ("macs", "parameters"), f"a cost is 'macs', 'parameters' or a function: {self.cost!r}")
        _need((self.at_most is None) != (self.ratio is None), "a target has either at_most or ratio")
        limit = self.at_most if self.ratio is None else self.ratio
        _need(limit is not None and limit > 0 and math.isfinite(limit), f"the target {limit!r} must be above zero")


@dataclass(frozen=True)
class StructuredPruning:
    """Whole channels, neurons or layers leave, and with them everything that only they needed.

    Give ``amount``, the share of groups of channels that leave, or ``target``. ``scope``: ``"global"`` ranks the
    groups of all layers together, ``"layer"`` takes the same share of each layer, ``"cost"`` takes at every step from
    the layer that loses least importance for the cost that is saved there (it needs a target, whose unit it counts);
    ``"trial"`` does the same with the loss of every smaller network, measured on labelled data, in place of the sum of
    scores, which then only rank channels within their layer (after NetAdapt, Yang et al. 2018).
    ``normalise``: scores of a layer are divided by their ``"mean"`` or their ``"l2"`` norm (Molchanov et al. 2017), or
    compare as they are (``"none"``); None is ``"mean"`` for magnitudes and activations, ``"none"`` for Taylor.
    ``unit``: ``"channels"`` of convolutions, ``"neurons"`` of dense and recurrent layers, ``"all"`` of both, or
    ``"layers"``: layers whose input and output have one shape are bypassed, bodies of residual blocks among them.
    ``multiple``: keep numbers of channels that are multiples of this (where a layer has as many). ``keep_at_least`` so
    many groups of each layer, and at least 1 - ``layer_limit`` of them. ``compensate``: what leaves, over the data,
    goes into the layers that read it: its ``"mean"`` (or True) into biases, or ``"linear"``: its best linear
    prediction from the channels that stay, into weights and biases.
    """

    amount: float | None = None
    target: Target | None = None
    unit: Literal["all", "channels", "neurons", "layers"] = "all"
    criterion: Criterion = L2()
    scope: Literal["global", "layer", "cost", "trial"] = "global"
    multiple: int = 1
    keep_at_least: int = 1
    layer_limit: float = 0.9
    skip: tuple[str, ...] = ()
    compensate: bool | Literal["mean", "linear"] = False
    normalise: Literal["none", "mean", "l2"] | None = None

    def __post_init__(self) -> None:
        _need((self.amount is None) != (self.target is None), "structured pruning needs either an amount or a target")
        if self.amount is not None:
            _share("amount", self.amount)
        _share("layer_limit", self.layer_limit)
        scopes = ("global", "layer", "cost", "trial")
        _need(self.scope in scopes, f"scope is one of {', '.join(scopes)}, not {self.scope!r}")
        _need(
            self.scope not in ("cost", "trial") or self.target is not None,
            f"the scope '{self.scope}' weighs importance against a cost: give a target instead of an amount",
        )
        ways = ("none", "mean", "l2", None)
        _need(self.normalise in ways, f"scores are normalised by 'none', 'mean' or 'l2', not {self.normalise!r}")
        known = (False, True, "mean", "linear")
        _need(self.compensate in known, f"compensate is 'mean', 'linear' or nothing, not {self.compensate!r}")
        _need(self.multiple >= 1 and self.keep_at_least >= 1, "multiple and keep_at_least must be at least 1")
        units = ("all", "channels", "neurons", "layers")
        _need(self.unit in units, f"unit is one of {', '.join(units)}, not {self.unit!r}")


WeightPruning: TypeAlias = "UnstructuredPruning | NMPruning | BlockPruning"
PruningConfig: TypeAlias = "UnstructuredPruning | NMPruning | BlockPruning | StructuredPruning"

# ---- schedules ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneShot:
    """All at once; then ``fine_tune``, when given."""

    fine_tune: TrainSettings | None = None


@dataclass(frozen=True)
class Iterative:
    """In ``steps``, each taking the same share of what is left, with training after each (Han et al. 2015)."""

    steps: int = 3
    fine_tune: TrainSettings | None = None

    def __post_init__(self) -> None:
        _need(1 <= self.steps <= MOST_STEPS, f"an iterative schedule has 1 to {MOST_STEPS} steps, not {self.steps}")


@dataclass(frozen=True)
class GradualCubic:
    """While training goes on: at share p of the way from ``begin`` to ``end`` (shares of all steps of ``train``), the
    share of zeros is amount · (1 - (1 - p)³) (Zhu and Gupta 2017), updated every ``interval`` steps. For structured
    pruning, of masked channels, which leave the graph at the end.

    ``regrow``: at each update, ``regrow_share`` of the surviving weights (falling to zero at ``end`` as a cosine) are
    given up as well and as many grow again, from zero: those with the largest gradient (``"gradient"``, Evci et al.
    2020, RigL) or by lot (``"random"``, Mocanu et al. 2018). For unstructured and block pruning.
    """

    train: TrainSettings
    begin: float = 0.0
    end: float = 0.7
    interval: int = 10
    regrow: Literal["gradient", "random"] | None = None
    regrow_share: float = 0.3

    def __post_init__(self) -> None:
        _need(0 <= self.begin < self.end <= 1, "a gradual schedule needs 0 <= begin < end <= 1")
        _need(self.interval >= 1, "the interval must be at least one step")
        _need(self.regrow in (None, "gradient", "random"), f"regrow is 'gradient', 'random' or None: {self.regrow!r}")
        _need(0 < self.regrow_share < 1, "regrow_share must be between 0 and 1")

    def share(self, progress: float) -> float:
        """The share of the final amount at ``progress``, the share of all steps that are done."""
        p = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return 1 - (1 - p) ** 3


@dataclass(frozen=True)
class LotteryTicket:
    """Train, prune, put the surviving weights back to what they were after ``rewind_step`` steps of the first
    training, and train again; ``rounds`` times, each taking the same share of what is left (Frankle and Carbin 2019;
    with ``rewind_step`` > 0 Frankle et al. 2020). The graph that is given holds the initial weights. With structured
    pruning whole channels leave, and those that survive have their early values."""

    train: TrainSettings
    rounds: int = 3
    rewind_step: int = 0

    def __post_init__(self) -> None:
        _need(1 <= self.rounds <= MOST_STEPS, f"a lottery ticket has 1 to {MOST_STEPS} rounds, not {self.rounds}")
        _need(self.rewind_step >= 0, "weights are rewound to a step from 0 upwards")


Schedule: TypeAlias = "OneShot | Iterative | GradualCubic | LotteryTicket"
