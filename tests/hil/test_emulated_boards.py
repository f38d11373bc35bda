"""The measuring firmware runs on every emulated board: outputs, costs, both protocols, faults, and clean ends."""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from hil import measure
from hil.emulators import start_emulator
from hil.frames import ERROR, Decoder, Frame, encode
from hil.protocol import BlockClient, FirmwareFault
from hil.text_protocol import TextClient
from tests.support.fake_project import INPUT_SHAPES, LAYERS, OUTPUT_TYPES, expected, fake_project, samples
from tinyopt.board import Board, board_names, load_board
from tinyopt.build import Firmware, build
from tinyopt.errors import DeviceError, ToolError

EMULATED = tuple(name for name in board_names() if load_board(name).is_emulated)
MACHINES = tuple(name for name in EMULATED if name != "host")


def need(board: Board) -> None:
    assert board.emulator is not None
    programs = [f"{board.toolchain.prefix}gcc"]
    programs += [board.emulator.program] if board.emulator.program != "host" else []
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


_folder = tempfile.TemporaryDirectory(prefix="tinyopt-test-")


@functools.cache
def firmware_of(name: str, *defines: str) -> Firmware:
    """Built once for all tests; the folder goes when the interpreter does."""
    folder = Path(_folder.name) / "-".join((name, *defines))
    return build(fake_project(folder, load_board(name), defines))


def ready(name: str, *defines: str) -> tuple[Board, Firmware]:
    board = load_board(name)
    need(board)
    return board, firmware_of(name, *defines)


@pytest.mark.parametrize("name", EMULATED)
def test_a_board_computes_what_the_model_says(name: str) -> None:
    board, firmware = ready(name)
    data = samples(20)
    seen: list[tuple[int, int]] = []
    result = measure(
        firmware, board, data, outputs=OUTPUT_TYPES, on_progress=lambda done, total: seen.append((done, total))
    )
    for got, wanted in zip(result.outputs, expected(data)):
        for a, b in zip(got, wanted):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
    assert seen == [(i + 1, 20) for i in range(20)]
    assert len(result.layers) == LAYERS
    assert result.device.name == "fake"


@pytest.mark.parametrize("name", MACHINES)
def test_instructions_are_counted_one_by_one(name: str) -> None:
    board, firmware = ready(name)
    result = measure(firmware, board, samples(5))
    assert result.instructions is not None and result.nanoseconds is None
    assert result.instructions_min is not None and result.instructions_max is not None
    layers = [layer.instructions for layer in result.layers]
    assert all(layer is not None for layer in layers)
    # Besides its layers the model has a few instructions; the counter of a clock is read to a step of it.
    assert -8 <= result.instructions - sum(layer or 0 for layer in layers) <= 80
    assert result.instructions_max - result.instructions_min <= 4  # the model's time does not depend on its data
    assert board.emulator is not None
    assert (result.cycles is not None) == board.emulator.marks
    assert result.total.bytes_read and result.total.bytes_written
    assert sum(layer.bytes_written or 0 for layer in result.layers) <= result.total.bytes_written


@pytest.mark.parametrize("name", ["microbit", "mps2_an386", "mps3_an547", "rv32_virt"])
def test_counts_are_the_same_in_every_run(name: str) -> None:
    board, firmware = ready(name)
    one, two = (measure(firmware, board, samples(3)) for _ in range(2))
    assert one.cycles == two.cycles
    assert one.instructions is not None and two.instructions is not None
    assert abs(one.instructions - two.instructions) <= 2


@pytest.mark.parametrize("name", MACHINES)
def test_the_stack_is_as_deep_as_the_compiler_says(name: str) -> None:
    board, firmware = ready(name)
    result = measure(firmware, board, samples(1), layers=False, cycles=False)
    assert result.stack_bytes is not None and firmware.stack_bound is not None
    assert 384 <= result.stack_bytes <= firmware.stack_bound.known_bytes + 64  # memcpy and the caller's frame
    assert result.layers == ()


