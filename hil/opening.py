"""Boards, wherever they are: emulated, attached to this computer, or lent by another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.device import Device, open_local_device
from hil.remote import is_network_address, open_over_network
from tinyopt.board import Board
from tinyopt.build import Firmware


@contextmanager
def open_device(
    board: Board,
    firmware: Firmware | Path | None,
    *,
    port: str | None = None,
    flash: bool = True,
    programmer: str | None = None,
    serial_number: str | None = None,
) -> Iterator[Device]:
    """Start a board and open its console; it is closed, and an emulator stopped, at the end of the context.

    ``firmware``: what an emulated board runs, and what is written to a hardware board if ``flash``; None: what is on
    the board. ``port``: address of the console (see ``open_console``) or ``auto``; for an emulated board, None starts
    one, an address connects to one that runs; ``remote:`` and ``labgrid:`` name boards of other computers (see
    ``hil.remote.network``). ``programmer``: the tool that writes the firmware, else the first of the
    board's that is installed. ``serial_number``: which of several boards or probes (its beginning or end is enough).

    Raises:
        BoardError: the board cannot be reached or flashed in this way.
        DeviceError: no such port, or it is busy.
        ToolError: a program is missing or failed.
    """
    if port is not None and is_network_address(port):
        opened = open_over_network(board, firmware, port, flash=flash)
    else:
        opened = open_local_device(
            board, firmware, port=port, flash=flash, programmer=programmer, serial_number=serial_number
        )
    with opened as device:
        yield device
