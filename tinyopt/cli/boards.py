"""``tinyopt boards``: list, show, check, add."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from tinyopt.board import Board, Findings, Memory, Problem

boards_app = typer.Typer(help="The boards that tinyopt knows, and board files of your own.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]


@boards_app.command("list")
def list_boards(
    json_output: JsonOption = False,
    core: Annotated[str, typer.Option("--core", help="Only boards with this core, as in cortex-m4.")] = "",
    emulated: Annotated[
        Optional[bool],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--emulated/--hardware", help="Only boards that need no hardware, or only those that do."),
    ] = None,
) -> None:
    """List the boards: core, features, flash and RAM, how to reach them."""
    from rich.table import Table

    from tinyopt.board import board_names, load_board
    from tinyopt.cli.console import console, print_json

    boards = [load_board(name) for name in board_names()]
    boards = [board for board in boards if core in ("", board.core) and emulated in (None, board.is_emulated)]
    if json_output:
        print_json([json.loads(board.model_dump_json()) for board in boards])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "title", "core", "features", "flash", "RAM", "reached"):
        table.add_column(column, justify="right" if column in ("flash", "RAM") else "left", overflow="fold")
    for board in boards:
        table.add_row(
            board.name,
            board.title,
            board.core,
            " ".join(sorted(board.features)),
            f"{board.flash.size // 1024:,} K",
            f"{board.ram.size // 1024:,} K",
            _reach(board),
        )
    console().print(table)


@boards_app.command("show")
def show_board(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="Name or file.")], json_output: JsonOption = False
) -> None:
    """Show everything about one board."""
    from rich.table import Table

    from tinyopt.board import load_board
    from tinyopt.cli.console import console, print_json

    shown = load_board(board)
    if json_output:
        print_json(json.loads(shown.model_dump_json()))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in _facts(shown):
        table.add_row(*row)
    console().print(table, markup=False)


@boards_app.command("check")
def check_boards(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Board files.")],
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Check board files: all errors of all files with their lines, and what is allowed but probably a slip."""
    from tinyopt.board import check_board_file
    from tinyopt.cli.console import console, errors, print_json
    from tinyopt.errors import BoardError

    checked = [(path, check_board_file(path)) for path in files]
    if json_output:
        print_json([_as_json(path, findings) for path, findings in checked])
    for path, findings in checked:
        for kind, problems in (("error", findings.errors), ("warning", findings.warnings)):
            for problem in problems:
                errors().print(_line(path, kind, problem), highlight=False, markup=False)
        if findings.board is not None and not json_output:
            console().print(f"{path}: ok ({findings.board.title})", highlight=False, markup=False)
    wrong = sum(len(findings.errors) for _, findings in checked)
    doubtful = sum(len(findings.warnings) for _, findings in checked)
    if wrong or (strict and doubtful):
        raise BoardError(f"{wrong} error(s) and {doubtful} warning(s) in {len(files)} file(s)")


