"""What the measuring run makes of the counters of boards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.protocol import DeviceInfo
from hil.runner import instruction_unit, measure, unwrapped
from tests.support.fake_device import MemoryTransport, Pretend
from tinyopt.board import Energy, load_board
from tinyopt.build import Firmware


@given(st.integers(0, 1 << 36), st.integers(-1000, 1000))
def test_a_counter_that_went_round_is_unwrapped(true_count: int, error: int) -> None:
    assert unwrapped(true_count % 2**32, max(0, true_count + error)) == true_count


def info(hz: int, instructions: bool = False) -> DeviceInfo:
    return DeviceInfo("x", False, hz, instructions, 0, 0, True, (1,), (1,))


@pytest.mark.parametrize(
    ("name", "hz", "unit"),
    [
        ("mps2_an386", 25_000_000, 0.625),  # 64 ns an instruction, 40 ns a step
        ("microbit", 16_000_000, 62.5 / 64),
        ("host", 1_000_000_000, None),
    ],
)
def test_steps_of_a_clock_are_instructions_where_the_emulator_says_how_long_one_takes(
    name: str, hz: int, unit: float | None
) -> None:
    assert instruction_unit(load_board(name), info(hz)) == unit


def test_a_counter_of_instructions_is_taken_as_it_is() -> None:
    assert instruction_unit(load_board("rv32_virt"), info(1_000_000_000, True)) == 1.0


@pytest.mark.parametrize(("clock", "cycles", "energy"), [(25_000_000, 1000, 277.0), (50_000_000, None, None)])
def test_hardware_whose_counter_runs_with_the_core_gives_cycles_of_inferences_and_layers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: int, cycles: int | None, energy: float | None
) -> None:
    monkeypatch.setattr("hil.runner.open_console", lambda port, baud_rate: MemoryTransport(Pretend()))
    figure = Energy(nj_per_cycle=0.277, error_percent=5, source="a test")
    board = load_board("mps2_an386").model_copy(update={"emulator": None, "clock_hz": clock, "energy": figure})
    firmware = cast(Firmware, SimpleNamespace(elf=tmp_path / "firmware.elf"))
    sample = [np.zeros(3, np.int8), np.zeros(2, np.int8)]
    seen = measure(firmware, board, [sample], port="pretended", timeout=1)
    assert (seen.cycles, seen.energy_nj, seen.nanoseconds) == (cycles, energy, 40_000)
    assert seen.instructions is None and seen.traffic is None
    assert [layer.cycles for layer in seen.layers] == ([600, 300] if cycles else [None, None])
    assert [layer.nanoseconds for layer in seen.layers] == [24_000, 12_000]
