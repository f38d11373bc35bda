"""STMicroelectronics X-NUCLEO-LPM01A (PowerShield), which supplies the board and measures what it takes.

The commands are those of UM2269 (Getting started with PowerShield firmware), as its help text gives them; the accuracy
is that of UM2243, chapter 10: dynamic currents from 100 nA to 50 mA to 2 %.
"""

from __future__ import annotations

import re
import time

import numpy as np

from hil.meters.stream import Lines, StreamMeter
from hil.meters.trace import Trace
from hil.transports import Transport
from tinyopt.errors import DeviceError

BAUD_RATE = 3_686_400
ACCURACY = 0.02
RATES = (100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 5, 2, 1)
TEXT_LIMIT_HZ = 5_000
"""Above this the meter sends binary samples, among which it does not report the trigger."""
PROMPT = "PowerShield > "
VOLT_SECONDS = 20.0
"""The meter calibrates itself when its voltage changes."""
DAMAGED_LIMIT = 0.01


class Lpm01a(StreamMeter):
    """The meter on its USB serial port.

    ``rate``: samples per second, one of ``RATES``. ``voltage``: that it supplies, in volts; None leaves it as it is.
    The trigger is the falling edge on its pin D7; edges are reported up to 5,000 samples a second.

    Raises:
        DeviceError: a rate or voltage that the meter does not have.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        rate: int = TEXT_LIMIT_HZ,
        voltage: float | None = None,
        accuracy: float = ACCURACY,
        timeout: float = 5.0,
    ) -> None:
        super().__init__("the LPM01A", transport, timeout)
        if rate not in RATES:
            raise DeviceError(f"the LPM01A samples at {', '.join(map(str, RATES))} Hz, not at {rate}")
        if voltage is not None and not 1.8 <= voltage <= 3.3:
            raise DeviceError(f"the LPM01A supplies 1.8 V to 3.3 V, not {voltage:g} V")
        self._rate, self._wanted, self._accuracy = rate, voltage, accuracy
        self._voltage = 0.0
        self._binary = rate > TEXT_LIMIT_HZ
        self._sees_edges = False
        self._behind = b""
        self._reader: TextSamples | BinarySamples = TextSamples(rate)

    def _begin(self) -> None:
        self._reader = BinarySamples(self._rate) if self._binary else TextSamples(self._rate)
        self._transport.write(b"stop\n", self._timeout)  # an earlier host may have left it recording
        self._drain()
        try:
            self.command("htc")
        except DeviceError:
            self._drain()
            self.command("htc")  # the first one may run into what was left in its buffer
        # The target keeps its power before and after, or it would restart in the middle.
        self.command("pwr on nostatus")
        self.command("pwrend on")
        self.command("acqmode dyn")
        self.command("output current")
        self.command(f"format {'bin_hexa' if self._binary else 'ascii_dec'}")
        self.command(f"freq {self._rate // 1000}k" if self._rate >= 1000 else f"freq {self._rate}")
        self.command("acqtime inf")
        self.command("trigsrc sw")
        self.command("trigdelay 0")
        self._sees_edges = not self._binary and self._accepts("eventsrc d7 fal")
        if self._wanted is not None:
            self.command(f"volt {round(self._wanted * 1000)}m", VOLT_SECONDS)
        self._voltage = _number(self.command("volt get", VOLT_SECONDS), "its voltage")
        self.command("start")
        self._reader.feed(self._behind)

    def _feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def _finish(self) -> None:
        self._transport.write(b"stop\n", self._timeout)
        deadline = time.monotonic() + self._timeout
        while not self._reader.ended and time.monotonic() < deadline:
            self._reader.feed(self._transport.read(0.1))
        self._drain()
        if not self._reader.ended:
            raise DeviceError(f"the LPM01A did not end its recording within {self._timeout:g} s")

    def _trace(self) -> Trace:
        reader = self._reader
        if reader.overflow:
            raise DeviceError("the LPM01A's buffer overflowed: choose a lower rate, or a USB port of its own")
        if len(reader.amperes) < 2:
            raise DeviceError("the LPM01A sent no samples: is its output on and the board connected?")
        notes = []
        if reader.damaged > DAMAGED_LIMIT * len(reader.amperes) + 1:
            raise DeviceError(
                f"the line to the LPM01A is bad: {reader.damaged} of {len(reader.amperes)} samples arrived damaged"
            )
        if reader.damaged:
            notes.append(f"{reader.damaged} samples arrived damaged and were left out")
        if reader.lost:
            notes.append(f"{reader.lost} samples were lost")
        if not self._sees_edges:
            notes.append(
                "no trigger: the binary format does not report it (use 5,000 samples a second or fewer)"
                if self._binary
                else "no trigger: the meter's firmware does not know eventsrc"
            )
        return Trace(
            np.array(reader.indices, np.float64) / self._rate,
            np.array(reader.amperes) * self._voltage,
            np.array(reader.edges, np.float64) / self._rate,
            self._accuracy,
            f"LPM01A at {self._voltage:g} V, {self._rate:,} Hz",
            resolution_watts=100e-9 * self._voltage,
            notes=tuple(notes),
        )

    def _release(self) -> None:
        self._transport.write(b"stop\n", self._timeout)
        self._drain()
        self.command("hrc")

    def _accepts(self, text: str) -> bool:
        try:
            self.command(text)
        except DeviceError:
            return False
        return True

    def command(self, text: str, timeout: float | None = None) -> str:
        """Send a command; what the meter says behind its acknowledgement.

        Raises:
            DeviceError: it refuses, or does not answer.
        """
        self._transport.write(f"{text}\n".encode("ascii"), self._timeout)
        received, refusal = b"", None
        deadline = time.monotonic() + (timeout or self._timeout)
        while time.monotonic() < deadline:
            data = self._transport.read(0.1 if refusal is None else 0.3)
            if not data and refusal is not None:
                break  # the reason, which follows the refusal, did not come
            received += data
            while b"\n" in received:
                line, _, received = received.partition(b"\n")
                said = line.decode("ascii", "replace").replace(PROMPT, "").strip()
                if said.startswith("ack") and text in said:
                    self._behind = received  # the first samples may come with the answer to start
                    return said[said.index(text) + len(text) :].strip(" :")
                if said.startswith("Error detail"):
                    raise DeviceError(f"the LPM01A refuses '{text}': {said.partition(':')[2].strip()}")
                if said.startswith(("error", "err ")):
                    refusal = said
        if refusal is not None:
            raise DeviceError(f"the LPM01A refuses '{text}': {refusal}")
        raise DeviceError(
            f"the LPM01A did not answer '{text}': is this its port (of its USB connector), and is no other program "
            "using it?"
        )


def _number(text: str, what: str) -> float:
    """``3300-03`` is 3300e-3."""
    match = re.search(r"(\d+)([+-]\d+)|(\d+\.\d+)|(\d+)m\b", text)
    if match is None:
        raise DeviceError(f"the LPM01A does not say {what}: {text!r}")
    if match[1]:
        return float(f"{match[1]}e{match[2]}")
    return float(match[3]) if match[3] else int(match[4]) / 1000


class TextSamples:
    """The stream in the format ascii_dec: a line per sample (``6409-07`` is 640.9 uA) between lines of other kinds.

    ``indices``: numbers of the samples, counted from the start of the recording at the sampling rate: they jump where
    the meter's time stamps show that samples were lost. ``edges``: numbers of the samples that came after an edge.
    """

    def __init__(self, rate: int) -> None:
        self.indices: list[int] = []
        self.amperes: list[float] = []
        self.edges: list[int] = []
        self.damaged = self.lost = 0
        self.overflow = self.ended = False
        self._rate = rate
        self._next = 0
        self._origin: float | None = None
        self._lines = Lines()

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            DeviceError: the meter reports an error.
        """
        for line in self._lines.feed(data):
            self._take(line.replace(PROMPT, "").strip())

    def _take(self, line: str) -> None:
        sample = re.fullmatch(r"(\d{4})([+-]\d{2})", line)
        if sample:
            self.indices.append(self._next)
            self.amperes.append(float(f"{sample[1]}e{sample[2]}"))
            self._next += 1
        elif line.startswith("TimeStamp"):
            self._take_time(line)
        elif line.startswith("event"):
            self.edges.append(self._next)
        elif "Acquisition completed" in line or line in ("end", "summary end"):
            self.ended = True
        elif line.casefold().startswith("error"):
            if "overflow" in line.casefold():
                self.overflow = True
            else:
                raise DeviceError(f"the LPM01A reports '{line}'")
        elif line and not line.startswith(("ack", "summary", "pwr", "PowerShield")) and not self.ended:
            self.damaged += 1
            self._next += 1  # a sample was in that line

    def _take_time(self, line: str) -> None:
        stamp = re.search(r"(\d+)s\s+(\d+)ms(?:,\s*buff\s+(\d+)%)?", line)
        if stamp is None:
            self.damaged += 1
            return
        if stamp[3] and int(stamp[3]) >= 100:
            self.overflow = True
        seconds = int(stamp[1]) + int(stamp[2]) / 1000
        if self._origin is None or "<" in line or ">" in line:
            self._origin = seconds - self._next / self._rate  # its clock starts over after 999 s
            return
        # Time stamps have a resolution of a millisecond.
        missing = round((seconds - self._origin) * self._rate) - self._next
        if missing > max(1, 2e-3 * self._rate):
            self.lost += missing
            self._next += missing


