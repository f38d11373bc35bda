"""Boards as data: a validated YAML file says what a board is, how to build for it, and how to reach or emulate it.

Boards are looked up by name in the packaged ``boards/`` folder, or read from a path that ends in ``.yaml``.
"""

from tinyopt.board.check import Findings, check_board_file
from tinyopt.board.files import Problem, board_names, load_board
from tinyopt.board.schema import (
    Board,
    Cache,
    Emulator,
    Energy,
    Memory,
    Name,
    Platformio,
    Programmer,
    Size,
    Toolchain,
    UsbId,
)

__all__ = [
    "Board",
    "Cache",
    "Emulator",
    "Energy",
    "Findings",
    "Memory",
    "Name",
    "Platformio",
    "Problem",
    "Programmer",
    "Size",
    "Toolchain",
    "UsbId",
    "board_names",
    "check_board_file",
    "load_board",
]
