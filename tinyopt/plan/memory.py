"""Less RAM: the choice of operators to compute in strips.

Every run of operators with one source and one result is a candidate, in strips of several heights. Candidates are
ordered by an estimate of their memory; the best are lowered, which gives a bound of their arena, and laid out if the
bound is better than what was found before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tinyopt.graph import Graph
from tinyopt.names import short_name
from tinyopt.plan.catalogue import candidates as candidates_of
from tinyopt.plan.layout import Layout, lay_out, lower_bounds
from tinyopt.plan.lowering import Lowered
from tinyopt.plan.objective import Objective
from tinyopt.plan.striping import Striped, Strips, reaches, region_source, striped, strips_bytes

HEIGHTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Rows in a strip that are tried."""
_LOWERED_AT_MOST = 32
_PEAKS = 8
_DEAREST = 1.5
"""Cycles of a kernel with less scratch memory, as a multiple of those of the fast one, that its memory may cost."""
_ROUNDS = 3
"""Runs of operators that may be in strips."""


@dataclass(frozen=True, eq=False)
class Arranged:
    """A graph, perhaps with operators in strips, lowered and laid out."""

    striped: Striped
    words: tuple[str, ...]
    """What is in strips."""
    lowered: Lowered
    layout: Layout

    @property
    def cycles(self) -> float:
        return predicted_cycles(self.lowered)

    @property
    def arena_bytes(self) -> int:
        return self.layout.arena_bytes


def predicted_cycles(lowered: Lowered) -> float:
    """Predicted cycles of one inference."""
    return sum(call.predicted_cycles for call in lowered.calls)


Lower = Callable[[Striped], Lowered]
LowerPinned = Callable[[Striped, Mapping[str, str]], Lowered]
Score = Callable[[float, float], float]
"""From arena bytes (or a bound of them) and cycles to what is to be made small; grows with both."""


def smallest(start: Arranged, lower: Lower, score: Score) -> Arranged:
    """The arrangement with the least score that was found, ``start`` if none is better."""
    best = start
    for _ in range(_ROUNDS):
        found = _improved(best, lower, score)
        if found is None:
            break
        best = found
    return best


def score_of_fit(limit: int) -> Score:
    """The fewest cycles with an arena of at most ``limit`` bytes; what does not fit is worse, the larger the worse."""
    return lambda arena, cycles: cycles if arena <= limit else 1e15 + arena


def score_of_objective(objective: Objective, start: Arranged) -> Score:
    """RAM alone: the arena, with twenty percent of cycles worth one percent of RAM, so that strips are not made thin
    for a few bytes. A mix: its weighted sum of arena and cycles, as multiples of those of ``start``."""
    if objective.only == "ram":
        return lambda arena, cycles: float(arena * cycles**0.05)
    ram, speed = objective.ram, objective.latency + objective.energy
    return lambda arena, cycles: ram * arena / start.arena_bytes + speed * cycles / start.cycles


def frugal(start: Arranged, lower_pinned: LowerPinned, features: frozenset[str], score: Score) -> Arranged:
    """The best arrangement found with kernels of little scratch memory for the operators at the peak."""
    best, current, pins = start, start, dict[str, str]()
    for _ in range(_PEAKS):
        graph, calls, parts = current.lowered.graph, current.lowered.calls, start.striped.sources
        needs = lower_bounds(current.lowered)[: len(calls)]
        if not calls or not (peak := calls[needs.index(max(needs))]).scratch:
            break
        operator = peak.operator
        dearest = _DEAREST * peak.kernel.cost(graph, operator)
        fit = [k for k in candidates_of(graph, operator, features) if k.cost(graph, operator) <= dearest]
        choices = [kernel.lower(graph, operator, kernel) for kernel in fit]
        kernel = min(choices, key=lambda call: (call.scratch, call.kernel.cost(graph, operator)), default=peak).kernel
        if kernel.name == peak.kernel.name or operator.name in pins:
            break
        source = parts.get(operator.name)
        for other in graph.operators:
            twin = source is not None and parts.get(other.name) == source and other.kind == operator.kind
            if other is operator or (twin and kernel.accepts(graph, other)):
                pins[other.name] = kernel.name
        lowered = lower_pinned(start.striped, pins)
        current = Arranged(start.striped, start.words, lowered, lay_out(lowered))
        if score(current.arena_bytes, current.cycles) < score(best.arena_bytes, best.cycles):
            best = current
    return best


