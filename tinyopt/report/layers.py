"""The report of single layers: a table that fits the terminal, and a CSV file that holds everything."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from tinyopt.errors import DataError
from tinyopt.names import short_name

Number = int | float | None
DASH = "–"
NAME_WIDTH = 28
SPACING = 3
"""Characters that a column takes besides its text."""


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
    """Of the core; estimated on emulated boards."""
    predicted_cycles: float | None = None
    """What the planner expected, before anything ran."""
    nanoseconds: int | None = None
    bytes_read: int | None = None
    """Data that loads read from all memories, weights included."""
    bytes_written: int | None = None
    energy_nj: float | None = None
    """Estimated from cycles."""

    @property
    def time(self) -> int | None:
        """What layers are compared by: cycles, else instructions, else nanoseconds."""
        return next((v for v in (self.cycles, self.instructions, self.nanoseconds) if v is not None), None)

    @property
    def time_per_mac(self) -> float | None:
        """Cycles per multiply-accumulate (instructions or nanoseconds where there are no cycles)."""
        return self.time / self.macs if self.time is not None and self.macs else None


@dataclass(frozen=True)
class _Column:
    """``rank``: which columns stay when the terminal is narrow, the lowest first."""

    title: str
    rank: int
    text: Callable[[LayerReport], str]
    number: bool = True


def count(value: Number) -> str:
    """A number with thousands apart; a dash for what the board cannot tell."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def time_unit(layers: Sequence[LayerReport]) -> str:
    """What ``LayerReport.time`` is: ``cycle``, ``instruction`` or ``ns``."""
    if any(layer.cycles is not None for layer in layers):
        return "cycle"
    return "instruction" if any(layer.instructions is not None for layer in layers) else "ns"


def shares(layers: Sequence[LayerReport]) -> list[float | None]:
    """Part of the total of all layers, by ``LayerReport.time``."""
    times = [layer.time for layer in layers]
    total = sum(time or 0 for time in times)
    return [time / total if time is not None and total else None for time in times]


def _columns(layers: Sequence[LayerReport]) -> list[_Column]:
    """Every column that says something of these layers, in order."""
    share = dict(zip((id(layer) for layer in layers), shares(layers)))

    def percent(layer: LayerReport) -> str:
        part = share[id(layer)]
        return DASH if part is None else f"{part:.1%}"

    unit = {"cycle": "cycles", "instruction": "instr.", "ns": "ns"}[time_unit(layers)]
    optional = [
        ("instructions", 4, "instructions", lambda layer: count(layer.instructions)),
        ("cycles", 1, "cycles", lambda layer: count(layer.cycles)),
        ("predicted", 5, "predicted_cycles", lambda layer: count(layer.predicted_cycles)),
        ("ns", 5, "nanoseconds", lambda layer: count(layer.nanoseconds)),
        ("read", 6, "bytes_read", lambda layer: count(layer.bytes_read)),
        ("written", 6, "bytes_written", lambda layer: count(layer.bytes_written)),
        ("nJ", 7, "energy_nj", lambda layer: count(layer.energy_nj)),
    ]
    told = [
        _Column(title, rank, text)
        for title, rank, field, text in optional
        if any(getattr(layer, field) is not None for layer in layers) or title in ("instructions", "cycles")
    ]
    return [
        _Column("layer", 0, lambda layer: short_name(layer.name, NAME_WIDTH), number=False),
        _Column("operator", 8, lambda layer: layer.operator, number=False),
        _Column("kernel", 2, lambda layer: layer.kernel, number=False),
        _Column("MACs", 3, lambda layer: count(layer.macs) if layer.macs else ""),
        _Column("weights", 8, lambda layer: count(layer.weights_bytes) if layer.weights_bytes else ""),
        *told,
        _Column(f"{unit}/MAC", 3, lambda layer: _ratio(layer.time_per_mac) if layer.macs else ""),
        _Column("share", 1, percent),
    ]


@dataclass(frozen=True)
class LayerTable:
    """The table of layers with as many columns as the terminal is wide; ``--json`` and ``--layers`` have them all."""

    layers: tuple[LayerReport, ...]

    def table(self, width: int) -> Table:
        """The columns that fit into ``width`` characters, the most important first."""
        columns = _columns(self.layers)
        cells = {column.title: [column.text(layer) for layer in self.layers] for column in columns}
        chosen: set[str] = set()
        left = width - 1
        for column in sorted(columns, key=lambda c: c.rank):
            needed = max(len(text) for text in [column.title, *cells[column.title]]) + SPACING
            if needed <= left or column.rank == 0:
                chosen.add(column.title)
                left -= needed
        hidden = [column.title for column in columns if column.title not in chosen]
        caption = f"not shown: {', '.join(hidden)} (--layers FILE, --json)" if hidden else None
        table = Table(title="per layer", title_justify="left", caption=caption, caption_justify="left")
        shown = [column for column in columns if column.title in chosen]
        for column in shown:
            table.add_column(column.title, justify="right" if column.number else "left", no_wrap=True)
        for row in zip(*(cells[column.title] for column in shown)):
            table.add_row(*row)
        return table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.table(options.max_width))


def layer_facts(layers: Sequence[LayerReport]) -> list[dict[str, str | int | float | None]]:
    """All fields of every layer, its time per MAC (``cycles_per_mac``, ``instructions_per_mac`` or ``ns_per_mac``) and
    its share of the total, as plain data."""
    unit = {"cycle": "cycles", "instruction": "instructions", "ns": "ns"}[time_unit(layers)]
    return [
        {**asdict(layer), f"{unit}_per_mac": _rounded(layer.time_per_mac), "share": _rounded(share)}
        for layer, share in zip(layers, shares(layers))
    ]


def write_csv(layers: Sequence[LayerReport], path: Path) -> None:
    """``layer_facts``, one line a layer. What the board cannot tell is empty.

    Raises:
        DataError: when the file cannot be written.
    """
    facts = layer_facts(layers)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, facts[0] if facts else ["name"])
            writer.writeheader()
            writer.writerows(facts)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