@boards_app.command("add")
def add_board(
    device: Annotated[str, typer.Option("--device", help="Device of a CMSIS-Pack, as in STM32L4R5ZITx.")],
    pack: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--pack", help="A .pack or .pdsc file; else the index of cmsis-pack-manager.", show_default=False),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output", "-o", help="The board file; else NAME.yaml here.", show_default=False),
    ] = None,
    core: Annotated[str, typer.Option("--core", help="Processor of a device with several, by its Pname.")] = "",
    clock: Annotated[str, typer.Option("--clock", help="Clock, as in 80MHz; else the highest of the device.")] = "",
    cache: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--cache", help="Cache of cmsis-pack-manager, if not its usual one.", show_default=False),
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Download the index of packs again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Make a board file from the description of a device in a CMSIS-Pack.

    What a pack does not tell, such as USB ids, wait states or PlatformIO's id, can be added to the file by hand.
    """
    from tinyopt.board import check_board_file
    from tinyopt.cli.console import console, errors, progress
    from tinyopt.errors import BoardError
    from tinyopt.packs import board_name, board_text, find_in_index, open_description

    hertz = _hertz(clock) if clock else 0
    if pack is not None:
        found = open_description(pack).device(device)
    else:
        with progress("looking in the index of CMSIS-Packs"):
            found = find_in_index(device, cache=cache, update=update)
    name = board_name(output.stem if output is not None else found.name, core if output is None else "")
    path = output or Path(f"{name}.yaml")
    if path.suffix not in (".yaml", ".yml") or path.stem != name:
        raise BoardError(f"'{path.name}' is no name of a board file; write it as {name}.yaml")
    if path.exists() and not force:
        raise BoardError(f"{path} is there already; choose another name with -o, or replace it with --force")
    text = board_text(found, name=name, processor=core, clock_hz=hertz)
    _write(path, text)
    findings = check_board_file(path)
    for problem in (*findings.errors, *findings.warnings):
        errors().print(_line(path, "warning", problem), highlight=False, markup=False)
    board = findings.board
    if board is None:
        raise BoardError(f"the description of {found.name} makes no valid board; {path} is left for you to correct")
    console().print(f"{path}: {board.title}", highlight=False, markup=False)
    for row in _memory_rows(board):
        console().print("  " + ": ".join(row), highlight=False, markup=False)
    where = f"code goes to '{board.flash.name}' and data to '{board.ram.name}': the first flash and RAM of the file"
    console().print(where, highlight=False, markup=False)


def _hertz(text: str) -> int:
    from pydantic import TypeAdapter, ValidationError

    from tinyopt.board.schema import Frequency
    from tinyopt.errors import BoardError

    try:
        return int(TypeAdapter(Frequency).validate_python(text))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BoardError(f"--clock: {message}") from None


def _write(path: Path, text: str) -> None:
    from tinyopt.errors import BoardError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BoardError(f"cannot write {path}: {error.strerror}") from None


def _line(path: Path, kind: str, problem: Problem) -> str:
    """As compilers write it, so that editors find the place."""
    where = f"{path}:{problem.line}" if problem.line else str(path)
    return f"{where}: {kind}: {problem.where + ': ' if problem.where else ''}{problem.message}"


def _as_json(path: Path, findings: Findings) -> dict[str, Any]:
    def listed(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
        return [{"line": p.line, "field": p.where, "message": p.message} for p in problems]

    board = findings.board.name if findings.board is not None else None
    return {
        "file": str(path),
        "board": board,
        "errors": listed(findings.errors),
        "warnings": listed(findings.warnings),
    }


def _reach(board: Board) -> str:
    if board.emulator is None:
        return "hardware" if board.is_bare_metal else "hardware, built by PlatformIO"
    return "this machine" if board.emulator.program == "host" else f"emulated by {board.emulator.program}"


def _facts(board: Board) -> Iterator[tuple[str, str]]:
    yield "name", board.name
    if board.aliases:
        yield "also", ", ".join(board.aliases)
    yield "title", board.title
    yield "core", board.core
    yield "features", " ".join(sorted(board.features)) or "–"
    at_reset = f", {board.reset_clock_hz / 1e6:g} MHz at reset" if board.reset_clock_hz else ""
    yield "clock", f"{board.clock_hz / 1e6:g} MHz{at_reset}"
    yield "reached", _reach(board)
    yield from ((f"memory {name}", text) for name, text in _memory_rows(board))
    yield "stack", f"{board.stack_bytes:,} bytes at least"
    yield "compiler", f"{board.toolchain.prefix}gcc {' '.join(board.toolchain.flags)}"
    yield "port", board.port or "none: a framework builds everything"
    if board.device:
        yield "device", f"{board.device} (CMSIS-Packs)"
    if board.platformio is not None:
        frameworks = ", ".join(board.platformio.frameworks)
        yield "PlatformIO", f"{board.platformio.platform}, board {board.platformio.board}: {frameworks}"
    for programmer in board.programmers:
        yield "programmer", " ".join(part for part in (programmer.tool, programmer.target, *programmer.options) if part)
    for usb in board.usb:
        yield "USB", f"{usb.vid:04x}:{usb.pid:04x} {usb.product}".rstrip()
    if board.emulator is None:
        yield "console", f"{board.baud_rate} baud"
    if board.energy is not None:
        energy = board.energy
        yield "energy", f"{energy.nj_per_cycle:g} nJ per cycle, within {energy.error_percent:g} %: {energy.source}"
    yield "source", board.source


def _memory_rows(board: Board) -> Iterator[tuple[str, str]]:
    for memory in board.memories:
        text = f"{memory.kind}, {memory.size:,} bytes at 0x{memory.origin:08x}"
        if memory.wait_states:
            text += f", {memory.wait_states} wait states"
        yield memory.name, text + "".join(_caches(memory))


def _caches(memory: Memory) -> Iterator[str]:
    kinds = (
        ("instruction cache", memory.instruction_cache),
        ("data cache", memory.data_cache),
        ("cache", memory.shared_cache),
    )
    for kind, kept in kinds:
        if kept is not None:
            yield f", {kind} of {kept.size:,} bytes"
