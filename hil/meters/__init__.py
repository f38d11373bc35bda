"""Meters: what a board takes while it computes, as a trace of power with the edges of a trigger."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.parse import parse_qsl

import numpy as np

from hil.discover import SerialPort, serial_ports
from hil.meters import ina, joulescope, lpm01a, ppk2
from hil.meters.replay import Replay, estimate
from hil.meters.trace import EnergyReading, Trace, integrate, load_trace, save_trace
from hil.transports import open_console
from tinyopt.errors import DeviceError

LEAD_SECONDS = 0.3
"""Recorded before and after: the idle power comes from there."""
HOST_SECONDS = 0.005
"""How well the computer's clock tells when a batch of inferences begins and ends, where no trigger is wired."""


class Meter(Protocol):
    """Records power. A context manager that releases the meter. ``name``: for people."""

    name: str

    def start(self) -> None:
        """Begin to record.

        Raises:
            DeviceError: the meter does not answer, refuses, or already records.
        """

    def stop(self) -> Trace:
        """End the recording; what was recorded.

        Raises:
            DeviceError: the meter failed meanwhile, lost samples, or sent nothing that makes sense.
        """

    def close(self) -> None:
        """Release the meter. May be called again."""

    def __enter__(self) -> Meter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_meter(address: str) -> Meter:
    """Open a meter by its address: ``KIND:WHERE?OPTION=VALUE&…``.

    ========================= =================================================================
    ``lpm01a:/dev/ttyACM1``   X-NUCLEO-LPM01A. Options: ``rate`` (Hz), ``voltage`` (V), ``accuracy`` (%)
    ``ppk2:auto?voltage=3.3`` Power Profiler Kit II. ``voltage`` (V), ``source`` (1: it supplies the board),
                              ``channel`` (0 to 7), ``accuracy``
    ``joulescope:``           Joulescope: the only one, or ``joulescope:SERIAL``. ``rate``, ``input``, ``accuracy``
    ``ina:/dev/ttyUSB1``      INA2xx behind a microcontroller. ``baud``, ``accuracy``
    ``replay:trace.csv``      a file that ``tinyopt hil meter --output`` wrote. ``accuracy``
    ========================= =================================================================

    WHERE of those on a serial port may be ``auto`` (found by USB ids), a port, or anything that ``open_console`` opens.

    Raises:
        DeviceError: an unknown kind or option, no such meter, or it is busy.
        DataError: the replayed file is no trace.
        ToolError: a package is missing.
    """
    head, _, query = address.partition("?")
    kind, _, where = head.partition(":")
    makers: Mapping[str, tuple[Callable[[str, _Options], Meter], tuple[str, ...]]] = {
        "lpm01a": (_open_lpm01a, ("rate", "voltage", "accuracy")),
        "ppk2": (_open_ppk2, ("voltage", "source", "channel", "accuracy")),
        "joulescope": (_open_joulescope, ("rate", "input", "accuracy")),
        "ina": (_open_ina, ("baud", "accuracy")),
        "replay": (_open_replay, ("accuracy",)),
    }
    if kind not in makers:
        raise DeviceError(f"there is no meter '{kind}'; known: {', '.join(makers)} (KIND:WHERE?OPTION=VALUE)")
    make, known = makers[kind]
    return make(where, _Options(kind, query, known))


class _Options:
    """The options of a meter's address."""

    def __init__(self, kind: str, query: str, known: tuple[str, ...]) -> None:
        self._kind = kind
        self._values = dict(parse_qsl(query, keep_blank_values=True))
        unknown = [name for name in self._values if name not in known]
        if unknown:
            raise DeviceError(f"the meter {kind} has no option '{unknown[0]}'; it has: {', '.join(known)}")

    def number(self, name: str) -> float | None:
        """A number; None where the option is not given."""
        if name not in self._values:
            return None
        try:
            value = float(self._values[name])
        except ValueError:
            value = float("nan")
        if not value >= 0 or value > 1e9:
            raise DeviceError(f"the option {name} of the meter {self._kind} is no number: '{self._values[name]}'")
        return value

    def accuracy(self, usual: float) -> float:
        """Given in percent."""
        percent = self.number("accuracy")
        return usual if percent is None else percent / 100


