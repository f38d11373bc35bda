"""Frames survive any way in which a stream can be cut, mixed with text, or damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.frames import HEADER_BYTES, MAX_PAYLOAD, SYNC, Decoder, Frame, encode

FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=60))
TEXT = st.binary(max_size=30).map(lambda data: bytes(byte & 0x7F for byte in data))


def test_the_layout_is_the_one_in_the_firmware() -> None:
    data = encode(Frame(2, 0x0102, b"\x05"))
    assert data[:HEADER_BYTES] == bytes([SYNC, 2, 0x02, 0x01, 1, 0, 0, 0x44])
    assert data[HEADER_BYTES:-4] == b"\x05"
    assert data[-4:] == (0xA2DB4DA6).to_bytes(4, "little")


def test_a_payload_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(Frame(1, 1, bytes(MAX_PAYLOAD + 1)))


@given(st.lists(st.one_of(FRAMES, TEXT), max_size=8), st.data())
def test_frames_and_text_come_out_as_they_went_in_however_they_are_cut(
    items: list[Frame | bytes], data: st.DataObject
) -> None:
    stream = b"".join(encode(item) if isinstance(item, Frame) else item for item in items)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    decoder, seen = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)]):
        seen += decoder.feed(stream[start:end])
    assert seen == [item for item in items if isinstance(item, Frame)]
    assert bytes(decoder.text) == b"".join(item for item in items if isinstance(item, bytes))
    assert decoder.damaged == 0 and decoder.pending == 0


@given(FRAMES, st.integers(0, 1 << 20), st.integers(1, 255))
def test_a_damaged_byte_is_never_taken_for_a_frame(frame: Frame, position: int, change: int) -> None:
    data = bytearray(encode(frame))
    data[position % len(data)] ^= change
    assert frame not in Decoder().feed(bytes(data))


@given(st.binary(max_size=300), FRAMES)
def test_after_any_garbage_a_frame_gets_through_once_the_stream_is_padded(garbage: bytes, frame: Frame) -> None:
    decoder = Decoder()
    decoder.feed(garbage)
    decoder.reset()
    assert frame in decoder.feed(encode(frame))


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_garbage_never_breaks_the_decoder(portions: list[bytes]) -> None:
    decoder = Decoder()
    for portion in portions:
        for frame in decoder.feed(portion):
            assert encode(frame) in b"".join(portions)
    assert len(decoder.text) <= Decoder.TEXT_KEPT


@given(FRAMES, st.integers(1, 80))
def test_a_truncated_frame_is_pending(frame: Frame, cut: int) -> None:
    data = encode(frame)
    part = data[: max(1, len(data) - cut)]
    decoder = Decoder()
    assert decoder.feed(part) == []
    assert decoder.pending > 0
    assert decoder.feed(data[len(part) :]) == [frame]
