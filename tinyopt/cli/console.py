"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn


class Step(Protocol):
    """Called with (done, total) while a step is under way."""

    def __call__(self, done: int, total: int) -> None: ...


def console() -> Console:
    """Results. Where the output is no terminal, lines are not broken to fit one."""
    return Console() if sys.stdout.isatty() else Console(width=200, soft_wrap=True)


def errors() -> Console:
    """Messages, progress, notes."""
    return Console(stderr=True, soft_wrap=True)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


@contextmanager
def progress(text: str) -> Iterator[Step]:
    """A progress bar on standard error, or plain lines where that is no terminal."""
    terminal = errors()
    if not terminal.is_terminal:
        terminal.print(text)
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_notes(notes: str) -> None:
    """What an importer or the quantizer has to tell."""
    for note in notes.splitlines():
        errors().print(f"[yellow]note[/yellow]: {escape(note)}", highlight=False)
