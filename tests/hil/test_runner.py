"""Arithmetic of the measuring run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.protocol import DeviceInfo
from hil.runner import _instruction_unit, _unwrapped
from tinyopt.board import load_board


@given(st.integers(0, 1 << 36), st.integers(-1000, 1000))
def test_a_counter_that_went_round_is_unwrapped(true_count: int, error: int) -> None:
    assert _unwrapped(true_count % 2**32, max(0, true_count + error)) == true_count


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
    assert _instruction_unit(load_board(name), info(hz)) == unit


def test_a_counter_of_instructions_is_taken_as_it_is() -> None:
    assert _instruction_unit(load_board("rv32_virt"), info(1_000_000_000, True)) == 1.0
