"""Which channels stand or fall together: the structure of a graph as structured pruning sees it.

Every channel that a layer makes is an *atom*. Atoms follow the data through the graph: an addition couples the
channels of its operands, a concatenation puts them side by side, a flatten makes a block of features of each. What is
coupled is one *group* of a union-find; a group leaves the graph as a whole, or not at all.

For every tensor one axis is followed, the one that holds channels. Groups that reach an output, or an operator that
mixes channels in a way that no weights can take back, are frozen, with a reason in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tinyopt.graph import Array, Graph

NO_ATOM = -1
"""In label arrays: a channel that never leaves."""


class Role(str, Enum):
    """What a cut does to a constant: ROW takes what makes a channel (its filter, its bias), COLUMN what reads it,
    SCALE what is applied to it on the way (a batch norm's parameters, an operand of an addition, an initial value)."""

    ROW = "row"
    COLUMN = "column"
    SCALE = "scale"


@dataclass(frozen=True, eq=False)
class Labels:
    """``atoms`` [size of axis]: the atom of every index along ``axis``, or NO_ATOM."""

    axis: int
    atoms: Array


@dataclass(frozen=True, eq=False)
class Cut:
    """Index k along ``axis`` of the constant at input ``position`` of ``operator`` goes when ``atoms[k]`` goes."""

    operator: str
    position: int
    axis: int
    atoms: Array
    role: Role


class Atoms:
    """A union-find over atoms; each group may be frozen, for a reason."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._parent)

    def fresh(self, count: int) -> Array:
        """New atoms [count], each a group of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, atom: int) -> int:
        """The group of an atom, named by one of its members."""
        root = atom
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[atom] != root:
            self._parent[atom], atom = root, self._parent[atom]
        return root

    def groups(self, atoms: Array) -> Array:
        """The group of every entry; NO_ATOM stays."""
        return np.array([self.find(int(a)) if a >= 0 else NO_ATOM for a in atoms.reshape(-1)], np.int64).reshape(
            atoms.shape
        )

    def unite(self, one: Array, other: Array, reason: str) -> None:
        """Couple entry by entry; what is coupled to NO_ATOM is frozen for ``reason``."""
        for a, b in zip(one.reshape(-1).tolist(), other.reshape(-1).tolist()):
            if a < 0 or b < 0:
                self._freeze(max(a, b), reason)
                continue
            first, second = self.find(a), self.find(b)
            if first == second:
                continue
            self._parent[second] = first
            if second in self._reasons:
                self._reasons.setdefault(first, self._reasons.pop(second))

    def freeze(self, atoms: Array, reason: str) -> None:
        """The groups of these atoms stay in the graph."""
        for atom in atoms.reshape(-1).tolist():
            self._freeze(atom, reason)

    def _freeze(self, atom: int, reason: str) -> None:
        if atom >= 0:
            self._reasons.setdefault(self.find(atom), reason)

    def reason(self, group: int) -> str | None:
        """Why a group stays; None when it may leave."""
        return self._reasons.get(group)


@dataclass(frozen=True, eq=False)
class Coupling:
    """The channels of a graph: what every tensor is labelled with, and every cut that the removal of a group makes.

    ``contracted``: atoms that two activations are multiplied and summed over (attention); their rows must be zero for
    a masked graph, since no weights read them.
    """

    graph: Graph
    atoms: Atoms
    labels: dict[str, Labels]
    cuts: tuple[Cut, ...]
    states: dict[str, Array]
    contracted: tuple[Array, ...]

    def gone(self, atoms: Array, removed: frozenset[int]) -> Array:
        """bool, of the shape of ``atoms``: which entries belong to a group of ``removed``."""
        groups = self.atoms.groups(atoms)
        result: Array = np.isin(groups, np.array(sorted(removed), np.int64))
        return result

    def keeping_one(self, removed: frozenset[int], order: Sequence[int] = ()) -> frozenset[int]:
        """``removed`` without what would leave a tensor empty. ``order``: which groups come back first (the most
        important first); the rest by number."""
        rank = {group: place for place, group in enumerate(order)}
        left = set(removed)
        for labels in self.labels.values():
            groups = self.atoms.groups(labels.atoms)
            if left.issuperset(groups.tolist()):
                left.discard(min(groups.tolist(), key=lambda group: (rank.get(group, len(rank)), group)))
        for atoms in self.states.values():
            assert not left.issuperset(self.atoms.groups(atoms).tolist())
        return frozenset(left)