def _improved(start: Arranged, lower: Lower, score: Score) -> Arranged | None:
    best, best_score = None, score(start.arena_bytes, start.cycles)
    for candidate in candidates(start):
        if score(candidate.floor, start.cycles) >= best_score:
            continue
        item = striped(start.striped.graph, candidate.strips)
        both = Striped(item.graph, {**start.striped.sources, **item.sources})
        lowered = lower(both)
        if score(max(lower_bounds(lowered)), predicted_cycles(lowered)) >= best_score:
            continue
        words = (*start.words, in_words(start.striped.graph, candidate.strips))
        arranged = Arranged(both, words, lowered, lay_out(lowered, quick=True))
        found = score(arranged.arena_bytes, arranged.cycles)
        if found < best_score:
            best, best_score = arranged, found
    return best and replace(best, layout=lay_out(best.lowered))


def in_words(graph: Graph, strips: Strips) -> str:
    first, last = graph.operators[strips.first], graph.operators[strips.last]
    height = graph.tensors[last.outputs[0]].shape[1]
    count = -(-height // strips.rows)
    rows = "one row" if strips.rows == 1 else f"{strips.rows} rows"
    names = f"'{short_name(first.name, 36)}' to '{short_name(last.name, 36)}'"
    return f"{names} in {count} strips of {rows} of the last one's output"


@dataclass(frozen=True)
class Candidate:
    """Strips that may make the arena smaller. ``estimate``: bytes of the arena; ``floor``: it is not smaller."""

    strips: Strips
    estimate: int
    floor: int


def candidates(arranged: Arranged) -> list[Candidate]:
    """Runs of operators at the peak of an arrangement, in strips of several heights, the most promising first."""
    graph = arranged.striped.graph
    needs = _needs(arranged)
    peak = max(needs)
    found = []
    for first, last in _regions(arranged, needs.index(peak)):
        outside = max([0, *needs[:first], *needs[last + 1 :]])
        result = graph.tensors[graph.operators[last].outputs[0]]
        source = graph.tensors[region_source(graph, first, last) or ""]
        floor = max(outside, result.nbytes, source.nbytes)
        for rows in HEIGHTS:
            if 2 * rows > result.shape[1]:
                break
            strips = Strips(first, last, rows)
            estimate = max(outside, strips_bytes(graph, strips))
            if estimate < peak:
                found.append(Candidate(strips, estimate, floor))
    # Of equal ones those with the fewest calls first.
    found.sort(key=lambda c: (c.estimate, c.strips.last - c.strips.first, -c.strips.rows))
    return found[:_LOWERED_AT_MOST]


def _needs(arranged: Arranged) -> list[int]:
    """Bytes that each operator of the graph needs at once; 0 for what has no call."""
    bounds = lower_bounds(arranged.lowered)
    by_name = {call.operator.name: need for call, need in zip(arranged.lowered.calls, bounds)}
    return [by_name.get(operator.name, 0) for operator in arranged.striped.graph.operators]


def _regions(arranged: Arranged, peak: int) -> Iterator[tuple[int, int]]:
    """Runs of operators that include ``peak`` and can be computed in strips."""
    graph, sources = arranged.striped.graph, arranged.striped.sources
    able: Sequence[bool] = [
        can and operator.name not in sources for can, operator in zip(reaches(graph), graph.operators)
    ]
    first = peak
    while first >= 0 and able[first]:
        last = peak
        while last < len(able) and able[last]:
            if last > first and region_source(graph, first, last) is not None:
                yield first, last
            last += 1
        first -= 1
