"""Where every tensor of a lowered graph lies in the arena, and from when to when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from tinyopt.plan.arena import ALIGNMENT, Packing, Request, Span, align, pack
from tinyopt.plan.lowering import Lowered

_SHARES_TRIED_TOGETHER = 10
Kind = Literal["input", "output", "state", "activation", "scratch"]


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that is needed in the calls ``first`` to ``last`` (both included).

    ``last`` of what must outlive the run (outputs and states) is the number of calls.
    ``tensors``: the tensors it holds, all of them views of the same elements (none: scratch memory). Two buffers may
    share memory in one call only, where the first ends and the second starts, when the kernel works in place or its
    output follows its input at a distance.
    """

    name: str
    kind: Kind
    tensors: tuple[str, ...]
    offset: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Layout:
    """Buffers, the arena's size, and the size that no layout of these calls in this order can go below."""

    buffers: tuple[Buffer, ...]
    arena_bytes: int
    lower_bound: int


@dataclass
class _Life:
    size: int
    first: int
    last: int
    tensors: list[str]
    kind: Kind = "activation"


def lay_out(lowered: Lowered, *, in_place: bool = True, redzone: int = 0) -> Layout:
    """Plan the arena.

    ``in_place``: let outputs take the memory of inputs that end there. ``redzone``: when not 0, no two buffers share
    memory and this many bytes at least are left free behind each (to find kernels that leave their buffers).
    """
    lives = _lives(lowered)
    scratch = {
        f"scratch of {call.operator.name}": _Life(call.scratch, index, index, [], "scratch")
        for index, call in enumerate(lowered.calls)
        if call.scratch
    }
    pairs = _chosen_pairs(lowered, lives, scratch) if in_place else {}
    lives.update(scratch)
    groups = _groups(lives, pairs)
    requests = _requests(lives, groups)
    packing = _spread(requests, redzone) if redzone else pack(requests)
    offsets = {name: at + start for group, at in zip(groups, packing.offsets) for name, start in group.items()}
    buffers = tuple(
        Buffer(name, life.kind, tuple(life.tensors), offsets[name], life.size, life.first, life.last)
        for name, life in lives.items()
    )
    layout = Layout(buffers, packing.total, _lower_bound(lowered, lives, in_place))
    problems = conflicts(layout, lowered)
    assert not problems, f"the arena plan is wrong: {problems}"
    return layout


def _lives(lowered: Lowered) -> dict[str, _Life]:
    """Storage → its life. Inputs are written before the first call, outputs read after the last."""
    graph, calls, storage = lowered.graph, lowered.calls, lowered.storage
    end = len(calls)
    lives: dict[str, _Life] = {}
    for name, place in storage.items():
        life = lives.setdefault(place, _Life(graph.tensors[place].nbytes, end, 0, []))
        life.tensors.append(name)
        if name in graph.given:
            life.first = 0
    for index, call in enumerate(calls):
        for name in (*call.inputs, *call.outputs):
            if name in storage:
                life = lives[storage[name]]
                life.last = max(life.last, index)
                life.first = min(life.first, index)
    for name in graph.inputs:
        lives[storage[name]].kind = "input"
    for name in graph.outputs:
        life = lives[storage[name]]
        life.last = end
        life.kind = "output" if life.kind == "activation" else life.kind
    for state in graph.states:
        life = lives[storage[state.read]]
        life.first, life.last, life.kind = 0, end, "state"
    return lives


def _lag(lowered: Lowered, lives: dict[str, _Life], index: int, source: int, target: int) -> int | None:
    """How far before the input ``source`` the output ``target`` of call ``index`` must start to take its memory: 0 in
    place, None where it may not."""
    call, storage = lowered.calls[index], lowered.storage
    place, goal = storage.get(call.inputs[source]), storage[call.outputs[target]]
    if place is None or place == goal:
        return None
    one, two = lives[place], lives[goal]
    if "state" in (one.kind, two.kind) or one.last != index or two.first != index:
        return None
    same = [i for i, name in enumerate(call.inputs) if storage.get(name) == place]
    if all((i, target) in call.in_place for i in same):
        return 0
    lags = [lag for i, o, lag in call.overlaps if i == source and o == target]
    return align(lags[0]) if lags and same == [source] else None


def _saving(lives: dict[str, _Life], place: str, goal: str, lag: int) -> int:
    """Bytes that are saved when ``goal`` starts ``lag`` bytes before ``place`` instead of beside it."""
    one, two = align(lives[place].size), align(lives[goal].size)
    return one + two - max(two, lag + one)


def _shares(lowered: Lowered, lives: dict[str, _Life], index: int) -> list[tuple[int, str, str, int]]:
    """What outputs of a call may take the memory of inputs: (bytes saved, input storage, output storage, lag)."""
    call, storage = lowered.calls[index], lowered.storage
    found = []
    for i, o in dict.fromkeys((*call.in_place, *((i, o) for i, o, _ in call.overlaps))):
        lag = _lag(lowered, lives, index, i, o)
        if lag is not None:
            place, goal = storage[call.inputs[i]], storage[call.outputs[o]]
            found.append((_saving(lives, place, goal, lag), place, goal, lag))
    return sorted((share for share in found if share[0] > 0), key=lambda share: -share[0])


Pairs = dict[str, tuple[str, int]]
"""Output storage → the input storage whose memory it takes, and the lag."""


