"""Byte streams to a device: pipes of a process, sockets, serial ports.

A transport is a pair of file-like ends; nothing here knows what the bytes mean. ``open_console`` opens one by its
address. A serial port belongs to one process at a time: whoever comes second is told who has it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from hil.holders import explain_serial_error, other_users
from tinyopt.errors import DeviceError

CHUNK = 65536


class Transport(Protocol):
    """A stream of bytes to and from a device."""

    def read(self, timeout: float) -> bytes:
        """Whatever has arrived, at least one byte; empty after ``timeout`` seconds without any.

        Raises:
            DeviceError: when the other end is closed.
        """

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of ``data``.

        Raises:
            DeviceError: when the device takes none of it for ``timeout`` seconds, or the other end is closed.
        """

    def close(self) -> None: ...


class FileTransport:
    """A pair of file descriptors (pipes, a socket, a pseudo-terminal).

    ``explain_end`` says why the other end may have closed. The descriptors are closed by ``on_close``.
    """

    def __init__(
        self,
        read_fd: int,
        write_fd: int,
        *,
        explain_end: Callable[[], str] = lambda: "the connection was closed",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._explain_end, self._on_close = explain_end, on_close
        self._early = bytearray()
        self._closed = False
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def read(self, timeout: float) -> bytes:
        if self._early:
            data = bytes(self._early)
            self._early.clear()
            return data
        self._need_open()
        ready, _, _ = select.select([self._read_fd], [], [], timeout)
        return self._read_now() if ready else b""

    def write(self, data: bytes, timeout: float) -> None:
        self._need_open()
        rest = memoryview(data)
        deadline = time.monotonic() + timeout
        while rest:
            # What the device says meanwhile is kept, so that it never waits for us while we wait for it.
            readable, writable, _ = select.select(
                [self._read_fd], [self._write_fd], [], max(0.0, deadline - time.monotonic())
            )
            if readable:
                self._early += self._read_now()
            if writable:
                try:
                    rest = rest[os.write(self._write_fd, rest[:CHUNK]) :]
                    deadline = time.monotonic() + timeout
                except BlockingIOError:
                    pass
                except OSError:
                    raise DeviceError(self._explain_end()) from None
            if rest and time.monotonic() >= deadline:
                raise DeviceError(f"the device took no data for {timeout:g} s")

    def _read_now(self) -> bytes:
        try:
            data = os.read(self._read_fd, CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise DeviceError(self._explain_end())
        return data

    def _need_open(self) -> None:
        if self._closed:
            raise DeviceError("the connection to the device is closed")

    def close(self) -> None:
        """May be called again."""
        if not self._closed:
            self._closed = True
            self._on_close()


def open_unix_socket(path: str | Path) -> FileTransport:
    """Connect to a Unix socket (QEMU's ``-serial unix:PATH,server``).

    Raises:
        DeviceError: when nobody listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise DeviceError(f"cannot connect to {path}: {error.strerror or error}") from None
    return FileTransport(connection.fileno(), connection.fileno(), on_close=connection.close)


def open_tcp_socket(host: str, port: int, timeout: float = 10.0) -> FileTransport:
    """Connect to a TCP port (a terminal server, QEMU's ``-serial tcp:…,server``). ``timeout``: seconds to wait.

    Raises:
        DeviceError: when nobody listens there.
    """
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DeviceError(f"cannot connect to {host}, port {port}: {reason}") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FileTransport(connection.fileno(), connection.fileno(), on_close=connection.close)


class SerialTransport(FileTransport):
    """A serial port or a pseudo-terminal, for this process alone.

    Raises:
        DeviceError: when the port cannot be opened (missing, busy and by whom, or without permission).
    """

    def __init__(self, port: str, baud_rate: int = 115200) -> None:
        if "://" not in port and Path(port).exists():
            others = other_users(port)
            if others:
                raise DeviceError(f"the serial port {port} is busy: held by {', '.join(others)}; close that first")
        self._serial = _open_serial(port, baud_rate)
        self.name = port
        super().__init__(
            self._serial.fileno(),
            self._serial.fileno(),
            explain_end=lambda: f"the serial port {port} is gone: the board was unplugged, or it restarted",
            on_close=self._release,
        )

    def pulse(self, *, data_terminal_ready: bool = False, request_to_send: bool = False, seconds: float = 0.1) -> None:
        """Switch a control line the other way for a while: boards wire their reset to one of them.

        ``data_terminal_ready``: that line is released and asserted again (Arduino boards reset on its falling edge).
        ``request_to_send``: that line is asserted, with the other released, and released (Espressif boards).

        Raises:
            DeviceError: the port is gone.
        """
        import serial

        try:
            if data_terminal_ready:
                self._serial.dtr = False
                time.sleep(seconds)
                self._serial.dtr = True
            if request_to_send:
                self._serial.dtr = False
                self._serial.rts = True
                time.sleep(seconds)
                self._serial.rts = False
        except (serial.SerialException, OSError) as error:
            raise DeviceError(f"the serial port {self.name} cannot reset the board: {error}") from None

    def _release(self) -> None:
        import serial

        # A port that was unplugged may fail here; there is nothing left to close.
        with contextlib.suppress(serial.SerialException, OSError):
            _set_exclusive(self._serial, False)
        with contextlib.suppress(serial.SerialException, OSError):
            self._serial.close()


def _open_serial(port: str, baud_rate: int) -> Any:
    import serial

    opened = None
    try:
        opened = serial.Serial(port, baudrate=baud_rate, timeout=0, exclusive=True)
        _set_exclusive(opened, True)
        return opened
    except (serial.SerialException, ValueError, OSError) as error:
        if opened is not None:
            opened.close()
        raise DeviceError(explain_serial_error(port, error)) from None


def _set_exclusive(opened: Any, exclusive: bool) -> None:
    """Keeps programs out that do not ask for pyserial's lock, or lets them in again."""
    if sys.platform != "win32":
        import fcntl
        import termios

        fcntl.ioctl(opened.fileno(), termios.TIOCEXCL if exclusive else termios.TIOCNXCL)


class UrlTransport:
    """Anything that pyserial has a URL for (``rfc2217://host:port``), and serial ports on Windows.

    Raises:
        DeviceError: when it cannot be opened.
    """

    def __init__(self, url: str, baud_rate: int = 115200) -> None:
        import serial

        self._errors = (serial.SerialException, ValueError, OSError)
        try:
            self._port = serial.serial_for_url(url, baudrate=baud_rate, timeout=0, write_timeout=0)
        except self._errors as error:
            raise DeviceError(explain_serial_error(url, error)) from None
        self.name = url

    def read(self, timeout: float) -> bytes:
        try:
            self._port.timeout = timeout
            first: bytes = self._port.read(1)
            waiting = int(getattr(self._port, "in_waiting", 0) or 0) if first else 0
            return first + bytes(self._port.read(waiting)) if waiting else first
        except self._errors as error:
            raise DeviceError(f"the serial port {self.name} failed: {error}") from None

    def write(self, data: bytes, timeout: float) -> None:
        try:
            self._port.write_timeout = timeout
            self._port.write(data)
        except self._errors as error:
            raise DeviceError(f"the serial port {self.name} takes no data: {error}") from None

    def close(self) -> None:
        self._port.close()


def open_console(address: str, baud_rate: int = 115200) -> Transport:
    """Open a console by its address.

    ``address``: a serial port or pseudo-terminal (``/dev/ttyACM0``, ``COM3``), ``tcp://HOST:PORT``, ``unix:PATH`` or
    the path of a Unix socket, or another URL of pyserial (``rfc2217://HOST:PORT``).

    Raises:
        DeviceError: it cannot be opened.
    """
    scheme, _, rest = address.partition("://")
    if scheme in ("tcp", "socket") and rest:
        host, _, number = rest.rpartition(":")
        if not host or not number.isdecimal() or not 0 < int(number) < 65536:
            raise DeviceError(f"'{address}' is not the address of a TCP port: write {scheme}://HOST:PORT")
        return open_tcp_socket(host.strip("[]"), int(number))
    if address.startswith("unix:"):
        return open_unix_socket(address.removeprefix("unix:").removeprefix("//"))
    if rest or sys.platform == "win32":
        return UrlTransport(address, baud_rate)
    try:
        if stat.S_ISSOCK(Path(address).stat().st_mode):
            return open_unix_socket(address)
    except OSError:
        pass  # opening it says what is wrong
    return SerialTransport(address, baud_rate)
