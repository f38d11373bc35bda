"""Lends one board of this computer over the network: its console on one port, flashing and resetting on another.

One client has the board at a time. The console is the plain stream of bytes, as of ``ser2net``: any terminal can use
it. Who may connect is for the network to say: by default only this computer, and tunnels to it.
"""

from __future__ import annotations

import hashlib
import queue
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from hil.device import Device, open_local_device
from hil.remote.messages import FIRMWARE_BYTES, MessageReader, ProtocolError, send_message
from tinyopt.board import Board
from tinyopt.errors import DeviceError, TinyoptError

KEPT_BYTES = 1 << 16
"""What the board says while nobody listens; the newest of it is kept for the next client."""
POLL_SECONDS = 0.1
BUSY_POLL_SECONDS = 0.001
REQUEST_SECONDS = 60.0


class BoardServer:
    """Serves a board until ``close``; a context manager.

    ``port``: where the board is, a serial port, an address or ``auto``; None: it is emulated. ``listen``: address of
    the network interface. ``console_port`` and ``control_port``: 0 takes free ones, and the attributes say which.

    Raises:
        DeviceError: a port is taken.
    """

    def __init__(
        self,
        board: Board,
        *,
        port: str | None = None,
        listen: str = "127.0.0.1",
        control_port: int = 0,
        console_port: int = 0,
        programmer: str | None = None,
        serial_number: str | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.board, self._port, self._log = board, port, log
        self._programmer, self._serial_number = programmer, serial_number
        self._folder = tempfile.TemporaryDirectory(prefix="tinyopt-board-")
        self._opened: AbstractContextManager[Device] | None = None
        self._device: Device | None = None
        self._client: socket.socket | None = None
        self._user: MessageReader | None = None
        self._waiting = bytearray()
        self._to_device: queue.Queue[tuple[socket.socket, bytes]] = queue.Queue(maxsize=64)
        self._lock, self._io = threading.RLock(), threading.Lock()
        self._paused = threading.Event()
        self._ended = threading.Event()
        self._control = _listener(listen, control_port)
        try:
            self._console = _listener(listen, console_port)
        except DeviceError:
            self._control.close()
            raise
        self.control_port = int(self._control.getsockname()[1])
        self.console_port = int(self._console.getsockname()[1])
        self._threads = [
            threading.Thread(target=target, name=f"{board.name} {target.__name__}", daemon=True)
            for target in (self._serve_control, self._serve_console, self._forward_device)
        ]
        for thread in self._threads:
            thread.start()

    # ---- what clients ask for ----

    def _answer(self, request: dict[str, Any], reader: MessageReader) -> dict[str, Any]:
        wanted = request.get("do")
        if wanted in ("flash", "attach", "restart", "stop"):
            firmware = self._received(request, reader) if wanted == "flash" else None
            self._lease(reader)
            if firmware is not None:
                return self._flash(firmware)
            if wanted == "stop":
                self._stop_device()
                return {}
            with self._quiet():
                device = self._need_device()
                if wanted == "restart":
                    self._new_stream()
                    device.restart()
            return {"name": device.name}
        if wanted != "status":
            raise DeviceError(f"the board server does not know '{str(wanted)[:40]}'")
        return {
            "board": self.board.name,
            "emulated": self.board.is_emulated,
            "console": self.console_port,
            "running": self._device is not None,
            "in_use": self._user not in (None, reader),
        }

    def _lease(self, reader: MessageReader) -> None:
        """The board belongs to the first connection that does something with it, until that closes."""
        with self._lock:
            if self._user not in (None, reader):
                raise DeviceError(f"the board '{self.board.name}' is in use by somebody else")
            self._user = reader

    @staticmethod
    def _received(request: dict[str, Any], reader: MessageReader) -> bytes:
        count = request.get("bytes")
        if not isinstance(count, int) or not 0 < count <= FIRMWARE_BYTES:
            raise ProtocolError(f"a firmware has 1 to {FIRMWARE_BYTES:,} bytes, not {count!r:.40}")
        content = reader.read(count)
        if hashlib.sha256(content).hexdigest() != request.get("sha256"):
            raise DeviceError("the firmware arrived damaged: its SHA-256 differs")
        return content

    def _flash(self, content: bytes) -> dict[str, Any]:
        path = Path(self._folder.name) / "firmware.elf"
        self._stop_device()
        path.write_bytes(content)
        with self._quiet():
            self._open(path)
            return {"name": self._device.name if self._device is not None else ""}

    def _open(self, firmware: Path | None) -> None:
        opened = open_local_device(
            self.board, firmware, port=self._port, programmer=self._programmer, serial_number=self._serial_number
        )
        self._device = opened.__enter__()
        self._opened = opened
        self._log(f"{self._device.name} started")

    def _need_device(self) -> Device:
        if self._device is None:
            if self.board.is_emulated:
                raise DeviceError(f"nothing runs on the emulated board '{self.board.name}' yet: flash a firmware first")
            self._open(None)
        assert self._device is not None
        return self._device

    def _stop_device(self) -> None:
        with self._quiet():
            self._new_stream()
            opened, self._opened, self._device = self._opened, None, None
            if opened is not None:
                opened.__exit__(None, None, None)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Nobody touches the board's console meanwhile."""
        self._paused.set()
        try:
            with self._io:
                yield
        finally:
            self._paused.clear()

    def _new_stream(self) -> None:
        """The board starts anew: whoever listens notices, as by a cable that is pulled."""
        self._waiting.clear()
        self._drop_client()

    # ---- streams ----

    def _serve_control(self) -> None:
        while not self._ended.is_set():
            connection = _accept(self._control)
            if connection is not None:
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        reader = MessageReader(connection)
        with connection, suppress(OSError):
            while not self._ended.is_set():
                try:
                    # A client may be silent for long between requests, but not within one.
                    connection.settimeout(None)
                    reader.wait()
                    connection.settimeout(REQUEST_SECONDS)
                    request = reader.message()
                    if request is None:
                        break
                    send_message(connection, {"ok": True, **self._answer(request, reader)})
                except TinyoptError as error:
                    self._log(f"refused: {error}")
                    send_message(connection, {"ok": False, "error": str(error)})
                    if isinstance(error, ProtocolError):
                        break
        with self._lock:
            mine = self._user is reader
        if mine:
            # Whoever had the board is gone, in whatever way: the next one finds it free.
            self._stop_device()
            with self._lock:
                self._user = None

    def _serve_console(self) -> None:
        while not self._ended.is_set():
            connection = _accept(self._console)
            if connection is None:
                continue
            with self._lock:
                if self._client is not None:
                    connection.close()
                    continue
                connection.settimeout(POLL_SECONDS)
                self._client = connection
                waiting, self._waiting = bytes(self._waiting), bytearray()
            with suppress(OSError):
                connection.sendall(waiting)
            threading.Thread(target=self._forward_client, args=(connection,), daemon=True).start()

    def _forward_client(self, connection: socket.socket) -> None:
        """From the client to the board, until the client goes."""
        while not self._ended.is_set() and self._client is connection:
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            while not self._ended.is_set() and self._client is connection:
                with suppress(queue.Full):
                    self._to_device.put((connection, data), timeout=POLL_SECONDS)
                    break
        self._drop_client(connection)

    def _forward_device(self) -> None:
        """Both directions of the board's console, which is used by this thread alone."""
        quiet_since = time.monotonic()
        while not self._ended.is_set():
            if self._paused.is_set() or self._device is None:
                self._ended.wait(BUSY_POLL_SECONDS if self._paused.is_set() else POLL_SECONDS)
                continue
            with self._io:
                device = self._device
                if device is None:
                    continue
                try:
                    busy = self._write_waiting(device)
                    calm = time.monotonic() - quiet_since > 1.0
                    data = device.transport.read(POLL_SECONDS if calm else BUSY_POLL_SECONDS)
                except DeviceError as error:
                    self._log(str(error))
                    self._drop_client()
                    busy, data = False, b""
                    self._ended.wait(POLL_SECONDS)
            if busy or data:
                quiet_since = time.monotonic()
            self._to_client(data)

    def _write_waiting(self, device: Device) -> bool:
        """Whether there was anything to write."""
        try:
            client, data = self._to_device.get_nowait()
        except queue.Empty:
            return False
        if client is self._client:
            device.transport.write(data, REQUEST_SECONDS)
        return True

    def _to_client(self, data: bytes) -> None:
        with self._lock:
            client = self._client
            if client is None:
                self._waiting += data
                del self._waiting[:-KEPT_BYTES]
        if client is not None:
            with suppress(OSError):
                client.sendall(data)

    def _drop_client(self, only: socket.socket | None = None) -> None:
        with self._lock:
            client = self._client
            if client is None or only not in (None, client):
                return
            self._client = None
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()

    def close(self) -> None:
        """Release the board and both ports. May be called again."""
        self._ended.set()
        self._stop_device()
        for listener in (self._control, self._console):
            listener.close()
        for thread in self._threads:
            thread.join(2.0)
        self._folder.cleanup()

    def __enter__(self) -> BoardServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(4)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "ports go up to 65535"
        raise DeviceError(f"cannot listen on {host}, port {port}: {reason}") from None
    listener.settimeout(POLL_SECONDS)
    return listener


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
