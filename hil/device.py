"""One started board with an open console, emulated or hardware, whatever it takes to get there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil.discover import SerialPort, board_ports, find_port, serial_ports
from hil.emulators import Emulator, start_emulator
from hil.programmers import choose_programmer, find_resetter
from hil.transports import SerialTransport, Transport, open_console
from tinyopt.board import Board
from tinyopt.build import Firmware
from tinyopt.errors import DeviceError

RETURN_SECONDS = 10.0
"""How long a board may take to show up on USB again."""


class Device:
    """A started board. ``name``: for people (``emulated mps2_an386``, ``nucleo_l4r5zi (0671FF…) on /dev/ttyACM0``).

    ``transport`` is another object after ``restart`` and ``reconnect``: ask for it again.
    """

    def __init__(
        self,
        board: Board,
        name: str,
        transport: Transport,
        *,
        on_restart: Callable[[], Transport],
        on_reconnect: Callable[[], Transport],
        on_close: Callable[[], None],
    ) -> None:
        self.board, self.name = board, name
        self._transport = transport
        self._on_restart, self._on_reconnect, self._on_close = on_restart, on_reconnect, on_close
        self._closed = False

    @property
    def transport(self) -> Transport:
        """The console."""
        return self._transport

    def restart(self) -> None:
        """Reset the board and open its console again. The model's state and what was under way are lost.

        Raises:
            DeviceError: the board does not come back.
            ToolError: the program that resets it failed.
        """
        self._need_open()
        self._transport = self._on_restart()

    def reconnect(self) -> None:
        """Open the console again without a reset, after the board was unplugged; waits until it is back.

        An emulator whose console closed has ended: it is started again.

        Raises:
            DeviceError: the board does not come back.
        """
        self._need_open()
        self._transport = self._on_reconnect()

    def close(self) -> None:
        """Release the port, or stop the emulator. May be called again."""
        if not self._closed:
            self._closed = True
            self._on_close()

    def _need_open(self) -> None:
        if self._closed:
            raise DeviceError(f"{self.name} is closed")


@contextmanager
def open_local_device(
    board: Board,
    firmware: Firmware | Path | None,
    *,
    port: str | None = None,
    flash: bool = True,
    programmer: str | None = None,
    serial_number: str | None = None,
) -> Iterator[Device]:
    """As ``hil.opening.open_device``, for boards of this computer alone."""
    elf = firmware.elf if isinstance(firmware, Firmware) else firmware
    if board.emulator is not None and port in (None, "auto"):
        device = _start_emulated(board, elf)
    else:
        device = _attach(board, elf if flash else None, port, programmer, serial_number)
    try:
        yield device
    finally:
        device.close()


def _start_emulated(board: Board, elf: Path | None) -> Device:
    if elf is None:
        raise DeviceError(f"there is no firmware to start on the emulated board '{board.name}'")
    running: list[Emulator] = [start_emulator(board, elf)]

    def close() -> None:
        while running:
            emulator = running.pop()
            emulator.transport.close()
            emulator.stop()

    def restart() -> Transport:
        close()
        running.append(start_emulator(board, elf))
        return running[0].transport

    return Device(
        board,
        f"emulated {board.name}",
        running[0].transport,
        on_restart=restart,
        on_reconnect=restart,
        on_close=close,
    )


@dataclass
class _Attachment:
    """A board on a serial port or at another address."""

    board: Board
    port: str
    usb: SerialPort | None
    """What USB says of the port, where it is on USB."""
    tool: str | None
    """The programmer that was asked for."""
    serial_number: str | None
    console: Transport | None = None

    def open(self, patience: float = 0.0) -> Transport:
        """Opens the console. ``patience``: seconds in which the port may still appear."""
        deadline = time.monotonic() + patience
        while True:
            self._look_again()
            try:
                self.console = open_console(self.port, self.board.baud_rate)
                return self.console
            except DeviceError as error:
                # Just after a board came back, the system may still be giving its port to this user.
                if time.monotonic() >= deadline or "is busy" in str(error):
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        console, self.console = self.console, None
        if console is not None:
            console.close()

    def restart(self) -> Transport:
        programmer = find_resetter(self.board, self.tool, self.serial_number)
        if programmer is None and isinstance(self.console, SerialTransport):
            self._pulse(self.console)
        self.close()
        if programmer is not None:
            programmer.reset()
        return self.open(RETURN_SECONDS)

    def reconnect(self) -> Transport:
        self.close()
        return self.open(RETURN_SECONDS)

    def _pulse(self, console: SerialTransport) -> None:
        espressif = any(entry.tool == "esptool" for entry in self.board.programmers)
        if espressif:
            console.pulse(request_to_send=True)
        else:
            console.pulse(data_terminal_ready=True)

    def _look_again(self) -> None:
        """A board that was unplugged may be back under another name."""
        if self.usb is None or not self.usb.serial_number:
            return
        same = [
            port
            for port in serial_ports()
            if port.serial_number == self.usb.serial_number and (port.vid, port.pid) == (self.usb.vid, self.usb.pid)
        ]
        if same and self.port not in [one.device for one in same]:
            interface = [one for one in same if one.interface == self.usb.interface]
            self.port = (interface or same)[0].device


def _attach(
    board: Board, elf: Path | None, port: str | None, programmer: str | None, serial_number: str | None
) -> Device:
    if port is None:
        raise DeviceError(f"board '{board.name}' is hardware: name its serial port, or let --port auto look for it")
    usb: SerialPort | None = None
    if port != "auto":
        usb = _usb_of(port)
    elif elf is None or board_ports(board):
        usb = find_port(board, serial_number)
    if usb is not None and usb.busy:
        raise DeviceError(f"the serial port {usb.device} is busy: held by {usb.busy}; close that first")
    number = serial_number or (usb.serial_number if usb and usb.fits(board.usb) else "") or None
    if elf is not None and board.emulator is None:
        choose_programmer(board, programmer, number, elf).flash(
            elf, usb.device if usb else None if port == "auto" else port
        )
        if port == "auto":
            # Firmware with a USB port of its own brings it when it has started.
            usb = _wait_for_port(board, serial_number, usb)
    attachment = _Attachment(board, usb.device if usb else port, usb, programmer, number)
    transport = attachment.open(RETURN_SECONDS if elf is not None else 0.0)
    which = f" ({usb.serial_number})" if usb and usb.serial_number else ""
    return Device(
        board,
        f"{board.name}{which} on {attachment.port}",
        transport,
        on_restart=attachment.restart,
        on_reconnect=attachment.reconnect,
        on_close=attachment.close,
    )


def _wait_for_port(board: Board, serial_number: str | None, before: SerialPort | None) -> SerialPort:
    deadline = time.monotonic() + RETURN_SECONDS
    while True:
        try:
            return find_port(board, serial_number or (before.serial_number if before else None) or None)
        except DeviceError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def _usb_of(port: str) -> SerialPort | None:
    real = str(Path(port).resolve()) if "://" not in port else port
    return next((one for one in serial_ports() if one.device in (port, real)), None)
