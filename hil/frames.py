"""Frames of the block protocol, as ``firmware/harness/protocol.h`` defines them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

SYNC = 0xA7
HEADER_BYTES = 8
MAX_PAYLOAD = (1 << 24) - 1

HELLO, RUN, RESET, LAYERS, REPEAT, PING = 1, 2, 3, 4, 5, 6
REPLY, ERROR = 0x80, 0xFF
RUN_LAYERS, RUN_STACK = 1, 2

BAD_CHECK, BAD_LENGTH, BAD_TYPE, NO_SESSION = 1, 2, 3, 4
ERROR_TEXT = {
    BAD_CHECK: "the request arrived damaged",
    BAD_LENGTH: "the request has the wrong size for the model",
    BAD_TYPE: "the firmware does not know the request",
    NO_SESSION: "it was reset, or somebody else used it, since the session began",
}


def _crc8_table() -> bytes:
    table = bytearray()
    for value in range(256):
        for _ in range(8):
            value = (value << 1) ^ (0x107 if value & 0x80 else 0)
        table.append(value)
    return bytes(table)


_CRC8 = _crc8_table()


def header_check(header: bytes | bytearray) -> int:
    """CRC-8 of the six bytes behind the sync byte (polynomial x^8 + x^2 + x + 1, start 0xFF)."""
    check = 0xFF
    for byte in header:
        check = _CRC8[check ^ byte]
    return check


@dataclass(frozen=True)
class Frame:
    """``type``: request, reply or error; ``sequence``: 0 to 65535, ties a reply to its request."""

    type: int
    sequence: int
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame holds at most {MAX_PAYLOAD:,} bytes, not {len(frame.payload):,}")
    header = bytes([frame.type]) + frame.sequence.to_bytes(2, "little") + len(frame.payload).to_bytes(3, "little")
    body = header + bytes([header_check(header)]) + frame.payload
    return bytes([SYNC]) + body + zlib.crc32(body).to_bytes(4, "little")


class Decoder:
    """Takes frames out of a stream that also carries text and may be damaged.

    Bytes that belong to no frame collect in ``text`` (the last ``TEXT_KEPT`` of them). ``damaged`` counts frames that
    began well and failed a check. ``max_payload``: longest payload that a frame may have; what claims more is damaged.
    """

    TEXT_KEPT = 4096

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        self.max_payload = max_payload
        self.text = bytearray()
        self.damaged = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes. Accepts any bytes in any portions."""
        self._buffer += data
        frames = []
        while self._buffer:
            start = self._buffer.find(SYNC)
            if start:
                self._keep_text(len(self._buffer) if start < 0 else start)
                continue
            if len(self._buffer) < HEADER_BYTES:
                break
            length = int.from_bytes(self._buffer[4:7], "little")
            if header_check(self._buffer[1:7]) != self._buffer[7] or length > self.max_payload:
                self._skip_sync()
                continue
            end = HEADER_BYTES + length
            if len(self._buffer) < end + 4:
                break
            body = bytes(self._buffer[1:end])
            if zlib.crc32(body) != int.from_bytes(self._buffer[end : end + 4], "little"):
                self._skip_sync()
                continue
            frames.append(Frame(body[0], int.from_bytes(body[1:3], "little"), body[7:]))
            del self._buffer[: end + 4]
        return frames

    def reset(self) -> None:
        """Forget an unfinished frame."""
        self._buffer.clear()

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def _skip_sync(self) -> None:
        self.damaged += 1
        self._keep_text(1)

    def _keep_text(self, count: int) -> None:
        self.text += self._buffer[:count]
        del self._buffer[:count]
        del self.text[: -self.TEXT_KEPT]
