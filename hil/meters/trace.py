"""Power over time with the edges of a trigger, and the energy of an inference out of it."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinyopt.errors import DataError, DeviceError

Floats: TypeAlias = "npt.NDArray[np.float64]"

LOST_LIMIT = 0.01
"""Largest share of a window that may lack samples."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a meter saw. ``seconds``: times of the samples, increasing, from any origin; ``watts``: power at them;
    ``edges``: times of the trigger's falling edges.

    ``accuracy``: largest relative error of a sample by the meter's data sheet; ``resolution_watts``: the smallest step
    of its readings. ``edge_seconds``: how well an edge is known; None: to a sample. ``source``: the meter, for people.
    ``notes``: what a person should know (samples lost and the like).
    """

    seconds: Floats
    watts: Floats
    edges: Floats
    accuracy: float
    source: str
    resolution_watts: float = 0.0
    edge_seconds: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.seconds.ndim != 1 or self.seconds.shape != self.watts.shape or len(self.seconds) < 2:
            raise DeviceError(f"{self.source} gave no trace: {self.seconds.size} times, {self.watts.size} samples")
        if not (np.isfinite(self.seconds).all() and np.isfinite(self.watts).all() and np.isfinite(self.edges).all()):
            raise DeviceError(f"{self.source} gave samples that are no numbers")
        if (np.diff(self.seconds) <= 0).any():
            raise DeviceError(f"{self.source} gave samples out of order: its clock went backwards")

    @property
    def period(self) -> float:
        """Usual distance of samples in seconds."""
        return float(np.median(np.diff(self.seconds)))

    @property
    def mean_watts(self) -> float:
        """Over the whole trace."""
        whole = float(self.seconds[-1] - self.seconds[0])
        return self.energy(float(self.seconds[0]), float(self.seconds[-1])) / whole

    def energy(self, start: float, end: float) -> float:
        """Joules between two times, power linear between samples."""
        if start < self.seconds[0] or end > self.seconds[-1] or end < start:
            raise DeviceError(
                f"{self.source} recorded from {self.seconds[0]:.6g} s to {self.seconds[-1]:.6g} s, not from "
                f"{start:.6g} s to {end:.6g} s"
            )
        inside = (self.seconds > start) & (self.seconds < end)
        times = np.concatenate(([start], self.seconds[inside], [end]))
        powers = np.interp(times, self.seconds, self.watts)
        return float(np.sum(np.diff(times) * (powers[1:] + powers[:-1]) / 2))

    def lost_seconds(self, start: float, end: float) -> float:
        """Time between two times in which samples are missing."""
        steps = np.diff(self.seconds)
        begins, ends = self.seconds[:-1], self.seconds[1:]
        missing = (steps > 1.5 * self.period) & (ends > start) & (begins < end)
        overlap = np.minimum(ends[missing], end) - np.maximum(begins[missing], start)
        return float(np.sum(np.maximum(0.0, overlap - self.period)))


@dataclass(frozen=True)
class EnergyReading:
    """Energy and time of one inference, measured.

    ``joules``: above the idle power, which is given too. ``uncertainty_joules``: a limit, from the meter's accuracy,
    its sampling, and twice the standard error over the windows, added as squares; ``parts`` has each. ``seconds``: mean
    time of one inference by the edges, and ``seconds_error``. ``windows``: pairs of edges that were used.
    """

    joules: float
    uncertainty_joules: float
    idle_watts: float
    active_watts: float
    seconds: float
    seconds_error: float
    windows: int
    inferences: int
    source: str
    parts: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def integrate(
    trace: Trace, inferences: int = 1, *, idle_watts: float | None = None, guard_seconds: float | None = None
) -> EnergyReading:
    """Energy per inference between edges of the trigger.

    The firmware gives a falling edge where a batch of inferences begins and one where it ends; edges are taken in
    pairs. Idle power is the mean of the trace outside all pairs, ``guard_seconds`` away from them (default: a hundredth
    of a window, at least two samples), unless ``idle_watts`` gives it.

    ``inferences``: that ran between the two edges of a pair.

    Raises:
        DeviceError: no edges, an odd number of them, too few samples in a window or outside, or samples lost in one.
        ValueError: ``inferences`` is not positive.
    """
    if inferences < 1:
        raise ValueError(f"there are {inferences} inferences in a window")
    windows = _windows(trace)
    durations = np.array([end - start for start, end in windows])
    energies = np.array([trace.energy(start, end) for start, end in windows])
    for start, end in windows:
        lost = trace.lost_seconds(start, end)
        if lost > LOST_LIMIT * (end - start):
            raise DeviceError(
                f"{trace.source} lost {lost * 1e3:.3g} ms of the {(end - start) * 1e3:.3g} ms between two edges: lower "
                "its sampling rate, or give it a USB port of its own"
            )
    guard = guard_seconds if guard_seconds is not None else max(2 * trace.period, 0.01 * float(durations.mean()))
    idle, idle_error = (idle_watts, 0.0) if idle_watts is not None else _idle(trace, windows, guard)
    net = energies - idle * durations
    count = inferences * len(windows)
    active = float(energies.sum() / durations.sum())
    edge = trace.edge_seconds if trace.edge_seconds is not None else trace.period
    # A gain error of the meter is the same in a whole window, but may differ between the ranges of active and idle.
    gain = trace.accuracy * math.hypot(float(energies.sum()), idle * float(durations.sum())) / count
    # Each of the two edges of a window lies anywhere within the distance of two samples.
    sampling = math.sqrt(2 * len(windows)) * edge * abs(active - idle) / count
    parts = {
        "meter": gain,
        "resolution": trace.resolution_watts * float(durations.sum()) / count,
        "sampling": sampling,
        "idle": idle_error * float(durations.sum()) / count,
        "spread": _standard_error(net / inferences) * 2,
    }
    notes = trace.notes + (("one window: its spread is not known",) if len(windows) == 1 else ())
    return EnergyReading(
        joules=float(net.sum()) / count,
        uncertainty_joules=math.sqrt(sum(part * part for part in parts.values())),
        idle_watts=idle,
        active_watts=active,
        seconds=float(durations.sum()) / count,
        seconds_error=math.hypot(
            math.sqrt(2) * edge / (inferences * math.sqrt(len(windows))), 2 * _standard_error(durations / inferences)
        ),
        windows=len(windows),
        inferences=inferences,
        source=trace.source,
        parts=parts,
        notes=notes,
    )


def _windows(trace: Trace) -> list[tuple[float, float]]:
    edges = np.sort(trace.edges)
    if not len(edges):
        raise DeviceError(
            f"{trace.source} saw no edge of the trigger: connect the board's timestamp pin to the meter's digital "
            "input, and their grounds"
        )
    if len(edges) % 2:
        raise DeviceError(
            f"{trace.source} saw {len(edges)} edges of the trigger: they come in pairs, so one was missed or is noise"
        )
    windows = [(float(start), float(end)) for start, end in zip(edges[::2], edges[1::2])]
    for start, end in windows:
        samples = int(np.count_nonzero((trace.seconds >= start) & (trace.seconds <= end)))
        if samples < 3:
            raise DeviceError(
                f"{trace.source} has {samples} samples between two edges {(end - start) * 1e3:.3g} ms apart: run more "
                "inferences between them, or sample faster"
            )
    return windows


def _idle(trace: Trace, windows: list[tuple[float, float]], guard: float) -> tuple[float, float]:
    """Mean power outside the windows, and twice its standard error."""
    outside = np.ones(len(trace.seconds), bool)
    for start, end in windows:
        outside &= (trace.seconds < start - guard) | (trace.seconds > end + guard)
    if np.count_nonzero(outside) < 3:
        raise DeviceError(
            f"{trace.source} recorded no idle time around the inferences: start it earlier and stop it later"
        )
    powers = trace.watts[outside]
    # Neighbouring samples are alike; means of ten blocks tell more than the scatter of single samples.
    blocks = [float(part.mean()) for part in np.array_split(powers, min(10, len(powers)))]
    return float(powers.mean()), 2 * _standard_error(np.array(blocks))


def _standard_error(values: Any) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


_HEADER = ("seconds", "watts", "edge")


def save_trace(trace: Trace, path: Path) -> None:
    """Write a trace as CSV: comments with its accuracy and source, then seconds, watts, and 1 where an edge is.

    An edge is a line of its own, with the power of that time.
    """
    lines = [(float(t), float(w), 0) for t, w in zip(trace.seconds, trace.watts)]
    lines += [(float(t), float(np.interp(t, trace.seconds, trace.watts)), 1) for t in trace.edges]
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# source: {' '.join(trace.source.split())}\n# accuracy: {trace.accuracy!r}\n")
        stream.write(f"# resolution_watts: {trace.resolution_watts!r}\n")
        if trace.edge_seconds is not None:
            stream.write(f"# edge_seconds: {trace.edge_seconds!r}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows((repr(t), repr(w), e) for t, w, e in sorted(lines))


def load_trace(path: Path, accuracy: float | None = None) -> Trace:
    """Read a trace from CSV: columns ``seconds`` and ``watts`` (or ``amperes`` and ``volts``), and ``edge`` (1 at an
    edge) or ``trigger`` (a level; its falling edges count).

    ``accuracy``: of the meter, where the file does not say.

    Raises:
        DataError: the file cannot be read, or lacks a column or a number (names the line).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the trace {path}: {getattr(error, 'strerror', None) or error}") from None
    facts: dict[str, str] = {}
    rows: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            facts[key.strip()] = value.strip()
        elif line.strip():
            rows.append((number, line))
    names = [name.strip().casefold() for name in rows[0][1].split(",")] if rows else []
    has_power = "watts" in names or {"amperes", "volts"} <= set(names)
    if "seconds" not in names or not has_power:
        raise DataError(f"the trace {path} needs the columns seconds and watts (or amperes and volts); it has: {names}")
    table = np.array([_numbers(path, number, line, len(names)) for number, line in rows[1:]], np.float64)
    table = table.reshape(-1, len(names))
    column = {name: table[:, i] for i, name in enumerate(names)}
    seconds = column["seconds"]
    watts = column["watts"] if "watts" in column else column["amperes"] * column["volts"]
    edges = np.empty(0)
    if "edge" in column:
        marked = column["edge"] > 0
        edges, seconds, watts = seconds[marked], seconds[~marked], watts[~marked]
    elif "trigger" in column:
        edges = falling_edges(seconds, column["trigger"])
    try:
        stated = {key: float(facts[key]) for key in ("accuracy", "resolution_watts", "edge_seconds") if key in facts}
    except ValueError:
        raise DataError(f"the trace {path} states an accuracy that is no number") from None
    chosen = accuracy if accuracy is not None else stated.get("accuracy")
    if chosen is None:
        raise DataError(f"the trace {path} does not state its meter's accuracy: add `# accuracy: 0.02` (for 2 %)")
    return Trace(
        seconds,
        watts,
        edges,
        chosen,
        f"{facts.get('source', 'a meter')} (replayed from {path.name})",
        stated.get("resolution_watts", 0.0),
        stated.get("edge_seconds"),
    )


def falling_edges(seconds: Floats, level: npt.NDArray[Any]) -> Floats:
    """Times at which a level goes from high to low: those of the first low samples."""
    high = np.asarray(level) > 0.5
    return np.asarray(seconds[1:][high[:-1] & ~high[1:]], np.float64)


def _numbers(path: Path, number: int, line: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in line.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise DataError(f"line {number} of the trace {path} does not hold {count} numbers: {line[:60]!r}")
    return values
