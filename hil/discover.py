"""What is plugged in: serial ports and the boards behind them, drives of UF2 bootloaders."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hil import uf2
from hil.holders import describe_process, holders, permission_advice
from hil.programs import find_program, is_installed, run_program
from tinyopt.board import Board, UsbId, board_names, load_board
from tinyopt.errors import DeviceError, ToolError

_KNOWN_PROBES = {
    (0x0483, 0x3748): "ST-LINK/V2",
    (0x0483, 0x374B): "ST-LINK/V2-1",
    (0x0483, 0x3752): "ST-LINK/V2-1",
    (0x0483, 0x374D): "STLINK-V3",
    (0x0483, 0x374E): "STLINK-V3",
    (0x0483, 0x374F): "STLINK-V3",
    (0x0483, 0x3753): "STLINK-V3",
    (0x0483, 0x3754): "STLINK-V3",
    (0x0D28, 0x0204): "DAPLink",
    (0x1366, 0x0101): "J-Link",
    (0x1366, 0x0105): "J-Link",
    (0x1366, 0x1015): "J-Link",
    (0x1366, 0x1024): "J-Link",
    (0x1366, 0x1051): "J-Link",
    (0x1366, 0x1061): "J-Link",
    (0x2E8A, 0x000C): "Raspberry Pi Debug Probe",
}
_KNOWN_METERS = {
    (0x1915, 0xC00A): "ppk2",
    (0x0483, 0x5740): "lpm01a",
    (0x1FC9, 0x00FC): "joulescope",
    (0x16D0, 0x0E88): "joulescope",
    (0x16D0, 0x10BA): "joulescope",
}


def same_serial(full: str, wanted: str) -> bool:
    """Whether ``wanted`` names the serial number ``full``: by all of it, its beginning or its end.

    Leading zeros do not count: tools disagree on them.
    """
    number, part = full.casefold().lstrip("0"), wanted.casefold().lstrip("0")
    return bool(part) and (number.startswith(part) or number.endswith(part))


LIST_SECONDS = 60.0
"""How long a tool may take to list what is plugged in."""


@dataclass(frozen=True)
class SerialPort:
    """A serial port of this computer. Empty or None: USB does not say, or it is no USB port.

    ``busy``: the process that has it open. ``readable``: whether this user may open it.
    """

    device: str
    title: str = ""
    vid: int | None = None
    pid: int | None = None
    serial_number: str = ""
    product: str = ""
    manufacturer: str = ""
    interface: str = ""
    busy: str = ""
    readable: bool = True

    def fits(self, usb: Iterable[UsbId]) -> bool:
        """Whether one of these USB ids is this port's."""
        return any(
            (self.vid, self.pid) == (one.vid, one.pid)
            and one.product.casefold() in f"{self.product} {self.title}".casefold()
            for one in usb
        )

    def has_serial(self, wanted: str) -> bool:
        """Whether the serial number begins or ends so."""
        return same_serial(self.serial_number, wanted)


@dataclass(frozen=True)
class Probe:
    """A debug probe that is plugged in. ``target``: the chip that it is soldered to, where its maker says."""

    serial_number: str
    title: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.serial_number} ({self.title})" if self.title else self.serial_number


def pyocd_probes() -> list[Probe]:
    """Debug probes, as pyOCD sees them. It knows which board many of them belong to.

    Raises:
        ToolError: pyOCD is missing or does not list them.
    """
    output = run_program([find_program("pyocd"), "json", "--probes"], "list debug probes", timeout=LIST_SECONDS)
    try:
        found = json.loads(output[output.index("{") :])["boards"]
        return [
            Probe(
                str(one["unique_id"]), str(one.get("info") or one.get("board_name") or ""), str(one.get("target") or "")
            )
            for one in found
        ]
    except (ValueError, KeyError, TypeError):
        raise ToolError(f"pyocd lists debug probes in a form that is not known: {output[:200]!r}") from None


@dataclass(frozen=True)
class Found:
    """A serial port with what is behind it. ``boards``: names of all boards with these USB ids; ``probe`` and
    ``meter``: kind of debug probe or of meter, empty where it is none that is known."""

    port: SerialPort
    boards: tuple[str, ...] = ()
    probe: str = ""
    meter: str = ""


@dataclass(frozen=True)
class RunningEmulator:
    """An emulated board that PlatformIO's upload has started. ``console``: its terminal; ``process``: its number."""

    console: str
    process: int
    command: str


@dataclass(frozen=True)
class Discovery:
    """Everything that was found, and what a person should know about it."""

    ports: tuple[Found, ...]
    drives: tuple[uf2.Drive, ...]
    emulators: tuple[RunningEmulator, ...]
    notes: tuple[str, ...] = field(default=())


def serial_ports() -> list[SerialPort]:
    """Serial ports that belong to a device on USB, or may belong to one, sorted by name."""
    from serial.tools import list_ports

    return [_port(info) for info in sorted(list_ports.comports(), key=lambda one: str(one.device)) if _is_useful(info)]


def _is_useful(info: Any) -> bool:
    # A PC's sixteen legacy ports exist whether or not there is anything to them.
    return info.vid is not None or not str(info.device).startswith("/dev/ttyS")


def _port(info: Any) -> SerialPort:
    device = str(info.device)
    known = (info.description, info.product)
    title = next((str(text) for text in known if text and text != "n/a"), "")
    return SerialPort(
        device=device,
        title=title,
        vid=info.vid,
        pid=info.pid,
        serial_number=str(info.serial_number or ""),
        product=str(info.product or ""),
        manufacturer=str(info.manufacturer or ""),
        interface=str(info.interface or ""),
        busy=", ".join(describe_process(number) for number in holders(device) if number != os.getpid()),
        readable=sys.platform == "win32" or not Path(device).exists() or os.access(device, os.R_OK | os.W_OK),
    )


