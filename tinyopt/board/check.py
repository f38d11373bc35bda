"""A board file under scrutiny: what is wrong with it, and what is allowed but probably a slip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyopt.board.cores import CORES, FEATURES, Core
from tinyopt.board.files import BoardText, Problem, read_text, validate_text
from tinyopt.board.schema import Board
from tinyopt.errors import BoardError
from tinyopt.resources import resource

_DATA_SPACE = range(0x20000000, 0x40000000)
"""Where Armv6-M to Armv8-M have on-chip data memory; code memory lies below, external memory above."""


@dataclass(frozen=True)
class Findings:
    """``board``: None where there are errors."""

    board: Board | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check_board_file(path: Path) -> Findings:
    """Everything that is wrong or doubtful in a board file; never raises for what the file holds."""
    try:
        text = read_text(path)
    except BoardError as error:
        return Findings(None, (Problem("", str(error)),), ())
    board, errors = validate_text(text)
    if board is None:
        return Findings(None, errors, ())
    if board.name != path.stem:
        message = f"the board is named '{board.name}' but its file is '{path.name}'"
        return Findings(None, (Problem("name", message, text.line(("name",))),), ())
    found = sorted(_doubts(board, text), key=lambda problem: problem.line)
    return Findings(board, (), tuple(found))


def _doubts(board: Board, text: BoardText) -> Iterator[Problem]:
    def at(where: str, message: str) -> Problem:
        parts = [int(part) if part.isdigit() else part for part in where.split(".")]
        return Problem(where, message, text.line(parts))

    core = CORES.get(board.core)
    if core is None and not re.match(r"rv(32|64)|host|x86|aarch64", board.core):
        yield at("core", f"tinyopt knows nothing of '{board.core}'; it knows {', '.join(CORES)}, rv32…, host")
    if core is not None:
        yield from (at(*doubt) for doubt in _core_doubts(board, core))
    for feature in sorted(board.features - FEATURES):
        yield at("features", f"no kernel asks for '{feature}'; there are {', '.join(sorted(FEATURES))}")
    yield from (at(*doubt) for doubt in _memory_doubts(board))
    if board.reset_clock_hz is not None and board.reset_clock_hz > board.clock_hz:
        yield at("reset_clock_hz", f"is faster than clock_hz ({board.clock_hz / 1e6:g} MHz)")
    if not board.is_emulated and board.platformio is None and not board.programmers:
        yield at("programmers", "nothing says how to flash the board: neither platformio nor programmers")
    if board.port and not (resource("firmware") / "port" / board.port).is_dir():
        yield at("port", f"there is no port '{board.port}' in tinyopt")


def _core_doubts(board: Board, core: Core) -> Iterator[tuple[str, str]]:
    if board.clock_hz > core.fastest_hz:
        yield "clock_hz", f"{board.clock_hz / 1e6:g} MHz: no {core.name} is faster than {core.fastest_hz / 1e6:g} MHz"
    for feature in sorted((board.features & FEATURES) - core.features - core.optional):
        yield "features", f"a {core.name} has no '{feature}'"
    for feature in sorted(core.features - board.features):
        yield "features", f"every {core.name} has '{feature}', which is not listed: kernels that want it are not used"
    if not core.cpu:
        return
    flags = dict(flag.split("=", 1) for flag in board.toolchain.flags if "=" in flag)
    cpu = flags.get("-mcpu", "")
    if not board.toolchain.prefix.startswith("arm"):
        yield "toolchain", f"'{board.toolchain.prefix}gcc' does not compile for a {core.name}"
    elif cpu.split("+")[0] not in (core.name, core.cpu):
        yield "toolchain.flags", f"-mcpu={cpu} is not the {core.name} that the board names"
    abi = flags.get("-mfloat-abi", "soft")
    if "fpu" in board.features and abi == "soft":
        yield "toolchain.flags", "the board has an FPU, and without -mfloat-abi=hard floats are computed in software"
    if "fpu" not in board.features and "mve" not in board.features and abi != "soft":
        yield "toolchain.flags", f"-mfloat-abi={abi} needs an FPU, which is not among the features"
    for feature, option in (("dsp", "+nodsp"), ("mve", "+nomve")):
        if feature in board.features and re.search(rf"{re.escape(option)}(\+|$)", cpu):
            yield "toolchain.flags", f"{option} forbids the compiler what the feature '{feature}' promises"
    if core.name == "cortex-m33" and "dsp" not in board.features and "+nodsp" not in cpu:
        yield "toolchain.flags", "without +nodsp the compiler uses DSP instructions, which the features do not list"


def _memory_doubts(board: Board) -> Iterator[tuple[str, str]]:
    for index, memory in enumerate(board.memories):
        if memory.size == 0:
            yield f"memories.{index}.size", "a memory of no bytes"
    main = board.memories.index(board.ram)
    if board.core.startswith("cortex-m") and board.ram.origin not in _DATA_SPACE:
        yield (
            f"memories.{main}.origin",
            f"the main RAM of Cortex-M boards lies in 0x20000000 to 0x3fffffff, not at 0x{board.ram.origin:08x}",
        )
    if board.startup is not None and board.stack_bytes == 0:
        yield "stack_bytes", "no stack is reserved"
    if board.stack_bytes >= board.ram.size:
        yield "stack_bytes", f"the stack leaves nothing of the {board.ram.size:,} bytes of '{board.ram.name}'"
    if all(memory.kind == "ram" for memory in board.memories) and board.core != "host":
        yield "memories", "there is no flash: code and constants share the RAM"
