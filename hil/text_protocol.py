"""The MLPerf Tiny commands, as a host says them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hil.protocol import FirmwareFault, last_words
from hil.transports import Transport
from tinyopt.errors import DeviceError


@dataclass(frozen=True)
class TextInference:
    """``results``: real values of the first output; ``microseconds``: by the device's clock, all inferences."""

    results: tuple[float, ...]
    microseconds: int


class TextClient:
    """Speaks the MLPerf Tiny commands: ``name``, ``profile``, ``timestamp``, ``db``, ``infer``, ``results``."""

    HEX_BYTES = 32
    """Input bytes per ``db`` command, as many as the official runner sends."""
    _TEXT_LIMIT = 1 << 20

    def __init__(self, transport: Transport, *, timeout: float = 60.0) -> None:
        self._transport, self._timeout = transport, timeout
        self._received = b""

    def wait_until_ready(self) -> list[str]:
        """The lines up to ``m-ready``: the greeting of a device that has just started."""
        return self._read_lines()

    def command(self, text: str) -> list[str]:
        """Send one command; the lines of its reply without the ``m-ready`` at the end.

        Raises:
            DeviceError: no answer, or an error message of the device.
        """
        self._transport.write(f"{text}%".encode("ascii"), self._timeout)
        lines = self._read_lines()
        errors = [line for line in lines if line.startswith("e-")]
        if errors:
            raise DeviceError(f"the device refuses '{text[:40]}': {errors[0]}")
        return lines

    def name(self) -> str:
        """The vendor's name."""
        return self._value(self.command("name"), r"m-name-dut-\[(.*)\]")

    def model(self) -> str:
        """The model's name."""
        return self._value(self.command("profile"), r"m-model-\[(.*)\]")

    def timestamp(self) -> int:
        """Microseconds by the device's clock."""
        return int(self._value(self.command("timestamp"), r"m-lap-us-(\d+)"))

    def load(self, data: bytes) -> None:
        """Load an input: all inputs of the model, one after the other."""
        self.command(f"db load {len(data)}")
        lines: list[str] = []
        for at in range(0, len(data), self.HEX_BYTES):
            lines = self.command(f"db {data[at : at + self.HEX_BYTES].hex()}")
        if "m-load-done" not in lines:
            raise DeviceError(f"the device took {len(data)} bytes and waits for more")

    def infer(self, runs: int = 1, warmups: int = 0) -> TextInference:
        """Run the loaded input."""
        lines = self.command(f"infer {runs} {warmups}")
        laps = [int(line.removeprefix("m-lap-us-")) for line in lines if re.fullmatch(r"m-lap-us-\d+", line)]
        if len(laps) != 2:
            raise DeviceError(f"the device gave {len(laps)} time stamps for an inference, not 2")
        return TextInference(self._results(lines), (laps[1] - laps[0]) & 0xFFFFFFFF)

    def results(self) -> tuple[float, ...]:
        """Real values of the first output of the last inference."""
        return self._results(self.command("results"))

    def _results(self, lines: Sequence[str]) -> tuple[float, ...]:
        text = self._value(lines, r"m-results-\[(.*)\]")
        try:
            return tuple(float(value) for value in text.split(","))
        except ValueError:
            raise DeviceError(f"the device's results are no numbers: {text[:80]}") from None

    @staticmethod
    def _value(lines: Sequence[str], pattern: str) -> str:
        for line in lines:
            match = re.fullmatch(pattern, line)
            if match:
                return match[1]
        raise DeviceError(f"the device answered {lines!r:.200}, not {pattern}")

    def _read_lines(self) -> list[str]:
        lines: list[str] = []
        while True:
            while b"\n" in self._received:
                raw, self._received = self._received.split(b"\n", 1)
                line = raw.decode("ascii", "replace").strip()
                if line == "m-ready":
                    return lines
                if line.startswith("e-[fault "):
                    raise FirmwareFault(line[len("e-[fault ") : -1])
                if line:
                    lines.append(line)
            data = self._transport.read(self._timeout)
            if not data or len(self._received) > self._TEXT_LIMIT:
                seen = "\n".join(lines).encode() + self._received
                raise DeviceError(f"the device has not answered for {self._timeout:g} s; {last_words(seen)}")
            self._received += data
