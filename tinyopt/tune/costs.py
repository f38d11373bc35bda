"""From the table to the planner: the measurements that hold here and now, as cycles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyopt.board import Board
from tinyopt.plan.catalogue import all_kernels
from tinyopt.plan.costs import Costs, Measured, core_costs
from tinyopt.plan.kernel import Kernel
from tinyopt.tune.context import compiler_version, context_of, kernel_digest
from tinyopt.tune.table import Context, Entry, TuningTable, Unit

_PREFERRED: tuple[Unit, ...] = ("cycles", "nanoseconds", "instructions")


@dataclass(frozen=True)
class TunedCosts:
    """Costs for the planner, and what a person should know about them (one sentence each)."""

    costs: Costs
    used: int
    """Measurements that hold."""
    stale: int
    """Measurements of this board that do not: a kernel, the compiler, the flags, the board or the counter changed."""
    notes: tuple[str, ...]


def usable_entries(
    table: TuningTable, board: Board, more: Iterable[Kernel] = ()
) -> tuple[Context | None, tuple[Entry, ...]]:
    """The measurements that hold on this board now, all in one unit. ``more``: kernels beside those of the catalogue.

    Where the compiler is not installed, the one that the table was measured with is taken for granted.
    """
    compiler = compiler_version(board)
    named = {entry.kernel for entry in table.entries}
    digests = {kernel.name: kernel_digest(kernel) for kernel in (*all_kernels(), *more) if kernel.name in named}
    for unit in _PREFERRED:
        fitting = [
            index
            for index, context in enumerate(table.contexts)
            if context == context_of(board, compiler or context.compiler, unit)
        ]
        for index in fitting:
            entries = tuple(e for e in table.entries if e.context == index and digests.get(e.kernel) == e.source)
            if entries:
                return table.contexts[index], entries
    return None, ()


def tuned_costs(table: TuningTable, board: Board, path: Path, more: Iterable[Kernel] = ()) -> TunedCosts:
    """What the planner is to use. ``more``: kernels beside those of the catalogue."""
    more = tuple(more)
    context, entries = usable_entries(table, board, more)
    mine = [e for e in table.entries if table.contexts[e.context].board == board.name]
    used = {id(entry) for entry in entries}
    known = {kernel.name for kernel in (*all_kernels(), *more)}
    stale = sum(1 for entry in mine if entry.kernel in known and id(entry) not in used)
    notes = []
    if entries:
        notes.append(f"planned from {len(entries):,} measurements of {path}")
    if stale:
        notes.append(
            f"{stale:,} measurements of {path} are stale (kernels, compiler, flags, board or counter changed) and "
            "were ignored; run `tinyopt tune` again"
        )
    if table.entries and not mine:
        names = ", ".join(sorted({context.board for context in table.contexts}))
        notes.append(f"{path} has measurements of {names}, none of {board.name}; it was ignored")
    return TunedCosts(costs_of(context, entries, board, str(path)), len(entries), stale, tuple(notes))


def costs_of(context: Context | None, entries: Sequence[Entry], board: Board, source: str) -> Costs:
    """Counts as cycles. Nanoseconds become cycles by the board's clock, instructions by what the formulas say on the
    whole: only their ratios matter for the choice."""
    if context is None or not entries:
        return core_costs(board)
    scale = 1.0
    if context.unit == "nanoseconds":
        scale = board.clock_hz / 1e9
    elif context.unit == "instructions":
        predicted = sum(entry.predicted for entry in entries)
        scale = predicted / sum(entry.count for entry in entries) if predicted else 1.0
    return Costs.of(
        (Measured(e.operator, e.kernel, e.count * scale, e.predicted, e.code_bytes) for e in entries),
        source,
        core_costs(board),
    )
