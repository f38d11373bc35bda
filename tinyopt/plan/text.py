"""The plan as text: a table of calls, and a map of the arena over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyopt.graph import operator_macs
from tinyopt.names import short_name
from tinyopt.plan.lowering import constants_of

if TYPE_CHECKING:
    from tinyopt.plan.layout import Buffer
    from tinyopt.plan.plan import Plan

_MAP_COLUMNS = 64


def call_table(plan: Plan) -> str:
    """One line per call, and the totals."""
    rows = [("#", "operator", "kernel", "output", "MACs", "constants", "scratch", "offset")]
    for index, call in enumerate(plan.calls):
        shapes = " ".join("x".join(map(str, plan.graph.tensors[name].shape)) or "1" for name in call.outputs)
        rows.append(
            (
                str(index),
                short_name(call.operator.name, 36),
                call.kernel.name,
                short_name(shapes, 24),
                f"{operator_macs(plan.graph, call.operator):,}",
                f"{sum(constant.nbytes for constant in constants_of(call.parameters)):,}",
                f"{call.scratch:,}",
                " ".join(str(plan.offset(name)) for name in call.outputs[:4]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (1, 2, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_totals(plan)])


def _totals(plan: Plan) -> list[str]:
    above = plan.arena_bytes - plan.lower_bound
    verdict = "which no plan of these calls can beat" if above == 0 else f"{above:,} above the lower bound"
    origin = f"measured: {plan.costs.source}" if plan.costs.source else "rough estimate of the kernel catalogue"
    return [
        *backend_note(plan),
        f"arena    {plan.arena_bytes:>10,} bytes, {verdict}",
        f"weights  {plan.weights_bytes:>10,} bytes of flash",
        f"tables   {plan.tables_bytes:>10,} bytes of flash",
        f"cycles   {plan.cycles:>10,.0f} ({origin})",
    ]


def backend_note(plan: Plan) -> list[str]:
    """Which layers a library computes, and which not; nothing where none was named."""
    if plan.backend is None:
        return []
    native = [call for call in plan.calls if call.kernel.library is None]
    note = f"{len(plan.calls) - len(native)} of {len(plan.calls)} layers by {plan.backend.title}"
    if native:
        note += "; tinyopt's own kernels: " + ", ".join(
            f"{short_name(call.operator.name, 24)} ({call.kernel.name})" for call in native
        )
    return [note]


def memory_map(plan: Plan) -> str:
    """Buffers from the top of the arena down; ``#`` where one is needed, one column per call (or few calls)."""
    steps = len(plan.calls) + 1
    per_column = -(-steps // _MAP_COLUMNS)
    columns = -(-steps // per_column)
    ordered = sorted(plan.buffers, key=lambda b: (-b.offset, b.first))
    if not ordered:
        return "the arena is empty"
    width = len(f"{plan.arena_bytes:,}")
    label = max(min(max(len(b.name) for b in ordered), 32), len("buffer"))
    unit = "call" if per_column == 1 else f"{per_column} calls"
    lines = [
        f"arena of {plan.arena_bytes:,} bytes; one column is {unit}, the last one is after the run",
        f"{'offset':>{max(width, 6)}}  {'size':>{max(width, 4)}}  {'buffer':<{label}}  |{_ruler(columns, per_column)}|",
    ]
    for buffer in ordered:
        name = short_name(buffer.name, label)
        lines.append(
            f"{buffer.offset:>{max(width, 6)},}  {buffer.size:>{max(width, 4)},}  {name:<{label}}"
            f"  |{_bar(buffer, columns, per_column)}|"
        )
    return "\n".join(lines)


def _bar(buffer: Buffer, columns: int, per_column: int) -> str:
    mark = {"scratch": "s", "state": "="}.get(buffer.kind, "#")
    first, last = buffer.first // per_column, buffer.last // per_column
    return "".join(mark if first <= column <= last else "." for column in range(columns))


def _ruler(columns: int, per_column: int) -> str:
    text = [" "] * columns
    for column in range(0, columns, 10):
        number = str(column * per_column)
        if column + len(number) <= columns:
            text[column : column + len(number)] = number
    return "".join(text)
