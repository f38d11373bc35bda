"""Meters are spoken to in their own protocols: what they send becomes a trace, and what goes wrong a clear error."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hil.meters import integrate, open_meter, record, save_trace
from hil.meters.lpm01a import BinarySamples, Lpm01a, TextSamples
from hil.meters.ppk2 import decode
from tests.hil.test_traces import rectangular
from tests.support.fake_meters import (
    ACTIVE_AMPERES,
    IDLE_AMPERES,
    FakeIna,
    FakeLpm01a,
    FakeMeter,
    FakePpk2,
    ppk2_constants,
    ppk2_words,
    profile,
)
from tests.support.fake_usb import plug_in, usb_port
from tinyopt.errors import DeviceError, ToolError

WINDOWS = ((1000, 2000), (3000, 4000))
EDGES = [edge for window in WINDOWS for edge in window]


def recorded(fake: FakeMeter, address: str) -> object:
    with open_meter(address) as meter:
        meter.start()
        fake.wait_sent()
        return meter.stop()


# STMicroelectronics LPM01A


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_an_lpm01a_gives_current_times_voltage_and_edges(piece: int) -> None:
    with FakeLpm01a(profile(5000, WINDOWS), EDGES, piece=piece) as fake, open_meter(f"lpm01a:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    assert len(trace.seconds) == 5000 and trace.period == pytest.approx(1 / 5000)
    np.testing.assert_allclose(trace.watts[[0, 1500, 2500]], np.array([1e-3, 9e-3, 1e-3]) * 3.3)
    np.testing.assert_allclose(trace.edges, np.array(EDGES) / 5000)
    reading = integrate(trace, 100)
    assert reading.joules == pytest.approx((ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 * 0.2 / 100, rel=2e-3)
    assert reading.idle_watts == pytest.approx(IDLE_AMPERES * 3.3)
    assert reading.seconds == pytest.approx(0.002)
    assert "LPM01A at 3.3 V, 5,000 Hz" in reading.source and trace.notes == ()


def test_an_lpm01a_is_configured_and_released() -> None:
    with FakeLpm01a(profile(100, ())) as fake:
        with open_meter(f"lpm01a:{fake.path}?rate=1000&voltage=3.0") as meter:
            meter.start()
            fake.wait_sent()
            meter.stop()
        time.sleep(0.1)
        assert fake.commands == [
            b"stop", b"htc", b"pwr on nostatus", b"pwrend on", b"acqmode dyn", b"output current", b"format ascii_dec",
            b"freq 1k", b"acqtime inf", b"trigsrc sw", b"trigdelay 0", b"eventsrc d7 fal", b"volt 3000m", b"volt get",
            b"start", b"stop", b"stop", b"hrc",
        ]  # fmt: skip


def test_an_lpm01a_sends_binary_samples_above_five_kilohertz() -> None:
    with (
        FakeLpm01a(profile(20_000, ((4000, 8000),)), rate=100_000, piece=333) as fake,
        open_meter(f"lpm01a:{fake.path}?rate=100000") as meter,
    ):
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    assert len(trace.seconds) == 20_000
    np.testing.assert_allclose(trace.watts[[0, 5000]], np.array([1e-3, 9e-3]) * 3.3, rtol=1e-3)
    assert trace.notes == ("no trigger: the binary format does not report it (use 5,000 samples a second or fewer)",)
    with pytest.raises(DeviceError, match="saw no edge of the trigger"):
        integrate(trace)


def test_samples_that_an_lpm01a_lost_leave_a_gap_in_time() -> None:
    with (
        FakeLpm01a(profile(5000, WINDOWS), EDGES, drop=range(2200, 2400)) as fake,
        open_meter(f"lpm01a:{fake.path}") as meter,
    ):
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    assert trace.notes == ("200 samples were lost",)
    # What comes behind the next time stamp is where it belongs.
    assert trace.edges[2] == pytest.approx(3000 / 5000)
    assert integrate(trace).joules == pytest.approx((ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 * 0.2, rel=5e-3)


def lpm01a_failure(fake: FakeLpm01a, match: str, options: str = "") -> None:
    with fake, open_meter(f"lpm01a:{fake.path}{options}") as meter:
        if isinstance(meter, Lpm01a):
            meter._timeout = 1.0
        with pytest.raises(DeviceError, match=match):
            meter.start()
            fake.wait_sent()
            meter.stop()


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (lambda: FakeLpm01a(profile(5000, ()), damage=20), "250 of 4750 samples arrived damaged"),
        (
            lambda: FakeLpm01a(profile(50, ()), extra=b"error: overcurrent\r\n"),
            "the LPM01A reports 'error: overcurrent'",
        ),
        (lambda: FakeLpm01a(profile(50, ()), extra=b"TimeStamp: 000s 010ms, buff 100%\r\n"), "buffer overflowed"),
        (lambda: FakeLpm01a([]), "sent no samples: is its output on"),
        (lambda: FakeLpm01a(profile(50, ()), ends=False), "did not end its recording within 1 s"),
        (lambda: FakeLpm01a([], refuse=["freq"]), "refuses 'freq 5k': Command unknown"),
        (lambda: FakeLpm01a([], refuse=["htc"]), "refuses 'htc': Command unknown"),
        (lambda: FakeLpm01a([], volts="handled"), "does not say its voltage"),
    ],
)
def test_what_an_lpm01a_does_wrong_is_told(fake: Callable[[], FakeLpm01a], message: str) -> None:
    lpm01a_failure(fake(), message)


def test_a_few_damaged_samples_are_left_out_and_told() -> None:
    with FakeLpm01a(profile(5000, WINDOWS), EDGES, damage=1000) as fake, open_meter(f"lpm01a:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    assert trace.notes == ("5 samples arrived damaged and were left out",)
    assert integrate(trace).joules == pytest.approx((ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 * 0.2, rel=5e-3)


def test_an_lpm01a_with_an_old_firmware_has_no_trigger() -> None:
    with FakeLpm01a(profile(500, ()), refuse=["eventsrc"]) as fake, open_meter(f"lpm01a:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        assert meter.stop().notes == ("no trigger: the meter's firmware does not know eventsrc",)


def test_something_that_is_no_lpm01a_does_not_answer() -> None:
    with FakeMeter() as fake, open_meter(f"lpm01a:{fake.path}") as meter:
        assert isinstance(meter, Lpm01a)
        meter._timeout = 0.3
        with pytest.raises(DeviceError, match="did not answer 'htc': is this its port"):
            meter.start()


def test_an_unplugged_meter_is_told_at_the_end_of_the_recording() -> None:
    with FakeLpm01a(profile(500, ())) as fake, open_meter(f"lpm01a:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        fake.unplug()
        time.sleep(0.3)
        with pytest.raises(DeviceError, match=r"the LPM01A failed while it recorded: .* was unplugged"):
            meter.stop()


def test_the_samples_of_the_manual_decode() -> None:
    text = TextSamples(1000)
    text.feed(b"PowerShield > ack start\r\nTimeStamp: 000s 000ms, buff 00%\r\n6409-07\r\n2972-03\r\n")
    assert text.amperes == pytest.approx([640.9e-6, 2.972])
    words = BinarySamples(1000)
    words.feed(b"ack start\r\n\xf0\xf3\x00\x00\x00\x00\x00\xff\xff\x52\xa0")
    words.feed(b"\xf0\xf7\x0c\xe4\xff\xff\xf0\xf2hello\xff\xff\x52\xa0")
    assert words.amperes == pytest.approx([640.9e-6] * 2, rel=1e-3)
    words.feed(b"\xf0\xf4\xff\xff\x12\x34")
    assert words.ended and len(words.amperes) == 2
    with pytest.raises(DeviceError, match="more current than the LPM01A can give"):
        fresh = BinarySamples(1000)
        fresh.feed(b"\xf0\xf3\x00\x00\x00\x00\x00\xff\xff\xf0\xf5\xff\xff")


# Nordic Power Profiler Kit II


def ppk2_stream(count: int = 50_000) -> tuple[np.ndarray, np.ndarray, bytes]:
    amperes = profile(count, ((10_000, 20_000), (30_000, 40_000)))
    levels = np.ones(count, np.int64)
    for edge in (10_000, 20_000, 30_000, 40_000):
        levels[edge : edge + 5] = 0
    return amperes, levels, ppk2_words(amperes, levels, np.where(amperes > 5e-3, 3, 2))


@pytest.mark.parametrize("piece", [331, 4096])
def test_a_ppk2_gives_calibrated_current_and_edges(piece: int) -> None:
    amperes, _, stream = ppk2_stream()
    with FakePpk2(stream, piece=piece) as fake, open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter:
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    assert len(trace.seconds) == 50_000
    far = np.ones(len(amperes), bool)
    for edge in (10_000, 20_000, 30_000, 40_000):
        far[edge - 5 : edge + 5] = False
    np.testing.assert_allclose(trace.watts[far], amperes[far] * 3.3, rtol=0.01)
    np.testing.assert_allclose(trace.edges, [0.1, 0.2, 0.3, 0.4])
    reading = integrate(trace, 10)
    truth = (ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 * 0.1 / 10
    assert abs(reading.joules - truth) < 0.02 * truth
    # Nordic states 10 percent up to 50 mA; the uncertainty is not made smaller than that.
    assert 0.09 * truth < reading.uncertainty_joules < 0.2 * truth


def test_a_ppk2_is_configured_as_a_meter_or_as_a_source() -> None:
    for options, wanted in (
        ("?voltage=3.3", [b"\x07", b"\x19", b"\x11\x01", b"\x0c\x01", b"\x06"]),
        ("?voltage=1.8&source=1", [b"\x07", b"\x19", b"\x11\x02", b"\x0d\x07\x08", b"\x0c\x01", b"\x06"]),
    ):
        with FakePpk2(ppk2_stream(1000)[2]) as fake:
            with open_meter(f"ppk2:{fake.path}{options}") as meter:
                meter.start()
                fake.wait_sent()
                meter.stop()
            assert fake.commands[: len(wanted)] == wanted


def test_a_ppk2_that_was_left_measuring_is_stopped_first() -> None:
    with (
        FakePpk2(ppk2_stream(1000)[2], stale=ppk2_stream(3000)[2]) as fake,
        open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter,
    ):
        meter.start()
        fake.wait_sent()
        assert len(meter.stop().seconds) == 1000


@pytest.mark.parametrize("channel", [0, 5])
def test_the_trigger_may_be_on_any_input_of_a_ppk2(channel: int) -> None:
    count = 2000
    levels = np.full(count, 255)
    levels[700:703] &= ~(1 << channel)
    words = ppk2_words(np.full(count, 1e-3), levels, np.full(count, 2))
    with FakePpk2(words) as fake, open_meter(f"ppk2:{fake.path}?voltage=3&channel={channel}") as meter:
        meter.start()
        fake.wait_sent()
        assert meter.stop().edges.tolist() == pytest.approx([700e-5])


def test_lost_samples_keep_the_time_of_the_others() -> None:
    _, _, stream = ppk2_stream(5000)
    words, numbers, lost = decode(stream[: 4 * 2000] + stream[4 * 2030 :])
    assert lost == 30 and len(words) == 4970
    assert numbers[1999] == 1999 and numbers[2000] == 2030 and numbers[-1] == 4999


@pytest.mark.parametrize("missing", [1, 2, 3, 5, 6, 7])
def test_bytes_lost_in_the_middle_of_a_word_shift_nothing(missing: int) -> None:
    _, _, stream = ppk2_stream(5000)
    words, numbers, lost = decode(stream[: 4 * 2000] + stream[4 * 2000 + missing :])
    whole = np.frombuffer(stream, "<u4")
    assert lost <= 64 and len(words) >= 4990
    assert numbers[-1] == 4999
    np.testing.assert_array_equal(words[-2900:], whole[-2900:])
    np.testing.assert_array_equal(words[:1999], whole[:1999])


def test_garbage_before_and_between_words_is_skipped() -> None:
    _, _, stream = ppk2_stream(3000)
    words, _, _ = decode(b"\x01\x02\x03" + stream[:4000] + bytes([0x55] * 41) + stream[4000:])
    whole = np.frombuffer(stream, "<u4")
    np.testing.assert_array_equal(words[-1900:], whole[-1900:])


def test_the_transient_of_a_change_of_range_is_replaced() -> None:
    amperes = np.full(100, 4e-3)
    amperes[50:52] = 0.03  # what the meter shows while it settles
    words = ppk2_words(amperes, np.ones(100, np.int64), np.where(np.arange(100) < 50, 2, 3))
    with FakePpk2(words) as fake, open_meter(f"ppk2:{fake.path}?voltage=1") as meter:
        meter.start()
        fake.wait_sent()
        np.testing.assert_allclose(meter.stop().watts, 4e-3, rtol=0.01)


def ppk2_failure(fake: FakePpk2, match: str) -> None:
    with fake, open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter:
        meter._timeout = 0.5  # type: ignore[attr-defined]
        with pytest.raises(DeviceError, match=match):
            meter.start()
            fake.wait_sent()
            meter.stop()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"R2": "0.0000"}, r"not calibrated in its range 2 \(R2 is 0\)"),
        ({"R3": "nan"}, r"not calibrated in its range 3 \(R3 is nan\)"),
        ({"O3": ""}, r"not calibrated in its range 3 \(O3 is nan\)"),
        ({"GI2": "what"}, r"not calibrated in its range 2 \(GI2 is nan\)"),
    ],
)
def test_a_wrong_calibration_of_a_ppk2_is_an_error(changes: dict[str, str], message: str) -> None:
    ppk2_failure(FakePpk2(ppk2_stream(20_000)[2], ppk2_constants(**changes)), message)


def test_a_wrong_calibration_of_a_range_that_is_not_used_does_not_matter() -> None:
    with (
        FakePpk2(ppk2_stream(5000)[2], ppk2_constants(R0="nan")) as fake,
        open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter,
    ):
        meter.start()
        fake.wait_sent()
        assert len(meter.stop().seconds) == 5000


def test_what_else_a_ppk2_does_wrong_is_told() -> None:
    ppk2_failure(
        FakePpk2(b"", b"Calibrated: 0\nR0: 1000\n"), "does not give its calibration: is this its measuring port"
    )
    ppk2_failure(FakePpk2(b""), "has sent no samples for 0.5 s")
    saturated = np.frombuffer(ppk2_stream(100)[2], "<u4").copy()
    saturated[50] = saturated[50] & ~np.uint32(0x1FFFF) | 4 << 14 | 0x3FFF
    ppk2_failure(FakePpk2(saturated.astype("<u4").tobytes()), r"more current than the PPK2 measures \(1 A\)")
    impossible = np.frombuffer(ppk2_stream(100)[2], "<u4") | np.uint32(7 << 14)
    ppk2_failure(FakePpk2(impossible.astype("<u4").tobytes()), "range that it does not have")
    holes = np.frombuffer(ppk2_stream(9000)[2], "<u4").reshape(-1, 10)[:, :5].copy()
    ppk2_failure(FakePpk2(holes.astype("<u4").tobytes()), "the PPK2 lost [0-9,]+ of [0-9,]+ samples")


def test_a_slow_stream_of_a_ppk2_lost_samples_that_its_counter_does_not_show() -> None:
    class Slow(FakePpk2):
        def received(self, data: bytes) -> None:
            super().received(data)
            if self.sent.is_set() and self._stream:
                time.sleep(0.7)
                again, self._stream = self._stream, b""
                self.send(again)

    # 6400 samples are a hundred turns of the counter.
    stream = ppk2_stream(6400)[2]
    with Slow(stream) as fake, open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter:
        meter.start()
        time.sleep(1.0)
        with pytest.raises(DeviceError, match="the PPK2 lost"):
            meter.stop()


# INA2xx behind a microcontroller


def ina_lines(count: int = 2000, start_us: int = 0) -> list[str]:
    lines = ["# INA219, 1 kHz"]
    for number in range(count):
        active = 600 <= number < 1600
        trigger = int(number not in (600, 1600))
        current = (ACTIVE_AMPERES if active else IDLE_AMPERES) * 1e6
        lines.append(f"{(start_us + 1000 * number) % 2**32},{current:.0f},3300,{trigger}")
    return lines


@pytest.mark.parametrize("start_us", [0, 2**32 - 700_000])
@pytest.mark.parametrize("piece", [5, 4096])
def test_an_ina_meter_gives_power_and_edges(start_us: int, piece: int) -> None:
    with FakeIna(ina_lines(start_us=start_us), piece) as fake, open_meter(f"ina:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        trace = meter.stop()
    reading = integrate(trace, 10)
    assert reading.seconds == pytest.approx(0.1)
    assert reading.joules == pytest.approx((ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 / 10, rel=5e-3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["hello world"] * 100, "prints no lines t_us,uA,mV,trigger"),
        (["1000,1,3300,1", "2000,1,33"] * 50, "the line to the INA2xx meter is bad: 50 of 100 lines"),
        (["# only comments"] * 10, "sent no samples while it recorded"),
        (
            [f"{t},1,3300,1" for t in (*range(5000, 9000, 10), *range(0, 4000, 10))],
            "clock went backwards: it restarted",
        ),
    ],
)
def test_what_an_ina_meter_does_wrong_is_told(lines: list[str], message: str) -> None:
    with FakeIna(["0,0,0,1", *lines]) as fake, open_meter(f"ina:{fake.path}") as meter:
        meter.start()
        fake.wait_sent()
        with pytest.raises(DeviceError, match=message):
            meter.stop()


def test_a_silent_ina_meter_is_told() -> None:
    with FakeMeter() as fake, open_meter(f"ina:{fake.path}") as meter:
        meter._timeout = 0.2  # type: ignore[attr-defined]
        with pytest.raises(DeviceError, match=r"has sent nothing for 0.2 s"):
            meter.start()


# Joulescope, whose package is pretended


class FakeJoulescope:
    """As far as the driver uses Device of joulescope.v1."""

    output_sampling_frequency = 100_000

    def __init__(self, name: str = "JS220-001234") -> None:
        self.name, self.calls, self.parameters = name, [], {}
        self.lost: slice | None = None
        self.stream_buffer = self
        self.sample_id_range = (100, 50_100)

    def __str__(self) -> str:
        return self.name

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))

    def parameter_set(self, name: str, value: object) -> None:
        self.parameters[name] = value

    def samples_get(self, first: int, end: int, fields: list[str]) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        amperes, levels, _ = ppk2_stream(end - first)
        current = amperes.astype(np.float32)
        if self.lost:
            current[self.lost] = np.nan
        values = {"current": current, "voltage": np.full(len(current), 3.3, np.float32)}
        values |= {"current_lsb": levels.astype(np.uint8), "voltage_lsb": np.ones(len(current), np.uint8)}
        return {"signals": {name: {"value": values[name]} for name in fields}}


def pretend(monkeypatch: pytest.MonkeyPatch, *devices: FakeJoulescope) -> None:
    module = types.ModuleType("joulescope")
    module.scan = lambda name=None, config=None: list(devices)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "joulescope", module)


def test_a_joulescope_gives_power_and_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeJoulescope()
    pretend(monkeypatch, device)
    with open_meter("joulescope:?rate=100000&accuracy=0.5") as meter:
        meter.start()
        trace = meter.stop()
    assert device.parameters["sampling_frequency"] == 100_000
    assert [call[0] for call in device.calls] == ["open", "start", "stop", "close"]
    assert trace.edges.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert integrate(trace).joules == pytest.approx((ACTIVE_AMPERES - IDLE_AMPERES) * 3.3 * 0.1, rel=2e-3)
    assert (trace.accuracy, trace.source) == (0.005, "JS220-001234")


def test_samples_that_a_joulescope_lost_are_no_numbers_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeJoulescope()
    pretend(monkeypatch, device)
    for lost, message in (
        (slice(5000, 5100), None),
        (slice(12_000, 13_000), "lost 10 ms"),
        (slice(0, None), "no samples"),
    ):
        device.lost = lost
        with open_meter("joulescope:") as meter:
            meter.start()
            if message:
                with pytest.raises(DeviceError, match=message):
                    integrate(meter.stop())
            else:
                assert meter.stop().notes == ("100 samples were lost",)


def test_the_right_one_of_several_joulescopes_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    with pytest.raises(DeviceError, match=r"no Joulescope is attached \(attached: none\)"):
        open_meter("joulescope:")
    first, second = FakeJoulescope(), FakeJoulescope("JS220-005678")
    pretend(monkeypatch, first, second)
    with pytest.raises(DeviceError, match="several Joulescopes are attached: JS220-001234, JS220-005678"):
        open_meter("joulescope:")
    open_meter("joulescope:005678").close()
    assert second.calls and not first.calls
    monkeypatch.setitem(sys.modules, "joulescope", None)
    with pytest.raises(ToolError, match=r"pip install 'tinyopt\[meters\]'"):
        open_meter("joulescope:")


def test_a_joulescope_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(FakeJoulescope):
        def open(self) -> None:
            raise RuntimeError("jsdrv_open: 5 IO")

    pretend(monkeypatch, Broken())
    with pytest.raises(DeviceError, match="cannot be opened: jsdrv_open: 5 IO; does another program use it"):
        open_meter("joulescope:")


# All of them


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("multimeter:COM1", "there is no meter 'multimeter'; known: lpm01a, ppk2, joulescope, ina, replay"),
        ("ppk2:/dev/null", "say at which voltage the board runs"),
        ("ppk2:auto?voltage=3.3", r"no ppk2 is attached \(USB 1915:c00a\)"),
        ("lpm01a:auto", r"no lpm01a is attached \(USB 0483:5740\)"),
        ("lpm01a:/dev/none_here", "there is no serial port /dev/none_here"),
        ("ina:auto", "name the serial port of the INA2xx meter"),
        ("lpm01a:x?speed=1", "the meter lpm01a has no option 'speed'; it has: rate, voltage, accuracy"),
        ("ppk2:x?voltage=high", "the option voltage of the meter ppk2 is no number: 'high'"),
        ("ppk2:x?voltage=nan", "is no number"),
    ],
)
def test_a_bad_address_is_told(address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    with pytest.raises(DeviceError, match=message):
        open_meter(address)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("lpm01a:{}?rate=3000", "samples at .* Hz, not at 3000"),
        ("lpm01a:{}?voltage=5", "supplies 1.8 V to 3.3 V, not 5 V"),
        ("ppk2:{}?voltage=12", "works with 0.8 V to 5 V, not 12 V"),
        ("ppk2:{}?voltage=3&channel=8", "digital inputs 0 to 7, not 8"),
    ],
)
def test_settings_that_a_meter_does_not_have_are_refused(options: str, message: str) -> None:
    with FakeMeter() as fake, pytest.raises(DeviceError, match=message):
        open_meter(options.format(fake.path))


def test_a_meter_is_found_by_its_usb_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakePpk2(ppk2_stream(1000)[2]) as fake:
        plug_in(monkeypatch, usb_port("/dev/other"), usb_port(fake.path, 0x1915, 0xC00A, "AA"))
        with open_meter("ppk2:auto?voltage=3.3") as meter:
            meter.start()
            fake.wait_sent()
            assert len(meter.stop().seconds) == 1000
    plug_in(monkeypatch, usb_port("/dev/a", 0x1915, 0xC00A, "AA"), usb_port("/dev/b", 0x1915, 0xC00A, "BB"))
    with pytest.raises(DeviceError, match="several ppk2 are attached: /dev/a, /dev/b"):
        open_meter("ppk2:auto?voltage=3.3")


def test_a_meter_is_not_started_twice_nor_stopped_before() -> None:
    with FakePpk2(ppk2_stream(1000)[2]) as fake, open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter:
        with pytest.raises(DeviceError, match="does not record"):
            meter.stop()
        meter.start()
        with pytest.raises(DeviceError, match="already records"):
            meter.start()
        meter.close()
        meter.close()


def test_a_recording_gives_the_energy_of_what_ran(tmp_path: Path) -> None:
    save_trace(rectangular(accuracy=0.01), tmp_path / "trace.csv")
    ran = []
    with open_meter(f"replay:{tmp_path / 'trace.csv'}?accuracy=3") as meter:
        reading, trace = record(meter, lambda: ran.append(1), inferences=50, windows=2)
        with pytest.raises(DeviceError, match="saw 4 edges of the trigger, not 6: some were missed"):
            record(meter, lambda: None, inferences=50, windows=3)
    assert ran == [1] and trace.accuracy == 0.03
    assert reading.joules == pytest.approx(0.004 / 50, rel=1e-3)


def test_without_a_trigger_the_clock_of_the_computer_says_when(tmp_path: Path) -> None:
    rate = 1000
    seconds = np.arange(rate) / rate
    watts = np.where((seconds >= 0.3) & (seconds < 0.7), 0.05, 0.01)
    lines = "\n".join(f"{t!r},{w!r}" for t, w in zip(seconds.tolist(), watts.tolist()))
    (tmp_path / "trace.csv").write_text(f"# accuracy: 0.01\nseconds,watts\n{lines}\n")
    with open_meter(f"replay:{tmp_path / 'trace.csv'}") as meter:
        reading, _ = record(meter, lambda: time.sleep(0.4), inferences=2, windows=2)
    assert any("by the computer's clock" in note for note in reading.notes)
    assert abs(reading.joules - 0.04 * 0.4 / 4) < 3 * reading.uncertainty_joules
    assert reading.parts["sampling"] > 0.04 * 0.004 / 4


def test_a_recording_ends_when_what_ran_fails() -> None:
    def fail() -> None:
        raise DeviceError("the board died")

    with FakePpk2(ppk2_stream(1000)[2]) as fake, open_meter(f"ppk2:{fake.path}?voltage=3.3") as meter:
        with pytest.raises(DeviceError, match="the board died"):
            record(meter, fail)
        meter.start()  # it may be used again
