"""A comparison as a document: Markdown for a person, JUnit for a continuous-integration server, JSON for a program."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from hil.bench.compare import Comparison, Metric, Row


def shown(metric: Metric, value: float | None) -> str:
    """A value with its unit, in the size that a person would write it."""
    if value is None:
        return "–"
    if metric.unit == "%":
        return f"{value:.2%}"
    if metric.unit == "us":
        return f"{value / 1000:,.3f} ms" if value >= 1000 else f"{value:,.3f} µs"
    if metric.unit == "nJ":
        return f"{value / 1e6:,.3f} mJ" if value >= 1e6 else f"{value / 1e3:,.3f} µJ"
    return f"{value:,.0f}" + (f" {metric.unit}" if metric.unit else "")


def change(row: Row) -> str:
    """How much a value changed: points of accuracy, else percent."""
    if row.before is None or row.after is None:
        return "–"
    if row.metric.unit == "%":
        return f"{(row.after - row.before) * 100:+.2f} points"
    return f"{row.after - row.before:+,.0f}" if row.change is None else f"{row.change:+.2%}"


def noise(row: Row) -> str:
    """The standard error of the difference, as ``change`` writes differences."""
    if not row.noise:
        return ""
    if row.metric.unit == "%":
        return f"± {row.noise * 100:.2f}"
    return f"± {row.noise / row.before:.2%}" if row.before else f"± {row.noise:,.3g}"


def limit(row: Row) -> str:
    """The limit and whether it holds."""
    if row.limit is None:
        return ""
    return f"{row.limit.text} ({shown(row.metric, row.bound)}): {'BROKEN' if row.broken else 'kept'}"


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table: metric, before, after, change, noise, verdict, limit."""
    return (
        row.metric.title,
        shown(row.metric, row.before),
        shown(row.metric, row.after),
        change(row),
        noise(row),
        row.verdict,
        limit(row),
    )


COLUMNS = ("metric", "before", "after", "change", "noise", "verdict", "limit")


def to_markdown(comparison: Comparison) -> str:
    """A table and the notes."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * 4 + " --- | --- |"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in comparison.rows]
    if comparison.changed_outputs is not None:
        lines += ["", f"Samples whose outputs changed: {comparison.changed_outputs:,}."]
    lines += [f"\nNote: {note}." for note in comparison.notes]
    return "\n".join(lines) + "\n"


def to_junit(comparison: Comparison) -> bytes:
    """A test case per metric; those whose limit is broken fail."""
    suite = ElementTree.Element(
        "testsuite", name="tinyopt hil compare", tests=str(len(comparison.rows)), failures=str(len(comparison.broken))
    )
    for row in comparison.rows:
        case = ElementTree.SubElement(suite, "testcase", classname="tinyopt.hil", name=row.metric.title)
        text = f"{shown(row.metric, row.before)} before, {shown(row.metric, row.after)} after, {change(row)}"
        if row.broken:
            message = (
                f"{row.metric.title} is {shown(row.metric, row.after)}; the limit is {shown(row.metric, row.bound)}"
            )
            ElementTree.SubElement(case, "failure", message=message).text = text
        else:
            ElementTree.SubElement(case, "system-out").text = text
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain data."""
    return {
        "metrics": [
            {
                "metric": row.metric.key,
                "unit": row.metric.unit,
                "before": row.before,
                "after": row.after,
                "change": row.change,
                "noise": row.noise,
                "verdict": row.verdict,
                "limit": row.limit.text if row.limit else None,
                "bound": row.bound,
                "broken": row.broken,
            }
            for row in comparison.rows
        ],
        "changed_outputs": comparison.changed_outputs,
        "notes": list(comparison.notes),
        "broken": [row.metric.key for row in comparison.broken],
    }
