"""``tinyopt hil run`` and ``compare`` as processes: stopped and crowded, they leave whole files and free ports."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hil.bench.results import read_results
from hil.emulators import start_emulator
from tests.support.bench_jobs import firmware_of, graph_of, samples_of
from tinyopt.board import load_board
from tinyopt.graph import save_graph

COUNT, MANY = 40, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its data, and a measuring firmware of it for the host."""
    path = tmp_path_factory.mktemp("bench")
    save_graph(graph_of("blobs"), path / "blobs.tinyopt")
    samples = samples_of("blobs", COUNT)
    (array,) = samples.inputs.values()
    assert samples.labels is not None
    np.savez(path / "data.npz", x=array, y=samples.labels)
    big = np.concatenate([array] * MANY)
    np.savez(path / "many.npz", x=big, y=np.concatenate([samples.labels] * MANY))
    np.savez(path / "endless.npz", x=np.concatenate([array] * 1000))
    return path


def command(folder: Path, output: Path, *more: str, data: str = "data.npz") -> list[str]:
    firmware = firmware_of("blobs", "host").elf
    words = ["hil", "run", str(folder / "blobs.tinyopt"), "-b", "host", "-d", str(folder / data), "-o", str(output)]
    return [sys.executable, "-m", "tinyopt", *words, "--firmware", str(firmware), *more]


def run(words: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, **more)  # type: ignore[call-overload]


