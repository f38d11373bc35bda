"""Fewer kernels where the loss is small: code that hardly anything uses is flash for nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tinyopt.plan.kernel import Kernel
from tinyopt.plan.option import Option

TOLERANCE = 0.005
"""Where flash has no weight, kernels are given up as long as the model's predicted cycles rise by no more than this
part altogether."""
CYCLES_PER_BYTE = 2e-6
"""And where a smaller kernel, used nowhere else, takes another's place: by no more than this part for each byte of code
that it saves."""


def drop_kernels(
    chosen: Sequence[Option],
    options: Sequence[Sequence[Option]],
    *,
    one: Callable[[Option], float],
    whole: Callable[[Sequence[Option]], float],
    keeps: Callable[[Sequence[Option], Sequence[Option]], bool],
    code: Callable[[Kernel], int],
    flash_counts: bool,
) -> list[Option]:
    """The choice with kernels given up, those first that the fewest cycles are spent in.

    A kernel goes when all its operators can be computed by kernels that the model uses anyway, or all by one smaller
    kernel, and: where flash has a weight (``flash_counts``), when the score of the ``whole`` falls; else when hardly
    any cycles are lost and ``keeps`` (old choice, new choice) holds. ``one``: what one option adds to the score, to
    choose among the other kernels. ``code``: bytes of a kernel's code. Operators with a single option (pinned ones,
    too) stay.
    """
    current = list(chosen)
    total = sum(option.cycles for option in current)
    allowance = TOLERANCE * total
    for kernel in sorted({option.kernel for option in current}, key=lambda k: _spent(current, k)):
        used = {option.kernel for option in current} - {kernel}
        changed = _without(kernel, used, current, options, one)
        limit = allowance
        if changed is None:
            changed = _smaller(kernel, current, options, one, code)
            if changed is None:
                continue
            saved = code(kernel) - sum(code(k) for k in {option.kernel for option in changed} - used)
            limit = min(allowance, CYCLES_PER_BYTE * total * saved)
        loss = sum(option.cycles for option in changed) - sum(option.cycles for option in current)
        if flash_counts:
            if whole(changed) < whole(current):
                current = changed
        elif loss <= limit and keeps(current, changed):
            allowance -= loss
            current = changed
    return current


def _smaller(
    kernel: Kernel,
    chosen: Sequence[Option],
    options: Sequence[Sequence[Option]],
    one: Callable[[Option], float],
    code: Callable[[Kernel], int],
) -> list[Option] | None:
    """The choice with one other kernel of less code in a kernel's place, the best there is; None when there is none."""
    rows = [{o.kernel for o in row} for option, row in zip(chosen, options) if option.kernel == kernel]
    fit = [other for other in set.intersection(*rows) if code(other) < code(kernel)]
    choices = [c for c in (_without(kernel, {other}, chosen, options, one) for other in fit) if c is not None]
    names = [sorted({option.kernel.name for option in choice}) for choice in choices]
    ranked = sorted(zip(choices, names), key=lambda pair: (sum(map(one, pair[0])), pair[1]))
    return ranked[0][0] if ranked else None


def _without(
    kernel: Kernel,
    others: Collection[Kernel],
    chosen: Sequence[Option],
    options: Sequence[Sequence[Option]],
    one: Callable[[Option], float],
) -> list[Option] | None:
    """The choice without a kernel; None when an operator can be computed by none of ``others``."""
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
