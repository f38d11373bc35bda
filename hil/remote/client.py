"""The other end of a board server."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from hil.device import Device
from hil.remote.messages import FIRMWARE_BYTES, MessageReader, send_message
from hil.transports import FileTransport, Transport, open_tcp_socket
from tinyopt.board import Board
from tinyopt.build import Firmware
from tinyopt.errors import DeviceError

FLASH_SECONDS = 180.0
"""Longest that flashing a board may take."""
DEFAULT_CONTROL_PORT = 20450


class BoardService:
    """Asks a board server to flash and restart its board; a context manager.

    Raises:
        DeviceError: nobody listens there, or something else does.
    """

    def __init__(self, host: str, port: int, *, timeout: float = FLASH_SECONDS) -> None:
        self.host, self.port = host, port
        try:
            self._connection = socket.create_connection((host, port), timeout=10.0)
        except (OSError, UnicodeError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DeviceError(f"cannot reach the board server at {host}, port {port}: {reason}") from None
        self._connection.settimeout(timeout)
        self._reader = MessageReader(self._connection)

    def status(self) -> Mapping[str, Any]:
        """``board``: its name; ``emulated``, ``running``, ``in_use``; ``console``: TCP port of the console."""
        return self._ask({"do": "status"})

    def flash(self, firmware: Path) -> None:
        """Put an ELF file on the board and start it.

        Raises:
            DeviceError: the file is no firmware, or the board could not be flashed there.
        """
        try:
            content = firmware.read_bytes()
        except OSError as error:
            raise DeviceError(f"cannot read the firmware {firmware}: {error.strerror}") from None
        if not 0 < len(content) <= FIRMWARE_BYTES:
            raise DeviceError(f"{firmware} has {len(content):,} bytes: that is no firmware")
        digest = hashlib.sha256(content).hexdigest()
        self._ask({"do": "flash", "bytes": len(content), "sha256": digest}, content)

    def attach(self) -> None:
        """Take the board as it is, with the firmware that is on it."""
        self._ask({"do": "attach"})

    def restart(self) -> None:
        """Reset the board."""
        self._ask({"do": "restart"})

    def stop(self) -> None:
        """Release the board: an emulator ends, a port is closed."""
        self._ask({"do": "stop"})

    def console(self) -> FileTransport:
        """The board's console.

        Raises:
            DeviceError: somebody else has it.
        """
        port = self.status().get("console")
        if not isinstance(port, int):
            raise DeviceError(f"the board server at {self.host}, port {self.port} does not say where the console is")
        return open_tcp_socket(self.host, port)

    def _ask(self, request: dict[str, Any], content: bytes = b"") -> dict[str, Any]:
        where = f"the board server at {self.host}, port {self.port}"
        try:
            send_message(self._connection, request)
            self._connection.sendall(content)
            reply = self._reader.message()
        except TimeoutError:
            raise DeviceError(f"{where} has not answered to '{request['do']}'") from None
        except OSError as error:
            raise DeviceError(f"{where} is gone: {error.strerror or error}") from None
        if reply is None:
            raise DeviceError(f"{where} closed the connection")
        if reply.get("ok") is not True:
            raise DeviceError(f"{where} says: {str(reply.get('error', 'nothing'))[:400]}")
        return reply

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> BoardService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def open_remote_device(
    board: Board, firmware: Firmware | Path | None, host: str, port: int, *, flash: bool = True
) -> Iterator[Device]:
    """The board of a board server, as ``open_device`` gives one of this computer.

    Raises:
        DeviceError: no server, another board, or the board is in use or cannot be flashed.
    """
    elf = firmware.elf if isinstance(firmware, Firmware) else firmware
    with BoardService(host, port) as service:
        status = service.status()
        if status.get("board") != board.name:
            raise DeviceError(
                f"the board server at {host}, port {port} has the board '{status.get('board')}', not '{board.name}'"
            )
        if elf is not None and flash:
            service.flash(elf)
        else:
            service.attach()
        consoles: list[FileTransport] = [service.console()]

        def reopen() -> Transport:
            while consoles:
                consoles.pop().close()
            consoles.append(service.console())
            return consoles[0]

        def restart() -> Transport:
            service.restart()
            return reopen()

        def close() -> None:
            while consoles:
                consoles.pop().close()
            with suppress(DeviceError):  # the server frees a board whose user is gone
                service.stop()

        device = Device(
            board,
            f"{board.name} at {host}, port {port}",
            consoles[0],
            on_restart=restart,
            on_reconnect=reopen,
            on_close=close,
        )
        try:
            yield device
        finally:
            device.close()