def board_ports(board: Board) -> list[SerialPort]:
    """Serial ports with the board's USB ids."""
    return [port for port in serial_ports() if port.fits(board.usb)]


def find_port(board: Board, serial_number: str | None = None) -> SerialPort:
    """The serial port of a board. ``serial_number``: which of several, by the beginning or end of its USB serial
    number.

    A board may have several ports (a probe with two, a board with two functions): the first of them is its console.

    Raises:
        DeviceError: none, or several boards (all are named).
    """
    if not board.usb:
        raise DeviceError(f"board '{board.name}' has no USB ids in its file: name its serial port with --port")
    everything = serial_ports()
    fitting = [port for port in everything if port.fits(board.usb)]
    if serial_number is not None:
        chosen = [port for port in fitting if port.has_serial(serial_number)]
        if fitting and not chosen:
            raise DeviceError(f"no {board.name} has the serial number {serial_number}; there are: {_listed(fitting)}")
        fitting = chosen
    if not fitting:
        others = f"; other serial ports: {_listed(everything)} (name one with --port)" if everything else ""
        raise DeviceError(
            f"no {board.name} is plugged in ({_ids(board)}): connect it with a cable that carries data{others}"
        )
    if _boards_among(fitting) > 1:
        chips = _chips()
        fitting = [port for port in fitting if _has_chip_of(board, port, chips)] or fitting
    if _boards_among(fitting) > 1:
        raise DeviceError(f"several boards fit {board.name}: {_listed(fitting)}; choose with --port or --serial-number")
    return fitting[0]


def _boards_among(ports: Sequence[SerialPort]) -> int:
    return len({port.serial_number or port.device for port in ports})


def _chips() -> dict[str, str]:
    """Chips by the serial number of the debug probe that is soldered to them, as far as pyOCD is there and knows."""
    if not is_installed("pyocd"):
        return {}
    try:
        return {probe.serial_number: probe.target.casefold() for probe in pyocd_probes()}
    except ToolError:
        return {}


def _has_chip_of(board: Board, port: SerialPort, chips: Mapping[str, str]) -> bool:
    targets = {entry.target.casefold() for entry in board.programmers if entry.tool == "pyocd"} - {""}
    return any(same_serial(number, port.serial_number) and chip in targets for number, chip in chips.items())


def _listed(ports: Sequence[SerialPort]) -> str:
    return ", ".join(f"{port.device} ({port.serial_number or port.title or 'no serial number'})" for port in ports)


def _ids(board: Board) -> str:
    return "USB " + ", ".join(f"{one.vid:04x}:{one.pid:04x}" for one in board.usb)


def discover(boards: Sequence[Board] | None = None) -> Discovery:
    """All that is plugged in. ``boards``: what it may be, else the boards that tinyopt knows."""
    known = [load_board(name) for name in board_names()] if boards is None else boards
    ports = serial_ports()
    found = tuple(_identify(port, known) for port in ports)
    if any(len(one.boards) > 1 and one.probe for one in found):
        chips, by_name = _chips(), {board.name: board for board in known}
        found = tuple(_narrow(one, by_name, chips) for one in found)
    drives = tuple(uf2.find_drives())
    emulators = tuple(running_emulators())
    return Discovery(found, drives, emulators, tuple(_notes(found, drives, emulators)))


def running_emulators(processes: Path = Path("/proc")) -> list[RunningEmulator]:
    """Emulated boards that run in the background (see the development platform for PlatformIO)."""
    found = []
    for folder in processes.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
        except OSError:
            continue
        if not any(Path(word).name == "emulator.py" for word in words[:3]) or "serve" not in words[:4]:
            continue
        options = words[: words.index("--")] if "--" in words else words
        if "--folder" in options[:-1]:
            console = Path(options[options.index("--folder") + 1]) / "console"
            found.append(RunningEmulator(str(console), int(folder.name), " ".join(words[len(options) + 1 :])))
    return sorted(found, key=lambda one: one.process)


def _identify(port: SerialPort, boards: Sequence[Board]) -> Found:
    ids = (port.vid or -1, port.pid or -1)
    fitting = [board for board in boards if port.fits(board.usb)]
    # A product name is better evidence than numbers that every board of a maker shares.
    named = [b for b in fitting if any(u.product and port.fits([u]) for u in b.usb)]
    return Found(
        port,
        tuple(board.name for board in named or fitting),
        _KNOWN_PROBES.get(ids, ""),
        _KNOWN_METERS.get(ids, ""),
    )


def _narrow(one: Found, boards: Mapping[str, Board], chips: Mapping[str, str]) -> Found:
    """Of boards with the same USB ids, the one with the chip that the debug probe is soldered to."""
    kept = tuple(name for name in one.boards if _has_chip_of(boards[name], one.port, chips))
    return replace(one, boards=kept) if kept else one


def _notes(found: Sequence[Found], drives: Sequence[uf2.Drive], emulators: Sequence[RunningEmulator]) -> Iterable[str]:
    locked = [one.port.device for one in found if not one.port.readable]
    if locked:
        yield f"no permission to open {', '.join(locked)}: {permission_advice()}"
    for one in found:
        if one.port.busy:
            yield f"{one.port.device} is held by {one.port.busy}: close that before measuring"
    if not found and not drives and not emulators:
        yield (
            "no serial port was found: connect the board with a cable that carries data (many only charge), at the "
            "connector of its debug probe where it has two; `dmesg | tail` shows whether the computer noticed it"
        )
        yield "emulated boards need nothing plugged in: see `tinyopt boards list`"
