"""The MLPerf Tiny command set: what the official runner, the energy runner and a person get from the firmware."""

from __future__ import annotations

import functools
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hil.emulators import start_emulator
from hil.protocol import BlockClient, DeviceRestarted, FirmwareFault
from hil.text_protocol import TextClient
from tests.support.bench_jobs import graph_of
from tests.support.fake_project import fake_project, samples
from tinyopt.board import load_board
from tinyopt.build import Firmware, build, function_at
from tinyopt.execute import Executor
from tinyopt.generate import generate
from tinyopt.graph import DType
from tinyopt.pipeline import plan_for

_folder = tempfile.TemporaryDirectory(prefix="tinyopt-test-")


@functools.cache
def fake(board_name: str, *defines: str) -> Firmware:
    name = re.sub(r"\W", "_", "-".join((board_name, *defines)))
    return build(fake_project(Path(_folder.name) / name, load_board(board_name), defines))


@functools.cache
def blobs(*defines: str) -> Firmware:
    """A generated model with one quantized input of 36 elements, on the host."""
    from dataclasses import replace

    folder = Path(_folder.name) / re.sub(r"\W", "_", "-".join(("blobs", *defines)))
    project = generate(plan_for(graph_of("blobs"), load_board("host")), folder, harness=True)
    return build(replace(project, defines=(*project.defines, *defines)))


@contextmanager
def text(firmware: Firmware) -> Iterator[tuple[TextClient, list[str]]]:
    """A client of the started device, and the lines of its greeting."""
    with start_emulator(firmware.board, firmware.elf) as emulator:
        client = TextClient(emulator.transport, timeout=30)
        yield client, client.wait_until_ready()


def edges(client: TextClient) -> int:
    (line,) = client.command("info")
    match = re.fullmatch(r"m-info-\[.*,edges=(\d+)\]", line)
    assert match
    return int(match[1])


def test_the_greeting_and_the_names_are_those_that_the_runner_expects() -> None:
    with text(fake("host")) as (client, greeting):
        assert greeting[0] == "m-timestamp-mode-performance" and greeting[-1] == "m-init-done"
        assert client.command("profile") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[fake]"]
        listed = "\n".join(client.command("help"))
        for word in ("name", "timestamp", "db SUBCMD", "load N", "print", "infer N", "results", "reset", "info"):
            assert word in listed


def test_vendor_and_model_can_be_named_for_the_runner() -> None:
    firmware = fake("host", 'TINYOPT_MODEL_VERSION="kws01"', 'TINYOPT_VENDOR="acme"')
    with text(firmware) as (client, _):
        assert (client.name(), client.model()) == ("acme", "kws01")


def test_an_inference_lies_between_two_edges_of_the_trigger() -> None:
    with text(fake("host")) as (client, _):
        client.load(bytes(32))
        before = edges(client)
        client.infer(5, 1)
        assert edges(client) == before + 2
        client.timestamp()
        assert edges(client) == before + 3


@pytest.mark.parametrize("board_name", ["host", "mps2_an386"])
def test_in_energy_mode_time_stamps_are_edges_only(board_name: str) -> None:
    pin = ("TINYOPT_TIMESTAMP_PIN=0",) if board_name != "host" else ()
    with text(fake(board_name, "TINYOPT_ENERGY_MODE=1", *pin)) as (client, greeting):
        assert greeting == ["m-timestamp-mode-energy", "m-init-done"]
        client.load(bytes(32))
        before = edges(client)
        lines = client.command("infer 3 0")
        assert not [line for line in lines if line.startswith("m-lap-us")]
        assert [line for line in lines if line.startswith("m-results-[")]
        assert client.command("timestamp") == []
        assert edges(client) == before + 3


def test_repeated_inferences_for_a_meter_lie_between_two_edges() -> None:
    firmware = fake("host")
    with start_emulator(firmware.board, firmware.elf) as emulator:
        client = BlockClient(emulator.transport, timeout=30)
        client.wait_until_ready()
        client.hello()
        client.ping()
        sample = [array.tobytes() for array in samples(1)[0]]
        client.run(sample)
        assert client.repeat(50) > 0
        after = client.run(None).outputs[1]
        # the state of the model has seen 52 samples: none was left out, none came twice
        assert struct.unpack("<i", after)[0] == 100 + 52 * int(samples(1)[0][1].sum())


def test_states_can_be_reset_by_a_command() -> None:
    with text(fake("host")) as (client, _):
        client.load(bytes(range(32)))
        first = client.infer(1, 0)
        client.infer(1, 0)
        assert client.command("reset") == []
        assert client.infer(1, 0).results == first.results