class BinarySamples:
    """The stream in the format bin_hexa: two bytes per sample (0x52A0 is 0x2A0 times 16 to the power of -5, in
    amperes), and records that begin with 0xF0 and end with 0xFF 0xFF."""

    _FIXED = {0xF3: 5, 0xF4: 0, 0xF5: 0, 0xF6: 0, 0xF7: 2}
    """Bytes of the records of fixed length between their type and their end."""

    def __init__(self, rate: int) -> None:
        self.indices: list[int] = []
        self.amperes: list[float] = []
        self.edges: list[int] = []
        self.damaged = self.lost = 0
        self.overflow = self.ended = False
        self._rate = rate
        self._next = 0
        self._origin: float | None = None
        self._rest = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            DeviceError: the meter reports an error.
        """
        self._rest += data
        if not self._begun:
            # Text of the acknowledgement comes before the first record.
            start = self._rest.find(b"\xf0\xf3")
            if start < 0:
                del self._rest[: max(0, len(self._rest) - 4096)]
                return
            del self._rest[:start]
            self._begun = True
        at = 0
        while not self.ended and len(self._rest) - at >= 2:
            first, second = self._rest[at], self._rest[at + 1]
            if first >> 4 != 0xF:
                self.indices.append(self._next)
                self.amperes.append(((first & 15) << 8 | second) / 16.0 ** (first >> 4))
                self._next += 1
                at += 2
                continue
            taken = self._record(at, second) if first == 0xF0 else 1
            if taken == 0:
                break
            if first != 0xF0:
                self.damaged += 1
            at += taken
        del self._rest[:at]

    def _record(self, at: int, kind: int) -> int:
        """Bytes of the record at ``at``; 0 where it is not complete."""
        if kind in (0xF1, 0xF2):
            end = self._rest.find(b"\xff\xff", at + 2)
            if end < 0:
                return 0
            if kind == 0xF1:
                text = self._rest[at + 2 : end].decode("ascii", "replace").strip()
                raise DeviceError(f"the LPM01A reports '{text}'")
            return end + 2 - at
        length = self._FIXED.get(kind)
        if length is None:
            self.damaged += 1
            return 2
        body = self._rest[at + 2 : at + 4 + length]
        if len(body) < length + 2:
            return 0
        if body[length:] != b"\xff\xff":
            self.damaged += 1
            return 2
        if kind == 0xF3:
            self._take_time(int.from_bytes(body[:4], "big"), body[4])
        elif kind == 0xF4:
            self.ended = True
        elif kind == 0xF5:
            raise DeviceError("the board takes more current than the LPM01A can give (50 mA)")
        return 4 + length

    def _take_time(self, milliseconds: int, load: int) -> None:
        self.overflow |= bool(milliseconds >> 31) or load >= 100
        seconds = (milliseconds & 0x7FFFFFFF) / 1000
        if self._origin is None:
            self._origin = seconds - self._next / self._rate
            return
        missing = round((seconds - self._origin) * self._rate) - self._next
        if missing > max(1, 2e-3 * self._rate):
            self.lost += missing
            self._next += missing
