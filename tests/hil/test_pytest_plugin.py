"""The pytest plugin: tests run on the boards that are named, skip with a reason, and fail where a board does."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from hil.bench import read_results
from tests.support import blob_task

USER_TESTS = """
def test_fits(measurement):
    assert measurement.mismatches == 0
    assert measurement.latency_us <= measurement.p95_us
    assert measurement.cycles is None or measurement.cycles > 1000
    assert 0 <= measurement.accuracy <= 1
    assert measurement.arena_bytes < measurement.ram_bytes < measurement.flash_bytes * 10

def test_board(board, device):
    assert board.name in device.name

def test_power(measurement, meter):
    assert measurement.energy_uj
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with data, and a user's tests."""
    folder = tmp_path_factory.mktemp("user")
    blob_task.write(folder)
    (folder / "test_boards.py").write_text(USER_TESTS)
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    done = subprocess.run([*command, *arguments, "test_boards.py"], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_one_run_serves_several_boards_and_reports_their_figures(folder: Path) -> None:
    boards = ["--board", "host", "--board", "mps2_an386"]
    code, output = run(
        folder, *boards, "--hil-model", "net.tinyopt", "--hil-data", "test.npz", "--hil-limit", "5",
        "--hil-results", "kept", "--junitxml", "report.xml",
    )  # fmt: skip
    assert code == 0 and "4 passed, 2 skipped" in output, output
    assert "no energy meter was named" in output
    found: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(folder / "report.xml").iter("testcase"):
        facts = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
        if facts:
            found[facts["board"]] = facts
    assert set(found) == {"host", "mps2_an386"}
    for name, facts in found.items():
        results = read_results(folder / "kept" / f"{name}.jsonl")
        assert facts["samples"] == "5" == str(len(results.samples))
        assert float(facts["latency_us"]) == results.summary["latency"]["median_us"]
    assert found["mps2_an386"]["latency_source"].startswith("emulated")


def test_what_is_absent_is_skipped_with_a_reason(folder: Path) -> None:
    code, output = run(folder)
    assert code == 0 and "3 skipped" in output and "no board was named" in output
    code, output = run(folder, "--board", "host")
    assert code == 0 and "no model was named" in output
    code, output = run(folder, "--board", "nucleo_l4r5zi", "--hil-model", "net.tinyopt")
    assert code == 0 and "no port was named" in output
    port = folder / "no_such_port"
    code, output = run(folder, "--board", "nucleo_l4r5zi", "--port", str(port), "--hil-model", "net.tinyopt")
    assert code == 0 and "is not connected: there is no port" in output


def test_a_board_that_does_not_exist_is_an_error(folder: Path) -> None:
    code, output = run(folder, "--board", "mps2_an38", "--hil-model", "net.tinyopt")
    assert code != 0 and "mps2_an386" in output


def test_a_model_that_the_board_cannot_hold_fails(folder: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    source = Path("boards/mps2_an386.yaml").read_text()
    small.write_text(source.replace("0x20000000, size: 4M", "0x20000000, size: 256"))
    code, output = run(folder, "--board", str(small), "--hil-model", "net.tinyopt")
    assert code == 1 and "error" in output.lower() and "ram" in output.lower()
