"""One started board with an open console, emulated or hardware, whatever it takes to get there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.emulators import Emulator, start_emulator
from hil.transports import Transport, open_console
from tinyopt.board import Board
from tinyopt.build import Firmware
from tinyopt.errors import DeviceError


class Device:
    """A started board. ``name``: for people (``emulated mps2_an386``, ``nucleo_l4r5zi on /dev/ttyACM0``).

    ``transport`` is another object after ``restart``: ask for it again.
    """

    def __init__(
        self,
        board: Board,
        name: str,
        transport: Transport,
        *,
        on_restart: Callable[[], Transport],
        on_close: Callable[[], None],
    ) -> None:
        self.board, self.name = board, name
        self._transport = transport
        self._on_restart, self._on_close = on_restart, on_close
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
        if self._closed:
            raise DeviceError(f"{self.name} is closed")
        self._transport = self._on_restart()

    def close(self) -> None:
        """Release the port, or stop the emulator. May be called again."""
        if not self._closed:
            self._closed = True
            self._on_close()


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
    one, an address connects to one that runs. ``programmer``: the tool that writes the firmware, else the first of the
    board's that is installed. ``serial_number``: which of several boards or probes (its end is enough).

    Raises:
        BoardError: the board cannot be reached or flashed in this way.
        DeviceError: no such port, or it is busy.
        ToolError: a program is missing or failed.
    """
    elf = firmware.elf if isinstance(firmware, Firmware) else firmware
    device = _start_emulated(board, elf) if board.emulator is not None and port is None else _attach(board, port)
    try:
        yield device
    finally:
        device.close()


def _start_emulated(board: Board, elf: Path | None) -> Device:
    if elf is None:
        raise DeviceError(f"there is no firmware to start on the emulated board '{board.name}'")
    running: list[Emulator] = [start_emulator(board, elf)]

    def restart() -> Transport:
        running.pop().stop()
        running.append(start_emulator(board, elf))
        return running[0].transport

    def close() -> None:
        while running:
            running.pop().stop()

    return Device(board, f"emulated {board.name}", running[0].transport, on_restart=restart, on_close=close)


def _attach(board: Board, port: str | None) -> Device:
    if port is None:
        raise DeviceError(f"board '{board.name}' is hardware: say which serial port it is on")
    opened: list[Transport] = [open_console(port, board.baud_rate)]

    def restart() -> Transport:
        opened.pop().close()
        opened.append(open_console(port, board.baud_rate))
        return opened[0]

    def close() -> None:
        while opened:
            opened.pop().close()

    return Device(board, f"{board.name} on {port}", opened[0], on_restart=restart, on_close=close)