def test_without_a_compiler_for_the_cycle_model_instructions_are_still_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, firmware = ready("mps2_an386")
    known = measure(firmware, board, samples(1))
    found = shutil.which
    monkeypatch.setattr("hil.cycles._cache_folder", lambda: tmp_path)
    monkeypatch.setattr("hil.cycles.shutil.which", lambda name: found(name) if "qemu" in name else None)
    result = measure(firmware, board, samples(1))
    assert result.cycles is None and result.total.bytes_read is None and result.energy_nj is None
    assert result.instructions is not None and known.instructions is not None
    assert abs(result.instructions - known.instructions) <= 2
    for layer, other in zip(result.layers, known.layers, strict=True):
        assert layer.instructions is not None and other.instructions is not None
        assert abs(layer.instructions - other.instructions) <= 16  # the hooks
        assert layer.cycles is None and layer.traffic is None
    (note,) = result.notes
    assert "C compiler" in note and "gcc" in note


def test_traffic_is_by_memory_of_the_board() -> None:
    board, firmware = ready("mps2_an386")
    result = measure(firmware, board, samples(1))
    assert result.traffic is not None
    assert {part.memory for part in result.traffic} <= {memory.name for memory in board.memories}
    assert all(part.bytes_written == 0 for part in result.traffic if part.memory == board.flash.name)
    for layer in result.layers:
        assert layer.traffic is not None and layer.bytes_read == sum(part.bytes_read for part in layer.traffic)


def test_a_slow_flash_costs_waiting_and_energy_follows_cycles() -> None:
    fast_board, fast_firmware = ready("mps2_an386")
    slow_board, slow_firmware = ready("emulated_l4r5zi")
    fast, slow = measure(fast_firmware, fast_board, samples(1)), measure(slow_firmware, slow_board, samples(1))
    assert fast.wait_cycles == 0 and fast.energy_nj is None
    assert fast.cycles is not None and slow.cycles is not None and slow.wait_cycles is not None
    assert slow.wait_cycles > 0 and slow.cycles - slow.wait_cycles == fast.cycles
    assert slow_board.energy is not None
    assert slow.energy_nj == pytest.approx(slow.cycles * slow_board.energy.nj_per_cycle)
    assert sum(layer.wait_cycles or 0 for layer in slow.layers) > 0
    assert slow.layers[0].cycles is not None
    assert slow.layers[0].energy_nj == pytest.approx(slow.layers[0].cycles * slow_board.energy.nj_per_cycle)


def test_the_host_measures_time() -> None:
    board, firmware = ready("host")
    result = measure(firmware, board, samples(3))
    assert result.nanoseconds is not None
    assert result.instructions is None and result.cycles is None and result.stack_bytes is None


@pytest.mark.parametrize("name", ["host", "microbit", "mps2_an386"])
def test_states_carry_over_and_can_be_reset(name: str) -> None:
    board, firmware = ready(name)
    data = samples(4)
    result = measure(firmware, board, data, outputs=OUTPUT_TYPES, reset_each=True, layers=False, cycles=False)
    for got, sample in zip(result.outputs, data):
        np.testing.assert_array_equal(got[1], expected([sample])[0][1])


def test_samples_may_be_mappings_and_outputs_bytes() -> None:
    board, firmware = ready("host")
    data = [dict(zip("ab", sample)) for sample in samples(2)]
    result = measure(firmware, board, data)
    assert result.outputs[0][0].dtype == np.uint8
    np.testing.assert_array_equal(result.outputs[1][0].view(np.int8), expected(samples(2))[1][0])


def test_samples_and_outputs_that_do_not_fit_the_model_are_refused() -> None:
    board, firmware = ready("host")
    with pytest.raises(DeviceError, match=r"takes inputs of \(24, 8\) bytes, not \(7,\)"):
        measure(firmware, board, [np.zeros(7, np.int8)])
    with pytest.raises(DeviceError, match="outputs of"):
        measure(firmware, board, samples(1), outputs=[(np.dtype(np.int8), (4,))])
    with pytest.raises(DeviceError, match="no samples"):
        measure(firmware, board, [])


