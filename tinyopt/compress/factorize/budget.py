"""Sharing a budget out among layers: the least error for the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One way to make a layer: its relative error and what it costs."""

    error: float
    cost: float


def share_out(layers: Sequence[Sequence[Point]], budget: float) -> list[int]:
    """For each layer the index of a point, so that the costs together are at most ``budget`` and the errors together
    as small as can be found; where no choice fits, the cheapest.

    A multiple-choice knapsack: a price on cost, found by bisection, gives the best choice on the convex hull (Shoham
    and Gersho 1988); what is left of the budget then goes to the layers that gain most.
    """

    def at(price: float) -> list[int]:
        return [min(range(len(p)), key=lambda i: (p[i].error + price * p[i].cost, p[i].cost)) for p in layers]

    def cost(chosen: Sequence[int]) -> float:
        return sum(points[index].cost for points, index in zip(layers, chosen))

    cheapest = [min(range(len(p)), key=lambda i: (p[i].cost, p[i].error)) for p in layers]
    if cost(cheapest) >= budget:
        return cheapest
    largest = max((point.cost for points in layers for point in points), default=1.0) or 1.0
    low, high = 1e-12 / largest, 1e12 / largest
    chosen = cheapest
    for _ in range(80):
        middle = float(np.sqrt(low * high))
        found = at(middle)
        if cost(found) <= budget:
            chosen, high = found, middle
        else:
            low = middle
    while True:
        room = budget - cost(chosen)
        moves = [
            (points[now].error - p.error, number, index)
            for number, (points, now) in enumerate(zip(layers, chosen))
            for index, p in enumerate(points)
            if p.error < points[now].error and p.cost - points[now].cost <= room
        ]
        if not moves:
            return chosen
        _, number, index = max(moves)
        chosen = [index if k == number else now for k, now in enumerate(chosen)]
