"""Transports carry bytes over pipes, Unix sockets and serial ports, and say when the other end is gone."""

from __future__ import annotations

import os
import pty
import socket
import threading
import tty
from pathlib import Path

import pytest

from hil.transports import FileTransport, SerialTransport, open_unix_socket
from tinyopt.errors import DeviceError


def pipes() -> tuple[FileTransport, int, int]:
    from_device, to_host = os.pipe()
    from_host, to_device = os.pipe()
    return FileTransport(from_device, to_device), from_host, to_host


def test_bytes_go_both_ways_over_pipes() -> None:
    transport, device_in, device_out = pipes()
    transport.write(b"\x00hello\xff", 1)
    assert os.read(device_in, 100) == b"\x00hello\xff"
    os.write(device_out, b"reply")
    assert transport.read(1) == b"reply"
    assert transport.read(0.01) == b""


def test_a_device_that_takes_nothing_is_reported() -> None:
    transport, _, _ = pipes()
    with pytest.raises(DeviceError, match="took no data"):
        transport.write(bytes(1 << 21), 0.1)


def test_what_arrives_during_a_long_write_is_kept() -> None:
    transport, device_in, device_out = pipes()
    received = bytearray()

    def device() -> None:
        os.write(device_out, b"early")
        while len(received) < 1 << 20:
            received.extend(os.read(device_in, 65536))

    thread = threading.Thread(target=device)
    thread.start()
    transport.write(bytes(1 << 20), 5)
    thread.join()
    assert transport.read(1) == b"early"


def test_a_closed_end_is_reported() -> None:
    transport, _, device_out = pipes()
    os.close(device_out)
    with pytest.raises(DeviceError, match="closed"):
        transport.read(1)


def test_a_unix_socket(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(tmp_path / "console"))
    server.listen(1)
    transport = open_unix_socket(tmp_path / "console")
    connection, _ = server.accept()
    transport.write(b"question", 1)
    assert connection.recv(100) == b"question"
    connection.sendall(b"answer")
    assert transport.read(1) == b"answer"
    connection.close()
    with pytest.raises(DeviceError):
        transport.read(1)
    transport.close()
    server.close()


def test_a_socket_that_nobody_serves_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot connect"):
        open_unix_socket(tmp_path / "nothing")


def test_a_serial_port_on_a_pseudo_terminal() -> None:
    device, line = pty.openpty()
    tty.setraw(line)
    transport = SerialTransport(os.ttyname(line))
    transport.write(b"\xa7\x00%", 1)
    assert os.read(device, 10) == b"\xa7\x00%"
    os.write(device, b"m-ready\r\n")
    data = b""
    while len(data) < 9:
        portion = transport.read(1)
        assert portion
        data += portion
    assert data == b"m-ready\r\n"
    assert transport.read(0.01) == b""
    transport.close()
    os.close(device)
    os.close(line)


def test_a_missing_serial_port_is_reported() -> None:
    with pytest.raises(DeviceError, match="/dev/nothing_here"):
        SerialTransport("/dev/nothing_here")
