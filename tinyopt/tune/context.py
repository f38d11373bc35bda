"""What a measurement was made under: if any of it is different now, the measurement says nothing any more."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from tinyopt.board import Board
from tinyopt.build.firmware import OPTIMISE
from tinyopt.errors import ToolError
from tinyopt.generate.kernels import kernel_files, library_files
from tinyopt.plan.kernel import Kernel
from tinyopt.resources import resource
from tinyopt.tune.table import Context, Unit

_DIGITS = 16


def kernel_digest(kernel: Kernel) -> str:
    """Digest of the C files that a kernel is compiled from: headers and those of a library included."""
    digest = hashlib.sha256()
    for path in kernel_files((kernel,)):
        digest.update(path.as_posix().encode() + b"\0" + _content(path) + b"\0")
    for name, text in library_files((kernel,)).items():
        digest.update(name.encode() + b"\0" + text.encode() + b"\0")
    return digest.hexdigest()[:_DIGITS]


@cache
def _content(path: Path) -> bytes:
    return (resource("firmware") / "kernels" / path).read_bytes()


def board_digest(board: Board) -> str:
    """Digest of everything in a board file that can change a count."""
    text = repr(sorted(board.model_dump(mode="json", exclude={"title", "source", "energy", "features"}).items()))
    features = ",".join(sorted(board.features))
    return hashlib.sha256(f"{text} {features}".encode()).hexdigest()[:_DIGITS]


def compiler_version(board: Board) -> str | None:
    """The board's compiler; None where it is not installed."""
    from tinyopt.build.toolchain import find_compiler

    try:
        return find_compiler(board.toolchain).version
    except ToolError:
        return None


def flags_of(board: Board) -> str:
    """The options that kernels are compiled with, as far as they change code."""
    return " ".join((*board.toolchain.flags, OPTIMISE))


def context_of(board: Board, compiler: str, unit: Unit) -> Context:
    """The conditions of a measurement that is made now."""
    return Context(
        board=board.name,
        board_digest=board_digest(board),
        compiler=compiler,
        flags=flags_of(board),
        counter=counter_of(board, unit),
        unit=unit,
    )


def counter_of(board: Board, unit: Unit) -> str:
    """What counts on this board."""
    if not board.is_emulated:
        return "device"
    return f"cycle model {_cycle_model_digest()}" if unit == "cycles" else "emulator"


@cache
def _cycle_model_digest() -> str:
    import hil.cycles

    folder = Path(hil.cycles.__file__).parent
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.c"), *folder.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGITS]
