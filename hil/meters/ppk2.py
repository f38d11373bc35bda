"""Nordic Power Profiler Kit II: 100,000 samples a second of current and eight digital inputs.

Commands, the text of its calibration, the words of the stream and the conversion are as in Nordic's Power Profiler app
(github.com/NordicSemiconductor/pc-nrfconnect-ppk) and IRNAS' ppk2-api; ranges and accuracies are those of Nordic's
specification (typical: 10 % up to 50 mA, 15 % above).
"""

from __future__ import annotations

import math
import re
import time

import numpy as np
import numpy.typing as npt

from hil.meters.stream import StreamMeter
from hil.meters.trace import Trace, falling_edges
from hil.transports import Transport
from tinyopt.errors import DeviceError

RATE = 100_000
BAUD_RATE = 115_200
RANGE_ACCURACY = (0.10, 0.10, 0.10, 0.10, 0.15)
RANGE_RESOLUTION_AMPERES = (0.2e-6, 0.5e-6, 5e-6, 50e-6, 1e-3)
SETTLING_SAMPLES = 3
"""After a change of range; these are replaced by the first sample behind them."""
LOST_LIMIT = 0.05

_START, _STOP, _POWER, _VOLTAGE, _MODE, _METADATA = 0x06, 0x07, 0x0C, 0x0D, 0x11, 0x19
_AMPERE_METER, _SOURCE = 1, 2
_VOLTS_PER_STEP = 1.8 / 163840
_FULL_SCALE = 0x3FFF
_CONSTANTS = ("R", "GS", "GI", "O", "S", "I", "UG")


