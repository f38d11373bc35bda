"""The plan as text: a table of calls, and a map of the arena over time."""

from __future__ import annotations

from tinyopt.graph import operator_macs
from tinyopt.names import short_name
from tinyopt.plan.layout import Buffer
from tinyopt.plan.option import constants_of
from tinyopt.plan.plan import Plan
from tinyopt.plan.sparsity import sparsity_note

_MAP_COLUMNS = 64


def call_table(plan: Plan) -> str:
    """One line per call, and the totals."""
    rows = [("#", "operator", "kernel", "output", "MACs", "constants", "scratch", "offset")]
    for group in call_groups(plan):
        call = plan.calls[group[0]]
        shapes = " ".join("x".join(map(str, plan.graph.tensors[name].shape)) or "1" for name in call.outputs)
        name = short_name(plan.parts.get(call.operator.name, call.operator.name), 36)
        macs = sum(operator_macs(plan.graph, plan.calls[index].operator) for index in group)
        rows.append(
            (
                str(group[0]),
                name if len(group) == 1 else f"{name}, {len(group)} strips",
                call.kernel.name,
                short_name(shapes, 24),
                f"{macs:,}",
                f"{sum(constant.nbytes for constant in constants_of(call.parameters)):,}",
                f"{max(plan.calls[index].scratch for index in group):,}",
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


def call_groups(plan: Plan) -> list[list[int]]:
    """Indices of calls: one each, and together those that compute strips of one operator with one kernel, or move the
    rows between them."""
    groups: dict[object, list[int]] = {}
    for index, call in enumerate(plan.calls):
        part = plan.parts.get(call.operator.name)
        groups.setdefault(index if part is None else (part, call.kernel.name), []).append(index)
    return list(groups.values())


def strips_note(plan: Plan) -> list[str]:
    """What is computed in strips, and what that gains and costs; nothing where every operator is computed whole."""
    if plan.whole is None:
        return []
    arena, cycles = plan.whole
    more = 100 * (plan.cycles / cycles - 1)
    gain = f"{arena:,} bytes of arena without, {plan.arena_bytes:,} with; {more:+.1f} % of predicted cycles"
    return [f"strips of rows: {'; '.join(plan.strips)} ({gain}; no product is computed twice)"]


def _totals(plan: Plan) -> list[str]:
    above = plan.arena_bytes - plan.lower_bound
    verdict = "which no plan of these calls can beat" if above == 0 else f"{above:,} above the lower bound"
    origin = f"measured: {plan.costs.source}" if plan.costs.source else "rough estimate of the kernel catalogue"
    return [
        *backend_note(plan),
        *strips_note(plan),
        *sparsity_note(plan),
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
    lanes = _lanes(plan)
    if not lanes:
        return "the arena is empty"
    width = len(f"{plan.arena_bytes:,}")
    label = max(min(max(len(name) for name, _ in lanes), 32), len("buffer"))
    unit = "call" if per_column == 1 else f"{per_column} calls"
    lines = [
        f"arena of {plan.arena_bytes:,} bytes; one column is {unit}, the last one is after the run",
        f"{'offset':>{max(width, 6)}}  {'size':>{max(width, 4)}}  {'buffer':<{label}}  |{_ruler(columns, per_column)}|",
    ]
    for name, buffers in lanes:
        size = max(buffer.size for buffer in buffers)
        lines.append(
            f"{buffers[0].offset:>{max(width, 6)},}  {size:>{max(width, 4)},}  {short_name(name, label):<{label}}"
            f"  |{_bar(buffers, columns, per_column)}|"
        )
    return "\n".join(lines)


def _lanes(plan: Plan) -> list[tuple[str, list[Buffer]]]:
    """The lines of the map from the top of the arena down: a buffer each, and together those that hold rows of one
    tensor at one place."""
    origin = {
        name: plan.parts[operator.name]
        for operator in plan.graph.operators
        if operator.name in plan.parts
        for name in (*operator.outputs, f"scratch of {operator.name}")
    }
    lanes: dict[object, list[Buffer]] = {}
    for buffer in sorted(plan.buffers, key=lambda b: (-b.offset, b.first)):
        key = (origin[buffer.name], buffer.offset, buffer.kind) if buffer.name in origin else id(buffer)
        lanes.setdefault(key, []).append(buffer)
    named = []
    for buffers in lanes.values():
        name = origin.get(buffers[0].name, buffers[0].name)
        named.append(
            (f"scratch of {name}" if buffers[0].kind == "scratch" and name in plan.parts.values() else name, buffers)
        )
    return named


def _bar(buffers: list[Buffer], columns: int, per_column: int) -> str:
    marks = ["."] * columns
    for buffer in buffers:
        for column in range(buffer.first // per_column, buffer.last // per_column + 1):
            marks[column] = {"scratch": "s", "state": "="}.get(buffer.kind, "#")
    return "".join(marks)


def _ruler(columns: int, per_column: int) -> str:
    text = [" "] * columns
    for column in range(0, columns, 10):
        number = str(column * per_column)
        if column + len(number) <= columns:
            text[column : column + len(number)] = number
    return "".join(text)
