"""What ``tinyopt hil compare`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from tinyopt.cli.console import console, print_json
from tinyopt.errors import DataError, LimitError


def compare_files(
    before: Path,
    after: Path,
    limits: Mapping[str, str | None],
    *,
    junit: Path | None,
    markdown: Path | None,
    json_output: bool,
) -> None:
    """Compare two results files and print what changed. ``limits``: by metric, as they were written.

    Raises:
        DataError: a file or a limit that cannot be used.
        LimitError: a limit is broken.
    """
    from hil.bench.compare import compare_results, parse_limit
    from hil.bench.documents import COLUMNS, cells, limit, shown, to_json, to_junit, to_markdown
    from hil.bench.results import read_results

    parsed = [parse_limit(key, text) for key, text in limits.items() if text is not None]
    comparison = compare_results(read_results(before), read_results(after), parsed)
    if junit is not None:
        _write(junit, to_junit(comparison))
    if markdown is not None:
        _write(markdown, to_markdown(comparison).encode())
    if json_output:
        print_json(to_json(comparison))
    else:
        table = Table()
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("metric", "verdict", "limit") else "right")
        for row in comparison.rows:
            table.add_row(*cells(row), style="red" if row.broken else None)
        console().print(table)
        if comparison.changed_outputs is not None:
            console().print(f"samples whose outputs changed: {comparison.changed_outputs:,}", highlight=False)
        for note in comparison.notes:
            console().print(f"[yellow]note[/yellow]: {note}", highlight=False)
    if comparison.broken:
        listed = "; ".join(
            f"{row.metric.title} is {shown(row.metric, row.after)}, limit {limit(row)}" for row in comparison.broken
        )
        raise LimitError(f"{len(comparison.broken)} of {len(parsed)} limits broken: {listed}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
