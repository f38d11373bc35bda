"""Lines and devices that fail on purpose: a wrapper around the console of a real (emulated) device."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from hil.device import Device
from hil.emulators import Emulator, start_emulator
from hil.transports import Transport
from tinyopt.board import Board
from tinyopt.errors import DeviceError


class FaultyLine:
    """Passes bytes on, and damages, loses, delays or cuts what passes, with a seed.

    ``damaged`` and ``lost``: share of the bytes that are changed, or vanish, in each direction. ``portion``: most bytes
    of one read. ``cut_after``: bytes in both directions after which the line is dead.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        seed: int = 0,
        damaged: float = 0.0,
        lost: float = 0.0,
        portion: int = 1 << 20,
        cut_after: int | None = None,
    ) -> None:
        self._transport, self._random = transport, random.Random(seed)
        self._damaged, self._lost, self._portion = damaged, lost, portion
        self.cut_after = cut_after
        self.passed = 0
        self.faults = 0
        self._waiting = b""

    def read(self, timeout: float) -> bytes:
        self._count(0)
        if not self._waiting:
            deadline = time.monotonic() + timeout
            while not self._waiting:
                left = deadline - time.monotonic()
                data = self._transport.read(max(0.0, left))
                if not data:
                    return b""
                self._waiting = self._spoiled(data)
        data, self._waiting = self._waiting[: self._portion], self._waiting[self._portion :]
        self._count(len(data))
        return data

    def write(self, data: bytes, timeout: float) -> None:
        if self.cut_after is not None and self.passed + len(data) > self.cut_after:
            self._transport.write(self._spoiled(data[: self.cut_after - self.passed]), timeout)
        self._count(len(data))
        self._transport.write(self._spoiled(data), timeout)

    def close(self) -> None:
        self._transport.close()

    def _count(self, size: int) -> None:
        self.passed += size
        if self.cut_after is not None and self.passed > self.cut_after:
            self.faults += 1
            raise DeviceError("the connection was closed")

    def _spoiled(self, data: bytes) -> bytes:
        if not self._damaged and not self._lost:
            return data
        kept = bytearray()
        for byte in data:
            chance = self._random.random()
            if chance < self._lost:
                self.faults += 1
            elif chance < self._lost + self._damaged:
                self.faults += 1
                kept.append(byte ^ self._random.randrange(1, 256))
            else:
                kept.append(byte)
        return bytes(kept)


def faulty_device(board: Board, elf: Path, line: Callable[[Transport, int], Transport]) -> Device:
    """An emulated board behind a line that fails. ``line``: wraps the console; its second argument counts how often
    the board was started or connected before."""
    running: list[Emulator] = []
    opened = 0

    def connect() -> Transport:
        nonlocal opened
        opened += 1
        return line(running[-1].transport, opened - 1)

    def restart() -> Transport:
        close()
        running.append(start_emulator(board, elf))
        return connect()

    def close() -> None:
        while running:
            running.pop().stop()

    transport = restart()
    return Device(board, f"emulated {board.name}", transport, on_restart=restart, on_reconnect=connect, on_close=close)
