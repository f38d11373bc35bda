"""Axes of a model as products of stored axes (see ``tinyopt.importers.layout``)."""

from __future__ import annotations

from tinyopt.graph import GraphBuilder, Shape
from tinyopt.importers.values import Value


def refinement(value: Value, rank: int, graph: GraphBuilder) -> list[list[int]]:
    """For each of ``rank`` (broadcast) axes, the sizes of the stored axes that make it up; [1] for an axis of one."""
    missing: list[list[int]] = [[1]] * (rank - value.rank)
    if value.data is not None:
        return [*missing, *([d] for d in value.shape)]
    stored = graph.tensor(value.tensor).shape
    return [*missing, *([stored[a] for a in f] or [1] for f in value.factors)]


def distribute(value: Value, stored: Shape, target: Shape) -> tuple[tuple[tuple[int, ...], ...], Shape] | None:
    """The factors of ``target``'s axes, and the stored shape with axes split as needed; None when they do not align."""
    queue = [[atom, stored[atom]] for axis in range(value.rank) for atom in value.factors[axis]]
    pieces: dict[int, list[int]] = {}  # stored axis → sizes of its pieces, major first
    chosen: list[list[tuple[int, int]]] = []  # per target axis: (stored axis, piece)
    for size in target:
        mine: list[tuple[int, int]] = []
        while size > 1:
            atom, left = queue[0]
            if left % size and size % left:
                return None
            piece = min(left, size)
            pieces.setdefault(atom, []).append(piece)
            mine.append((atom, len(pieces[atom]) - 1))
            size //= piece
            if left == piece:
                queue.pop(0)
            else:
                queue[0][1] = left // piece
        chosen.append(mine)
    shape: list[int] = []
    start: list[int] = []
    for atom, size in enumerate(stored):
        start.append(len(shape))
        shape += pieces.get(atom, [size])
    factors = tuple(tuple(start[atom] + piece for atom, piece in mine) for mine in chosen)
    return factors, tuple(shape)