@pytest.mark.parametrize("name", EMULATED)
def test_the_text_protocol(name: str) -> None:
    board, firmware = ready(name)
    sample = samples(1)[0]
    with start_emulator(board, firmware.elf) as emulator:
        text = TextClient(emulator.transport)
        assert "m-init-done" in text.wait_until_ready()
        assert (text.name(), text.model()) == ("tinyopt", "fake")
        text.load(b"".join(array.tobytes() for array in sample))
        inference = text.infer(1, 0)
        real = (expected([sample])[0][0].astype(float) + 4) * 0.25
        np.testing.assert_allclose(inference.results, real, atol=0.0005)
        assert text.results() == inference.results
        assert text.timestamp() >= 0
        assert text.infer(50, 2).microseconds > 0


@pytest.mark.parametrize("name", ["host", "mps2_an386"])
def test_text_that_makes_no_sense_is_answered_with_an_error_and_the_device_goes_on(name: str) -> None:
    board, firmware = ready(name)
    wrong = ["db load", "db load 0", "db load 31", "db load -5", "db load 99999999999", "db", "db 0", "db 0g", "db 00"]
    wrong += ["infer 0", "infer x", "infer 1 -1", "infer 1 x", "nonsense", "names", " ", "x" * 300, "db " + "0" * 999]
    with start_emulator(board, firmware.elf) as emulator:
        text = TextClient(emulator.transport)
        text.wait_until_ready()
        for command in wrong:
            with pytest.raises(DeviceError, match="refuses"):
                text.command(command)
        text.load(bytes(32))
        # digits of an input that came before must not be taken for those of the next
        assert text.command("db print") == ["m-buffer-" + "-".join(["00"] * 8)] * 4
        assert text.name() == "tinyopt"


@pytest.mark.parametrize("name", ["host", "mps2_an386", "microbit"])
def test_frames_that_are_damaged_are_refused_and_the_device_goes_on(name: str) -> None:
    board, firmware = ready(name)
    with start_emulator(board, firmware.elf) as emulator:
        client = BlockClient(emulator.transport, timeout=20)
        client.wait_until_ready()
        good = encode(Frame(2, 7, bytes(33)))
        for at, reason in ((3, 1), (7, 1), (12, 1), (len(good) - 1, 1)):
            bad = bytearray(good)
            bad[at] ^= 0x10
            assert exchange(emulator.transport, bytes(bad) + bytes(40)) == reason
        assert exchange(emulator.transport, encode(Frame(2, 7, bytes(34)))) == 2
        assert exchange(emulator.transport, encode(Frame(77, 7))) == 3
        assert exchange(emulator.transport, encode(Frame(2, 7, bytes(1)))) == 2  # no input is kept
        assert client.hello().input_bytes == tuple(shape[0] for shape in INPUT_SHAPES)


def exchange(transport: object, data: bytes) -> int:
    """The reason in the first error frame after sending these bytes."""
    decoder = Decoder()
    transport.write(data, 5)  # type: ignore[attr-defined]
    while True:
        received = transport.read(10)  # type: ignore[attr-defined]
        assert received
        for frame in decoder.feed(received):
            assert frame.type == ERROR
            return frame.payload[0]