def _chosen_pairs(lowered: Lowered, lives: dict[str, _Life], scratch: dict[str, _Life]) -> Pairs:
    """Which outputs take the memory of which inputs.

    Working in place is always taken. An output that follows its input at a distance ties both to a place, and with
    them their neighbours: it is taken where it makes the arena smaller, the largest savings tried first.
    """
    everything = {**lives, **scratch}
    pairs: Pairs = {}
    later: list[tuple[int, str, str, int]] = []
    for index in range(len(lowered.calls)):
        used: set[str] = set()
        for saving, source, target, lag in _shares(lowered, lives, index):
            if lag:
                later.append((saving, source, target, lag))
            elif source not in used and target not in used:
                used |= {source, target}
                pairs[target] = (source, 0)
    taken = {source for source, _ in pairs.values()}
    later = [share for share in later if share[1] not in taken and share[2] not in pairs]
    later.sort(key=lambda share: -share[0])
    best = _total(everything, pairs)
    chosen = _improvement(everything, pairs, later, best)
    while chosen:
        best, pairs = chosen
        taken = {source for source, _ in pairs.values()}
        later = [share for share in later if share[1] not in taken and share[2] not in pairs]
        chosen = _improvement(everything, pairs, later, best)
    return pairs


def _improvement(
    lives: dict[str, _Life], pairs: Pairs, shares: list[tuple[int, str, str, int]], best: int
) -> tuple[int, Pairs] | None:
    """The first share, or the first two shares of the largest, that make the arena smaller than ``best``: its size and
    the pairs with them. None when there are none."""
    singles = [(share,) for share in shares]
    doubles = list(combinations(shares[:_SHARES_TRIED_TOGETHER], 2))
    for group in (*singles, *doubles):
        trial = {**pairs, **{target: (source, lag) for _, source, target, lag in group}}
        if len({source for source, _ in trial.values()}) == len(trial) == len(pairs) + len(group):
            total = _total(lives, trial)
            if total < best:
                return total, trial
    return None


def _total(lives: dict[str, _Life], pairs: Pairs) -> int:
    return pack(_requests(lives, _groups(lives, pairs)), attempts=0).total


def _requests(lives: dict[str, _Life], groups: list[dict[str, int]]) -> list[Request]:
    return [
        Request(
            next(iter(group)),
            tuple(Span(lives[n].first, lives[n].last, lives[n].size, start) for n, start in group.items()),
        )
        for group in groups
    ]


def _groups(lives: dict[str, _Life], pairs: Pairs) -> list[dict[str, int]]:
    """Chains of storages that lie together, each followed by the one that takes its memory: storage → its start, in
    bytes from the start of the group."""
    chain: dict[str, dict[str, int]] = {}
    for name in sorted(lives, key=lambda name: lives[name].first):
        if name in pairs:
            source, lag = pairs[name]
            group = chain[name] = chain[source]
            start = group[source] - lag
            if start < 0:  # everything before it moves up
                for other in group:
                    group[other] -= start
                start = 0
            group[name] = start
        else:
            chain[name] = {name: 0}
    unique = {id(group): group for group in chain.values()}
    return list(unique.values())


def _lower_bound(lowered: Lowered, lives: dict[str, _Life], in_place: bool) -> int:
    """The most bytes that must exist at once, whatever the offsets and the choice of in-place operators."""
    bound = 0
    for index in range(len(lowered.calls) + 1):
        live = sum(align(life.size) for life in lives.values() if life.first <= index <= life.last)
        if in_place and index < len(lowered.calls):
            best: dict[str, int] = {}
            for saving, _, goal, _ in _shares(lowered, lives, index):
                best[goal] = max(best.get(goal, 0), saving)
            live -= sum(best.values())
        bound = max(bound, live)
    return bound


def _spread(requests: list[Request], redzone: int) -> Packing:
    offsets, position = [], 0
    for request in requests:
        offsets.append(position)
        position = align(position + request.size + redzone)
    return Packing(tuple(offsets), position, position)


def conflicts(layout: Layout, lowered: Lowered) -> list[str]:
    """What is wrong with a layout: buffers outside the arena, unaligned, or in each other's way. Empty when correct.

    It looks at the finished buffers only, not at how they were found.
    """
    found = []
    for index, one in enumerate(layout.buffers):
        if one.offset < 0 or one.offset % ALIGNMENT or one.offset + one.size > layout.arena_bytes:
            found.append(f"'{one.name}' lies badly at {one.offset}")
        for two in layout.buffers[index + 1 :]:
            in_time = one.first <= two.last and two.first <= one.last
            in_space = one.offset < two.offset + two.size and two.offset < one.offset + one.size
            if in_time and in_space and not _is_in_place(lowered, one, two) and not _is_in_place(lowered, two, one):
                found.append(f"'{one.name}' and '{two.name}' overlap")
    return found


def _is_in_place(lowered: Lowered, source: Buffer, target: Buffer) -> bool:
    """Whether the target may lie where it does although the source is still there when the call begins."""
    if source.last != target.first or source.kind == "state" or source.last >= len(lowered.calls):
        return False
    call = lowered.calls[source.last]
    inputs = [i for i, name in enumerate(call.inputs) if name in source.tensors]
    outputs = [o for o, name in enumerate(call.outputs) if name in target.tensors]
    if not inputs or not outputs:
        return False
    distance = source.offset - target.offset
    if distance == 0 and all((i, o) in call.in_place for i in inputs for o in outputs):
        return True
    allowed = {(i, o): lag for i, o, lag in call.overlaps}
    return len(inputs) == 1 and all(distance >= allowed.get((inputs[0], o), distance + 1) for o in outputs)
