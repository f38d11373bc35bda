"""The report of a run: one JSON object for machines, one table for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from tinyopt.names import short_name
from tinyopt.report.compare import Comparison


@dataclass(frozen=True)
class LayerReport:
    """One operator on the device. Counts are per inference; None where the board cannot tell."""

    name: str
    operator: str
    kernel: str
    macs: int
    weights_bytes: int
    instructions: int | None = None
    cycles: int | None = None
    predicted_cycles: float | None = None
    """What the planner expected, before anything ran."""


@dataclass(frozen=True)
class RunReport:
    """Everything that a run measured; see ``tinyopt run --help`` for the meaning of each field."""

    model: str
    board: str
    emulated: bool
    samples: int
    mismatches: int
    first_mismatch: str | None
    exact: bool
    top1: float | None
    per_class: tuple[dict[str, int], ...]
    instructions: int | None
    cycles: int | None
    cycles_are_estimated: bool
    macs: int
    arena_bytes: int
    arena_lower_bound: int
    code_bytes: int
    weights_bytes: int
    stack_bytes: int | None
    flash_total_bytes: int
    ram_total_bytes: int
    compiler: str
    seconds: float
    layers: tuple[LayerReport, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self)


def per_class(comparison: Comparison) -> tuple[dict[str, int], ...]:
    """The per-class accuracy as plain data."""
    return tuple(asdict(item) for item in comparison.per_class)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def summary_rows(report: RunReport) -> list[tuple[str, str]]:
    """Label and value of every line of the summary."""
    kind = "emulated" if report.emulated else "device"
    match = "bit for bit" if report.exact else "within float rounding"
    rows = [
        ("model", report.model),
        ("board", f"{report.board} ({kind})"),
        ("samples", f"{report.samples:,}"),
        ("mismatches", f"{report.mismatches:,} ({match}, against the reference executor)"),
    ]
    if report.top1 is not None:
        rows.append(("top-1 accuracy", f"{report.top1:.2%}"))
    cycles = _count(report.cycles) + (
        " (estimated)" if report.cycles is not None and report.cycles_are_estimated else ""
    )
    rows += [
        ("instructions per inference", _count(report.instructions)),
        ("cycles per inference", cycles),
        ("MACs per inference", f"{report.macs:,}"),
        ("flash, code and tables", f"{report.code_bytes:,} bytes"),
        ("flash, weights", f"{report.weights_bytes:,} bytes"),
        ("RAM, arena", f"{report.arena_bytes:,} bytes (lower bound {report.arena_lower_bound:,})"),
        ("RAM, stack high-water mark", "–" if report.stack_bytes is None else f"{report.stack_bytes:,} bytes"),
        ("whole firmware, flash / RAM", f"{report.flash_total_bytes:,} / {report.ram_total_bytes:,} bytes"),
    ]
    return rows


def render(report: RunReport, *, layers: bool = True) -> RenderableType:
    """The report as rich tables."""
    summary = Table(show_header=False, box=None, pad_edge=False)
    summary.add_column(style="bold")
    summary.add_column()
    for label, value in summary_rows(report):
        summary.add_row(label, value)
    parts: list[RenderableType] = [summary]
    if report.first_mismatch:
        parts.append(f"[red]first mismatch[/red]: {report.first_mismatch}")
    if report.per_class:
        table = Table(title="accuracy per class", title_justify="left")
        for column in ("class", "samples", "correct", "accuracy"):
            table.add_column(column, justify="right")
        for item in report.per_class:
            share = item["correct"] / item["total"] if item["total"] else 0.0
            table.add_row(str(item["label"]), f"{item['total']:,}", f"{item['correct']:,}", f"{share:.1%}")
        parts.append(table)
    if layers and report.layers:
        parts.append(layer_table(report))
    parts += [f"[yellow]note[/yellow]: {note}" for note in report.notes]
    return Group(*parts)


def layer_table(report: RunReport) -> Table:
    """Per layer: kernel, MACs, weights, instructions, share of the total."""
    table = Table(title="per layer", title_justify="left")
    columns = (
        ("layer", False),
        ("operator", False),
        ("kernel", False),
        ("MACs", True),
        ("weights", True),
        ("instructions", True),
        ("cycles", True),
        ("share", True),
    )
    for column, right in columns:
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    counted = [layer.cycles if report.cycles is not None else layer.instructions for layer in report.layers]
    total = sum(value or 0 for value in counted)
    for layer, value in zip(report.layers, counted):
        table.add_row(
            short_name(layer.name, 28),
            layer.operator,
            layer.kernel,
            f"{layer.macs:,}" if layer.macs else "",
            f"{layer.weights_bytes:,}" if layer.weights_bytes else "",
            _count(layer.instructions),
            _count(layer.cycles),
            f"{value / total:.1%}" if value and total else "",
        )
    return table
