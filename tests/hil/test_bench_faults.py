"""Lines and devices that fail in mid-run: no sample is lost or counted twice, or the run ends with one clear error."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hil.bench import Job, Recovery, WrongFirmwareError, read_results, run_job
from hil.device import Device
from hil.protocol import BlockClient
from hil.transports import Transport
from tests.support.bench_jobs import closing, firmware_of, job
from tests.support.faulty_line import FaultyLine, faulty_device
from tinyopt.board import load_board
from tinyopt.errors import DataError, DeviceError

KINDS = ("blobs", "lstm")


def need(board_name: str) -> None:
    board = load_board(board_name)
    assert board.emulator is not None
    for program in (f"{board.toolchain.prefix}gcc", board.emulator.program):
        if program != "host" and shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")


@functools.cache
def undisturbed(kind: str, count: int, board_name: str) -> list[tuple[int, str]]:
    """Predictions and checksums of a run in which nothing happens."""
    need(board_name)
    path = Path(firmware_of(kind, board_name).elf).with_name(f"undisturbed-{count}.jsonl")
    run_job(job(count, kind=kind, board_name=board_name), path, force=True)
    return seen(path)


def seen(path: Path) -> list[tuple[int, str]]:
    return [(sample["prediction"], sample["crc32"]) for sample in read_results(path).samples]


def device(kind: str, line: Callable[[Transport, int], Transport], board_name: str = "host") -> Any:
    need(board_name)
    return closing(faulty_device(load_board(board_name), firmware_of(kind, board_name).elf, line))


def finished(a_job: Job, path: Path, count: int, kind: str, board_name: str = "host") -> Any:
    """Runs to the end; what the file holds is what an undisturbed run gives."""
    summary = run_job(a_job, path).summary
    assert (summary["samples"], summary["mismatches"]) == (count, 0)
    assert seen(path) == undisturbed(kind, count, board_name)
    return summary


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("board_name", ["host", "mps2_an386"])
def test_a_run_in_which_nothing_happens(tmp_path: Path, kind: str, board_name: str) -> None:
    need(board_name)
    path = tmp_path / "r.jsonl"
    outcome = run_job(job(20, kind=kind, board_name=board_name), path)
    summary = read_results(path).summary
    assert summary == outcome.summary and summary is not None
    assert (summary["samples"], summary["mismatches"], summary["restarts"]) == (20, 0, 0)
    assert summary["latency"]["median_us"] > 0 and summary["emulated"]
    assert (summary["accuracy"] is not None) == (kind == "blobs")
    if board_name != "host":
        assert summary["cycles"] > 0 and summary["stack_bytes"] > 0 and "emulated" in summary["latency_source"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("damaged", "lost"), [(0.01, 0.0), (0.005, 0.002)])
def test_damaged_and_lost_bytes_cost_time_and_nothing_else(
    tmp_path: Path, kind: str, damaged: float, lost: float
) -> None:
    lines: list[FaultyLine] = []

    def line(transport: Transport, opened: int) -> Transport:
        lines.append(FaultyLine(transport, seed=opened, damaged=damaged, lost=lost, portion=7))
        return lines[-1]

    summary = finished(job(80, kind=kind, device=device(kind, line)), tmp_path / "r.jsonl", 80, kind)
    assert lines[0].faults > 9 and summary["repeated_requests"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_unplugged_device_goes_on_where_it_was(tmp_path: Path, kind: str) -> None:
    def line(transport: Transport, opened: int) -> Transport:
        return FaultyLine(transport, cut_after=3000 if opened < 2 else None)

    path = tmp_path / "r.jsonl"
    summary = finished(job(100, kind=kind, device=device(kind, line)), path, 100, kind)
    events = read_results(path).events
    assert summary["restarts"] == len(events) == 2
    assert all("closed" in event["reason"] for event in events)


class Moody:
    """A line behind which the device does something unexpected from time to time."""

    def __init__(self, transport: Transport, every: int, act: Callable[[Moody], bool]) -> None:
        self.transport, self._every, self._act, self._writes = transport, every, act, 0

    def write(self, data: bytes, timeout: float) -> None:
        self._writes += 1
        if self._writes % self._every or self._act(self):
            self.transport.write(data, timeout)

    def read(self, timeout: float) -> bytes:
        return self.transport.read(timeout)

    def close(self) -> None:
        self.transport.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_hangs_is_started_again(tmp_path: Path, kind: str) -> None:
    def line(transport: Transport, opened: int) -> Transport:
        silent = False

        def hang(moody: Moody) -> bool:
            nonlocal silent
            silent = opened == 0
            return not silent

        moody = Moody(transport, 40, hang)
        read = moody.read

        def quiet(timeout: float) -> bytes:
            if silent:
                time.sleep(timeout)
                return b""
            return read(timeout)

        moody.read = quiet  # type: ignore[method-assign]
        return moody

    a_job = job(60, kind=kind, device=device(kind, line), timeout=0.6)
    path = tmp_path / "r.jsonl"
    summary = finished(a_job, path, 60, kind)
    assert summary["restarts"] == 1
    assert "has not answered for 0.6 s" in read_results(path).events[0]["reason"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_that_reboots_by_itself_is_noticed_and_its_states_are_brought_back(tmp_path: Path, kind: str) -> None:
    """Another process's text commands end the session as a reset does: inputs and states are not what they were."""

    def line(transport: Transport, opened: int) -> Transport:
        left = iter(range(2))

        def meddle(moody: Moody) -> bool:
            if next(left, None) is not None:
                moody.transport.write(b"reset%", 5)
            return True

        return Moody(transport, 25, meddle)

    path = tmp_path / "r.jsonl"
    summary = finished(job(60, kind=kind, device=device(kind, line)), path, 60, kind)
    assert summary["restarts"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_late_answers_are_not_taken_for_those_of_other_samples(tmp_path: Path, kind: str) -> None:
    """Every thirtieth answer comes after the request was sent again: the device then answers twice."""

    class Late:
        def __init__(self, transport: Transport) -> None:
            self._transport, self._reads = transport, 0

        def write(self, data: bytes, timeout: float) -> None:
            self._transport.write(data, timeout)

        def read(self, timeout: float) -> bytes:
            self._reads += 1
            if self._reads % 30 == 0 and timeout < 1:
                time.sleep(timeout)
                return b""
            return self._transport.read(timeout)

        def close(self) -> None:
            self._transport.close()

    a_job = job(100, kind=kind, device=device(kind, lambda transport, opened: Late(transport)))
    summary = finished(a_job, tmp_path / "r.jsonl", 100, kind)
    assert summary["repeated_requests"] > 0 and summary["restarts"] == 0


def test_a_device_that_stays_away_ends_the_run_and_what_was_done_is_kept(tmp_path: Path) -> None:
    a_device = device("blobs", lambda transport, opened: FaultyLine(transport, cut_after=None if opened else 3000))

    with a_device as real:
        path = tmp_path / "r.jsonl"

        def gone() -> Transport:
            raise DeviceError("cannot open the serial port: No such file or directory")

        away = Device(real.board, "a board", real.transport, on_restart=gone, on_reconnect=gone, on_close=real.close)
        a_job = job(100, device=closing(away), recovery=Recovery(patience=0.5))
        with pytest.raises(DeviceError, match="closed; the device did not come back: cannot open"):
            run_job(a_job, path)
    done = len(read_results(path).samples)
    assert 10 < done < 100
    summary = run_job(job(100), path, resume=True).summary
    assert summary["samples"] == 100 and seen(path) == undisturbed("blobs", 100, "host")


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_after_any_sample(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.jsonl"
    run_job(job(30, kind=kind), path)
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (1, 2, 17, 31, 32):
        path.write_bytes(b"".join(lines[:kept]) + (b'{"kind":"sam' if kept < 31 else b""))
        summary = run_job(job(30, kind=kind), path, resume=True).summary
        assert (summary["samples"], summary["mismatches"]) == (30, 0)
        assert len(path.read_bytes().splitlines()) == 32
        assert seen(path) == undisturbed(kind, 30, "host")


def test_results_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    run_job(job(5), path)
    with pytest.raises(DataError, match="exists: go on with --resume, or start anew with --force"):
        run_job(job(5), path)
    with pytest.raises(DataError, match="its data is"):
        run_job(job(6), path, resume=True)
    assert run_job(job(6), path, force=True).summary["samples"] == 6


def test_the_wrong_firmware_is_refused_by_its_sizes_and_by_its_identity(tmp_path: Path) -> None:
    other = device("lstm", lambda transport, opened: transport)
    with pytest.raises(WrongFirmwareError, match=r"wrong firmware is on emulated host.*takes inputs of"):
        run_job(job(5, device=other), tmp_path / "r.jsonl")
    same_sizes = job(5, device=device("blobs", lambda transport, opened: transport))
    from dataclasses import replace

    with pytest.raises(WrongFirmwareError, match=r"has the identity [0-9a-f]{16}, the one that was built 0{15}1"):
        run_job(replace(same_sizes, firmware_id=1), tmp_path / "s.jsonl")


def test_a_device_that_comes_back_as_another_ends_the_run(tmp_path: Path) -> None:
    need("host")
    board = load_board("host")
    first = faulty_device(board, firmware_of("blobs", "host").elf, lambda t, opened: FaultyLine(t, cut_after=2000))
    second = faulty_device(board, firmware_of("lstm", "host").elf, lambda t, opened: t)
    with closing(first), closing(second):
        swapped = Device(
            board,
            "a board",
            first.transport,
            on_restart=lambda: second.transport,
            on_reconnect=lambda: second.transport,
            on_close=lambda: None,
        )
        path = tmp_path / "r.jsonl"
        with pytest.raises(WrongFirmwareError):
            run_job(job(100, device=closing(swapped)), path)
        assert 0 < len(read_results(path).samples) < 100


def test_a_frame_that_was_cut_short_by_an_earlier_host_does_not_keep_the_next_one_out() -> None:
    with device("blobs", lambda transport, opened: transport, "mps2_an386") as real:
        client = BlockClient(real.transport, timeout=10)
        client.wait_until_ready()
        client.hello()
        real.transport.write(b"\xa7\x02\x09\x00", 5)
        assert BlockClient(real.transport, timeout=20).find().name
