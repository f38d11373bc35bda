"""Where every tensor of a lowered graph lies in the arena, and from when to when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tinyopt.plan.arena import ALIGNMENT, Packing, Request, Span, align, live_bytes, pack
from tinyopt.plan.lives import Kind, Life, Share, find_lives, find_shares
from tinyopt.plan.lowering import Lowered
from tinyopt.plan.proof import conflicts

_SHARES_TRIED_TOGETHER = 10
_SHARES_TRIED = 40
_MANY = 150


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that is needed in the calls ``first`` to ``last`` (both included).

    ``last`` of what must outlive the run (outputs and states) is the number of calls.
    ``tensors``: the tensors that lie in it (none: scratch memory): one, its views, its pieces. ``spans``: which of
    its bytes are needed when: rows of an input are free for others as soon as nobody reads them any more. Two buffers
    may share bytes in one call only, where those of the first end and those of the second start, when the kernel works
    in place or its output follows its input at a distance.
    """

    name: str
    kind: Kind
    tensors: tuple[str, ...]
    offset: int
    size: int
    first: int
    last: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Layout:
    """Buffers, the arena's size, and the size that no layout of these calls in this order can go below."""

    buffers: tuple[Buffer, ...]
    arena_bytes: int
    lower_bound: int


def lay_out(lowered: Lowered, *, in_place: bool = True, redzone: int = 0, quick: bool = False) -> Layout:
    """Plan the arena.

    ``in_place``: let outputs take the memory of inputs that end there. ``redzone``: when not 0, no two buffers share
    memory and this many bytes at least are left free behind each (to find kernels that leave their buffers).
    ``quick``: a first guess, without trying outputs at a distance from their inputs, and without local search.
    """
    lives = find_lives(lowered)
    shares = find_shares(lowered, lives) if in_place else ()
    bound = max(_needs(lives, shares, len(lowered.calls)))
    if redzone:
        places, total = _spread(lives, redzone)
    else:
        places, total = _packed(lives, shares, bound, quick)
    buffers = tuple(
        Buffer(name, life.kind, tuple(life.tensors), places[name], life.size, life.first, life.last, life.spans)
        for name, life in lives.items()
    )
    layout = Layout(buffers, total, bound)
    problems = conflicts(buffers, total, lowered)
    assert not problems, f"the arena plan is wrong: {problems}"
    return layout


@dataclass(frozen=True)
class _Tied:
    """A share that is made: the target starts ``distance`` bytes behind the source."""

    share: Share
    distance: int


class _Groups:
    """Storages that lie at fixed distances from each other."""

    def __init__(self, lives: Mapping[str, Life], shares: Sequence[Share]) -> None:
        self.lives = lives
        self.excuses: dict[tuple[str, str], list[Share]] = {}
        for share in shares:
            self.excuses.setdefault((share.source, share.target), []).append(share)

    def tie(self, ties: Iterable[_Tied]) -> tuple[list[dict[str, int]], list[_Tied]]:
        """The groups, each a storage → start, in bytes from the start of the group; and the ties that were possible."""
        group = {name: {name: 0} for name in self.lives}
        made = []
        for tied in ties:
            one, two = group[tied.share.source], group[tied.share.target]
            if one is two:
                continue
            move = one[tied.share.source] + tied.distance - two[tied.share.target]
            if any(self._clash(a, b, start + move - at) for a, at in one.items() for b, start in two.items()):
                continue
            made.append(tied)
            one.update({name: start + move for name, start in two.items()})
            for name in two:
                group[name] = one
        unique = {id(members): members for members in group.values()}
        result = []
        for members in unique.values():
            lowest = min(members.values())
            result.append({name: start - lowest for name, start in members.items()})
        return result, made

    def _clash(self, one: str, two: str, distance: int) -> bool:
        """Whether bytes of two storages collide when the second starts ``distance`` bytes behind the first."""
        for a in self.lives[one].spans:
            for b in self.lives[two].spans:
                apart = a.end <= b.start + distance or b.end + distance <= a.start
                if not apart and a.meets(b) and not self._excused(one, a, two, b, distance):
                    return True
        return False

    def _excused(self, one: str, a: Span, two: str, b: Span, distance: int) -> bool:
        return any(share.allows(a, b, distance) for share in self.excuses.get((one, two), ())) or any(
            share.allows(b, a, -distance) for share in self.excuses.get((two, one), ())
        )