def test_the_firmware_survives_garbage_under_the_sanitizers(tmp_path: Path) -> None:
    board = load_board("host")
    need(board)
    project = fake_project(tmp_path, board)
    command = ["gcc", "-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command += [f"-I{tmp_path / folder}" for folder in project.include_dirs]
    command += [f"-D{define}" for define in project.defines]
    subprocess.run([*command, *map(str, project.paths()), "-o", str(tmp_path / "fuzzed")], check=True)
    rng = np.random.default_rng(1)
    words = [b"db load 32%", b"db 00ff%", b"infer 2 1%", b"results%", b"db print%", b"%", b"name%", b"timestamp%"]
    words += [encode(Frame(kind, 1, bytes(size))) for kind in range(6) for size in (0, 1, 5, 33)]
    stream = bytearray()
    for _ in range(3000):
        word = bytearray(words[rng.integers(len(words))])
        if rng.random() < 0.3:
            word[rng.integers(len(word))] ^= int(rng.integers(1, 256))
            if word[0] == 0xA7 and len(word) >= 8:
                word[6] = 0  # a length of megabytes would swallow the rest
        elif rng.random() < 0.2:
            word = bytearray(rng.bytes(int(rng.integers(1, 20))).replace(b"\xa7", b""))
        stream += word
    result = subprocess.run([str(tmp_path / "fuzzed")], input=bytes(stream), capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr[-2000:]
    assert b"m-ready" in result.stdout


@pytest.mark.parametrize("name", MACHINES)
def test_a_crash_is_reported_with_the_function_it_happened_in(name: str) -> None:
    board, firmware = ready(name, "FAKE_FAULT")
    data = samples(2)
    data[1][1][:] = 13
    with pytest.raises(FirmwareFault, match=r"crashed in (fake_sum|model_run)"):
        measure(firmware, board, data, timeout=20)


@pytest.mark.parametrize("name", ["host", "mps2_an386"])
def test_a_firmware_that_stops_answering_is_given_up(name: str) -> None:
    board, firmware = ready(name, "FAKE_HANG")
    data = samples(2)
    data[1][1][:] = 13
    started = time.monotonic()
    with pytest.raises(DeviceError, match="has not answered for 1 s"):
        measure(firmware, board, data, timeout=1, cycles=False)
    assert time.monotonic() - started < 15


def test_a_process_that_ends_is_reported_with_what_it_said(tmp_path: Path) -> None:
    board = load_board("mps2_an386")
    need(board)
    with start_emulator(board, tmp_path / "absent.elf") as emulator:
        client = BlockClient(emulator.transport, timeout=20)
        with pytest.raises(DeviceError, match=r"(?s)qemu-system-arm ended with code 1 and said: .*absent\.elf"):
            client.wait_until_ready()


def test_a_process_that_crashes_is_reported_with_its_signal() -> None:
    board, firmware = ready("host", "FAKE_FAULT")
    data = samples(1)
    data[0][1][:] = 13
    with pytest.raises(DeviceError, match="ended by signal 4"):
        measure(firmware, board, data, timeout=20)


def test_a_missing_emulator_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"qemu-system-arm is not installed.*apt-get install qemu-system-arm"):
        start_emulator(load_board("mps2_an386"), tmp_path / "x.elf")
    with pytest.raises(ToolError, match=r"apt-get install qemu-system-misc"):
        start_emulator(load_board("rv32_virt"), tmp_path / "x.elf")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, patience: float = 10.0) -> bool:
    deadline = time.monotonic() + patience
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_an_emulator_ends_with_its_context_also_after_an_error() -> None:
    board, firmware = ready("mps2_an386")
    with pytest.raises(RuntimeError), start_emulator(board, firmware.elf) as emulator:
        BlockClient(emulator.transport, timeout=20).wait_until_ready()
        raise RuntimeError
    assert gone(emulator.pid)
    emulator.stop()


SCRIPT = """
import sys, time
from pathlib import Path
from hil.emulators import start_emulator
from tinyopt.board import load_board
emulator = start_emulator(load_board("mps2_an386"), Path(sys.argv[1]))
emulator.transport.read(20)
print(emulator.pid, flush=True)
if sys.argv[2] == "sleep":
    time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGKILL])
def test_no_emulator_outlives_its_owner(end: signal.Signals | None) -> None:
    _, firmware = ready("mps2_an386")
    command = [sys.executable, "-c", SCRIPT, str(firmware.elf), "sleep" if end else "exit"]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path.cwd())
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    if end:
        assert alive(pid)
        owner.send_signal(end)
    owner.wait(20)
    assert gone(pid)
