"""The file that a run leaves: JSON lines, one object a line, written as it goes.

The first line is the header (``"kind": "header"``), then one line per sample in order, lines for events (a device that
came back after a fault), and at the end the summary. A line is written whole or not at all, so that a run that was
stopped, in whatever way, can go on after the last one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tinyopt.errors import DataError

FORMAT, VERSION = "tinyopt-results", 1
IDENTITY = ("board", "emulated", "model", "firmware", "data", "options", "seed")
"""Fields of the header that must be the same for a run to go on."""


def results_header(**facts: Any) -> dict[str, Any]:
    """The first line of a file, with what makes the run what it is (the fields of ``IDENTITY``, and any others)."""
    return {"kind": "header", "format": FORMAT, "version": VERSION, **facts}


@dataclass(frozen=True)
class Results:
    """A results file that was read. ``samples`` are complete: indices 0, 1, 2 … without a gap."""

    path: Path
    header: Mapping[str, Any]
    samples: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any] | None
    whole_bytes: int
    """Length of the file up to the end of its last whole line."""


def read_results(path: Path) -> Results:
    """Read a results file; a last line that is not whole is left out.

    Raises:
        DataError: no such file, not a results file, or one with lines missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read results {path}: {error.strerror}") from None
    whole = content.rfind(b"\n") + 1
    header: Mapping[str, Any] | None = None
    samples: list[Mapping[str, Any]] = []
    events: list[Mapping[str, Any]] = []
    summary: Mapping[str, Any] | None = None
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            item = json.loads(line)
            kind = item["kind"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DataError(f"{path}, line {number}, is no line of a results file") from None
        if number == 1:
            if kind != "header" or item.get("format") != FORMAT:
                raise DataError(f"{path} is no results file: it does not begin with a header of `tinyopt hil run`")
            if item.get("version") != VERSION:
                raise DataError(f"{path} has version {item.get('version')} of the format; this program reads {VERSION}")
            header = item
        elif kind == "sample":
            if item.get("index") != len(samples):
                raise DataError(f"{path}, line {number}: sample {item.get('index')} comes after {len(samples) - 1}")
            samples.append(item)
        elif kind == "event":
            events.append(item)
        elif kind == "summary":
            summary = item
        else:
            raise DataError(f"{path}, line {number}: lines of kind '{kind}' are not known")
    if header is None:
        raise DataError(f"{path} holds no results yet; run without --resume")
    return Results(path, header, tuple(samples), tuple(events), summary, whole)


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with another run.

    Raises:
        DataError: names what differs.
    """
    different = [field for field in IDENTITY if _comparable(old.get(field)) != _comparable(new.get(field))]
    if different:
        field = different[0]
        raise DataError(
            f"{path} is of another run: its {field} is {_short(old.get(field))}, now {_short(new.get(field))}. "
            "Give another file, or start anew with --force"
        )


def _comparable(value: Any) -> Any:
    """Without what may differ between runs of the same: names and sizes beside an identity."""
    if isinstance(value, Mapping):
        for key in ("id", "sha256"):
            if value.get(key):
                return {key: value[key], "samples": value.get("samples")}
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    text = json.dumps(_comparable(value))
    return text if len(text) <= 120 else text[:117] + "..."


class ResultsWriter:
    """Writes a results file line by line; a context manager. One process at a time.

    Raises:
        DataError: the file cannot be opened, or another process writes it.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        """``keep``: bytes at the beginning that stay, from the run that goes on."""
        self.path = path
        self.lines = 0
        try:
            self._stream = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"cannot write results to {path}: {error.strerror}") from None
        try:
            _lock(self._stream, path)
            os.ftruncate(self._stream, keep)
            os.lseek(self._stream, keep, os.SEEK_SET)
        except OSError as error:
            os.close(self._stream)
            raise DataError(f"cannot write results to {path}: {error.strerror}") from None
        except BaseException:
            os.close(self._stream)
            raise
        self._end = keep

    def write(self, item: Mapping[str, Any]) -> None:
        """Append one line, whole.

        Raises:
            DataError: the disk is full or fails; what was written before is kept.
        """
        data = (json.dumps(item, separators=(",", ":"), allow_nan=False) + "\n").encode()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._stream, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream, self._end)
            raise DataError(
                f"cannot write to {self.path}: {error.strerror}; what was written before is kept. "
                "Make room and go on with --resume"
            ) from None
        self._end += len(data)
        self.lines += 1

    def close(self) -> None:
        """Release the file."""
        with contextlib.suppress(OSError):
            os.fsync(self._stream)
        os.close(self._stream)

    def __enter__(self) -> ResultsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(stream: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError(f"another process is writing {path}; give another file") from None


def events_of(results: Results, name: str) -> Sequence[Mapping[str, Any]]:
    """The events of one name."""
    return [event for event in results.events if event.get("event") == name]
