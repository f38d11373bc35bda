"""A lab of emulated boards, with labgrid's own programs: places are reserved, waited for, measured and released."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil.bench import read_results
from hil.remote.lab import Lab
from hil.remote.labgrid import LabgridClient, acquired_board, labgrid_program
from tests.support import blob_task
from tinyopt.board import load_board
from tinyopt.errors import DeviceError, ToolError


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        labgrid_program("labgrid-coordinator")
    except ToolError as error:
        pytest.skip(str(error))
    with Lab([load_board("mps2_an386"), load_board("mps2_an385")]) as running:
        yield running


def test_several_boards_of_a_lab_are_measured_at_once(lab: Lab, tmp_path: Path) -> None:
    blob_task.write(tmp_path)

    def measure(board: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tinyopt", "hil", "run", "net.tinyopt", "-b", board, "-d", "test.npz"]
        command += ["--limit", "6", "--port", f"labgrid://{lab.coordinator}", "-o", f"{board}.jsonl"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(measure, ("mps2_an386", "mps2_an385")))
    for board, process in zip(("mps2_an386", "mps2_an385"), done):
        assert process.returncode == 0, process.stdout + process.stderr
        results = read_results(tmp_path / f"{board}.jsonl")
        assert results.summary is not None and results.summary["samples"] == 6 and results.summary["mismatches"] == 0
        assert results.summary["emulated"], json.dumps(results.summary)
    assert LabgridClient(lab.coordinator)("-v", "places").count("acquired: None") == 2


def test_a_place_that_is_in_use_is_waited_for(lab: Lab) -> None:
    acquired, release = threading.Event(), threading.Event()

    def hold() -> str:
        with acquired_board("mps2_an386", coordinator=lab.coordinator) as board:
            acquired.set()
            release.wait(120)
            return board.place

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert acquired.wait(120)
        with (
            pytest.raises(DeviceError, match="has been in use"),
            acquired_board("mps2_an386", coordinator=lab.coordinator, wait=2.0),
        ):
            pass
        release.set()
        assert holder.result() == "mps2_an386_1"
    with acquired_board("mps2_an386", coordinator=lab.coordinator, place="mps2_an386_1") as board:
        assert board.host == "127.0.0.1"


def test_a_board_that_the_lab_does_not_have_is_named(lab: Lab) -> None:
    with (
        pytest.raises(DeviceError, match="no place with the tag board=nucleo_l4r5zi"),
        acquired_board("nucleo_l4r5zi", coordinator=lab.coordinator),
    ):
        pass


def test_no_coordinator_is_an_error(lab: Lab) -> None:
    with pytest.raises(DeviceError, match="labgrid-client"), acquired_board("mps2_an386", coordinator="127.0.0.1:1"):
        pass
