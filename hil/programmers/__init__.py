"""Programmers: ways to put a firmware on a board and to restart it. A board's file lists those that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeAlias

from hil.programmers.bootloaders import Avrdude, DfuUtil, EspTool, Uf2Copy
from hil.programmers.platformio import PlatformioUpload
from hil.programmers.probes import OpenOcd, PyOcd, StFlash
from tinyopt.board import Board
from tinyopt.errors import BoardError, ToolError


class Programmer(Protocol):
    """Puts firmware on one board. ``tool``: the program that does it. ``can_reset``: whether ``reset`` works."""

    @property
    def tool(self) -> str: ...

    @property
    def can_reset(self) -> bool: ...

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it. ``port``: the serial port of the board, for programs that need it.

        Raises:
            ToolError: the program is missing or fails; no board, or several.
            BoardError: the board's file lacks something that the program needs.
        """

    def reset(self) -> None:
        """Restart the board.

        Raises:
            ToolError: the program is missing, fails, or cannot do that.
        """


_Driver: TypeAlias = (
    "type[PyOcd] | type[OpenOcd] | type[StFlash] | type[EspTool] | type[DfuUtil] | type[Avrdude] | type[Uf2Copy] "
    "| type[PlatformioUpload]"
)
_DRIVERS: dict[str, _Driver] = {
    "pyocd": PyOcd,
    "openocd": OpenOcd,
    "st-flash": StFlash,
    "esptool": EspTool,
    "dfu-util": DfuUtil,
    "avrdude": Avrdude,
    "uf2": Uf2Copy,
    "platformio": PlatformioUpload,
}


def choose_programmer(
    board: Board, tool: str | None = None, serial_number: str | None = None, elf: Path | None = None
) -> Programmer:
    """The programmer of a board. ``tool``: which of the board's, else the first that is installed and can flash ``elf``
    (PlatformIO flashes only what it has built). ``serial_number``: of the board or its probe, where there are several.

    Raises:
        BoardError: the board has none, or not this one.
        ToolError: none of them is installed.
    """
    if not board.programmers:
        raise BoardError(
            f"board '{board.name}' names no programmer"
            + ("; it is emulated and needs none" if board.is_emulated else ": add `programmers` to its file")
        )
    named = ", ".join(entry.tool for entry in board.programmers)
    wanted = [entry for entry in board.programmers if tool is None or entry.tool == tool]
    if not wanted:
        raise BoardError(f"board '{board.name}' has no programmer '{tool}'; it has: {named}")
    usable = [entry for entry in wanted if _DRIVERS[entry.tool].usable(elf)]
    if not usable and len(wanted) > 1:
        built = " (platformio flashes only what it has built)" if "platformio" in named else ""
        raise ToolError(
            f"none of the programmers of board '{board.name}' is installed: {named}{built}; install one of them"
        )
    entry = (usable or wanted)[0]
    return _DRIVERS[entry.tool](board, entry, serial_number)


def find_resetter(board: Board, tool: str | None = None, serial_number: str | None = None) -> Programmer | None:
    """A programmer of the board that can restart it and is installed; None if there is none."""
    for entry in board.programmers:
        driver = _DRIVERS[entry.tool]
        if tool in (None, entry.tool) and driver.can_reset and driver.usable():
            return driver(board, entry, serial_number)
    return None


__all__ = ["Programmer", "choose_programmer", "find_resetter"]
