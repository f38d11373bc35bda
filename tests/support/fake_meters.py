"""Meters on pseudo-terminals that speak the real ones' protocols, and do it as badly as they are told."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Sequence
from types import TracebackType

import numpy as np

IDLE_AMPERES, ACTIVE_AMPERES = 1e-3, 9e-3


def profile(count: int, windows: Sequence[tuple[int, int]]) -> np.ndarray:
    """Amperes of samples: idle, and active from the first to before the second of each pair."""
    amperes = np.full(count, IDLE_AMPERES)
    for start, end in windows:
        amperes[start:end] = ACTIVE_AMPERES
    return amperes


class FakeMeter:
    """A device behind a pseudo-terminal, ``path``. ``piece``: bytes per write, so that everything arrives in parts."""

    def __init__(self, piece: int = 4096) -> None:
        self._master, self._line = pty.openpty()
        tty.setraw(self._line)
        self.path = os.ttyname(self._line)
        self.commands: list[bytes] = []
        self.sent = threading.Event()
        """Everything that there is to send has been read."""
        self._piece = piece
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeMeter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(5)
        self.unplug()
        os.close(self._line)

    def unplug(self) -> None:
        """The other end sees its port go away."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def wait_sent(self) -> None:
        """Until everything has been sent and the host has taken it."""
        assert self.sent.wait(60)
        deadline = time.monotonic() + 60
        while any(fcntl.ioctl(self._line, termios.FIONREAD, bytes(4))) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.1)

    def received(self, data: bytes) -> None:
        """Bytes of the host."""

    def idle(self) -> None:
        """Called again and again while the host says nothing."""

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), self._piece):
            rest = memoryview(data[at : at + self._piece])
            while rest and not self._end.is_set():
                _, writable, _ = select.select([], [self._master], [], 0.2)
                if writable:
                    rest = rest[os.write(self._master, rest) :]

    def _run(self) -> None:
        os.set_blocking(self._master, False)
        try:
            while not self._end.is_set():
                readable, _, _ = select.select([self._master], [], [], 0.02)
                if readable:
                    self.received(os.read(self._master, 4096))
                else:
                    self.idle()
        except (OSError, ValueError):
            return  # unplugged


class FakeLpm01a(FakeMeter):
    """A PowerShield. ``amperes``: samples; ``edges``: numbers of the samples before which the trigger fell.

    ``refuse``: commands that it does not know. ``stamps``: whether time stamps come every 1,000 samples. ``damage``:
    every so many samples, one arrives as something else. ``drop``: numbers of the samples that are lost. ``extra``: put
    into the stream at its end.
    """

    def __init__(
        self,
        amperes: Sequence[float],
        edges: Sequence[int] = (),
        *,
        rate: int = 5000,
        refuse: Sequence[str] = (),
        damage: int = 0,
        drop: range = range(0),
        extra: bytes = b"",
        volts: str = "3300-03",
        ends: bool = True,
        piece: int = 4096,
    ) -> None:
        super().__init__(piece)
        self._amperes, self._edges, self._rate = list(amperes), set(edges), rate
        self._refuse, self._damage, self._drop, self._extra, self._volts = refuse, damage, drop, extra, volts
        self._ends, self._text, self._binary = ends, b"", False

    def received(self, data: bytes) -> None:
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            self.commands.append(line)
            self._obey(line.decode())

    def _obey(self, command: str) -> None:
        if any(command.startswith(name) for name in self._refuse):
            self.send(f"PowerShield > error {command}\r\nError detail: Command unknown\r\n".encode())
        elif command == "start":
            self.send(b"PowerShield > ack start\r\n")
            self.send(self._words() if self._binary else self._lines())
            self.sent.set()
        elif command == "stop":
            if self.sent.is_set() and self._ends:
                end = b"\xf0\xf4\xff\xff" if self._binary else b"end\r\nsummary beg\r\nsummary end\r\n"
                self.send(end + b"PowerShield > Acquisition completed\r\n")
        elif command == "volt get":
            self.send(f"PowerShield > ack volt get {self._volts}\r\n".encode())
        else:
            self._binary |= command == "format bin_hexa"
            self.send(f"PowerShield > ack {command}\r\n".encode())

    def _lines(self) -> bytes:
        lines = []
        for number, value in enumerate(self._amperes):
            if number % 1000 == 0:
                seconds, milliseconds = divmod(round(number * 1000 / self._rate), 1000)
                lines.append(f"TimeStamp: {seconds:03}s {milliseconds:03}ms, buff 02%")
            if number in self._edges:
                lines.append(f"event {number} ris")
            if number in self._drop:
                continue
            if self._damage and number % self._damage == self._damage - 1:
                lines.append("64\x00#")
            else:
                lines.append(f"{round(value * 1e7):04}-07" if value < 1e-3 else f"{round(value * 1e6):04}-06")
        return ("\r\n".join(lines) + "\r\n").encode("latin-1") + self._extra

    def _words(self) -> bytes:
        out = bytearray(b"\x00\x00")  # what was left in its buffer
        for number, value in enumerate(self._amperes):
            if number % 1000 == 0:
                stamp = round(number * 1000 / self._rate)
                out += b"\xf0\xf3" + stamp.to_bytes(4, "big") + b"\x02\xff\xff"
            if number in self._drop:
                continue
            power = 4
            while power < 14 and value * 16 ** (power + 1) < 4096:
                power += 1
            out += (power << 12 | min(4095, round(value * 16**power))).to_bytes(2, "big")
        return bytes(out) + self._extra


