"""A device made of Python: answers block frames and text commands through memory."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from hil import frames
from hil.frames import Decoder, Frame, encode
from tinyopt.errors import DeviceError


class MemoryTransport:
    """Hands every write to ``answer`` and gives out what it returns, ``portion`` bytes at a time."""

    def __init__(self, answer: Callable[[bytes], bytes], *, portion: int = 1 << 20) -> None:
        self._answer, self._portion = answer, portion
        self.waiting = b""
        self.writes: list[bytes] = []
        self.closed = False

    def read(self, timeout: float) -> bytes:
        if self.closed and not self.waiting:
            raise DeviceError("the connection was closed")
        data, self.waiting = self.waiting[: self._portion], self.waiting[self._portion :]
        if not data:
            time.sleep(timeout)
        return data

    def write(self, data: bytes, timeout: float) -> None:
        self.writes.append(data)
        self.waiting += self._answer(data)

    def close(self) -> None:
        self.closed = True


HELLO = struct.pack("<HHIIIIIIIQIII", 2, 1, 25_000_000, 0, 64, 2, 1, 2, 1, 0xABCD, 3, 2, 4) + b"pretend"


class Pretend:
    """Inputs of 3 and 2 bytes, one output of 4: the first four input bytes, inverted. Inputs outlive a
    run."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.resets = 0
        self.inputs = bytes(5)
        self.spoil: Callable[[bytes], bytes] = lambda reply: reply

    def __call__(self, data: bytes) -> bytes:
        return b"".join(self.spoil(encode(self._answer(frame))) for frame in self.decoder.feed(data))

    def _answer(self, request: Frame) -> Frame:
        def reply(payload: bytes = b"") -> Frame:
            return Frame(request.type | frames.REPLY, request.sequence, payload)

        if request.type == frames.HELLO:
            return reply(HELLO)
        if request.type == frames.RUN and len(request.payload) in (1, 6):
            self.inputs = request.payload[1:] or self.inputs
            outputs = bytes(byte ^ 0xFF for byte in self.inputs[:4])
            stack = 200 if request.payload[0] & frames.RUN_STACK else 0xFFFFFFFF
            return reply(struct.pack("<II", 1000, stack) + outputs)
        if request.type == frames.RESET:
            self.resets += 1
            return reply()
        if request.type == frames.LAYERS:
            return reply(struct.pack("<II", 600, 300))
        return Frame(frames.ERROR, request.sequence, bytes([frames.BAD_TYPE]))
