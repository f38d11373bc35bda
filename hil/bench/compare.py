"""Results against a baseline: differences with their noise, and limits that may not be broken."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil.bench.results import Results
from tinyopt.errors import DataError


@dataclass(frozen=True)
class Metric:
    """A figure of a run. ``unit``: of its values here; ``better``: ``lower`` or ``higher``."""

    key: str
    title: str
    unit: str
    better: str
    value: Callable[[Mapping[str, Any], Mapping[str, Any]], float | None]
    """From header and summary; None where the run does not have it."""
    noise: Callable[[Mapping[str, Any]], float] = lambda summary: 0.0
    """Standard error, from the summary."""


def _latency(field: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], float | None]:
    return lambda header, summary: (summary.get("latency") or {}).get(field)


def _size(field: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], float | None]:
    return lambda header, summary: header.get("firmware", {}).get(field)


def _field(field: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], float | None]:
    return lambda header, summary: summary.get(field)


def _ram(header: Mapping[str, Any], summary: Mapping[str, Any]) -> float | None:
    """Arena and stack: what the model needs, whatever else is in the firmware."""
    arena, stack = summary.get("arena_bytes"), summary.get("stack_bytes")
    return None if arena is None else arena + (stack or 0)


def _flash(header: Mapping[str, Any], summary: Mapping[str, Any]) -> float | None:
    """Code and weights of the model, without the measuring firmware around it."""
    sizes = header.get("firmware", {})
    code, weights = sizes.get("code_bytes"), sizes.get("weights_bytes")
    return None if code is None or weights is None else code + weights


METRICS = (
    Metric("accuracy", "accuracy", "%", "higher", _field("accuracy"), lambda s: float(s.get("accuracy_noise") or 0.0)),
    Metric("mismatches", "mismatches", "", "lower", _field("mismatches")),
    Metric(
        "latency",
        "latency, median",
        "us",
        "lower",
        _latency("median_us"),
        lambda s: float((s.get("latency") or {}).get("noise_us") or 0.0),
    ),
    Metric("p95", "latency, p95", "us", "lower", _latency("p95_us")),
    Metric("max", "latency, largest", "us", "lower", _latency("max_us")),
    Metric("jitter", "jitter", "us", "lower", _latency("jitter_us")),
    Metric("cycles", "cycles", "", "lower", _field("cycles")),
    Metric(
        "energy",
        "energy",
        "nJ",
        "lower",
        lambda header, summary: (summary.get("energy") or {}).get("nj"),
        lambda s: float((s.get("energy") or {}).get("error_nj") or 0.0),
    ),
    Metric("flash", "flash, code and weights", "bytes", "lower", _flash),
    Metric("ram", "RAM, arena and stack", "bytes", "lower", _ram),
)
_METRICS = {metric.key: metric for metric in METRICS}

_SCALES = {
    "us": {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3},
    "nJ": {"J": 1e9, "mJ": 1e6, "uJ": 1e3, "nJ": 1.0, "pJ": 1e-3},
    "bytes": {"": 1.0, "B": 1.0, "K": 1024.0, "KB": 1024.0, "KiB": 1024.0, "M": 1024.0**2, "MiB": 1024.0**2},
    "%": {"%": 0.01, "": 1.0},
    "": {"": 1.0},
}
_LIMIT = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z%]*)")


@dataclass(frozen=True)
class Limit:
    """What a metric may be at most (at least, where higher is better). ``relative``: ``value`` is a change from the
    baseline: a share of it, or for accuracy points of one."""

    metric: Metric
    text: str
    value: float
    relative: bool

    def bound(self, baseline: float | None) -> float:
        """The limit as a figure.

        Raises:
            DataError: a change is allowed, and the baseline has no such figure.
        """
        if not self.relative:
            return self.value
        if baseline is None:
            raise DataError(f"the limit {self.text} needs a baseline with a figure for {self.metric.title}")
        return baseline + self.value if self.metric.unit == "%" else baseline * (1 + self.value)


def parse_limit(key: str, text: str) -> Limit:
    """A limit as it is written: ``12ms`` (a figure), ``+2%`` (a change from the baseline), ``64K``, ``90%``, ``-0.5%``.

    Raises:
        DataError: says how limits of this kind are written.
    """
    metric = _METRICS[key]
    units = [unit for unit in _SCALES[metric.unit] if unit]
    example = {"us": "12ms", "nJ": "1.2mJ", "bytes": "64K", "%": "90%", "": "100"}[metric.unit]
    change = "-0.5%" if metric.better == "higher" else "+2%"
    match = _LIMIT.fullmatch(text.strip())
    if match:
        sign, number, unit = match[1], float(match[2]), match[3]
        if sign and unit == "%":
            return Limit(metric, text, number / 100 * (-1 if sign == "-" else 1), True)
        if not sign and unit in _SCALES[metric.unit]:
            return Limit(metric, text, number * _SCALES[metric.unit][unit], False)
    raise DataError(
        f"'{text}' is no limit for {metric.title}: write a figure ({example}"
        + (f"; units {', '.join(units)}" if units else "")
        + f") or a change from the baseline ({change})"
    )


@dataclass(frozen=True)
class Row:
    """A metric in both results. ``noise``: standard error of the difference. ``verdict``: ``same``, ``better``,
    ``worse`` or empty where one of the two does not have it."""

    metric: Metric
    before: float | None
    after: float | None
    noise: float
    verdict: str
    limit: Limit | None = None
    bound: float | None = None
    broken: bool = False

    @property
    def change(self) -> float | None:
        """As a share of the value before; None where that is zero or one is missing."""
        if self.before is None or self.after is None or not self.before:
            return None
        return self.after / self.before - 1


@dataclass(frozen=True)
class Comparison:
    """Two results side by side. ``notes``: what makes them hard to compare; ``changed_outputs``: samples whose outputs
    are not the same, None where the data differ."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    changed_outputs: int | None

    @property
    def broken(self) -> tuple[Row, ...]:
        """Rows whose limit is broken."""
        return tuple(row for row in self.rows if row.broken)


