"""What a board server and its clients say: one JSON object a line, and the bytes of a firmware after its request.

Requests: ``{"do": "status"}``, ``{"do": "flash", "bytes": N, "sha256": HEX}`` and N bytes, ``{"do": "attach"}``,
``{"do": "restart"}``, ``{"do": "stop"}``. Replies: ``{"ok": true, …}`` or ``{"ok": false, "error": TEXT}``.
"""

from __future__ import annotations

import json
import socket
from typing import Any

from tinyopt.errors import DeviceError

LINE_BYTES = 1 << 16
"""Longest request or reply."""
FIRMWARE_BYTES = 64 << 20
"""Largest firmware file."""


class ProtocolError(DeviceError):
    """What came cannot be followed any further: the connection is of no more use."""


def send_message(connection: socket.socket, message: dict[str, Any]) -> None:
    """Write one line."""
    connection.sendall(json.dumps(message).encode() + b"\n")


class MessageReader:
    """Reads lines and portions of bytes from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def wait(self) -> None:
        """Until something has arrived, or the other end has closed."""
        if not self._buffer:
            self._buffer += self._connection.recv(1 << 16)

    def message(self) -> dict[str, Any] | None:
        """The next line; None where the other end has closed.

        Raises:
            ProtocolError: what came is no message.
            TimeoutError: nothing came in the connection's time.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_BYTES:
                raise ProtocolError("the other end does not speak the protocol of board servers: its line has no end")
            data = self._connection.recv(1 << 16)
            if not data:
                return None
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise ProtocolError("the other end does not speak the protocol of board servers: that was no JSON object")
        return message

    def read(self, count: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            ProtocolError: the other end closed before.
        """
        while len(self._buffer) < count:
            data = self._connection.recv(1 << 16)
            if not data:
                raise ProtocolError(f"the connection ended after {len(self._buffer):,} of {count:,} bytes")
            self._buffer += data
        data, self._buffer = bytes(self._buffer[:count]), self._buffer[count:]
        return data