def test_real_numbers_are_quantized_as_they_arrive() -> None:
    """The data of the anomaly detection benchmark are float32."""
    graph, firmware = graph_of("blobs"), blobs()
    tensor = graph.tensors[graph.inputs[0]]
    assert tensor.quantization is not None
    random = np.random.default_rng(0)
    real = random.normal(0, 1.5, tensor.shape).astype(np.float32)
    real.flat[:3] = [1e9, -1e9, 0.0]
    integers = np.asarray(tensor.quantization.quantize(real, DType.INT8))
    expected = Executor(graph)({graph.inputs[0]: integers})[graph.outputs[0]]
    with text(firmware) as (client, _):
        client.load(real.tobytes())
        shown = "-".join(line.removeprefix("m-buffer-") for line in client.command("db print"))
        np.testing.assert_array_equal(
            np.array([int(x, 16) for x in shown.split("-")], np.uint8).view(np.int8), integers.ravel()
        )
        scale = graph.tensors[graph.outputs[0]].quantization
        assert scale is not None
        np.testing.assert_allclose(client.infer(1, 0).results, scale.dequantize(expected).ravel(), atol=6e-4)


def test_unsigned_images_are_shifted() -> None:
    with text(blobs("TINYOPT_UNSIGNED_INPUT=1")) as (client, _):
        client.load(bytes([0, 127, 128, 255]) + bytes(32))
        assert client.command("db print")[0] == "m-buffer-80-ff-00-7f-80-80-80-80"


def test_a_text_command_that_uses_the_model_ends_the_session_of_the_blocks() -> None:
    firmware = fake("host")
    with start_emulator(firmware.board, firmware.elf) as emulator:
        client = BlockClient(emulator.transport, timeout=30)
        client.wait_until_ready()
        client.hello()
        sample = [array.tobytes() for array in samples(1)[0]]
        client.run(sample)
        emulator.transport.write(b"name%", 5)
        client.run(sample)
        emulator.transport.write(b"infer 1 0%", 5)
        with pytest.raises(DeviceRestarted):
            client.run(sample)
        client.hello()
        client.run(sample)


def test_an_unfinished_command_does_not_outlive_a_frame() -> None:
    firmware = fake("host")
    with start_emulator(firmware.board, firmware.elf) as emulator:
        client = TextClient(emulator.transport, timeout=30)
        client.wait_until_ready()
        emulator.transport.write(b"na", 5)
        BlockClient(emulator.transport, timeout=30).ping()
        assert client.name() == "tinyopt"


@pytest.mark.parametrize("board_name", ["mps2_an386"])
def test_a_watchdog_says_where_a_model_hangs_and_resets_the_device(board_name: str) -> None:
    firmware = fake(board_name, "FAKE_HANG", "TINYOPT_WATCHDOG_MS=200u", "TINYOPT_WATCHDOG_BASE=0x40008000u")
    with start_emulator(firmware.board, firmware.elf) as emulator:
        client = BlockClient(emulator.transport, timeout=60)
        client.wait_until_ready()
        client.hello()
        good = [array.tobytes() for array in samples(1)[0]]
        first = client.run(good)
        with pytest.raises(FirmwareFault) as caught:
            client.run([good[0], bytes([13] * 8)])
        assert caught.value.pc is not None and function_at(firmware.elf, caught.value.pc) in ("fake_sum", "model_run")
        again = BlockClient(emulator.transport, timeout=60)
        again.wait_until_ready()
        again.hello()
        assert again.run(good).outputs == first.outputs


RUNNER = os.environ.get("TINYOPT_MLPERF_RUNNER", "")

DRIVE = """
import sys
sys.path.insert(0, sys.argv[1])
from device_under_test import DUT
data = bytes(range(32))
with DUT(sys.argv[2], 115200) as dut:
    assert dut.get_name() == "tinyopt", dut.get_name()
    assert dut.get_model() == "fake" and dut.get_profile().startswith("ULPMark")
    assert dut.load(data)[0] == "m-load-done"
    lines = dut.infer(5, 1)
    assert [line for line in lines if line.startswith("m-results-[")] and lines[-1] == "m-ready"
    assert dut.timestamp()[0].startswith("m-lap-us-")
    assert any(line.startswith("infer N") for line in dut.get_help())
print("driven")
"""


@pytest.mark.skipif(not Path(RUNNER, "device_under_test.py").is_file(), reason="TINYOPT_MLPERF_RUNNER names no runner")
def test_the_official_runner_drives_the_firmware() -> None:
    """``TINYOPT_MLPERF_RUNNER``: the folder benchmark/runner of a checkout of mlcommons/tiny."""
    import pty
    import tty

    controller, line = pty.openpty()
    tty.setraw(line)
    firmware = fake("host")
    with start_emulator(firmware.board, firmware.elf) as emulator:
        TextClient(emulator.transport, timeout=30).wait_until_ready()

        def to_device() -> None:
            try:
                while True:
                    emulator.transport.write(os.read(controller, 4096), 5)
            except Exception:
                return

        def from_device() -> None:
            try:
                while True:
                    os.write(controller, emulator.transport.read(0.1) or b"")
            except Exception:
                return

        for work in (to_device, from_device):
            threading.Thread(target=work, daemon=True).start()
        command = [sys.executable, "-c", DRIVE, RUNNER, os.ttyname(line)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 and "driven" in done.stdout, done.stdout + done.stderr
