"""The table of measurements: one JSON file beside the board, written so that it is whole at every moment."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tinyopt.board import Board
from tinyopt.errors import DataError

LARGEST_BYTES = 64 << 20
Unit = Literal["cycles", "instructions", "nanoseconds"]
_Text = Annotated[str, Field(min_length=1, max_length=4096)]
_Positive = Annotated[float, Field(gt=0, lt=1e18, allow_inf_nan=False)]
_Bytes = Annotated[int, Field(ge=0, lt=1 << 40)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Context(_Model):
    """What a measurement depends on besides operator and kernel. A change of any of it makes the measurement stale."""

    board: _Text
    board_digest: _Text
    """Of everything in the board file that can change a count: core, memories, clock, toolchain, emulator."""
    compiler: _Text
    flags: str
    counter: _Text
    """What counted: the cycle model, with a digest of its sources, or the device itself."""
    unit: Unit


class Entry(_Model):
    """One kernel on one operator."""

    operator: _Text
    """See ``tinyopt.plan.costs.signature``."""
    kernel: _Text
    source: _Text
    """Digest of the kernel's C files."""
    context: Annotated[int, Field(ge=0)]
    """Index into the table's contexts."""
    count: _Positive
    """What an inference spends in the operator, in the context's unit."""
    predicted: Annotated[float, Field(ge=0, lt=1e18, allow_inf_nan=False)]
    """Cycles by the kernel's formula when it was measured."""
    code_bytes: _Bytes
    constant_bytes: _Bytes
    scratch_bytes: _Bytes

    @property
    def key(self) -> tuple[int, str, str]:
        return self.context, self.operator, self.kernel


class TuningTable(_Model):
    """Measurements, possibly of several models, compilers and states of the kernels."""

    format: Literal["tinyopt tuning table"] = "tinyopt tuning table"
    version: Literal[1] = 1
    contexts: Annotated[tuple[Context, ...], Field(strict=False)] = ()
    entries: Annotated[tuple[Entry, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check(self) -> TuningTable:
        for index, entry in enumerate(self.entries):
            if entry.context >= len(self.contexts):
                raise ValueError(f"entry {index} names context {entry.context} of {len(self.contexts)}")
        return self

    def with_entries(self, context: Context, entries: Iterable[Entry]) -> TuningTable:
        """The table with measurements of one context added; they replace those of the same operator and kernel.

        The ``context`` index of the given entries does not matter. For each board, operator and kernel there is one
        measurement: what was measured under other conditions goes, too.
        """
        contexts = list(self.contexts)
        if context not in contexts:
            contexts.append(context)
        index = contexts.index(context)
        fresh = {(e.operator, e.kernel): e.model_copy(update={"context": index}) for e in entries}
        kept = [
            entry
            for entry in self.entries
            if not ((entry.operator, entry.kernel) in fresh and contexts[entry.context].board == context.board)
        ]
        return TuningTable(contexts=tuple(contexts), entries=(*kept, *fresh.values()))._compact()

    def _compact(self) -> TuningTable:
        used = sorted({entry.context for entry in self.entries})
        renumbered = {old: new for new, old in enumerate(used)}
        return TuningTable(
            contexts=tuple(self.contexts[index] for index in used),
            entries=tuple(e.model_copy(update={"context": renumbered[e.context]}) for e in self.entries),
        )


def default_table_path(board_name: str | Path, board: Board, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the table of a board is: beside a board file, else in the user's data folder.

    ``board_name``: what the board was named by (a name, or the path of its file).
    """
    path = Path(board_name)
    if path.suffix in (".yaml", ".yml"):
        return path.with_name(f"{path.stem}.tuning.json")
    base = Path(environment.get("XDG_DATA_HOME", ""))
    folder = base if base.is_absolute() else Path.home() / ".local" / "share"
    return folder / "tinyopt" / "tuning" / f"{board.name}.json"


def load_table(path: Path) -> TuningTable:
    """A table from its file.

    Raises:
        DataError: when the file cannot be read or is no table; says how to go on without it.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise _broken(path, f"it is larger than {LARGEST_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot read the tuning table {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _broken(path, f"it is not text ({error.reason})") from None
    try:
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"it is not JSON: {str(error)[:200]}") from None
    if isinstance(document, dict) and document.get("version", 1) != 1:
        raise _broken(path, f"its version is {str(document['version'])[:20]!r}, and this tinyopt reads version 1")
    if not isinstance(document, dict) or "format" not in document:
        raise _broken(path, "it lacks the field 'format'")
    try:
        return TuningTable.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "table"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise _broken(path, f"{where}: {first['msg']}{more}") from None


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _broken(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not a usable tuning table: {why}. Delete it and run `tinyopt tune` again, "
        "or plan without it: --tuning none"
    )


def save_table(table: TuningTable, path: Path) -> None:
    """Write a table beside its place and move it there: whoever reads sees the old one or the new one, whole.

    Raises:
        DataError: when the disk refuses.
    """
    text = json.dumps(table.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as stream:
            temporary = Path(stream.name)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write the tuning table {path}: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
