"""Fewer kernels where the loss is small: code that hardly anything uses is flash for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tinyopt.plan.kernel import Kernel

if TYPE_CHECKING:
    from tinyopt.plan.choosing import Option

TOLERANCE = 0.005
"""Where flash has no weight, kernels are given up as long as the model's predicted cycles rise by no more than this
part altogether."""


def drop_kernels(
    chosen: Sequence[Option],
    options: Sequence[Sequence[Option]],
    *,
    one: Callable[[Option], float],
    whole: Callable[[Sequence[Option]], float],
    keeps: Callable[[Sequence[Option], Sequence[Option]], bool],
    flash_counts: bool,
) -> list[Option]:
    """The choice with kernels given up, those first that the fewest cycles are spent in.

    A kernel goes when all its operators can be computed by kernels that the model uses anyway, and: where flash has a
    weight (``flash_counts``), when the score of the ``whole`` falls; else when hardly any cycles are lost and ``keeps``
    (old choice, new choice) holds. ``one``: what one option adds to the score, to choose among the other kernels.
    Operators with a single option (pinned ones, too) stay.
    """
    current = list(chosen)
    allowance = TOLERANCE * sum(option.cycles for option in current)
    for kernel in sorted({option.kernel for option in current}, key=lambda k: _spent(current, k)):
        changed = _without(kernel, current, options, one)
        if changed is None:
            continue
        loss = sum(option.cycles for option in changed) - sum(option.cycles for option in current)
        if flash_counts:
            if whole(changed) < whole(current):
                current = changed
        elif loss <= allowance and keeps(current, changed):
            allowance -= loss
            current = changed
    return current


def _without(
    kernel: Kernel, chosen: Sequence[Option], options: Sequence[Sequence[Option]], one: Callable[[Option], float]
) -> list[Option] | None:
    """The choice without a kernel; None when an operator has no other that the model uses."""
    others = {option.kernel for option in chosen} - {kernel}
    changed = []
    for option, row in zip(chosen, options):
        if option.kernel == kernel:
            fit = [other for other in row if other.kernel in others]
            if not fit:
                return None
            option = min(fit, key=one)
        changed.append(option)
    return changed


def _spent(chosen: Sequence[Option], kernel: Kernel) -> tuple[float, str]:
    """Cycles that are spent in a kernel; its name settles ties."""
    return sum(option.cycles for option in chosen if option.kernel == kernel), kernel.name
