"""Where the figures of a run go: the terminal, a file of JSON lines, TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tinyopt.train.loop import EpochLog


def describe(log: EpochLog) -> str:
    """One line for people."""
    parts = [f"epoch {log.epoch}", f"loss {log.train_loss:.4f}"]
    if log.validation_loss is not None:
        parts.append(f"validation loss {log.validation_loss:.4f}")
    if log.validation_accuracy is not None:
        parts.append(f"accuracy {100 * log.validation_accuracy:.2f} %")
    return ", ".join([*parts, f"{log.seconds:.1f} s"])


class Display(Protocol):
    """What the loop tells while it runs."""

    def step(self, done: int, loss: float) -> None: ...
    def epoch(self, log: EpochLog) -> None: ...


class _Silent:
    def step(self, done: int, loss: float) -> None: ...
    def epoch(self, log: EpochLog) -> None: ...


class _Lines(_Silent):
    def __init__(self, console: Console) -> None:
        self._console = console

    def epoch(self, log: EpochLog) -> None:
        self._console.print(describe(log), highlight=False)


class _Bar(_Lines):
    def __init__(self, console: Console, bar: Progress, total: int) -> None:
        super().__init__(console)
        self._bar, self._task = bar, bar.add_task("training", total=total)

    def step(self, done: int, loss: float) -> None:
        self._bar.update(self._task, completed=done, description=f"loss {loss:.4f}")


@contextmanager
def display(total_steps: int, wanted: bool | None) -> Iterator[Display]:
    """Progress on standard error: a bar on a terminal; elsewhere one line an epoch, only when ``wanted`` is True."""
    console = Console(stderr=True, soft_wrap=True)
    if wanted is False or (wanted is None and not console.is_terminal):
        yield _Silent()
    elif not console.is_terminal:
        yield _Lines(console)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            yield _Bar(console, bar, total_steps)


def write_lines(path: Path, history: Sequence[EpochLog]) -> None:
    """All epochs so far, one JSON object a line; replaced whole, so that a continued run has no epoch twice."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text("".join(json.dumps(asdict(log)) + "\n" for log in history))
    temporary.replace(path)


class TensorBoard:
    """Scalars for TensorBoard, where the package ``tensorboard`` is installed; else nothing."""

    def __init__(self, folder: Path | None, first_epoch: int) -> None:
        self._writer: Any = None
        if folder is not None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def epoch(self, log: EpochLog) -> None:
        if self._writer is None:
            return
        for name, value in asdict(log).items():
            if name != "epoch" and value is not None:
                self._writer.add_scalar(name.replace("_", "/", 1), value, log.epoch)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
