"""Which groups of channels leave, and how many of each layer."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyopt.compress.prune.config import StructuredPruning, Taylor
from tinyopt.compress.prune.coupling import Coupling
from tinyopt.graph import Array


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that the same layers make: any of them may go in place of another. ``channels``: how many channels each
    group has in the first of these layers (more than one where a convolution has groups)."""

    layers: tuple[str, ...]
    groups: Array
    channels: int
    convolutional: bool


class Picker:
    """Chooses groups by score, within the limits of the configuration. ``first``: groups that go before all others
    (they are masked already)."""

    def __init__(
        self,
        coupling: Coupling,
        config: StructuredPruning,
        chosen: list[Family],
        scores: dict[int, float],
        first: frozenset[int] = frozenset(),
    ) -> None:
        self.coupling, self.config, self.families = coupling, config, chosen
        scores = normalised(scores, chosen, config.normalise)
        self.scores = scores = {group: -1.0 if group in first else score for group, score in scores.items()}
        self.ranked = [sorted(f.groups.tolist(), key=lambda g: (scores[g], g)) for f in chosen]
        self.limits = [self._limit(len(f.groups)) for f in chosen]
        queue = [(scores[g], g, place) for place, r in enumerate(self.ranked) for g in r[: self.limits[place]]]
        self.queue = sorted(queue)
        self.total = sum(len(f.groups) for f in chosen)
        self.steps = [config.multiple // math.gcd(config.multiple, family.channels) for family in chosen]

    def _limit(self, count: int) -> int:
        most = max(self.config.keep_at_least, math.ceil(count * (1 - self.config.layer_limit) - 1e-9), 1)
        return max(count - most, 0)

    def counts(self, share: float) -> list[int]:
        """How many groups of each family go when ``share`` of all (or of each layer's) are wanted."""
        if self.config.scope == "layer":
            counts = [min(int(share * len(r) + 1e-9), self.limits[place]) for place, r in enumerate(self.ranked)]
        else:
            counts = [0] * len(self.ranked)
            for _, _, place in self.queue[: int(share * self.total + 1e-9)]:
                counts[place] += 1
        return [self._aligned(place, count) for place, count in enumerate(counts)]

    def removed(self, counts: list[int]) -> frozenset[int]:
        """The least important groups of each family, so many of each; every tensor keeps one."""
        removed = {group for place, count in enumerate(counts) for group in self.ranked[place][:count]}
        best_first = sorted(self.scores, key=lambda g: -self.scores[g])
        return self.coupling.keeping_one(frozenset(removed), best_first)

    def by_importance(self, counts: list[int]) -> list[int]:
        """Families that lost something, the one whose next group to come back counts most first."""
        losers = [place for place, count in enumerate(counts) if count]
        return sorted(losers, key=lambda place: -self.scores[self.ranked[place][counts[place] - 1]])

    def by_cost(
        self, price: Callable[[list[int]], float], limit: float, harm: Callable[[list[int]], float] | None = None
    ) -> list[int]:
        """How many groups of each family go until ``price`` of the counts is at most ``limit``: at every step those of
        the family that does least harm for what it saves. ``harm``: of counts, measured; without it, the sum of the
        scores of what goes. Ends with everything gone that may where the limit cannot be met.

        Savings fall and harm grows as other layers shrink, so an old ratio of harm to saving is a lower bound: only
        the family in front is looked at anew.
        """
        measure = self._lost if harm is None else harm
        counts = [0] * len(self.ranked)
        cost, harmed = price(counts), measure(counts)
        queue = [(-math.inf, place) for place in range(len(counts))]
        fresh: dict[int, tuple[float, list[int], float, float]] = {}
        while queue and cost > limit:
            _, place = heapq.heappop(queue)
            if place not in fresh:
                trial = self._smaller(place, counts)
                if trial is None:
                    continue
                cheaper, worse = price(trial), measure(trial)
                ratio = (worse - harmed) / (cost - cheaper) if cheaper < cost else math.inf
                fresh[place] = (ratio, trial, cheaper, worse)
            ratio, trial, cheaper, worse = fresh[place]
            if not queue or ratio <= queue[0][0]:
                counts, cost, harmed = trial, cheaper, worse
                fresh.clear()
            heapq.heappush(queue, (ratio, place))
        return counts

    def _lost(self, counts: list[int]) -> float:
        """What the scores say of the harm. Changes of the loss add up. Where scores are relative to their layer, each
        layer passes on the share of importance that it keeps, and shares multiply: their negative logarithm."""
        lost = [sum(self.scores[g] for g in ranked[:count]) for count, ranked in zip(counts, self.ranked)]
        if isinstance(self.config.criterion, Taylor) and self.config.normalise in (None, "none"):
            return sum(lost)
        totals = [sum(self.scores[g] for g in ranked) for ranked in self.ranked]
        shares = [part / total if total > 0 else 0.0 for part, total in zip(lost, totals)]
        return -sum(math.log(max(1 - share, 1e-12)) for share in shares)

    def _smaller(self, place: int, counts: list[int]) -> list[int] | None:
        """The counts with the next step of one family: a sixteenth of it, or what ``multiple`` asks for."""
        step = self.steps[place]
        size = max(step, len(self.ranked[place]) // (16 * step) * step)
        after = self._aligned(place, min(counts[place] + size + step - 1, self.limits[place]))
        return None if after <= counts[place] else [*counts[:place], after, *counts[place + 1 :]]

    def _aligned(self, place: int, count: int) -> int:
        """How many groups of a family go, so that the rest is a multiple of what kernels like."""
        step, total = self.steps[place], len(self.ranked[place])
        kept = math.ceil((total - count) / step) * step
        return max(total - kept, 0)


def normalised(scores: dict[int, float], chosen: list[Family], how: str | None) -> dict[int, float]:
    """Scores of each family divided by their mean or their L2 norm."""
    result = dict(scores)
    for family in chosen if how in ("mean", "l2") else ():
        groups = family.groups.tolist()
        values = np.array([scores[g] for g in groups])
        size = float(values.mean() if how == "mean" else np.sqrt(np.square(values).sum()))
        if size > 0:
            result.update(zip(groups, (values / size).tolist()))
    return result
