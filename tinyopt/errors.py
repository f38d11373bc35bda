"""The errors that tinyopt raises on purpose.

Every message is written for the person at the terminal: it names the thing that is wrong and the way out. The
command line prints the message alone (no traceback) and leaves with the exit code of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyopt.names import short_name


class TinyoptError(Exception):
    """Base of every expected failure. ``exit_code`` is what the command line returns."""

    exit_code = 1


class ModelError(TinyoptError):
    """A model file is corrupt, truncated, inconsistent, or holds values that cannot be used (NaN weights)."""

    exit_code = 3


class GraphError(ModelError):
    """A graph breaks a rule of the intermediate representation (shapes, dtypes, quantization, order)."""


@dataclass(frozen=True)
class Unsupported:
    """One operator that cannot be handled: its type in the source format, its name there, and why."""

    operator: str
    name: str
    reason: str


class UnsupportedOperatorsError(ModelError):
    """A model needs operators that tinyopt does not have. All of them are listed at once."""

    exit_code = 4

    def __init__(self, source: str, version: str, items: Sequence[Unsupported], *, advice: str = "") -> None:
        self.source = source
        self.version = version
        self.items = tuple(items)
        lines = [f"{source} ({version}) uses {len(self.items)} operator(s) that are not supported:"]
        lines += [f"  {item.operator:<24} {short_name(item.name) or '(unnamed)'}: {item.reason}" for item in self.items]
        lines.append(advice or "Replace these layers, or export the model with other operators.")
        super().__init__("\n".join(lines))


class NotApplicableError(ModelError):
    """A technique does not apply to some layers, and was asked to stop there instead of leaving them as they are.

    ``reasons``: which layer and why, one line each.
    """

    def __init__(self, technique: str, reasons: Sequence[str], *, advice: str = "") -> None:
        self.reasons = tuple(reasons)
        lines = [f"{technique} does not apply to every layer:", *(f"  {reason}" for reason in self.reasons)]
        lines.append(advice or "Without 'strict', these layers are left as they are.")
        super().__init__("\n".join(lines))


class DataError(TinyoptError):
    """Input or calibration data cannot be read or does not fit the model."""

    exit_code = 5


class BoardError(TinyoptError):
    """A board is unknown, its file is wrong, or it is too small for the model."""

    exit_code = 6


class ToolError(TinyoptError):
    """An external program (compiler, emulator, flasher) is missing or failed."""

    exit_code = 7


class DeviceError(TinyoptError):
    """A device (real or emulated) does not answer, or answers nonsense."""

    exit_code = 8


class MismatchError(TinyoptError):
    """The device finished but its outputs differ from the reference."""

    exit_code = 2


class TrainingError(TinyoptError):
    """Training diverged, or a checkpoint cannot be used."""

    exit_code = 9


class RecipeError(TinyoptError):
    """A recipe file is wrong, or its stages cannot follow each other."""

    exit_code = 10


class BudgetError(TinyoptError):
    """A budget was not met; the message says what was found and by how much it misses."""

    exit_code = 11


class LimitError(TinyoptError):
    """A run breaks a limit that was set for it; the message lists which."""

    exit_code = 1