PPK2_OHMS = (1000.625, 101.4608, 10.2309, 0.9629, 0.0559)


def ppk2_constants(**changes: str) -> bytes:
    """As a PPK2 prints its calibration, with some of it changed (``R3="nan"``; empty leaves the line out)."""
    lines = {"Calibrated": "0"}
    for name, value in (("R", ""), ("GS", "0"), ("GI", "1"), ("O", "16"), ("S", "0"), ("I", "0"), ("UG", "1")):
        for number in range(5):
            lines[f"{name}{number}"] = f"{PPK2_OHMS[number]:.4f}" if name == "R" else f"{float(value):.20f}"
    lines |= {"VDD": "3300", "HW": "49625", "mode": "2", "IA": "59", **changes}
    return ("".join(f"{key}: {value}\n" for key, value in lines.items() if value) + "END\n").encode()


def ppk2_words(amperes: np.ndarray, levels: np.ndarray, ranges: np.ndarray, first: int = 0) -> bytes:
    """The stream of a PPK2 with the calibration of ``ppk2_constants``. ``levels``: of the digital input 0."""
    ohms = np.take(PPK2_OHMS, ranges)
    steps = np.round((amperes * ohms * 163840 / 1.8 + 16) / 4).astype(np.int64)
    assert (steps >= 0).all() and (steps < 0x3FFF).all()
    counters = (np.arange(len(amperes)) + first) & 63
    words = steps | ranges.astype(np.int64) << 14 | counters << 18 | levels.astype(np.int64) << 24
    return bytes(words.astype("<u4").tobytes())


class FakePpk2(FakeMeter):
    """A PPK2 that sends a stream when it is started."""

    def __init__(self, stream: bytes, constants: bytes | None = None, *, stale: bytes = b"", piece: int = 4096) -> None:
        super().__init__(piece)
        self._stream = stream
        self._constants = ppk2_constants() if constants is None else constants
        self._stale = stale

    def received(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            length = {0x0D: 3, 0x11: 2, 0x0C: 2}.get(data[at], 1)
            command = data[at : at + length]
            self.commands.append(command)
            at += length
            if command == b"\x19":
                self.send(self._constants)
            elif command == b"\x06":
                self.send(self._stream)
                self.sent.set()
            elif command == b"\x07" and self._stale:
                self.send(self._stale)
                self._stale = b""


class FakeIna(FakeMeter):
    """A microcontroller that prints lines, beginning a moment after it was plugged in."""

    WAIT_SECONDS = 0.4

    def __init__(self, lines: Sequence[str], piece: int = 4096) -> None:
        super().__init__(piece)
        self._rest = list(lines)
        self._plugged = time.monotonic()

    def idle(self) -> None:
        if time.monotonic() - self._plugged < self.WAIT_SECONDS:
            return
        if self._rest:
            text, self._rest = self._rest[:200], self._rest[200:]
            self.send(("\r\n".join(text) + "\r\n").encode())
        else:
            self.sent.set()
