"""Two results against each other: what changed, by how much more than the noise, and which limits are broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hil.bench.compare import compare_results, parse_limit
from hil.bench.documents import to_json, to_junit, to_markdown
from hil.bench.results import Results, read_results
from hil.bench.run import summarise
from tinyopt.errors import DataError


def results(
    folder: Path,
    name: str,
    latencies: Sequence[float] = (100.0, 101.0, 102.0),
    right: Sequence[bool] = (True, True, False),
    *,
    energy: dict[str, Any] | None = None,
    finished: bool = True,
    **header: Any,
) -> Results:
    samples = [
        {
            "kind": "sample",
            "index": index,
            "prediction": int(good),
            "label": 1,
            "latency_us": latency,
            "crc32": f"{good:08x}",
            "mismatch": None,
        }
        for index, (latency, good) in enumerate(zip(latencies, right))
    ]
    first = {
        "kind": "header",
        "format": "tinyopt-results",
        "version": 1,
        "board": "b",
        "emulated": False,
        "firmware": {"code_bytes": 1000, "weights_bytes": 500},
        "data": {"sha256": "d"},
        **header,
    }
    summary = {
        "kind": "summary",
        **summarise(samples),
        "latency_source": "device counter",
        "cycles": 12000,
        "energy": energy,
        "arena_bytes": 4096,
        "stack_bytes": 256,
    }
    path = folder / f"{name}.jsonl"
    lines = [first, *samples, *([summary] if finished else [])]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_results(path)


def verdicts(before: Results, after: Results) -> dict[str, str]:
    return {row.metric.key: row.verdict for row in compare_results(before, after).rows}


def test_the_same_results_are_the_same(tmp_path: Path) -> None:
    one, two = results(tmp_path, "a"), results(tmp_path, "b")
    assert set(verdicts(one, two).values()) == {"same"}
    comparison = compare_results(one, two)
    assert comparison.changed_outputs == 0 and comparison.notes == ()
    assert {row.metric.key for row in comparison.rows} >= {"accuracy", "latency", "p95", "flash", "ram", "cycles"}


def test_a_difference_counts_when_it_is_larger_than_the_noise(tmp_path: Path) -> None:
    before = results(tmp_path, "a", [100.0, 110.0, 90.0] * 3, [True] * 9)
    assert verdicts(before, results(tmp_path, "b", [103.0, 113.0, 93.0] * 3, [True] * 9))["latency"] == "same"
    assert verdicts(before, results(tmp_path, "c", [200.0, 210.0, 190.0] * 3, [True] * 9))["latency"] == "worse"
    assert verdicts(before, results(tmp_path, "d", [50.0, 51.0, 52.0] * 3, [True] * 9))["latency"] == "better"


def test_accuracies_on_the_same_data_are_compared_sample_by_sample(tmp_path: Path) -> None:
    before = results(tmp_path, "a", [1.0] * 100, [True] * 90 + [False] * 10)
    after = results(tmp_path, "b", [1.0] * 100, [True] * 89 + [False] * 11)
    (row,) = (row for row in compare_results(before, after).rows if row.metric.key == "accuracy")
    assert row.noise == pytest.approx(0.01)
    assert compare_results(before, after).changed_outputs == 1


@pytest.mark.parametrize(
    ("key", "text", "bound"),
    [
        ("latency", "12ms", 12000),
        ("latency", "300us", 300),
        ("latency", "0.5 s", 500_000),
        ("latency", "+2%", 103.02),
        ("p95", "+10%", 112.2),
        ("energy", "1.2mJ", 1.2e6),
        ("energy", "80 uJ", 80e3),
        ("accuracy", "60%", 0.6),
        ("accuracy", "0.6", 0.6),
        ("accuracy", "-0.5%", 2 / 3 - 0.005),
        ("flash", "64K", 65536),
        ("flash", "1600", 1600),
        ("ram", "+5%", 4352 * 1.05),
    ],
)
def test_limits_are_figures_or_changes_from_the_baseline(tmp_path: Path, key: str, text: str, bound: float) -> None:
    energy = {"source": "estimated", "nj": 70e3, "error_nj": 1e3}
    one, two = results(tmp_path, "a", energy=energy), results(tmp_path, "b", energy=energy)
    (row,) = (row for row in compare_results(one, two, [parse_limit(key, text)]).rows if row.limit)
    assert row.metric.key == key and row.bound == pytest.approx(bound)
    assert not row.broken


@pytest.mark.parametrize(
    ("key", "text"), [("latency", "12"), ("latency", "12V"), ("energy", "5ms"), ("ram", "x"), ("accuracy", "")]
)
def test_a_limit_that_is_none_is_refused_with_an_example(key: str, text: str) -> None:
    with pytest.raises(DataError, match=r"is no limit for .*: write a figure \(.*\) or a change from the baseline"):
        parse_limit(key, text)


@pytest.mark.parametrize(
    ("key", "text", "broken"),
    [
        ("latency", "100us", True),
        ("latency", "+0%", False),
        ("latency", "-1%", True),
        ("accuracy", "67%", True),
        ("accuracy", "66%", False),
        ("flash", "1499", True),
        ("ram", "4352", False),
    ],
)
def test_limits_hold_or_break(tmp_path: Path, key: str, text: str, broken: bool) -> None:
    one, two = results(tmp_path, "a"), results(tmp_path, "b")
    assert bool(compare_results(one, two, [parse_limit(key, text)]).broken) == broken


def test_a_limit_on_what_was_not_measured_is_an_error(tmp_path: Path) -> None:
    one, two = results(tmp_path, "a"), results(tmp_path, "b")
    with pytest.raises(DataError, match=r"has no figure for energy, which has the limit 1mJ"):
        compare_results(one, two, [parse_limit("energy", "1mJ")])


def test_a_run_that_is_not_finished_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not finished \(3 samples\): go on with --resume"):
        compare_results(results(tmp_path, "a"), results(tmp_path, "b", finished=False))


def test_what_makes_runs_hard_to_compare_is_said(tmp_path: Path) -> None:
    other = results(tmp_path, "b", board="c", emulated=True, data={"sha256": "e"})
    comparison = compare_results(results(tmp_path, "a"), other)
    assert comparison.changed_outputs is None
    assert [note.partition(":")[0] for note in comparison.notes] == [
        "different boards",
        "different kinds of boards (one is emulated)",
        "different data",
    ]


def test_estimates_from_the_same_figure_differ_by_less_than_their_error(tmp_path: Path) -> None:
    def energy(nj: float, source: str) -> dict[str, Any]:
        return {"source": source, "nj": nj, "error_nj": 0.1 * nj}

    for source, verdict in (("estimated", "worse"), ("measured: a meter", "same")):
        one = results(tmp_path, "a", energy=energy(1000, source))
        two = results(tmp_path, "b", energy=energy(1050, source))
        assert verdicts(one, two)["energy"] == verdict


def test_documents_say_what_is_broken(tmp_path: Path) -> None:
    limits = [parse_limit("latency", "100us"), parse_limit("accuracy", "50%")]
    comparison = compare_results(results(tmp_path, "a"), results(tmp_path, "b"), limits)
    assert "| latency, median | 101.000 µs | 101.000 µs | +0.00% |" in to_markdown(comparison)
    assert "100us (100.000 µs): BROKEN" in to_markdown(comparison)
    suite = ElementTree.fromstring(to_junit(comparison))
    assert (suite.get("failures"), suite.get("tests")) == ("1", str(len(comparison.rows)))
    (failed,) = suite.findall("testcase/failure")
    assert failed.get("message") == "latency, median is 101.000 µs; the limit is 100.000 µs"
    document = to_json(comparison)
    assert document["broken"] == ["latency"]
    json.dumps(document, allow_nan=False)