def compare_results(before: Results, after: Results, limits: Sequence[Limit] = ()) -> Comparison:
    """Compare a run with a baseline.

    Raises:
        DataError: a run that is not finished, or a limit on a figure that the run does not have.
    """
    for results in (before, after):
        if results.summary is None:
            raise DataError(f"{results.path} is not finished ({len(results.samples)} samples): go on with --resume")
    assert before.summary is not None and after.summary is not None
    same_data = before.header.get("data", {}).get("sha256") == after.header.get("data", {}).get("sha256")
    by_metric = {limit.metric.key: limit for limit in limits}
    rows = []
    for metric in METRICS:
        one = metric.value(before.header, before.summary)
        two = metric.value(after.header, after.summary)
        limit = by_metric.get(metric.key)
        if one is None and two is None and limit is None:
            continue
        noise = math.hypot(metric.noise(before.summary), metric.noise(after.summary))
        if metric.key == "accuracy" and same_data:
            noise = _paired_noise(before, after)
        elif metric.key == "energy" and one and two and _both_estimated(before, after):
            noise *= abs(two - one) / math.hypot(one, two)
        bound = None
        if limit is not None:
            if two is None:
                raise DataError(f"{after.path} has no figure for {metric.title}, which has the limit {limit.text}")
            bound = limit.bound(one)
        rows.append(
            Row(metric, one, two, noise, _verdict(metric, one, two, noise), limit, bound, _broken(metric, two, bound))
        )
    changed = None
    if same_data:
        changed = sum(a["crc32"] != b["crc32"] for a, b in zip(before.samples, after.samples))
    return Comparison(tuple(rows), _notes(before, after, same_data), changed)


def _broken(metric: Metric, value: float | None, bound: float | None) -> bool:
    if value is None or bound is None:
        return False
    slack = 1e-9 * abs(bound)
    return value < bound - slack if metric.better == "higher" else value > bound + slack


def _verdict(metric: Metric, before: float | None, after: float | None, noise: float) -> str:
    if before is None or after is None:
        return ""
    if abs(after - before) <= 2 * noise or after == before:
        return "same"
    return "better" if (after > before) == (metric.better == "higher") else "worse"


def _both_estimated(before: Results, after: Results) -> bool:
    """Whether both energies come from the same figure of the same board: its error is the same in both."""
    summaries = (before.summary or {}, after.summary or {})
    estimated = all((summary.get("energy") or {}).get("source") == "estimated" for summary in summaries)
    return estimated and before.header.get("board") == after.header.get("board")


def _paired_noise(before: Results, after: Results) -> float:
    """Standard error of the difference of two accuracies on the same samples: only samples that went from right to
    wrong, or back, count (McNemar 1947)."""
    pairs = [
        (one["prediction"] == one["label"], two["prediction"] == two["label"])
        for one, two in zip(before.samples, after.samples)
        if one["label"] is not None and two["label"] is not None
    ]
    discordant = sum(one != two for one, two in pairs)
    return math.sqrt(discordant) / len(pairs) if pairs else 0.0


def _notes(before: Results, after: Results, same_data: bool) -> tuple[str, ...]:
    notes = []
    for field, what in (("board", "boards"), ("emulated", "kinds of boards (one is emulated)")):
        if before.header.get(field) != after.header.get(field):
            notes.append(f"different {what}: {before.header.get(field)} and {after.header.get(field)}")
    if not same_data:
        notes.append("different data: accuracies are of other samples")
    assert before.summary is not None and after.summary is not None
    for key, what in (("latency_source", "latencies"), ("energy", "energies")):
        one, two = before.summary.get(key), after.summary.get(key)
        if key == "energy":
            one, two = (one or {}).get("source"), (two or {}).get("source")
        if one and two and one != two:
            notes.append(f"different sources of the {what}: {one}; {two}")
    return tuple(notes)
