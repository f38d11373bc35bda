"""Byte streams to a device: pipes of a process, sockets, serial ports.

A transport is a pair of file-like ends; nothing here knows what the bytes mean.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

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
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def read(self, timeout: float) -> bytes:
        if self._early:
            data = bytes(self._early)
            self._early.clear()
            return data
        ready, _, _ = select.select([self._read_fd], [], [], timeout)
        return self._read_now() if ready else b""

    def write(self, data: bytes, timeout: float) -> None:
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

    def close(self) -> None:
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
        raise DeviceError(f"cannot connect to {path}: {error.strerror}") from None
    return FileTransport(connection.fileno(), connection.fileno(), on_close=connection.close)


class SerialTransport:
    """A serial port, or anything that pyserial has a URL for (``socket://host:port``, a pseudo-terminal's path).

    Raises:
        DeviceError: when the port cannot be opened (missing, busy, or without permission).
    """

    def __init__(self, port: str, baud_rate: int = 115200) -> None:
        import serial

        self._error: type[Exception] = serial.SerialException
        try:
            self._port = serial.serial_for_url(port, baudrate=baud_rate, timeout=0, write_timeout=0)
        except (self._error, ValueError, OSError) as error:
            raise DeviceError(f"cannot open the serial port {port}: {error}") from None
        self._name = port

    def read(self, timeout: float) -> bytes:
        try:
            self._port.timeout = timeout
            first: bytes = self._port.read(1)
            if not first:
                return b""
            waiting = int(getattr(self._port, "in_waiting", 0) or 0)
            if waiting:
                first += self._port.read(waiting)
            return first
        except (self._error, OSError) as error:
            raise DeviceError(f"the serial port {self._name} failed: {error}") from None

    def write(self, data: bytes, timeout: float) -> None:
        try:
            self._port.write_timeout = timeout
            self._port.write(data)
        except (self._error, OSError) as error:
            raise DeviceError(f"the serial port {self._name} takes no data: {error}") from None

    def close(self) -> None:
        self._port.close()