def _open_lpm01a(where: str, options: _Options) -> Meter:
    rate = options.number("rate")
    return lpm01a.Lpm01a(
        open_console(_port(where, "lpm01a", (0x0483, 0x5740)), lpm01a.BAUD_RATE),
        rate=lpm01a.TEXT_LIMIT_HZ if rate is None else int(rate),
        voltage=options.number("voltage"),
        accuracy=options.accuracy(lpm01a.ACCURACY),
    )


def _open_ppk2(where: str, options: _Options) -> Meter:
    voltage = options.number("voltage")
    if voltage is None:
        raise DeviceError("the PPK2 measures current: say at which voltage the board runs, as in ppk2:auto?voltage=3.3")
    percent = options.number("accuracy")
    return ppk2.Ppk2(
        open_console(_port(where, "ppk2", (0x1915, 0xC00A)), ppk2.BAUD_RATE),
        voltage=voltage,
        source=bool(options.number("source")),
        channel=int(options.number("channel") or 0),
        accuracy=None if percent is None else percent / 100,
    )


def _open_joulescope(where: str, options: _Options) -> Meter:
    rate = options.number("rate")
    return joulescope.Joulescope(
        rate=joulescope.RATE if rate is None else int(rate),
        input=int(options.number("input") or 0),
        serial_number=None if where in ("", "auto") else where,
        accuracy=options.accuracy(joulescope.ACCURACY),
    )


def _open_ina(where: str, options: _Options) -> Meter:
    if where in ("", "auto"):
        raise DeviceError("name the serial port of the INA2xx meter, as in ina:/dev/ttyUSB1")
    baud = options.number("baud")
    transport = open_console(where, ina.BAUD_RATE if baud is None else int(baud))
    return ina.InaSerial(transport, accuracy=options.accuracy(ina.ACCURACY))


def _open_replay(where: str, options: _Options) -> Meter:
    percent = options.number("accuracy")
    return Replay(Path(where), accuracy=None if percent is None else percent / 100)


def _port(where: str, kind: str, ids: tuple[int, int]) -> str:
    if where not in ("", "auto"):
        return where
    found: list[SerialPort] = [port for port in serial_ports() if (port.vid, port.pid) == ids]
    devices = {port.serial_number or port.device for port in found}
    if not found:
        raise DeviceError(f"no {kind} is attached (USB {ids[0]:04x}:{ids[1]:04x}); name its port: {kind}:/dev/…")
    if len(devices) > 1:
        raise DeviceError(f"several {kind} are attached: {', '.join(port.device for port in found)}; name one of them")
    return found[0].device


def record(
    meter: Meter, action: Callable[[], None], inferences: int = 1, windows: int = 1
) -> tuple[EnergyReading, Trace]:
    """Record while something runs, and integrate.

    ``action``: makes the board run ``inferences`` inferences between two edges of the trigger, ``windows`` times, and
    returns when they are over. Where no trigger is wired, the computer's clock says when it began and ended, to a few
    milliseconds; idle time between the windows then counts into the time of an inference, but not into its energy.

    Raises:
        DeviceError: the meter failed, or the trace does not show the inferences.
    """
    meter.start()
    try:
        origin = time.monotonic()
        time.sleep(LEAD_SECONDS)
        began = time.monotonic() - origin
        action()
        ended = time.monotonic() - origin
        time.sleep(LEAD_SECONDS)
    except BaseException:
        _stop_quietly(meter)
        raise
    trace = meter.stop()
    if len(trace.edges) not in (0, 2 * windows):
        raise DeviceError(
            f"{trace.source} saw {len(trace.edges)} edges of the trigger, not {2 * windows}: some were missed, or are "
            "noise; a meter that samples the pin sees only pulses longer than its samples are apart"
        )
    if not len(trace.edges):
        edges = np.array([began, ended]) + trace.seconds[0]
        trace = replace(
            trace,
            edges=edges,
            edge_seconds=HOST_SECONDS,
            notes=(*trace.notes, "no trigger was seen: begin and end are by the computer's clock"),
        )
        return integrate(trace, inferences * windows), trace
    return integrate(trace, inferences), trace


def _stop_quietly(meter: Meter) -> None:
    try:
        meter.stop()
    except DeviceError:
        return  # what went wrong before matters more


__all__ = [
    "EnergyReading",
    "Meter",
    "Trace",
    "estimate",
    "integrate",
    "load_trace",
    "open_meter",
    "record",
    "save_trace",
]
