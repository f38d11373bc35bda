"""Joulescope JS220 and JS110, through Jetperch's Python package (github.com/jetperch/pyjoulescope)."""

from __future__ import annotations

import importlib
import time
from types import TracebackType
from typing import Any

import numpy as np

from hil.meters.trace import Trace, falling_edges
from tinyopt.errors import DeviceError, ToolError

RATE = 100_000
RATES = (1_000_000, 500_000, 200_000, 100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000)
ACCURACY = 0.01
"""A cautious figure for current times voltage; give that of the meter's calibration certificate where there is one."""
BUFFER_SECONDS = 120
"""The package keeps this much."""


class Joulescope:
    """The meter on USB. ``rate``: samples per second, one of ``RATES``. ``input``: general purpose input (0 or 1) with
    the trigger. ``serial_number``: which of several.

    Raises:
        ToolError: the package is not installed.
        DeviceError: no meter, several, or a rate that it does not have.
    """

    name = "the Joulescope"

    def __init__(
        self,
        *,
        rate: int = RATE,
        input: int = 0,
        serial_number: str | None = None,
        accuracy: float = ACCURACY,
    ) -> None:
        if rate not in RATES:
            raise DeviceError(f"the Joulescope samples at {', '.join(map(str, RATES))} Hz, not at {rate}")
        if input not in (0, 1):
            raise DeviceError(f"the Joulescope has the inputs 0 and 1, not {input}")
        self._rate, self._input, self._accuracy = rate, input, accuracy
        self._device = _find(serial_number)
        self._recording = False
        self._started = 0.0
        try:
            self._device.open()
            # One after the other: the rate makes the buffer anew.
            self._device.parameter_set("buffer_duration", BUFFER_SECONDS)
            self._device.parameter_set("sampling_frequency", rate)
            self._device.parameter_set("i_range", "auto")
        except Exception as error:  # the package raises what its driver returns
            self.close()
            raise DeviceError(f"the Joulescope cannot be opened: {error}; does another program use it?") from None

    def start(self) -> None:
        """Begin to record.

        Raises:
            DeviceError: the meter failed, or already records.
        """
        if self._recording:
            raise DeviceError(f"{self.name} already records")
        self._call("start")
        self._started = time.monotonic()
        self._recording = True

    def stop(self) -> Trace:
        """End the recording; what was recorded.

        Raises:
            DeviceError: the meter failed, lost samples, or recorded more than its buffer holds.
        """
        if not self._recording:
            raise DeviceError(f"{self.name} does not record")
        self._recording = False
        seconds = time.monotonic() - self._started
        self._call("stop")
        if seconds > BUFFER_SECONDS:
            raise DeviceError(f"the Joulescope recorded {seconds:.0f} s, but its package keeps {BUFFER_SECONDS} s")
        buffer = self._device.stream_buffer
        first, end = buffer.sample_id_range
        trigger = ("current_lsb", "voltage_lsb")[self._input]
        signals = buffer.samples_get(first, end, fields=["current", "voltage", trigger])["signals"]
        try:
            current, voltage = (np.asarray(signals[one]["value"], np.float64) for one in ("current", "voltage"))
        except KeyError as error:
            raise DeviceError(f"the Joulescope sent no {error.args[0]}") from None
        count = min(len(current), len(voltage))
        rate = float(self._device.output_sampling_frequency or self._rate)
        power = current[:count] * voltage[:count]
        present = np.isfinite(power)  # lost samples are not-a-number
        if np.count_nonzero(present) < 2:
            raise DeviceError("the Joulescope sent no samples while it recorded")
        seconds_of = np.arange(count) / rate
        level = np.asarray(signals[trigger]["value"])[:count] if trigger in signals else np.empty(0)
        notes = (f"{count - np.count_nonzero(present)} samples were lost",) if not present.all() else ()
        return Trace(
            seconds_of[present],
            power[present],
            falling_edges(seconds_of[: len(level)], level),
            self._accuracy,
            f"{self._device}",
            notes=notes,
        )

    def close(self) -> None:
        """Release the meter. May be called again."""
        device, self._device = self._device, None
        if device is not None:
            try:
                device.close()
            except Exception:  # it was unplugged: there is nothing to close
                return

    def _call(self, method: str) -> None:
        try:
            getattr(self._device, method)()
        except Exception as error:  # the package raises what its driver returns
            raise DeviceError(f"the Joulescope failed: {error}") from None

    def __enter__(self) -> Joulescope:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _find(serial_number: str | None) -> Any:
    try:
        joulescope = importlib.import_module("joulescope")
    except ImportError:
        raise ToolError("Jetperch's package is not installed; to install it: pip install 'tinyopt[meters]'") from None
    try:
        devices = list(joulescope.scan(config="auto"))
    except Exception as error:  # the package promises none, its driver does not
        raise DeviceError(f"looking for a Joulescope failed: {error}") from None
    named = [one for one in devices if serial_number is None or str(one).endswith(serial_number)]
    if len(named) == 1:
        return named[0]
    there = ", ".join(str(one) for one in devices) or "none"
    if named:
        raise DeviceError(f"several Joulescopes are attached: {there}; choose one: joulescope:SERIAL")
    raise DeviceError(
        f"no Joulescope{f' {serial_number}' if serial_number else ''} is attached (attached: {there}); on Linux its "
        "udev rules let your user open it"
    )
