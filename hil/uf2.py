"""UF2: firmware as a file that is copied to a drive (github.com/microsoft/uf2: README.md, utils/uf2families.json)."""

from __future__ import annotations

import errno
import os
import re
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hil.images import Segment
from tinyopt.errors import ToolError

BLOCK_BYTES, PAYLOAD_BYTES = 512, 256
_FIRST_MAGIC, _SECOND_MAGIC, _LAST_MAGIC = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_FAMILY_PRESENT = 0x00002000
_HEADER = struct.Struct("<8I")

FAMILIES = {
    "RP2040": 0xE48BFF56,
    "RP2350_ARM_S": 0xE48BFF59,
    "RP2350_RISCV": 0xE48BFF5A,
    "NRF52": 0x1B57745F,
    "NRF52833": 0x621E937A,
    "NRF52840": 0xADA52840,
    "SAMD21": 0x68ED2B88,
    "SAMD51": 0x55114460,
    "ESP32S2": 0xBFDD4EEE,
    "ESP32S3": 0xC47E5767,
    "STM32F4": 0x57755A57,
    "STM32H7": 0x6DB66082,
    "MIMXRT10XX": 0x4FB2D5BD,
}
"""Family numbers by name (those of the RP2350: Raspberry Pi's pico-sdk, boot/uf2.h)."""


def family_number(text: str) -> int:
    """A family by its name or number (``RP2040``, ``0xe48bff56``).

    Raises:
        ToolError: neither.
    """
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    try:
        return FAMILIES[text.upper().replace("-", "_")]
    except KeyError:
        raise ToolError(f"there is no UF2 family '{text}'; known: {', '.join(sorted(FAMILIES))}, or a number") from None


def encode_uf2(segments: Sequence[Segment], family: int) -> bytes:
    """UF2 blocks of 256 bytes each at multiples of 256, gaps within a block filled as erased flash is."""
    pages: dict[int, bytearray] = {}
    for segment in segments:
        at = segment.address
        while at < segment.end:
            page = at - at % PAYLOAD_BYTES
            count = min(PAYLOAD_BYTES - at % PAYLOAD_BYTES, segment.end - at)
            offset = at - segment.address
            block = pages.setdefault(page, bytearray(b"\xff" * PAYLOAD_BYTES))
            block[at - page : at - page + count] = segment.data[offset : offset + count]
            at += count
    blocks = []
    for number, (address, data) in enumerate(sorted(pages.items())):
        header = _HEADER.pack(
            _FIRST_MAGIC, _SECOND_MAGIC, _FAMILY_PRESENT, address, PAYLOAD_BYTES, number, len(pages), family
        )
        padding = bytes(BLOCK_BYTES - _HEADER.size - PAYLOAD_BYTES - 4)
        blocks.append(header + bytes(data) + padding + _LAST_MAGIC.to_bytes(4, "little"))
    return b"".join(blocks)


@dataclass(frozen=True)
class Drive:
    """A mounted drive of a UF2 bootloader. ``model`` and ``board_id``: as its INFO_UF2.TXT has them."""

    path: Path
    label: str
    model: str
    board_id: str

    def is_called(self, name: str) -> bool:
        """Whether this is the drive of a board that is known by its label, its board id, or the beginning of it."""
        wanted = name.casefold()
        return self.label.casefold() == wanted or self.board_id.casefold().startswith(wanted)


def find_drives(places: Iterable[Path] | None = None) -> list[Drive]:
    """Mounted drives that hold an INFO_UF2.TXT. ``places``: where to look, else all mount points."""
    drives = []
    for path in sorted(set(_mount_points() if places is None else places)):
        try:
            text = (path / "INFO_UF2.TXT").read_bytes()[:4096].decode("utf-8", "replace")
        except OSError:
            continue
        facts = dict(re.findall(r"^([A-Za-z -]+):[ \t]*(.*?)[ \t]*\r?$", text, re.MULTILINE))
        drives.append(Drive(path, path.name, facts.get("Model", ""), facts.get("Board-ID", "")))
    return drives


def _mount_points() -> list[Path]:
    if sys.platform == "win32":
        return [Path(f"{letter}:/") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ" if Path(f"{letter}:/").exists()]
    places: list[Path] = []
    try:
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, where, kind, *_ = line.split(" ")
            if kind in ("vfat", "msdos", "exfat"):
                places.append(Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), where)))
    except (OSError, ValueError):
        pass  # no /proc: the usual places remain
    for pattern in ("/media/*", "/media/*/*", "/run/media/*/*", "/Volumes/*"):
        places += Path("/").glob(pattern[1:])
    return places


def choose_drive(drives: Sequence[Drive], name: str, serial_number: str | None = None) -> Drive:
    """The drive of a board. ``name``: its label or board id; empty: any. ``serial_number``: which of several, by the
    end of its path.

    Raises:
        ToolError: none (says how to get it), or several (all are named).
    """
    fitting = [drive for drive in drives if not name or drive.is_called(name)]
    if serial_number:
        fitting = [drive for drive in fitting if str(drive.path).endswith(serial_number)]
    if not fitting:
        others = f" (mounted: {', '.join(f'{d.label} at {d.path}' for d in drives)})" if drives else ""
        raise ToolError(
            f"no UF2 drive{f' {name!r}' if name else ''} is mounted{others}: hold the board's BOOT button while it is "
            "plugged in, or press reset twice, and let the system mount the drive"
        )
    if len(fitting) > 1:
        places = ", ".join(str(drive.path) for drive in fitting)
        raise ToolError(f"several UF2 drives fit: {places}; unplug all but one, or name one by --serial-number PATH")
    return fitting[0]


def copy_to_drive(data: bytes, drive: Drive, patience: float = 10.0) -> None:
    """Write a UF2 file to a drive; the board restarts with the last block, and its drive goes away.

    ``patience``: seconds in which the drive must be gone.

    Raises:
        ToolError: the drive refuses the file, or the board does not take it.
    """
    target = drive.path / "FIRMWARE.UF2"
    written = False
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            written = True
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # The board takes its drive away as soon as it has the last block, in the middle of the system's housekeeping.
        gone = written and error.errno in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.EROFS)
        if not gone:
            raise ToolError(f"cannot copy the firmware to {drive.path}: {error.strerror or error}") from None
    deadline = time.monotonic() + patience
    while (drive.path / "INFO_UF2.TXT").exists():
        if time.monotonic() >= deadline:
            raise ToolError(
                f"the board at {drive.path} did not take the firmware: it is for another family of chips, or too large"
            )
        time.sleep(0.1)