class Ppk2(StreamMeter):
    """The meter on its USB serial port.

    ``voltage``: in volts, that the board is supplied with: by the meter if ``source``, else by something else.
    ``channel``: digital input (0 to 7) with the trigger.

    Raises:
        DeviceError: a voltage or channel that the meter does not have.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        voltage: float,
        source: bool = False,
        channel: int = 0,
        accuracy: float | None = None,
        timeout: float = 5.0,
    ) -> None:
        super().__init__("the PPK2", transport, timeout)
        if not 0.8 <= voltage <= 5.0:
            raise DeviceError(f"the PPK2 works with 0.8 V to 5 V, not {voltage:g} V")
        if not 0 <= channel <= 7:
            raise DeviceError(f"the PPK2 has the digital inputs 0 to 7, not {channel}")
        self._voltage, self._source, self._channel, self._accuracy = voltage, source, channel, accuracy
        self._constants: dict[str, float] = {}
        self._data: list[bytes] = []
        self._started = self._stopped = 0.0

    def _begin(self) -> None:
        self._transport.write(bytes([_STOP]), self._timeout)  # an earlier host may have left it measuring
        self._drain()
        self._constants = self._read_constants()
        self._transport.write(bytes([_MODE, _SOURCE if self._source else _AMPERE_METER]), self._timeout)
        if self._source:
            self._transport.write(bytes([_VOLTAGE]) + round(self._voltage * 1000).to_bytes(2, "big"), self._timeout)
        self._transport.write(bytes([_POWER, 1]), self._timeout)
        self._data = []
        self._transport.write(bytes([_START]), self._timeout)
        first = self._transport.read(self._timeout)
        if not first:
            raise DeviceError(f"the PPK2 has sent no samples for {self._timeout:g} s")
        self._started = time.monotonic()
        self._data.append(first)

    def _feed(self, data: bytes) -> None:
        self._data.append(data)
        self._stopped = time.monotonic()

    def _finish(self) -> None:
        self._transport.write(bytes([_STOP]), self._timeout)
        self._data.append(self._drain(quiet=0.05))

    def _release(self) -> None:
        # The board keeps its power: the meter takes it away by itself when its port is closed.
        self._transport.write(bytes([_STOP]), self._timeout)

    def _read_constants(self) -> dict[str, float]:
        self._transport.write(bytes([_METADATA]), self._timeout)
        text, deadline = b"", time.monotonic() + self._timeout
        while b"END" not in text:
            if time.monotonic() >= deadline:
                raise DeviceError(
                    "the PPK2 does not give its calibration: is this its measuring port (it has two; try the other)?"
                )
            text += self._transport.read(0.2)
        found = re.findall(r"^([A-Z]+)([0-4]):\s*(\S+)\s*$", text.decode("ascii", "replace"), re.MULTILINE)
        constants = {}
        for name, number, value in found:
            try:
                constants[f"{name}{number}"] = float(value)
            except ValueError:
                continue  # a missing constant is an error only if its range is used
        return constants

    def _trace(self) -> Trace:
        words, indices, lost = decode(b"".join(self._data))
        if len(words) < 2:
            raise DeviceError("the PPK2 sent no samples while it recorded")
        seconds = self._stopped - self._started
        deficit = round(seconds * RATE) - int(indices[-1] + 1)
        # The counter in the samples has six bits and does not show when whole turns of it are lost.
        if (seconds > 0.5 and deficit > LOST_LIMIT * seconds * RATE) or lost > LOST_LIMIT * len(words):
            raise DeviceError(
                f"the PPK2 lost {max(deficit, lost):,} of {round(seconds * RATE):,} samples: give it a USB port of its "
                "own, and leave the computer alone meanwhile"
            )
        amperes, ranges = self._convert(words)
        watts = amperes * self._voltage
        weights = np.abs(watts)
        typical = np.take(RANGE_ACCURACY, ranges)
        accuracy = self._accuracy if self._accuracy is not None else float(np.average(typical, weights=weights + 1e-12))
        gains = [self._constants.get(f"UG{number}", 1.0) for number in np.unique(ranges)]
        notes = [f"{lost} samples were lost"] if lost else []
        if any(gain != 1.0 for gain in gains):
            notes.append("the PPK2 has user gains other than 1, which scale its readings")
        level = words >> 24 >> np.uint32(self._channel) & 1
        times = indices / RATE
        return Trace(
            times,
            watts,
            falling_edges(times, level),
            accuracy,
            f"PPK2 at {self._voltage:g} V",
            resolution_watts=float(np.take(RANGE_RESOLUTION_AMPERES, ranges).mean()) * self._voltage,
            notes=tuple(notes),
        )

    def _convert(self, words: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        ranges = (words >> 14 & 7).astype(np.int64)
        steps = words & _FULL_SCALE
        if (ranges > 4).any():
            raise DeviceError("the PPK2 sent samples of a range that it does not have: the line is bad")
        if ((steps == _FULL_SCALE) & (ranges == 4)).any():
            raise DeviceError("the board took more current than the PPK2 measures (1 A)")
        amperes = np.zeros(len(words))
        for number in np.unique(ranges):
            here = ranges == number
            r, gs, gi, o, s, i, ug = (self._constant(name, int(number)) for name in _CONSTANTS)
            volts_over_ohms = (steps[here].astype(np.float64) * 4 - o) * (_VOLTS_PER_STEP / r)
            amperes[here] = ug * (volts_over_ohms * (gs * volts_over_ohms + gi) + (s * self._voltage + i))
        return _settled(amperes, ranges), ranges

    def _constant(self, name: str, number: int) -> float:
        value = self._constants.get(f"{name}{number}", 1.0 if name == "UG" else math.nan)
        if not math.isfinite(value) or (name == "R" and value <= 0):
            raise DeviceError(
                f"the PPK2 is not calibrated in its range {number} ({name}{number} is {value:g}): update its firmware "
                "with Nordic's Power Profiler app, or have it replaced"
            )
        return value


def decode(data: bytes) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], int]:
    """Words of the stream, their numbers in time, and how many are missing, by the six-bit counter in each.

    Bytes that do not fall into place (some were lost in the middle of a word) are skipped.
    """
    parts: list[npt.NDArray[np.uint32]] = []
    numbers: list[npt.NDArray[np.int64]] = []
    at, next_number, expected, lost = 0, 0, -1, 0
    while len(data) - at >= 4:
        words = np.frombuffer(data, "<u4", (len(data) - at) // 4, at)
        counters = (words >> 18 & 63).astype(np.int64)
        steps = (counters[1:] - counters[:-1] - 1) & 63
        # Lost samples break the counter once; a shift of the bytes breaks it again and again.
        wrong = np.flatnonzero(steps)
        shifted = [int(i) for k, i in enumerate(wrong[:-3]) if wrong[k + 3] - i <= 6]
        good = shifted[0] + 1 if shifted else len(words)
        words, steps = words[:good], steps[: max(0, good - 1)]
        gap = (int(counters[0]) - expected) & 63 if expected >= 0 else 0
        offsets = np.concatenate(([0], np.cumsum(1 + steps))) + next_number + gap
        parts.append(words.astype(np.uint32))
        numbers.append(offsets.astype(np.int64))
        lost += gap + int(steps.sum())
        next_number, expected = int(offsets[-1]) + 1, (int(counters[good - 1]) + 1) & 63
        at += 4 * good
        if shifted:
            at += _alignment(data, at)
    if not parts:
        return np.empty(0, np.uint32), np.empty(0, np.int64), 0
    return np.concatenate(parts), np.concatenate(numbers), lost


def _alignment(data: bytes, at: int, looked_at: int = 16) -> int:
    """Bytes to skip (1 to 4) until words with a running counter begin."""
    best, most = 4, -1
    for skip in range(1, 5):
        count = min(looked_at, (len(data) - at - skip) // 4)
        counters = (np.frombuffer(data, "<u4", max(0, count), at + skip) >> 18 & 63).astype(np.int64)
        running = int(np.count_nonzero(((counters[1:] - counters[:-1]) & 63) == 1))
        if running > most:
            best, most = skip, running
    return best


def _settled(amperes: npt.NDArray[np.float64], ranges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Without the transients that a change of range causes in the meter."""
    changes = np.flatnonzero(np.diff(ranges)) + 1
    if not len(changes):
        return amperes
    source = np.arange(len(amperes))
    for change in changes[::-1]:  # from the end, so that changes close to each other take what is settled behind both
        end = min(change + SETTLING_SAMPLES, len(amperes) - 1)
        source[change:end] = source[end]
    return amperes[source]
