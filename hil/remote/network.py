"""Addresses of boards on other computers.

``remote://HOST[:PORT]`` is a board server. ``labgrid:`` is a lab: alone, that of the coordinator in ``LG_COORDINATOR``;
``labgrid://HOST[:PORT]`` another; a path after it is one place (``labgrid://lab.example/l4r5zi_2``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.device import Device
from hil.remote.client import DEFAULT_CONTROL_PORT, open_remote_device
from hil.remote.labgrid import acquired_board
from tinyopt.board import Board
from tinyopt.build import Firmware
from tinyopt.errors import DeviceError

_REMOTE = re.compile(r"remote://(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")
_LABGRID = re.compile(r"labgrid:(?://(?P<coordinator>[A-Za-z0-9_.-]+(?::\d{1,5})?)?(?:/(?P<place>[A-Za-z0-9_.-]+))?)?")


def is_network_address(address: str | None) -> bool:
    """Whether an address of a board is one of these."""
    return address is not None and address.startswith(("remote:", "labgrid:"))


@contextmanager
def open_over_network(
    board: Board, firmware: Firmware | Path | None, address: str, *, flash: bool = True
) -> Iterator[Device]:
    """A board of another computer; a place of a lab is acquired meanwhile.

    Raises:
        DeviceError: the address makes no sense, or the board cannot be had.
        ToolError: labgrid is not installed.
    """
    remote, lab = _REMOTE.fullmatch(address), _LABGRID.fullmatch(address)
    if remote:
        port = int(remote["port"] or DEFAULT_CONTROL_PORT)
        with open_remote_device(board, firmware, remote["host"].strip("[]"), port, flash=flash) as device:
            yield device
    elif lab:
        with (
            acquired_board(board.name, coordinator=lab["coordinator"], place=lab["place"]) as found,
            open_remote_device(board, firmware, found.host, found.port, flash=flash) as device,
        ):
            device.name = f"{board.name} in place {found.place}"
            yield device
    else:
        raise DeviceError(
            f"'{address}' is not the address of a board: write remote://HOST[:PORT], or labgrid://[COORDINATOR[:PORT]][/PLACE]"
        )
