"""Packing buffers with lifetimes into one arena.

Time is counted in steps (one kernel call each). A request is a piece of memory that is needed over one or more spans
of steps, and may have a different size in each: a chain of in-place operators is one request whose size changes. The
task is dynamic storage allocation, which is NP-hard; the packer places requests one by one at the lowest free offset,
in several orders, and improves the best order by local search until it meets the lower bound or a fixed number of
attempts is used up. It is deterministic.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

ALIGNMENT = 16


@dataclass(frozen=True)
class Span:
    """``size`` bytes, ``start`` bytes into a request, are needed in the steps ``first`` to ``last``, both included."""

    first: int
    last: int
    size: int
    start: int = 0
    tag: int = -1
    """A number that tells the span from all others, for ``Follows``."""

    @property
    def end(self) -> int:
        return self.start + self.size

    def meets(self, other: Span) -> bool:
        """Whether both are needed in some step."""
        return self.first <= other.last and other.first <= self.last


Follows = Mapping[tuple[int, int], int]
"""Tags of two spans, a source and a target → bytes. Although both are needed in some step, they may share memory if
the target starts at least so many bytes before the source."""


@dataclass(frozen=True)
class Request:
    """Memory that starts at one offset throughout its life."""

    name: str
    spans: tuple[Span, ...]

    @cached_property
    def first(self) -> int:
        return min(span.first for span in self.spans)

    @cached_property
    def last(self) -> int:
        return max(span.last for span in self.spans)

    @cached_property
    def size(self) -> int:
        """Bytes from the start of the request to the end of its furthest span."""
        return max(span.end for span in self.spans)

    @property
    def area(self) -> int:
        """Bytes times steps."""
        return sum(span.size * (span.last - span.first + 1) for span in self.spans)


@dataclass(frozen=True)
class Packing:
    """Where each request lies. ``offsets``: bytes, in the order of the requests; ``total``: bytes of the arena."""

    offsets: tuple[int, ...]
    total: int
    live_bound: int
    """The largest sum of sizes that are needed at one step: no packing of these requests is smaller."""


def align(size: int, alignment: int = ALIGNMENT) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def live_bytes(requests: Sequence[Request], alignment: int = ALIGNMENT) -> list[int]:
    """Bytes that are needed at each step, every size rounded up to ``alignment``."""
    steps = max((request.last for request in requests), default=-1) + 1
    change = [0] * (steps + 1)
    for request in requests:
        # Between two steps at which a span starts or ends, a request needs the same bytes.
        edges = sorted({edge for span in request.spans for edge in (span.first, span.last + 1)})
        spans = sorted(request.spans, key=lambda span: span.start)
        for low, high in pairwise(edges):
            total = covered = 0
            for span in spans:
                if span.first <= low <= span.last:
                    end = align(span.end, alignment)
                    total += max(0, end - max(covered, span.start // alignment * alignment))
                    covered = max(covered, end)
            change[low] += total
            change[high] -= total
    return list(accumulate(change[:steps]))


def pack(
    requests: Sequence[Request],
    *,
    alignment: int = ALIGNMENT,
    attempts: int | None = None,
    follows: Follows | None = None,
    enough: int = 0,
) -> Packing:
    """Place requests in as small an arena as can be found. Offsets are multiples of ``alignment``.

    ``attempts``: placements that the local search may try (default: fewer for more requests, about a second).
    ``follows``: spans that may share memory although their times meet. ``enough``: stop at this size.
    """
    count = len(requests)
    if count == 0:
        return Packing((), 0, 0)
    live = max(live_bytes(requests, alignment))
    bound = max(enough, 0 if follows else live)
    upwards = _Search(requests, alignment, follows or {})
    best: tuple[int, list[int], list[int], _Search] | None = None
    for search in (upwards, upwards.mirrored()):
        for order in _orders(requests):
            total, offsets = search.place(order, best[0] if best else None)
            if best is None or total < best[0]:
                best = (total, offsets, order, search)
            if best[0] <= bound:
                break
    assert best is not None
    total, offsets, order, search = best
    if total > bound:
        budget = min(3000, 20 + 600_000 // (count * count)) if attempts is None else attempts
        total, offsets = search.improve(order, total, offsets, bound, budget)
    return Packing(tuple(search.upright(offsets, total)), total, live)


def _orders(requests: Sequence[Request]) -> list[list[int]]:
    """Orders of placement that are good in practice: large first, long-lived first, and by time."""
    indices = range(len(requests))
    keys = (
        lambda i: (-requests[i].size, requests[i].first),
        lambda i: (-requests[i].area, requests[i].first),
        lambda i: (requests[i].first - requests[i].last, -requests[i].size),
        lambda i: (requests[i].first, -requests[i].size),
        lambda i: (-requests[i].last, -requests[i].size),
    )
    return [sorted(indices, key=key) for key in keys]


class _Search:
    """Placement by first fit, with the pairwise distances worked out once.

    It fills the arena from the start, or, mirrored, from the end: what follows a large tensor at lower addresses as it
    shrinks finds its place only when the large one is placed first, at the top.
    """

    def __init__(self, requests: Sequence[Request], alignment: int, follows: Follows) -> None:
        self.is_mirrored = False
        self.sizes = [align(request.size, alignment) for request in requests]
        self.conflicts: list[list[tuple[int, int, int]]] = [[] for _ in requests]
        """Per request: (other, low, high): its offset may not lie between the other's + low and the other's + high."""
        present: list[int] = []
        for a in sorted(range(len(requests)), key=lambda index: requests[index].first):
            present = [b for b in present if requests[b].last >= requests[a].first]
            for b in present:
                for low, high in _forbidden(requests[a], requests[b], alignment, follows):
                    self.conflicts[a].append((b, low, high))
                    self.conflicts[b].append((a, -high, -low))
            present.append(a)

    def mirrored(self) -> _Search:
        """The same task with offsets counted from the end of the arena down to the end of a request."""
        other = copy(self)
        other.is_mirrored = not self.is_mirrored
        other.conflicts = [
            [(b, self.sizes[b] - self.sizes[a] - high, self.sizes[b] - self.sizes[a] - low) for b, low, high in row]
            for a, row in enumerate(self.conflicts)
        ]
        return other

    def upright(self, offsets: list[int], total: int) -> list[int]:
        """Offsets from the start of an arena of ``total`` bytes."""
        return [total - size - at for size, at in zip(self.sizes, offsets)] if self.is_mirrored else offsets

    def place(self, order: Sequence[int], limit: int | None = None) -> tuple[int, list[int]]:
        """Total and offsets when placed in this order, each at the lowest offset that is free throughout its life.

        Gives up, with a total beyond ``limit``, as soon as a request passes it.
        """
        offsets = [-1] * len(self.sizes)
        total = 0
        for index in order:
            taken = sorted(
                (offsets[other] + low, offsets[other] + high)
                for other, low, high in self.conflicts[index]
                if offsets[other] >= 0
            )
            offset = 0
            for low, high in taken:
                if low >= offset:
                    break
                offset = max(offset, high)
            offsets[index] = offset
            total = max(total, offset + self.sizes[index])
            if limit is not None and total > limit:
                break
        return total, offsets

    def improve(
        self, order: list[int], total: int, offsets: list[int], bound: int, attempts: int
    ) -> tuple[int, list[int]]:
        """Local search: place a request that ends at the top earlier, or swap two; keep what is not worse."""
        random_source = random.Random(0)
        current, best_total, best_offsets = list(order), total, offsets
        for _ in range(attempts):
            if best_total <= bound or len(order) < 2:
                break
            trial = list(current)
            top = [i for i in trial if best_offsets[i] + self.sizes[i] == best_total]
            chosen = random_source.choice(top) if random_source.random() < 0.5 else random_source.choice(trial)
            position = trial.index(chosen)
            other = random_source.randrange(len(trial))
            if random_source.random() < 0.5:
                trial.insert(other, trial.pop(position))
            else:
                trial[position], trial[other] = trial[other], trial[position]
            found, placed = self.place(trial, best_total)
            if found <= best_total:
                current, best_total, best_offsets = trial, found, placed
        return best_total, best_offsets


def _forbidden(one: Request, two: Request, alignment: int, follows: Follows) -> list[tuple[int, int]]:
    """Open intervals in which the offset of ``one`` less that of ``two`` must not lie. A span takes whole units of
    the alignment."""
    found = []
    for span in one.spans:
        first, last = span.first, span.last
        for other in two.spans:
            if other.last < first or last < other.first:
                continue
            low = other.start // alignment * alignment - align(span.end, alignment)
            high = align(other.end, alignment) - span.start // alignment * alignment
            if (lag := follows.get((other.tag, span.tag))) is not None:
                low = max(low, (other.start - span.start - lag) // alignment * alignment)
            if (lag := follows.get((span.tag, other.tag))) is not None:
                high = min(high, align(other.start - span.start + lag, alignment))
            if low < high:
                found.append((low, high))
    found.sort()
    merged: list[tuple[int, int]] = []
    for low, high in found:
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def overlaps(requests: Sequence[Request], offsets: Sequence[int]) -> list[tuple[str, str]]:
    """Pairs of requests that share a byte in a step when both are needed; a correct packing has none.

    Written without regard to how ``pack`` works, to check it.
    """
    found = []
    for a, one in enumerate(requests):
        for b in range(a + 1, len(requests)):
            two = requests[b]
            for span in one.spans:
                for other in two.spans:
                    apart = (
                        offsets[a] + span.end <= offsets[b] + other.start
                        or offsets[b] + other.end <= offsets[a] + span.start
                        or span.last < other.first
                        or other.last < span.first
                    )
                    if not apart:
                        found.append((one.name, two.name))
    return list(dict.fromkeys(found))
