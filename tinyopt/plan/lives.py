"""From when to when each byte of a tensor is needed, and which outputs may take the memory of which inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tinyopt.plan.arena import ALIGNMENT, Span, align
from tinyopt.plan.lowering import Lowered

Kind = Literal["input", "output", "state", "activation", "scratch"]


@dataclass(frozen=True)
class Life:
    """Memory of one size; its bytes are needed at different times. Steps are calls; the last step is after the run."""

    size: int
    kind: Kind
    tensors: tuple[str, ...]
    spans: tuple[Span, ...]
    """They cover all bytes, each once."""

    @property
    def first(self) -> int:
        return min(span.first for span in self.spans)

    @property
    def last(self) -> int:
        return max(span.last for span in self.spans)

    def within(self, start: int, size: int) -> list[Span]:
        """The spans that have bytes in this range."""
        return [span for span in self.spans if span.start < start + size and start < span.end]


@dataclass(frozen=True)
class Share:
    """In the call ``step``, bytes of the target may lie over bytes of the source.

    The range of the source is an input whose bytes end there, that of the target an output whose bytes start there.
    """

    step: int
    source: str
    source_start: int
    source_size: int
    target: str
    target_start: int
    target_size: int
    lag: int
    """Bytes by which the output must start before the input: just so many if ``exact``, else at least."""
    exact: bool

    @property
    def distance(self) -> int:
        """Where the target's memory starts, seen from the source's, when the output is ``lag`` before the input."""
        return self.source_start - self.target_start - self.lag

    @property
    def saving(self) -> int:
        """Bytes that both have in common then, rounded down to what no packing can exceed."""
        common = min(self.source_size, self.target_size - self.lag)
        beside = align(self.source_size) + align(self.target_size)
        together = max(align(self.target_size), align(align(self.lag) + self.source_size))
        return max(0, beside - together) if common > 0 else 0

    @property
    def slides(self) -> bool:
        """Whether rows inside a buffer become rows inside the next one."""
        return self.source_start > 0 and self.exact

    @property
    def is_move(self) -> bool:
        """Whether rows inside a buffer may move to its front, where the next buffer starts with them."""
        return not self.exact and self.lag == 0 and self.source_start > 0 and self.target_start == 0

    def covers(self, source: Span, target: Span) -> bool:
        """Whether the spans are bytes of this input and this output, which end and start here."""
        return (
            source.last == self.step == target.first
            and self.source_start <= source.start
            and source.end <= self.source_start + self.source_size
            and self.target_start <= target.start
            and target.end <= self.target_start + self.target_size
        )

    def allows(self, source: Span, target: Span, distance: int) -> bool:
        """Whether these bytes may coincide when the target's memory starts ``distance`` bytes behind the source's."""
        fits = distance == self.distance if self.exact else distance <= self.distance
        return fits and self.covers(source, target)


@dataclass(frozen=True)
class _Use:
    start: int
    end: int
    step: int
    writes: bool


def find_lives(lowered: Lowered) -> dict[str, Life]:
    """Storage → its life; scratch memory is there under names of its own."""
    uses: dict[str, list[_Use]] = {}
    for place, use in _uses(lowered):
        uses.setdefault(place, []).append(use)
    graph, end = lowered.graph, len(lowered.calls)
    tensors: dict[str, list[str]] = {}
    for name, place in lowered.storage.items():
        tensors.setdefault(place, []).append(name)
    states = {lowered.storage[state.read] for state in graph.states}
    inputs = {lowered.storage[name] for name in graph.inputs}
    outputs = {lowered.storage[name] for name in graph.outputs}
    lives: dict[str, Life] = {}
    tag = 0
    for place, names in tensors.items():
        kind: Kind = "activation"
        if place in outputs:
            kind = "output"
        if place in inputs:
            kind = "input"
        size = graph.tensors[place].nbytes
        spans: tuple[Span, ...] = (Span(0, end, size, 0, tag),)
        if place in states:
            kind = "state"
        else:
            spans = tuple(_spans(size, uses.get(place, []), tag))
        tag += len(spans)
        lives[place] = Life(size, kind, tuple(names), spans)
    for index, call in enumerate(lowered.calls):
        if call.scratch:
            span = Span(index, index, call.scratch, 0, tag)
            lives[f"scratch of {call.operator.name}"] = Life(call.scratch, "scratch", (), (span,))
            tag += 1
    return lives


def _uses(lowered: Lowered) -> Iterator[tuple[str, _Use]]:
    graph, storage, starts = lowered.graph, lowered.storage, lowered.starts

    def use(name: str, step: int, writes: bool) -> tuple[str, _Use]:
        start = starts[name]
        return storage[name], _Use(start, start + graph.tensors[name].nbytes, step, writes)

    for name in graph.given:
        yield use(name, 0, True)
    for index, call in enumerate(lowered.calls):
        for name in call.inputs:
            if name in storage:
                yield use(name, index, False)
        for name in call.outputs:
            yield use(name, index, True)
    for name in graph.outputs:
        yield use(name, len(lowered.calls), False)


def _spans(size: int, uses: list[_Use], tag: int) -> Iterator[Span]:
    """The bytes in pieces that are needed over the same steps: from the first write to the last use."""
    edges = sorted({0, size, *(edge for use in uses for edge in (use.start, use.end))})
    start, current = 0, None
    for low, high in pairwise(edges):
        mine = [use for use in uses if use.start <= low and high <= use.end]
        steps = [use.step for use in mine if use.writes] or [use.step for use in mine] or [0]
        piece = (min(steps), max([use.step for use in mine] or [0]))
        if current is not None and piece != current:
            yield Span(*current, low - start, start, tag)
            start, tag = low, tag + 1
        current = piece
    if current is not None:
        yield Span(*current, size - start, start, tag)


def find_shares(lowered: Lowered, lives: dict[str, Life]) -> tuple[Share, ...]:
    """Every pair of an output and an input of a call that may have memory in common."""
    found = []
    for index, call in enumerate(lowered.calls):
        pairs = [(i, o, 0, True) for i, o in call.in_place]
        pairs += [(i, o, lag, False) for i, o, lag in call.overlaps]
        for source, target, lag, exact in pairs:
            share = _share(lowered, lives, index, source, target, lag, exact)
            if share is not None and share.saving > 0:
                found.append(share)
    return tuple(found)


def _share(
    lowered: Lowered, lives: dict[str, Life], index: int, source: int, target: int, lag: int, exact: bool
) -> Share | None:
    call, storage, starts, tensors = lowered.calls[index], lowered.storage, lowered.starts, lowered.graph.tensors
    name, result = call.inputs[source], call.outputs[target]
    place, goal = storage.get(name), storage[result]
    if place is None or place == goal or "state" in (lives[place].kind, lives[goal].kind):
        return None
    share = Share(
        index, place, starts[name], tensors[name].nbytes, goal, starts[result], tensors[result].nbytes, lag, exact
    )
    ends = lives[place].within(share.source_start, share.source_size)
    begins = lives[goal].within(share.target_start, share.target_size)
    if any(span.last != index for span in ends) or any(span.first != index for span in begins):
        return None
    # Other inputs in the same memory must stand the same treatment.
    same = [i for i, other in enumerate(call.inputs) if storage.get(other) == place]
    if exact:
        fits = all((i, target) in call.in_place and starts[call.inputs[i]] == share.source_start for i in same)
        return share if fits and share.distance % ALIGNMENT == 0 else None
    return share if same == [source] else None
