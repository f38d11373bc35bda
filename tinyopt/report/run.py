"""The report of a run: one JSON object for machines, one table for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from tinyopt.report.compare import Comparison
from tinyopt.report.layers import LayerReport, LayerTable, count, layer_facts


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
    nanoseconds: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    energy_nj: float | None = None
    layers: tuple[LayerReport, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {**asdict(self), "layers": layer_facts(self.layers)}


def per_class(comparison: Comparison) -> tuple[dict[str, int], ...]:
    """The per-class accuracy as plain data."""
    return tuple(asdict(item) for item in comparison.per_class)


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
    cycles = count(report.cycles) + (
        " (estimated)" if report.cycles is not None and report.cycles_are_estimated else ""
    )
    rows += [
        ("instructions per inference", count(report.instructions)),
        ("cycles per inference", cycles),
        *_optional_rows(report),
        ("MACs per inference", f"{report.macs:,}"),
        ("flash, code and tables", f"{report.code_bytes:,} bytes"),
        ("flash, weights", f"{report.weights_bytes:,} bytes"),
        ("RAM, arena", f"{report.arena_bytes:,} bytes (lower bound {report.arena_lower_bound:,})"),
        ("RAM, stack high-water mark", "–" if report.stack_bytes is None else f"{report.stack_bytes:,} bytes"),
        ("whole firmware, flash / RAM", f"{report.flash_total_bytes:,} / {report.ram_total_bytes:,} bytes"),
    ]
    return rows


def _optional_rows(report: RunReport) -> list[tuple[str, str]]:
    """What only some boards can tell."""
    rows = []
    if report.nanoseconds is not None:
        rows.append(("time per inference", f"{report.nanoseconds / 1000:,.1f} microseconds"))
    if report.bytes_read is not None and report.bytes_written is not None:
        rows.append(("data read / written", f"{report.bytes_read:,} / {report.bytes_written:,} bytes"))
    if report.energy_nj is not None:
        rows.append(("energy per inference", f"{report.energy_nj / 1000:,.1f} microjoules (estimated)"))
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
        parts.append(LayerTable(report.layers))
    parts += [f"[yellow]note[/yellow]: {note}" for note in report.notes]
    return Group(*parts)
