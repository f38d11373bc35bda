"""What ``tinyopt hil discover``, ``flash``, ``monitor`` and ``meter`` do."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tinyopt.board import Board, load_board
from tinyopt.cli.console import console, errors, print_json, show_notes
from tinyopt.errors import BoardError, DataError, DeviceError

if TYPE_CHECKING:
    from hil.device import Device
    from hil.discover import Found
    from hil.meters import EnergyReading, Trace

RETURN_SECONDS = 60.0
"""How long the monitor waits for a board that was unplugged."""


def show_discovery(*, json_output: bool) -> None:
    from hil.discover import discover

    found = discover()
    if json_output:
        print_json(
            {
                "ports": [
                    {**asdict(one.port), "boards": list(one.boards), "probe": one.probe, "meter": one.meter}
                    for one in found.ports
                ],
                "drives": [{**asdict(drive), "path": str(drive.path)} for drive in found.drives],
                "emulators": [asdict(one) for one in found.emulators],
                "notes": list(found.notes),
            }
        )
        return
    if found.ports:
        table = Table(box=None, pad_edge=False)
        for column in ("port", "USB", "serial number", "what", "board", "state"):
            table.add_column(column, overflow="fold")
        for one in found.ports:
            port = one.port
            usb = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None and port.pid is not None else "–"
            state = "busy" if port.busy else "free" if port.readable else "no permission"
            table.add_row(port.device, usb, port.serial_number or "–", _what(one), _boards(one), state)
        console().print(table)
    for drive in found.drives:
        console().print(f"UF2 drive {drive.label} at {drive.path}: {drive.model or 'a board'} ({drive.board_id})")
    for emulator in found.emulators:
        console().print(f"emulated board on {emulator.console} (process {emulator.process}): {emulator.command}")
    show_notes("\n".join(found.notes))


def _what(one: Found) -> str:
    kinds = [one.probe] if one.probe else []
    kinds += [f"meter {one.meter}"] if one.meter else []
    return ", ".join(kinds) or one.port.title or "serial port"


def _boards(one: Found) -> str:
    if len(one.boards) <= 2:
        return " or ".join(one.boards) or "–"
    return f"one of {len(one.boards)}: {', '.join(one.boards)}"


def flash_board(
    firmware: Path, name: str, *, port: str | None, programmer: str | None, serial_number: str | None
) -> None:
    from hil.discover import find_port
    from hil.programmers import choose_programmer

    board = load_board(name)
    if board.is_emulated:
        raise BoardError(
            f"board '{board.name}' is emulated: there is nothing to flash; "
            f"`tinyopt hil monitor -b {board.name} --firmware {firmware}` starts it"
        )
    _need_file(firmware)
    if port == "auto":
        port = find_port(board, serial_number).device
    chosen = choose_programmer(board, programmer, serial_number, firmware)
    errors().print(f"flashing {board.name} with {chosen.tool}")
    started = time.monotonic()
    chosen.flash(firmware, port)
    console().print(f"{board.name} runs {firmware.name}; flashing took {time.monotonic() - started:.1f} s")


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no firmware {path}")


def monitor_board(
    name: str,
    *,
    port: str | None,
    firmware: Path | None,
    programmer: str | None,
    serial_number: str | None,
    send: list[str],
    seconds: float,
) -> None:
    from hil.opening import open_device

    board = load_board(name)
    if firmware is not None:
        _need_file(firmware)
    port = _port_to_watch(board, port, firmware)
    with open_device(board, firmware, port=port, programmer=programmer, serial_number=serial_number) as device:
        errors().print(f"[dim]{device.name}; Ctrl-C ends[/dim]", highlight=False)
        for text in send:
            device.transport.write(text.encode(), 10.0)
        _watch(device, time.monotonic() + seconds if seconds else None)


def _port_to_watch(board: Board, port: str | None, firmware: Path | None) -> str | None:
    if port is not None or (board.is_emulated and firmware is not None):
        return port
    if not board.is_emulated:
        return "auto"
    from hil.discover import running_emulators

    running = running_emulators()
    if len(running) == 1:
        return running[0].console
    several = f" ({len(running)} emulated boards run: name one's console with --port)" if running else ""
    raise DeviceError(f"say with --firmware what the emulated board '{board.name}' is to run{several}")


def _watch(device: Device, deadline: float | None) -> None:
    typed = _Typed()
    while deadline is None or time.monotonic() < deadline:
        try:
            data = device.transport.read(0.05)
            if data:
                sys.stdout.write(_readable(data))
                sys.stdout.flush()
            line = typed.line()
            if line:
                device.transport.write(line, 10.0)
        except DeviceError as error:
            if device.board.is_emulated and "gone" not in str(error):
                raise
            errors().print(f"[yellow]note[/yellow]: {error}; waiting for it", highlight=False)
            _wait_until_back(device, deadline)


def _wait_until_back(device: Device, deadline: float | None) -> None:
    patience = time.monotonic() + RETURN_SECONDS
    while True:
        try:
            device.reconnect()
        except DeviceError:
            now = time.monotonic()
            if now >= patience or (deadline is not None and now >= deadline):
                raise
        else:
            errors().print("[dim]connected again[/dim]", highlight=False)
            return


class _Typed:
    """Lines of standard input, as far as they are there; nothing once it has ended."""

    def __init__(self) -> None:
        self._open = sys.stdin is not None and sys.platform != "win32"

    def line(self) -> bytes:
        if not self._open or not select.select([sys.stdin], [], [], 0)[0]:
            return b""
        data = os.read(sys.stdin.fileno(), 4096)
        self._open = bool(data)
        return data


def _readable(data: bytes) -> str:
    """Text as it is; bytes that are no text as \\xNN."""
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", text)


def show_meter(address: str, *, seconds: float, inferences: int, output: Path | None, json_output: bool) -> None:
    from hil.meters import integrate, open_meter, save_trace

    with open_meter(address) as meter:
        meter.start()
        errors().print(f"recording {seconds:g} s with {meter.name}")
        time.sleep(0.0 if address.startswith("replay:") else seconds)
        trace = meter.stop()
    if output is not None:
        try:
            save_trace(trace, output)
        except OSError as error:
            raise DataError(f"cannot write the trace to {output}: {error.strerror}") from None
    reading, why = None, ""
    try:
        reading = integrate(trace, inferences)
    except DeviceError as error:
        why = str(error)
    if json_output:
        print_json(_facts(trace, reading, why))
        return
    console().print(
        f"{trace.source}: {len(trace.seconds):,} samples in {trace.seconds[-1] - trace.seconds[0]:.3f} s; mean "
        f"{_scaled(trace.mean_watts, 'W')}, least {_scaled(float(trace.watts.min()), 'W')}, "
        f"most {_scaled(float(trace.watts.max()), 'W')}; {len(trace.edges)} edges"
    )
    if reading is None:
        show_notes("\n".join((*trace.notes, f"no energy of an inference: {why}")))
        return
    energy = f"{_scaled(reading.joules, 'J')} ± {_scaled(reading.uncertainty_joules, 'J')}"
    console().print(
        f"energy of an inference: {energy} above idle ({_scaled(reading.idle_watts, 'W')}), "
        f"in {_scaled(reading.seconds, 's')} ({reading.windows} windows of {reading.inferences})"
    )
    parts = ", ".join(f"{name} {_scaled(part, 'J')}" for name, part in reading.parts.items())
    console().print(f"the uncertainty is of: {parts}")
    show_notes("\n".join(reading.notes))


def _facts(trace: Trace, reading: EnergyReading | None, why: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "meter": trace.source,
        "samples": len(trace.seconds),
        "seconds": float(trace.seconds[-1] - trace.seconds[0]),
        "mean_watts": trace.mean_watts,
        "min_watts": float(trace.watts.min()),
        "max_watts": float(trace.watts.max()),
        "edges": [float(edge) for edge in trace.edges],
        "accuracy": trace.accuracy,
        "notes": list(trace.notes),
    }
    return facts | ({"energy": None, "no_energy": why} if reading is None else {"energy": asdict(reading)})


def _scaled(value: float, unit: str) -> str:
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value / 1e-12:.4g} p{unit}" if value else f"0 {unit}"
