"""Serial ports that pretend to be on USB, and an ELF file to flash."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from tinyopt.board import Board, Programmer, UsbId, load_board


def usb_port(
    device: str, vid: int = 0x0483, pid: int = 0x374B, serial: str = "066BFF303435", product: str = "STM32 STLink"
) -> ListPortInfo:
    """A port as pyserial lists it."""
    info = ListPortInfo(device)
    info.vid, info.pid, info.serial_number, info.product = vid, pid, serial, product
    info.description = product
    info.manufacturer = "STMicroelectronics"
    return info


def plug_in(monkeypatch: pytest.MonkeyPatch, *ports: ListPortInfo) -> None:
    """Make these the only ports of the computer."""
    monkeypatch.setattr(list_ports, "comports", lambda: list(ports))


def hardware_board(
    *programmers: Programmer, usb: Sequence[UsbId] = (UsbId(vid=0x0483, pid=0x374B),), **changes: object
) -> Board:
    """A board that is no emulator."""
    fields: dict[str, object] = {
        "name": "test_board",
        "title": "A board of the tests",
        "emulator": None,
        "programmers": tuple(programmers),
        "usb": tuple(usb),
        "device": "STM32L4R5ZITx",
    }
    return load_board("emulated_l4r5zi").model_copy(update={**fields, **changes})


def write_elf(path: Path, *segments: tuple[int, bytes], machine: int = 40) -> Path:
    """A little-endian 32-bit ELF file that loads these bytes to these addresses."""
    header_bytes, entry_bytes = 52, 32
    at = header_bytes + entry_bytes * len(segments)
    table, contents = b"", b""
    for address, data in segments:
        table += struct.pack("<8I", 1, at + len(contents), address, address, len(data), len(data), 5, 4)
        contents += data
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = ident + struct.pack(
        "<2H5I6H", 2, machine, 1, segments[0][0] if segments else 0, header_bytes, 0, 0, 52, 32, len(segments), 40, 0, 0
    )
    path.write_bytes(header + table + contents)
    return path
