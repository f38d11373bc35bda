"""Both clients of the measuring firmware: what they understand, and what they say when a device misbehaves."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil import frames
from hil.frames import Frame, encode
from hil.protocol import BlockClient, FirmwareFault
from hil.text_protocol import TextClient
from tests.support.fake_device import HELLO, MemoryTransport, Pretend
from tinyopt.errors import DeviceError

INPUTS = (b"\x01\x02\x03", b"\x04\x05")


def client(answer: object, **options: int) -> BlockClient:
    return BlockClient(MemoryTransport(answer, **options), timeout=0.2)  # type: ignore[arg-type]


def test_a_device_says_what_it_is() -> None:
    info = client(Pretend()).hello()
    assert (info.name, info.counter_hz, info.layers, info.arena_bytes) == ("pretend", 25_000_000, 2, 64)
    assert info.has_state and info.keeps_input and not info.counts_instructions
    assert (info.input_bytes, info.output_bytes) == ((3, 2), (4,))


@pytest.mark.parametrize("portion", [1, 3, 1 << 20])
def test_an_inference_gives_outputs_and_costs(portion: int) -> None:
    device = Pretend()
    block = client(device, portion=portion)
    reply = block.run(INPUTS)
    assert (reply.count, reply.stack, reply.outputs) == (1000, None, (b"\xfe\xfd\xfc\xfb",))
    assert block.run(INPUTS, stack=True).stack == 200
    block.reset()
    assert device.resets == 1
    assert block.layers() == (600, 300)


def test_inputs_of_the_wrong_size_are_refused_before_they_are_sent() -> None:
    transport = MemoryTransport(Pretend())
    block = BlockClient(transport, timeout=0.2)
    block.hello()
    with pytest.raises(DeviceError, match=r"takes inputs of \(3, 2\) bytes, not \(5,\)"):
        block.run([b"12345"])
    assert len(transport.writes) == 1


def test_a_request_that_arrived_damaged_is_sent_again() -> None:
    device, damaged = Pretend(), []

    def answer(data: bytes) -> bytes:
        if len(damaged) < 2:
            damaged.append(data)
            sequence = int.from_bytes(data[2:4], "little")
            return encode(Frame(frames.ERROR, sequence, bytes([frames.BAD_CHECK])))
        return device(data)

    assert client(answer).hello().name == "pretend"


def test_a_line_that_damages_everything_is_given_up() -> None:
    def answer(data: bytes) -> bytes:
        return encode(Frame(frames.ERROR, int.from_bytes(data[2:4], "little"), bytes([frames.BAD_CHECK])))

    with pytest.raises(DeviceError, match="the line to the device is bad"):
        client(answer).hello()


def test_a_damaged_answer_is_not_taken() -> None:
    device = Pretend()
    device.spoil = lambda reply: reply[:-1] + bytes([reply[-1] ^ 1])
    with pytest.raises(DeviceError, match="answers arrived damaged"):
        client(device).hello()


def test_an_answer_that_stops_halfway_is_reported() -> None:
    device = Pretend()
    halves = iter([lambda reply: reply[:-6]])
    device.spoil = lambda reply: next(halves, lambda _: b"")(reply)
    with pytest.raises(DeviceError, match=r"stopped in the middle of an answer \(\d+ bytes"):
        client(device).hello()


def test_a_silent_device_is_reported_with_its_last_words() -> None:
    with pytest.raises(DeviceError, match=r"has not answered for 0\.2 s; the last it printed was: 'booting'"):
        client(lambda data: b"booting\r\n").hello()
    with pytest.raises(DeviceError, match="it has printed nothing"):
        client(lambda data: b"").hello()


def test_a_late_answer_to_an_earlier_request_is_ignored() -> None:
    device = Pretend()
    device.spoil = lambda reply: encode(Frame(frames.HELLO | frames.REPLY, 999, HELLO[:-7] + b"earlier")) + reply
    assert client(device).hello().name == "pretend"


def test_a_fault_is_reported_at_once() -> None:
    with pytest.raises(FirmwareFault, match="exception 00000003 pc 000001a2") as caught:
        client(lambda data: b"\r\ne-[fault 00000003 pc 000001a2 lr 00000123]\r\n").hello()
    assert caught.value.pc == 0x1A2


def test_a_firmware_of_another_version_is_refused() -> None:
    other = b"\x09\x00" + HELLO[2:]

    def answer(data: bytes) -> bytes:
        return encode(Frame(frames.HELLO | frames.REPLY, int.from_bytes(data[2:4], "little"), other))

    with pytest.raises(DeviceError, match="version 9"):
        client(answer).hello()


@given(st.binary(max_size=80))
def test_any_greeting_is_understood_or_refused(payload: bytes) -> None:
    def answer(data: bytes) -> bytes:
        return encode(Frame(frames.HELLO | frames.REPLY, int.from_bytes(data[2:4], "little"), payload))

    with contextlib.suppress(DeviceError):
        client(answer).hello()


@given(st.binary(max_size=200), st.integers(1, 64))
def test_whatever_a_device_sends_ends_in_an_answer_or_one_error(noise: bytes, portion: int) -> None:
    device = Pretend()
    device.spoil = lambda reply: noise + reply
    with contextlib.suppress(DeviceError):
        BlockClient(MemoryTransport(device, portion=portion), timeout=0.05).hello()


def test_a_device_that_waits_for_the_rest_of_an_old_frame_is_found() -> None:
    device = Pretend()
    device.decoder.feed(encode(Frame(frames.RUN, 1, bytes(900)))[:100])
    assert BlockClient(MemoryTransport(device), timeout=30.0).find().name == "pretend"


# ---- text


def scripted(**replies: str) -> TextClient:
    """Answers a command by its first word."""

    def answer(data: bytes) -> bytes:
        word = data.decode().rstrip("%").split()[0]
        return (replies.get(word, "e-[Unknown command]\r\n") + "m-ready\r\n").encode()

    return TextClient(MemoryTransport(answer, portion=5), timeout=0.2)


def test_text_commands() -> None:
    text = scripted(
        name="m-name-dut-[tinyopt]\r\n",
        profile="m-profile-[x]\r\nm-model-[kws]\r\n",
        timestamp="m-lap-us-123\r\n",
        db="m-load-done\r\n",
        infer="m-warmup-start-0\r\nm-lap-us-100\r\nm-lap-us-350\r\nm-results-[0.500,-1.250]\r\n",
        results="m-results-[1.000]\r\n",
    )
    assert (text.name(), text.model(), text.timestamp()) == ("tinyopt", "kws", 123)
    text.load(bytes(100))
    inference = text.infer(3, 1)
    assert (inference.results, inference.microseconds) == ((0.5, -1.25), 250)
    assert text.results() == (1.0,)


def test_an_error_message_of_the_device_is_shown() -> None:
    with pytest.raises(DeviceError, match=r"refuses 'name': e-\[Unknown command\]"):
        scripted().name()


@pytest.mark.parametrize("said", ["", "m-lap-us-1\r\n", "m-results-[a,b]\r\nm-lap-us-1\r\nm-lap-us-2\r\n"])
def test_an_answer_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(DeviceError):
        scripted(infer=said).infer()


def test_text_without_an_end_is_given_up() -> None:
    text = TextClient(MemoryTransport(lambda data: b"m-name-dut-[tiny"), timeout=0.1)
    with pytest.raises(DeviceError, match=r"the last it printed was: 'm-name-dut-\[tiny'"):
        text.name()


def test_a_fault_in_text_is_reported() -> None:
    text = TextClient(MemoryTransport(lambda data: b"e-[fault 00000003 pc 00000010 lr 00000000]\r\n"), timeout=0.1)
    with pytest.raises(FirmwareFault):
        text.name()


@given(st.binary(max_size=200))
def test_any_text_ends_in_lines_or_one_error(noise: bytes) -> None:
    text = TextClient(MemoryTransport(lambda data: noise, portion=7), timeout=0.01)
    with contextlib.suppress(DeviceError):
        text.command("name")
