"""A current sensor of the INA2xx family behind any microcontroller that prints what it reads.

The line format, one sample a line, decimal: ``t_us,uA,mV,trigger``. Microseconds of the sampling microcontroller's
clock (32 bits, wrapping around), microamperes, millivolts, and the level of the trigger pin: 0 where it was low at any
time since the last line, else 1. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import numpy as np

from hil.meters.stream import Lines, StreamMeter
from hil.meters.trace import Trace, falling_edges
from hil.transports import Transport
from tinyopt.errors import DeviceError

BAUD_RATE = 115_200
ACCURACY = 0.015
"""An INA219A's 1 % (data sheet SBOS448G, total error over temperature) and a shunt of 1 %, as squares."""
RESOLUTION_AMPERES = 1e-4
"""10 uV over the usual shunt of 0.1 ohms."""
DAMAGED_LIMIT = 0.01


class InaSerial(StreamMeter):
    """The sensor behind its microcontroller, which sends all the time.

    ``accuracy``: relative error of a reading, with that of the shunt.
    """

    def __init__(self, transport: Transport, *, accuracy: float = ACCURACY, timeout: float = 5.0) -> None:
        super().__init__("the INA2xx meter", transport, timeout)
        self._accuracy = accuracy
        self._lines = Lines()
        self._samples: list[tuple[int, float, float, int]] = []
        self._damaged = self._seen = 0

    def _begin(self) -> None:
        self._samples, self._damaged, self._seen = [], 0, 0
        self._drain(quiet=0.0)
        self._lines = Lines()
        self._lines.feed(b"#")  # the first line may have begun before
        first = self._transport.read(self._timeout)
        if not first:
            raise DeviceError(
                f"the INA2xx meter has sent nothing for {self._timeout:g} s; it must print lines t_us,uA,mV,trigger"
            )
        self._feed(first)

    def _feed(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if line.startswith("#"):
                continue
            self._seen += 1
            try:
                time_us, microamperes, millivolts, trigger = (float(part) for part in line.split(","))
                if not 0 <= time_us < 2**32 or trigger not in (0, 1):
                    raise ValueError
                self._samples.append((int(time_us), microamperes, millivolts, int(trigger)))
            except ValueError:
                self._damaged += 1

    def _finish(self) -> None:
        """It never ends."""

    def _release(self) -> None:
        """There is nothing to tell it."""

    def _trace(self) -> Trace:
        if not self._samples and self._damaged:
            raise DeviceError("the INA2xx meter prints no lines t_us,uA,mV,trigger; is its baud rate right?")
        if self._damaged > DAMAGED_LIMIT * self._seen + 1:
            raise DeviceError(f"the line to the INA2xx meter is bad: {self._damaged} of {self._seen} lines are damaged")
        if len(self._samples) < 2:
            raise DeviceError("the INA2xx meter sent no samples while it recorded")
        table = np.array(self._samples, np.float64)
        clock = table[:, 0].astype(np.int64)
        steps = (clock[1:] - clock[:-1]) & 0xFFFFFFFF
        if (steps > 2**31).any():
            raise DeviceError("the INA2xx meter's clock went backwards: it restarted while it recorded")
        seconds = np.concatenate(([0.0], np.cumsum(steps))) * 1e-6
        notes = (f"{self._damaged} lines arrived damaged and were left out",) if self._damaged else ()
        return Trace(
            seconds,
            table[:, 1] * 1e-6 * table[:, 2] * 1e-3,
            falling_edges(seconds, table[:, 3]),
            self._accuracy,
            "INA2xx",
            resolution_watts=RESOLUTION_AMPERES * float(table[:, 2].mean()) * 1e-3,
            notes=notes,
        )
