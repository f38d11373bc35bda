"""Flashing through a bootloader on the board: esptool, dfu-util, avrdude, a UF2 drive."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hil import uf2
from hil.discover import LIST_SECONDS, Probe, board_ports
from hil.images import flat_binary, intel_hex, load_segments
from hil.programmers.probes import choose_probe
from hil.programs import find_program, is_installed, run_program
from tinyopt import board as boards
from tinyopt.errors import BoardError, ToolError

_Found = TypeVar("_Found")

TOUCH_BAUD_RATE = 1200
"""Opening and closing the serial port at this rate asks Arduino cores (and pico-sdk firmware) for the bootloader."""
TOUCH_SECONDS = 10.0


@dataclass(frozen=True)
class EspTool:
    """esptool (docs.espressif.com/projects/esptool, Basic Commands). The target is the chip."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "esptool"
    can_reset = False
    """The serial port's control lines do it."""

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("esptool", "esptool.py")

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware with its bootloader and partition table as far as they lie beside it, and start it.

        Raises:
            ToolError: no port, or esptool fails.
        """
        chip = self.settings.target or "auto"
        command = [find_program("esptool", "esptool.py"), "--chip", chip]
        port = _need_port(self, port)
        with tempfile.TemporaryDirectory(prefix="tinyopt-flash-") as folder:
            parts = self._parts(command, elf.absolute(), chip, Path(folder))
            # The names with an underscore are the ones that every version knows.
            write = [*command, "--port", port, *self.settings.options, "write_flash"]
            for address, file in parts:
                write += [f"0x{address:x}", str(file)]
            run_program(write, f"flash {self.board.name}")

    @staticmethod
    def _parts(command: list[str], elf: Path, chip: str, folder: Path) -> list[tuple[int, Path]]:
        listed = elf.parent / "flasher_args.json"
        if listed.is_file():  # what an ESP-IDF build leaves
            try:
                files = json.loads(listed.read_text(encoding="utf-8"))["flash_files"]
                return sorted((int(address, 0), elf.parent / name) for address, name in files.items())
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ToolError(f"{listed} does not list the files of a firmware") from None
        application = elf.with_suffix(".bin")
        if not application.is_file():
            application = folder / "application.bin"
            run_program([*command, "elf2image", "--output", str(application), str(elf)], "make a flash image")
        # Where a PlatformIO build leaves its parts, and where the chip looks for them.
        start = 0x1000 if chip in ("esp32", "esp32s2", "auto") else 0x0
        around = [
            (start, elf.parent / "bootloader.bin"),
            (0x8000, elf.parent / "partitions.bin"),
            (0xE000, elf.parent / "boot_app0.bin"),
        ]
        return [(address, file) for address, file in around if file.is_file()] + [(0x10000, application)]

    def reset(self) -> None:
        raise ToolError("esptool does not reset a board; its serial port does")


@dataclass(frozen=True)
class DfuUtil:
    """dfu-util (dfu-util.sourceforge.net, man page). The target is ``vid:pid`` of the board in its bootloader."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "dfu-util"
    can_reset = False

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("dfu-util")

    def probes(self) -> list[Probe]:
        """Devices in their bootloader.

        Raises:
            ToolError: dfu-util is missing or fails.
        """
        output = run_program([find_program("dfu-util"), "--list"], "list DFU devices", timeout=LIST_SECONDS)
        found: dict[str, Probe] = {}
        for line in output.splitlines():
            match = re.search(r"Found DFU: \[([0-9a-fA-F]{4}:[0-9a-fA-F]{4})\]", line)
            if match and match[1].lower() == self._ids():
                fields = dict(re.findall(r'(\w+)="([^"]*)"', line))
                serial = fields.get("serial", "").replace("UNKNOWN", "") or fields.get("path", "")
                found.setdefault(serial, Probe(serial, match[1]))
        return list(found.values())

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it.

        Raises:
            ToolError: the board is not in its bootloader, there are several, or dfu-util fails.
        """
        program = find_program("dfu-util")
        image = flat_binary(load_segments(elf))
        devices = self.probes()
        if not devices and touch(self.board, port):
            devices = _wait(self.probes)
        if not devices:
            raise ToolError(
                f"no device {self._ids()} is in its bootloader: start it (hold BOOT during reset, or press reset twice)"
            )
        device = choose_probe(self.board, devices, self.serial_number, "dfu-util")
        with tempfile.TemporaryDirectory(prefix="tinyopt-flash-") as folder:
            file = Path(folder) / "firmware.bin"
            file.write_bytes(image.data)
            command = [program, "--device", f",{self._ids()}"]
            options = self.settings.options
            if not any(option.startswith(("-a", "--alt")) for option in options):
                command += ["--alt", "0"]
            if len(devices) > 1 or self.serial_number:
                command += ["--serial", f",{device.serial_number}"]
            if not any(option.startswith(("-s", "--dfuse-address")) for option in options):
                command += ["--dfuse-address", f"0x{image.address:08x}:leave"]
            # The board leaves before it answers the last request, which dfu-util takes for an error.
            run_program(
                [*command, *options, "--download", str(file)],
                f"flash {self.board.name}",
                good="File downloaded successfully",
            )

    def _ids(self) -> str:
        if not re.fullmatch(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}", self.settings.target):
            raise BoardError(f"the programmer dfu-util of board '{self.board.name}' needs a target like 0483:df11")
        return self.settings.target.lower()

    def reset(self) -> None:
        raise ToolError("dfu-util does not reset a board")


@dataclass(frozen=True)
class Avrdude:
    """avrdude (its manual, Option Descriptions). The target is the part; the kind of programmer is in the options."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "avrdude"
    can_reset = False
    """The serial port's control lines do it."""

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return is_installed("avrdude")

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it.

        Raises:
            ToolError: no port, or avrdude fails.
        """
        if not self.settings.target:
            raise BoardError(f"the programmer avrdude of board '{self.board.name}' names no part")
        program = find_program("avrdude")
        text = intel_hex(load_segments(elf))
        with tempfile.TemporaryDirectory(prefix="tinyopt-flash-") as folder:
            file = Path(folder) / "firmware.hex"
            file.write_text(text, encoding="ascii")
            command = [program, "-p", self.settings.target, *self.settings.options, "-P", _need_port(self, port)]
            if "-D" not in self.settings.options:
                command.append("-D")  # a bootloader erases page by page; a chip erase would need a real programmer
            run_program([*command, "-U", f"flash:w:{file}:i"], f"flash {self.board.name}")

    def reset(self) -> None:
        raise ToolError("avrdude does not reset a board; its serial port does")


@dataclass(frozen=True)
class Uf2Copy:
    """Copies a UF2 file to the bootloader's drive. The target is its label or board id; the option ``family=…`` names
    the family of chips, else it follows from the target."""

    board: boards.Board
    settings: boards.Programmer
    serial_number: str | None = None
    tool = "uf2"
    can_reset = False

    @staticmethod
    def usable(elf: Path | None = None) -> bool:
        return True

    def flash(self, elf: Path, port: str | None = None) -> None:
        """Write a firmware and start it.

        Raises:
            ToolError: no drive or several, or the board does not take the file.
        """
        data = uf2.encode_uf2(load_segments(elf), self.family())
        drives = uf2.find_drives()
        if not self._fitting(drives) and touch(self.board, port):
            drives = _wait(lambda: self._fitting(uf2.find_drives()))
        uf2.copy_to_drive(data, uf2.choose_drive(drives, self.settings.target, self.serial_number))

    def family(self) -> int:
        """The chip's family.

        Raises:
            BoardError: the board's file does not say.
        """
        for option in self.settings.options:
            if option.startswith("family="):
                return uf2.family_number(option.removeprefix("family="))
        by_label = {"RPI-RP2": "RP2040", "RP2350": "RP2350_RISCV" if "rv32" in self.board.core else "RP2350_ARM_S"}
        try:
            return uf2.FAMILIES[by_label[self.settings.target]]
        except KeyError:
            raise BoardError(
                f"the programmer uf2 of board '{self.board.name}' needs an option family=NAME "
                f"({', '.join(sorted(uf2.FAMILIES))}, or a number)"
            ) from None

    def _fitting(self, drives: list[uf2.Drive]) -> list[uf2.Drive]:
        return [drive for drive in drives if not self.settings.target or drive.is_called(self.settings.target)]

    def reset(self) -> None:
        raise ToolError("a UF2 drive does not reset a board")


def touch(board: boards.Board, port: str | None) -> bool:
    """Ask a board that runs a program for its bootloader; whether there was a port to ask on.

    ``port``: its serial port, else the only one that fits the board.
    """
    import serial

    if port is None:
        ports = board_ports(board)
        port = ports[0].device if len(ports) == 1 else None
    if port is None or "://" in port:
        return False
    with contextlib.suppress(serial.SerialException, OSError, ValueError):  # it may leave in the middle of this
        with serial.Serial(port, TOUCH_BAUD_RATE) as opened:
            opened.dtr = False
        return True
    return False


def _wait(look: Callable[[], list[_Found]], seconds: float = TOUCH_SECONDS) -> list[_Found]:
    deadline = time.monotonic() + seconds
    found = look()
    while not found and time.monotonic() < deadline:
        time.sleep(0.5)
        found = look()
    return found


def _need_port(programmer: EspTool | Avrdude, port: str | None) -> str:
    if port is not None:
        if port.startswith("/") and not Path(port).exists():
            raise ToolError(f"there is no serial port {port}; `tinyopt hil discover` lists what is there")
        return port
    ports = board_ports(programmer.board)
    if programmer.serial_number:
        ports = [one for one in ports if one.has_serial(programmer.serial_number)]
    if len(ports) == 1:
        return ports[0].device
    seen = f"; these fit: {', '.join(one.device for one in ports)}" if ports else "; none that fits is plugged in"
    raise ToolError(f"{programmer.tool} needs the serial port of the board (--port){seen}")