def _packed(lives: Mapping[str, Life], shares: Sequence[Share], bound: int, quick: bool) -> tuple[dict[str, int], int]:
    """Offsets of all storages, and the arena's size.

    Working in place is taken wherever both tensors have memory of their own. An output that follows its input at a
    distance, or that is a piece of a larger tensor, ties both to a place, and with them their neighbours: it is taken
    where it makes the arena smaller, the largest savings tried first. What is not tied may still come to lie so.
    """
    groups = _Groups(lives, shares)
    follows = {
        (a.tag, b.tag): share.lag + (a.start - share.source_start) - (b.start - share.target_start)
        for share in shares
        if not share.exact
        for a in lives[share.source].spans
        for b in lives[share.target].spans
        if share.covers(a, b)
    }

    def packing(ties: Sequence[_Tied], attempts: int | None) -> tuple[list[dict[str, int]], Packing]:
        members, _ = groups.tie(ties)
        requests = _requests(lives, members)
        return members, pack(requests, attempts=attempts, follows=follows, enough=bound)

    # Rows that move to the front of a buffer: it stays in its place.
    moves = [_Tied(share, 0) for share in shares if share.is_move]
    certain, later = [], []
    crowded = [live > bound for live in _needs(lives, (), max(share.step for share in shares))] if shares else []
    for share in shares:
        if (
            share.exact
            and share.source_size == lives[share.source].size
            and share.target_size == lives[share.target].size
        ):
            certain.append(_Tied(share, share.distance))
        elif crowded[share.step] and not share.is_move and not share.slides:
            later.append(_Tied(share, share.distance // ALIGNMENT * ALIGNMENT))
    _, ties = groups.tie(moves + sorted(certain, key=lambda tied: (tied.share.step, -tied.share.saving)))
    later.sort(key=lambda tied: -tied.share.saving)
    best = packing(ties, 0)[1].total
    improved = not quick
    while improved and best > bound:
        improved = False
        # Large graphs take longer to pack, so less is tried.
        few = len(lives) > _MANY
        singles = [[tied] for tied in later[: _SHARES_TRIED_TOGETHER if few else _SHARES_TRIED]]
        doubles = [] if few else [list(pair) for pair in combinations(later[:_SHARES_TRIED_TOGETHER], 2)]
        for extra in (*singles, *doubles):
            _, made = groups.tie([*ties, *extra])
            if len(made) < len(ties) + len(extra):
                continue
            total = packing(made, 0)[1].total
            if total < best:
                best, ties, improved = total, made, True
                later = [tied for tied in later if tied not in made]
                break
    members, packed = packing(ties, 0 if quick else None)
    places = {name: at + start for group, at in zip(members, packed.offsets) for name, start in group.items()}
    return places, packed.total


def _requests(lives: Mapping[str, Life], groups: Iterable[Mapping[str, int]]) -> list[Request]:
    return [
        Request(
            next(iter(group)),
            tuple(
                Span(span.first, span.last, span.size, span.start + start, span.tag)
                for name, start in group.items()
                for span in lives[name].spans
            ),
        )
        for group in groups
    ]


def lower_bounds(lowered: Lowered, *, in_place: bool = True) -> list[int]:
    """For each call, and for the time after the run, the bytes that must exist at once, whatever the offsets and the
    choice of in-place operators. No arena is smaller than the largest of them."""
    lives = find_lives(lowered)
    return _needs(lives, find_shares(lowered, lives) if in_place else (), len(lowered.calls))


def _needs(lives: Mapping[str, Life], shares: Sequence[Share], steps: int) -> list[int]:
    live = live_bytes(_requests(lives, [{name: 0} for name in lives]))
    live += [0] * (steps + 1 - len(live))
    savings: dict[tuple[int, str, int], int] = {}
    for share in shares:
        key = (share.step, share.target, share.target_start)
        savings[key] = max(savings.get(key, 0), share.saving)
    for (step, _, _), saving in savings.items():
        live[step] -= saving
    return live


def _spread(lives: Mapping[str, Life], redzone: int) -> tuple[dict[str, int], int]:
    places, position = {}, 0
    for name, life in lives.items():
        places[name] = position
        position = align(position + life.size + redzone)
    return places, position
