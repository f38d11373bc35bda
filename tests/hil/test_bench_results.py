"""The results file: whole lines, one writer, and only the same run goes on."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench.results import ResultsWriter, check_same_run, read_results
from hil.bench.statistics import accuracy_noise, latency, percentile
from tinyopt.errors import DataError

HEADER = {"kind": "header", "format": "tinyopt-results", "version": 1, "board": "b", "data": {"sha256": "d"}}
EVENT = {"kind": "event", "event": "restart"}
SUMMARY = {"kind": "summary", "samples": 2}


def line(index: int) -> dict[str, Any]:
    return {"kind": "sample", "index": index, "prediction": 1}


def written(path: Path, count: int) -> Path:
    with ResultsWriter(path) as writer:
        writer.write(HEADER)
        for index in range(count):
            writer.write(line(index))
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    with ResultsWriter(tmp_path / "r.jsonl") as writer:
        for item in (
            HEADER,
            line(0),
            {"kind": "event", "event": "restart"},
            line(1),
            {"kind": "summary", "samples": 2},
        ):
            writer.write(item)
    results = read_results(tmp_path / "r.jsonl")
    assert results.header["board"] == "b"
    assert [sample["index"] for sample in results.samples] == [0, 1]
    assert len(results.events) == 1 and results.summary == SUMMARY


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_that_was_cut_is_left_out_and_the_run_goes_on_behind_the_last_whole_one(
    tmp_path: Path, cut: int
) -> None:
    path = written(tmp_path / "r.jsonl", 3)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    results = read_results(path)
    assert len(results.samples) == 2
    with ResultsWriter(path, keep=results.whole_bytes) as writer:
        writer.write(line(2))
    assert path.read_bytes() == content


@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused_with_one_error(content: bytes) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"tinyopt-results-{os.getpid()}.jsonl"
    path.write_bytes(json.dumps(HEADER).encode() + b"\n" + content)
    try:
        read_results(path)
    except DataError:
        pass
    finally:
        path.unlink()


def test_lines_that_are_missing_are_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(DataError, match="line 3: sample 2 comes after 0"):
        read_results(path)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(DataError, match="does not begin with a header"):
        read_results(path)


@pytest.mark.parametrize(("field", "value"), [("board", "c"), ("data", {"sha256": "e"}), ("seed", 7)])
def test_another_run_does_not_go_on(tmp_path: Path, field: str, value: object) -> None:
    check_same_run(HEADER, {**HEADER, "started": "later"}, tmp_path)
    with pytest.raises(DataError, match=f"of another run: its {field} is .*--force"):
        check_same_run(HEADER, {**HEADER, field: value}, tmp_path)


def test_a_full_disk_ends_in_one_error_and_the_file_keeps_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, room = tmp_path / "r.jsonl", 150
    write = os.write

    def limited(stream: int, data: Any) -> int:
        nonlocal room
        if room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(stream, bytes(data)[:room])
        room -= taken
        return taken

    monkeypatch.setattr("hil.bench.results.os.write", limited)
    with ResultsWriter(path) as writer:
        writer.write(HEADER)
        with pytest.raises(DataError, match=r"No space left on device; what was written before is kept.*--resume"):
            for index in range(10):
                writer.write(line(index))
        monkeypatch.undo()
    results = read_results(path)
    assert results.samples and path.stat().st_size == results.whole_bytes


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write results to .*: Is a directory"):
        ResultsWriter(tmp_path)


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsWriter(path) as writer:
        writer.write(HEADER)
        with pytest.raises(DataError, match="another process is writing"):
            ResultsWriter(path)
    assert read_results(path).header == HEADER


def test_latencies_in_numbers() -> None:
    spread = latency([1.0, 2.0, 3.0, 4.0, 100.0])
    assert spread is not None
    assert (spread.median_us, spread.p95_us, spread.max_us, spread.min_us) == (3.0, 100.0, 100.0, 1.0)
    assert latency([]) is None
    assert percentile(list(range(1, 101)), 95) == 95
    assert accuracy_noise(0.9, 100) == pytest.approx(0.03)
    single = latency([5.0])
    assert single is not None and single.jitter_us == 0 and single.noise_us == 0