def emulators() -> set[int]:
    """Processes of the measuring firmware that run now."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(firmware_of("blobs", "host").elf).encode() in entry.read_bytes().split(b"\0")[0]:
                found.add(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_a_run_ends_in_results_a_summary_and_a_gate(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    done = run(command(folder, path, "--json"))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    results = read_results(path)
    assert results.summary == summary and summary["samples"] == COUNT and summary["mismatches"] == 0
    assert results.header["tools"]["python"] and results.header["environment"]["system"]
    assert len(results.header["model"]["sha256"]) == len(results.header["firmware"]["sha256"]) == 64
    gate = [sys.executable, "-m", "tinyopt", "hil", "compare", str(path), str(path)]
    assert run([*gate, "--max-latency", "+2%"]).returncode == 0
    broken = run([*gate, "--max-latency", "1ns", "--junit", str(tmp_path / "j.xml")])
    assert broken.returncode == 1 and "1 of 1 limits broken: latency, median is" in broken.stderr
    assert b"<failure" in (tmp_path / "j.xml").read_bytes()


def test_samples_are_chosen_by_a_seed(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = run(command(folder, tmp_path / f"{name}.jsonl", "--limit", "10", "--seed", "3"))
        assert done.returncode == 0, done.stderr
    one, two = (read_results(tmp_path / f"{name}.jsonl") for name in ("a", "b"))
    assert one.header["data"] == two.header["data"] and one.header["seed"] == 3
    assert [s["crc32"] for s in one.samples] == [s["crc32"] for s in two.samples]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_keeps_its_samples_frees_its_emulator_and_goes_on(
    folder: Path, tmp_path: Path, end: signal.Signals
) -> None:
    path = tmp_path / "r.jsonl"
    words = command(folder, path, data="many.npz")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (path.exists() and path.read_bytes().count(b"\n") > 20):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(end)
    _, said = process.communicate(timeout=30)
    assert process.returncode == (130 if end != signal.SIGKILL else -signal.SIGKILL)
    if end != signal.SIGKILL:
        assert "interrupted; what was done is in" in said and "Traceback" not in said
    deadline = time.monotonic() + 10
    while emulators() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not emulators()
    kept = read_results(path)
    assert 20 <= len(kept.samples) < MANY * COUNT and kept.summary is None
    done = run([*words, "--resume"])
    assert done.returncode == 0, done.stderr
    results = read_results(path)
    assert len(results.samples) == MANY * COUNT and results.samples[: len(kept.samples)] == kept.samples
    digests = [sample["crc32"] for sample in results.samples]
    assert digests == digests[:COUNT] * MANY


def test_a_full_disk_ends_in_one_error_and_the_run_goes_on_when_there_is_room(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = run(command(folder, path), preexec_fn=little_room)
    assert done.returncode == 5, done.stderr
    assert "cannot write to" in done.stderr and "go on with --resume" in done.stderr
    assert "Traceback" not in done.stderr
    kept = read_results(path)
    assert 0 < len(kept.samples) < COUNT and path.stat().st_size == kept.whole_bytes
    assert run(command(folder, path, "--resume")).returncode == 0
    assert len(read_results(path).samples) == COUNT


def test_a_disk_that_is_full_from_the_beginning(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    done = run(command(folder, Path("/dev/full"), "--force"))
    assert done.returncode == 5 and "error: cannot write" in done.stderr and "Traceback" not in done.stderr


@contextmanager
def serial_port() -> Iterator[str]:
    """A pseudo-terminal behind which the measuring firmware runs."""
    controller, line = pty.openpty()
    tty.setraw(line)
    with start_emulator(load_board("host"), firmware_of("blobs", "host").elf) as emulator:
        stop = threading.Event()

        def to_device() -> None:
            while not stop.is_set():
                try:
                    emulator.transport.write(os.read(controller, 4096), 5)
                except Exception:
                    return

        def from_device() -> None:
            while not stop.is_set():
                try:
                    data = emulator.transport.read(0.1)
                    while data:
                        data = data[os.write(controller, data) :]
                except Exception:
                    return

        threads = [threading.Thread(target=work, daemon=True) for work in (to_device, from_device)]
        for thread in threads:
            thread.start()
        yield os.ttyname(line)
        stop.set()
    os.close(line)
    os.close(controller)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pseudo-terminals")
def test_two_processes_on_one_port(folder: Path, tmp_path: Path) -> None:
    with serial_port() as port:
        first = command(folder, tmp_path / "a.jsonl", "--port", port, "--no-flash", data="endless.npz")
        process = subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 90
        while not (tmp_path / "a.jsonl").exists() or (tmp_path / "a.jsonl").read_bytes().count(b"\n") < 5:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
        second = run(command(folder, tmp_path / "b.jsonl", "--port", port, "--no-flash"))
        assert second.returncode == 8 and "is busy" in second.stderr and str(process.pid) in second.stderr
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        before = len(read_results(tmp_path / "a.jsonl").samples)
        assert before > 4
        third = run(command(folder, tmp_path / "b.jsonl", "--port", port, "--no-flash", "--force"))
        assert third.returncode == 0, third.stderr
        results = read_results(tmp_path / "b.jsonl")
        assert len(results.samples) == COUNT and results.summary is not None
        assert results.header["emulated"] is True and results.summary["latency_source"] == "device counter"


def test_energy_comes_from_the_meter_between_the_edges_without_the_idle_power(folder: Path) -> None:
    """Five windows of 50 ms at 30 mW over an idle power of 10 mW."""
    rows = ["seconds,watts,edge"]
    for step in range(6000):
        in_window, since = step // 1000 < 5 and 200 <= step % 1000 < 700, step % 1000
        edge = int(step // 1000 < 5 and since in (200, 700))
        rows.append(f"{step * 1e-4:.4f},{0.03 if in_window else 0.01},{edge}")
    (folder / "trace.csv").write_text("\n".join(rows) + "\n")
    command = [sys.executable, "-m", "tinyopt", "hil", "run", "blobs.tinyopt", "-b", "host", "-d", "data.npz"]
    command += ["--limit", "3", "-o", "energy.jsonl", "--meter", "replay:trace.csv?accuracy=0.01", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    energy = json.loads(done.stdout)["energy"]
    assert "trace.csv" in energy["source"]
    assert energy["windows"] == 5 and energy["idle_uw"] == pytest.approx(10_000, rel=0.02)
    assert energy["nj"] * energy["inferences"] == pytest.approx(0.02 * 0.05 * 1e9, rel=0.05)
    assert 0 < energy["error_nj"] < energy["nj"]
    summary = read_results(folder / "energy.jsonl").summary
    assert summary is not None and summary["energy"] == energy


def test_a_meter_that_does_not_exist_is_named_before_anything_is_built(folder: Path) -> None:
    command = [sys.executable, "-m", "tinyopt", "hil", "run", "blobs.tinyopt", "-b", "host", "-d", "data.npz"]
    command += ["-o", "never.jsonl", "--meter", "multimeter:/dev/ttyUSB9"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "multimeter" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "never.jsonl").exists()
