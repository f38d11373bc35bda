"""The parts of the measuring firmware that depend on the board: which files it takes, and its linker script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tinyopt.board import Board
from tinyopt.errors import BoardError
from tinyopt.generate.project import Role
from tinyopt.resources import resource

_KEEP_INPUT_FROM = 32 * 1024
"""Boards with less RAM get a firmware that loads inputs straight into the arena."""


@dataclass(frozen=True)
class FirmwareFile:
    """A file to copy into a project. ``path``: relative to ``firmware/``, which is also its place in the project."""

    path: Path
    role: Role

    @property
    def is_source(self) -> bool:
        return self.path.suffix == ".c"

    @property
    def absolute(self) -> Path:
        return resource("firmware") / self.path


def measuring_files(board: Board) -> tuple[FirmwareFile, ...]:
    """Headers and sources of the measuring firmware: the harness, and the port of the board.

    ``harness/profiled_model.c`` includes the model's own source; it needs the folder of ``model.c`` among the include
    folders.

    Raises:
        BoardError: when the board has no bare-metal port, or names one that does not exist.
    """
    if not board.is_bare_metal:
        raise BoardError(
            f"'{board.name}' ({board.title}) has no bare-metal firmware in tinyopt: its framework builds everything. "
            f"`tinyopt compile MODEL -b {board.name} -o FOLDER --project platformio` writes a project for `pio run`"
        )
    return (*harness_files(), *port_files(board))


def harness_files() -> tuple[FirmwareFile, ...]:
    """Headers and sources of the harness, which are the same for every board."""
    root = resource("firmware")
    return tuple(FirmwareFile(path.relative_to(root), "harness") for path in _c_files(root / "harness"))


def port_files(board: Board) -> tuple[FirmwareFile, ...]:
    """Headers and sources of a board's port: console, counter and startup code.

    Raises:
        BoardError: when the board has no bare-metal port, or names one that does not exist.
    """
    root = resource("firmware")
    files = [FirmwareFile(Path("port/port.h"), "port")]
    for name in _port_folders(board):
        folder = root / "port" / name
        if not folder.is_dir():
            known = sorted(path.name for path in (root / "port").iterdir() if path.is_dir())
            raise BoardError(f"board '{board.name}' names the port '{name}'; there are {', '.join(known)}")
        files += [FirmwareFile(path.relative_to(root), "port") for path in _c_files(folder)]
    return tuple(files)


def _port_folders(board: Board) -> tuple[str, ...]:
    return (board.port, *(("bare_metal", board.startup) if board.startup else ()))


def _c_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h"))


def measuring_include_dirs(board: Board) -> tuple[str, ...]:
    """Header folders of the measuring firmware, relative to the project."""
    return ("harness", *port_include_dirs(board))


def port_include_dirs(board: Board) -> tuple[str, ...]:
    """Header folders of a board's port, relative to the project."""
    folders = ["port", *(f"port/{name}" for name in _port_folders(board))]
    return tuple(folder for folder in folders if folder == "port" or _has_header(folder))


def _has_header(folder: str) -> bool:
    return any((resource("firmware") / folder).glob("*.h"))


def keeps_input(board: Board) -> bool:
    """Whether the firmware keeps the inputs in a buffer of their own, so that a run can be repeated."""
    return board.ram.size >= _KEEP_INPUT_FROM


def measuring_defines(board: Board) -> tuple[str, ...]:
    """Macros that the measuring firmware needs for this board."""
    defines = [f"TINYOPT_KEEP_INPUT={int(keeps_input(board))}"]
    if board.emulator is not None and board.emulator.marks:
        defines.append("TINYOPT_MARKS")
    for name, address in (("CONSOLE_BASE", board.console_base), ("COUNTER_BASE", board.counter_base)):
        if address is not None:
            defines.append(f"TINYOPT_{name}=0x{address:08X}u")
    if board.console_interrupt is not None:
        defines.append(f"TINYOPT_CONSOLE_INTERRUPT={board.console_interrupt}u")
    if board.startup is not None:
        defines.append(f"TINYOPT_COUNTER_HZ={board.counter_hz or board.clock_hz}u")
    return tuple(defines)


def linker_script(board: Board) -> str | None:
    """The linker script for a board's memory map; None where an operating system loads the program."""
    if board.startup is None:
        return None
    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    names: Mapping[str, str] = {board.flash.name: "FLASH", board.ram.name: "RAM"}
    if board.flash is board.ram:
        names = {board.ram.name: "RAM"}

    def in_script(name: str) -> str:
        return names.get(name, name.upper())

    return environment.get_template("linker.ld.j2").render(
        board=board,
        memories=[{"name": in_script(m.name), "origin": m.origin, "size": m.size} for m in board.memories],
        vectors=in_script(board.vectors or board.flash.name),
        stack_bytes=board.stack_bytes,
        code="FLASH" if board.flash is not board.ram else "RAM",
    )
