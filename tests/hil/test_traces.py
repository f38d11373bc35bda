"""Energy comes out of a trace between its edges, without the idle power, with an uncertainty that covers the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.meters import Trace, estimate, integrate, load_trace, save_trace
from tinyopt.board import load_board
from tinyopt.errors import BoardError, DataError, DeviceError


def rectangular(
    rate: float = 10_000,
    windows: tuple[tuple[float, float], ...] = ((0.1, 0.2), (0.3, 0.4)),
    length: float = 0.5,
    idle: float = 0.01,
    active: float = 0.05,
    noise: float = 0.0,
    accuracy: float = 0.0,
) -> Trace:
    seconds = np.arange(round(length * rate)) / rate
    watts = np.full(len(seconds), idle)
    for start, end in windows:
        watts[(seconds >= start) & (seconds < end)] = active
    watts = watts + np.random.default_rng(0).normal(0, noise, len(seconds)) if noise else watts
    edges = np.array([edge for window in windows for edge in window])
    return Trace(seconds, watts, edges, accuracy, "a meter of the tests")


def test_energy_is_the_area_above_idle() -> None:
    reading = integrate(rectangular(), 10)
    assert reading.idle_watts == pytest.approx(0.01)
    assert reading.joules == pytest.approx(0.04 * 0.1 / 10, rel=1e-3)
    assert reading.seconds == pytest.approx(0.01)
    assert (reading.windows, reading.inferences) == (2, 10)
    assert abs(reading.joules - 0.0004) <= reading.uncertainty_joules


def test_a_known_idle_power_is_used() -> None:
    reading = integrate(rectangular(), idle_watts=0.0)
    assert reading.joules == pytest.approx(0.005, rel=1e-3)
    assert reading.parts["idle"] == 0


@given(st.floats(0.001, 1), st.floats(0, 5), st.floats(500, 20_000), st.floats(0.051, 0.149), st.integers(1, 20))
@settings(max_examples=60)
def test_the_uncertainty_covers_the_sampling(
    idle: float, ratio: float, rate: float, begin: float, inferences: int
) -> None:
    active, end = idle * (1 + ratio), begin + 0.1
    reading = integrate(rectangular(rate, ((begin, end),), 0.4, idle, active), inferences)
    truth = (active - idle) * 0.1 / inferences
    assert abs(reading.joules - truth) <= reading.uncertainty_joules + 1e-12


def test_the_meters_accuracy_is_in_the_uncertainty() -> None:
    reading = integrate(rectangular(accuracy=0.02))
    # Two percent of what was measured between the edges and of what was subtracted.
    assert reading.parts["meter"] == pytest.approx(0.02 * np.hypot(0.005, 0.001), rel=1e-2)
    assert reading.uncertainty_joules >= reading.parts["meter"]


def test_noise_is_in_the_uncertainty() -> None:
    windows = tuple((0.1 * i + 0.05, 0.1 * i + 0.1) for i in range(20))
    quiet = integrate(rectangular(windows=windows, length=2.2))
    loud = integrate(rectangular(windows=windows, length=2.2, noise=0.02))
    assert loud.parts["spread"] > quiet.parts["spread"]
    assert abs(loud.joules - 0.002) <= loud.uncertainty_joules


def test_one_window_has_no_spread_and_says_so() -> None:
    reading = integrate(rectangular(windows=((0.1, 0.2),)))
    assert reading.parts["spread"] == 0
    assert reading.notes == ("one window: its spread is not known",)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((), "saw no edge of the trigger: connect"),
        ((0.1, 0.2, 0.3), "saw 3 edges of the trigger: they come in pairs"),
        ((0.1, 0.10015), "samples between two edges 0.15 ms apart: run more inferences"),
        ((0.1, 0.9), "recorded from 0 s to"),
        ((0.0, 0.4999), "recorded no idle time around"),
    ],
)
def test_a_trace_that_does_not_show_the_inferences_is_refused(edges: tuple[float, ...], message: str) -> None:
    trace = dataclasses.replace(rectangular(), edges=np.array(edges))
    with pytest.raises(DeviceError, match=message):
        integrate(trace)


def test_samples_lost_in_a_window_are_an_error_and_outside_they_are_not() -> None:
    whole = rectangular()
    for begin, end, bad in ((0.15, 0.16, True), (0.22, 0.23, False)):
        kept = (whole.seconds < begin) | (whole.seconds > end)
        trace = dataclasses.replace(whole, seconds=whole.seconds[kept], watts=whole.watts[kept])
        if bad:
            with pytest.raises(DeviceError, match=r"lost 10.1 ms of the 100 ms between two edges"):
                integrate(trace)
        else:
            assert integrate(trace).joules == pytest.approx(0.004, rel=1e-2)


@pytest.mark.parametrize(
    ("seconds", "watts", "message"),
    [
        ([0.0], [1.0], "gave no trace"),
        ([0.0, 1.0], [1.0, float("nan")], "no numbers"),
        ([0.0, 0.0], [1.0, 1.0], "clock went backwards"),
    ],
)
def test_what_is_no_trace_is_refused(seconds: list[float], watts: list[float], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Trace(np.array(seconds), np.array(watts), np.empty(0), 0.01, "a meter")


def test_a_trace_is_saved_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    trace = dataclasses.replace(rectangular(accuracy=0.02), edge_seconds=1e-6, resolution_watts=1e-7)
    save_trace(trace, path)
    back = load_trace(path)
    np.testing.assert_array_equal(back.seconds, trace.seconds)
    np.testing.assert_array_equal(back.watts, trace.watts)
    np.testing.assert_array_equal(back.edges, trace.edges)
    assert (back.accuracy, back.edge_seconds, back.resolution_watts) == (0.02, 1e-6, 1e-7)
    assert back.source == "a meter of the tests (replayed from trace.csv)"
    assert integrate(back).joules == integrate(trace).joules


def test_a_trace_of_another_program_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scope.csv"
    path.write_text("seconds,amperes,volts,trigger\n0,0.01,3.3,1\n0.1,0.02,3.3,1\n0.2,0.03,3.3,0\n0.3,0.01,3.3,1\n")
    trace = load_trace(path, accuracy=0.05)
    np.testing.assert_allclose(trace.watts, [0.033, 0.066, 0.099, 0.033])
    assert trace.edges.tolist() == [0.2]
    with pytest.raises(DataError, match="does not state its meter's accuracy"):
        load_trace(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns seconds and watts"),
        ("time,power\n0,1\n", "needs the columns"),
        ("seconds,watts\n0,1\n1,two\n", "line 3 .*does not hold 2 numbers"),
        ("seconds,watts\n0,1,2\n", "line 2"),
        ("# accuracy: good\nseconds,watts\n0,1\n1,1\n", "accuracy that is no number"),
    ],
)
def test_a_bad_trace_file_is_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_trace(path, accuracy=0.01)
    with pytest.raises(DataError, match="cannot read the trace"):
        load_trace(tmp_path / "none.csv")


def test_an_estimate_is_cycles_by_the_boards_energy_per_cycle() -> None:
    board = load_board("emulated_l4r5zi")
    assert board.energy is not None
    reading = integrate(estimate(board, 1_234_567, 3), 3)
    truth = 1_234_567 * board.energy.nj_per_cycle * 1e-9
    assert reading.joules == pytest.approx(truth, rel=1e-6)
    assert reading.uncertainty_joules == pytest.approx(truth * board.energy.error_percent / 100, rel=1e-3)
    assert reading.seconds == pytest.approx(1_234_567 / board.clock_hz)
    assert reading.source.startswith("estimate from cycles")
    with pytest.raises(BoardError, match="no energy per cycle is known for board 'none'"):
        estimate(board.model_copy(update={"name": "none", "energy": None}), 1)
    with pytest.raises(ValueError):
        estimate(board, 0)
