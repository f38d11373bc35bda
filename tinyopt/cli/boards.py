"""``tinyopt boards``."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from tinyopt.board import Board, board_names, load_board
from tinyopt.cli.console import console, print_json
from tinyopt.errors import BoardError


def _reach(board: Board) -> str:
    if board.emulator is None:
        return "hardware"
    return "this machine" if board.emulator.program == "host" else f"emulated by {board.emulator.program}"


def list_boards(*, json_output: bool) -> None:
    boards = [load_board(name) for name in board_names()]
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


def show_board(name: str, *, json_output: bool) -> None:
    board = load_board(name)
    if json_output:
        print_json(json.loads(board.model_dump_json()))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows: list[tuple[str, str]] = [
        ("name", board.name),
        ("title", board.title),
        ("core", board.core),
        ("features", " ".join(sorted(board.features)) or "–"),
        ("clock", f"{board.clock_hz / 1e6:g} MHz"),
        ("reached", _reach(board)),
    ]
    rows += [
        (f"memory {m.name}", f"{m.kind}, {m.size:,} bytes at 0x{m.origin:08x}, {m.wait_states} wait states")
        for m in board.memories
    ]
    rows += [
        ("compiler", f"{board.toolchain.prefix}gcc {' '.join(board.toolchain.flags)}"),
        ("port", board.port),
        ("source", board.source),
    ]
    for row in rows:
        table.add_row(*row)
    console().print(table)


def check_boards(files: list[Path]) -> None:
    problems = []
    for path in files:
        try:
            board = load_board(path)
            if board.name != path.stem:
                problems.append(f"{path}: the board is named '{board.name}' but its file is '{path.name}'")
            else:
                console().print(f"{path}: ok ({board.title})")
        except BoardError as error:
            problems.append(str(error))
    if problems:
        raise BoardError("\n".join(problems))
    if not files:
        raise typer.BadParameter("name at least one board file")
