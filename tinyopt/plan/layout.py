"""Where every tensor of a lowered graph lies in the arena, and from when to when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinyopt.plan.arena import ALIGNMENT, Packing, Request, Span, align, pack
from tinyopt.plan.lowering import Lowered

Kind = Literal["input", "output", "state", "activation", "scratch"]


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that is needed in the calls ``first`` to ``last`` (both included).

    ``last`` of what must outlive the run (outputs and states) is the number of calls.
    ``tensors``: the tensors it holds, all of them views of the same elements (none: scratch memory). Two buffers may
    share memory in one call only, where the first ends and the second starts, when the kernel works in place.
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
    pairs = _in_place_pairs(lowered, lives) if in_place else {}
    groups = _groups(lives, pairs)
    lives.update(scratch)
    groups += [[name] for name in scratch]
    requests = [
        Request(group[0], tuple(Span(lives[n].first, lives[n].last, lives[n].size) for n in group)) for group in groups
    ]
    packing = _spread(requests, redzone) if redzone else pack(requests)
    offsets = {name: offset for group, offset in zip(groups, packing.offsets) for name in group}
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


def _may_share(lowered: Lowered, lives: dict[str, _Life], index: int, source: int, target: int) -> bool:
    """Whether in call ``index`` the output ``target`` may take the memory of the input ``source``."""
    call, storage = lowered.calls[index], lowered.storage
    place, goal = storage.get(call.inputs[source]), storage[call.outputs[target]]
    if place is None or place == goal:
        return False
    one, two = lives[place], lives[goal]
    if "state" in (one.kind, two.kind) or one.last != index or two.first != index:
        return False
    return all((i, target) in call.in_place for i, name in enumerate(call.inputs) if storage.get(name) == place)


def _in_place_pairs(lowered: Lowered, lives: dict[str, _Life]) -> dict[str, str]:
    """Output storage → the input storage whose memory it takes; the largest saving first in each call."""
    pairs: dict[str, str] = {}
    for index, call in enumerate(lowered.calls):
        options = [
            (lowered.storage[call.inputs[i]], lowered.storage[call.outputs[o]])
            for i, o in call.in_place
            if _may_share(lowered, lives, index, i, o)
        ]
        options.sort(key=lambda pair: -min(lives[pair[0]].size, lives[pair[1]].size))
        used: set[str] = set()
        for source, target in options:
            if source not in used and target not in used:
                used |= {source, target}
                pairs[target] = source
    return pairs


def _groups(lives: dict[str, _Life], pairs: dict[str, str]) -> list[list[str]]:
    """Chains of storages that start at the same offset, each followed by the one that takes its memory."""
    chain: dict[str, list[str]] = {}
    for name in sorted(lives, key=lambda name: lives[name].first):
        if name in pairs:
            chain[name] = chain[pairs[name]]
            chain[name].append(name)
        else:
            chain[name] = [name]
    unique = {id(group): group for group in chain.values()}
    return list(unique.values())


def _lower_bound(lowered: Lowered, lives: dict[str, _Life], in_place: bool) -> int:
    """The most bytes that must exist at once, whatever the offsets and the choice of in-place operators."""
    bound = 0
    for index in range(len(lowered.calls) + 1):
        live = sum(align(life.size) for life in lives.values() if life.first <= index <= life.last)
        if in_place and index < len(lowered.calls):
            call = lowered.calls[index]
            for target in range(len(call.outputs)):
                live -= max(
                    (
                        min(
                            align(lives[lowered.storage[call.inputs[i]]].size),
                            align(lives[lowered.storage[call.outputs[o]]].size),
                        )
                        for i, o in call.in_place
                        if o == target and _may_share(lowered, lives, index, i, o)
                    ),
                    default=0,
                )
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
    if source.last != target.first or source.offset != target.offset or source.kind == "state":
        return False
    if source.last >= len(lowered.calls):
        return False
    call = lowered.calls[source.last]
    inputs = [i for i, name in enumerate(call.inputs) if name in source.tensors]
    outputs = [o for o, name in enumerate(call.outputs) if name in target.tensors]
    return bool(inputs) and bool(outputs) and all((i, o) in call.in_place for i in inputs for o in outputs)
