"""The port that talks by semihosting: the measuring firmware on emulated cores, without a serial port or a timer of
the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_generate import small_plan

from hil.emulators import Emulator
from hil.protocol import BlockClient
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.execute import Executor
from tinyopt.generate import generate
from tinyopt.plan import make_plan
from tinyopt.resources import resource

MACHINES = {
    "mps2_an386": ["qemu-system-arm", "-machine", "mps2-an386"],
    "mps2_m0": ["qemu-system-arm", "-machine", "mps2-an385"],
    "rv32_virt": ["qemu-system-riscv32", "-machine", "virt", "-cpu", "rv32", "-bios", "none"],
}
OPTIONS = ["-icount", "shift=6", "-nodefaults", "-display", "none", "-semihosting-config", "enable=on,target=native"]


def semihosting_board(base: str, folder: Path) -> Board:
    """An emulated board without its serial port and counter."""
    document = yaml.safe_load((resource("boards") / f"{base}.yaml").read_text())
    for key in ("console_base", "console_interrupt", "counter_base", "counter_hz", "emulator"):
        document.pop(key, None)
    path = folder / "semihosted.yaml"
    path.write_text(yaml.safe_dump({**document, "name": "semihosted", "port": "semihosting"}))
    return load_board(path)


@pytest.mark.parametrize("base", MACHINES)
def test_a_firmware_computes_and_counts_over_semihosting(base: str, tmp_path: Path) -> None:
    board = semihosting_board(base, tmp_path)
    command = MACHINES[base]
    for program in (f"{board.toolchain.prefix}gcc", command[0]):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    plan = make_plan(small_plan().source, board)
    firmware = build(generate(plan, tmp_path / "project", harness=True))
    executor = Executor(plan.source)
    with Emulator([*command, *OPTIONS, "-kernel", str(firmware.elf)]) as emulator:
        client = BlockClient(emulator.transport, timeout=60)
        client.wait_until_ready()
        assert client.hello().name == "small"
        for start in (0, 10, 13, 127, 160, 255):  # bytes that a text console would change are among them
            data = (np.arange(8) + start).astype(np.uint8).view(np.int8).reshape(1, 8)
            reply = client.run([data.tobytes()], stack=True)
            assert reply.outputs[0] == executor({"x": data})[plan.source.outputs[0]].tobytes()
            assert 0 < reply.count < 10_000
            assert reply.stack is not None and reply.stack < 1024
