"""A firmware's bytes come out of its ELF file as they lie in the flash; binary, Intel HEX and UF2 hold them all."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.images import Segment, flat_binary, intel_hex, load_segments
from hil.uf2 import FAMILIES, Drive, choose_drive, copy_to_drive, encode_uf2, family_number, find_drives
from tests.support.fake_usb import write_elf
from tinyopt.errors import ToolError


@st.composite
def segment_lists(draw: st.DrawFn) -> list[Segment]:
    at = draw(st.sampled_from([0, 0x1000_0000, 0x0800_0000, 0xFFF0]))
    segments = []
    for _ in range(draw(st.integers(1, 4))):
        at += draw(st.integers(0, 700))
        data = draw(st.binary(min_size=1, max_size=700))
        segments.append(Segment(at, data))
        at += len(data)
    return segments


def contents(segments: list[Segment]) -> dict[int, int]:
    return {segment.address + i: byte for segment in segments for i, byte in enumerate(segment.data)}


def test_segments_of_an_elf_file_are_sorted_by_load_address(tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "a.elf", (0x0800_0400, b"later"), (0x0800_0000, b"first"))
    assert load_segments(elf) == (Segment(0x0800_0000, b"first"), Segment(0x0800_0400, b"later"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no ELF file"), (b"\x7fELF\x01\x01\x01", "ELF file"), (b"MZ" + bytes(100), "no ELF file")],
)
def test_what_is_no_firmware_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(content)
    with pytest.raises(ToolError, match=message):
        load_segments(path)


def test_a_firmware_without_content_or_with_overlaps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="nothing to load"):
        load_segments(write_elf(tmp_path / "empty.elf"))
    with pytest.raises(ToolError, match="two different contents"):
        load_segments(write_elf(tmp_path / "twice.elf", (0x100, bytes(64)), (0x120, bytes(64))))
    with pytest.raises(ToolError, match="cannot read"):
        load_segments(tmp_path / "missing.elf")


@given(segment_lists())
@settings(max_examples=60)
def test_a_flat_binary_fills_gaps_as_erased_flash(segments: list[Segment]) -> None:
    flat = flat_binary(segments)
    wanted = contents(segments)
    assert flat.address == segments[0].address and flat.end == segments[-1].end
    for at, byte in enumerate(flat.data, flat.address):
        assert byte == wanted.get(at, 0xFF)


def test_parts_in_different_memories_make_no_flat_binary() -> None:
    with pytest.raises(ToolError, match="no single flash"):
        flat_binary([Segment(0, b"a"), Segment(0x6000_0000, b"b")])


@given(segment_lists())
@settings(max_examples=60)
def test_intel_hex_reads_back(segments: list[Segment]) -> None:
    reader = pytest.importorskip("intelhex").IntelHex()
    reader.fromfile(io.StringIO(intel_hex(segments)), format="hex")
    assert {at: reader[at] for at in reader.addresses()} == contents(segments)


def decode_uf2(data: bytes) -> tuple[dict[int, int], set[int]]:
    """By the format's description, with its checks."""
    assert len(data) % 512 == 0
    found, families, count = {}, set(), len(data) // 512
    for number in range(count):
        block = data[512 * number : 512 * (number + 1)]
        words = [int.from_bytes(block[4 * i : 4 * i + 4], "little") for i in range(8)]
        first, second, flags, address, size, index, total, family = words
        assert (first, second, block[508:]) == (0x0A324655, 0x9E5D5157, (0x0AB16F30).to_bytes(4, "little"))
        assert (flags, index, total, size, address % 256) == (0x2000, number, count, 256, 0)
        assert not any(block[32 + size : 508])
        families.add(family)
        for i, byte in enumerate(block[32 : 32 + size]):
            assert address + i not in found
            found[address + i] = byte
    return found, families


@given(segment_lists())
@settings(max_examples=60)
def test_uf2_holds_every_byte_once_in_whole_blocks(segments: list[Segment]) -> None:
    found, families = decode_uf2(encode_uf2(segments, FAMILIES["RP2040"]))
    wanted = contents(segments)
    assert families == {0xE48BFF56}
    assert {at: byte for at, byte in found.items() if at in wanted} == wanted
    assert all(byte == 0xFF for at, byte in found.items() if at not in wanted)


def test_families_have_names_and_numbers() -> None:
    assert family_number("rp2040") == 0xE48BFF56
    assert family_number("RP2350-ARM-S") == 0xE48BFF59
    assert family_number("0xADA52840") == FAMILIES["NRF52840"]
    with pytest.raises(ToolError, match="no UF2 family 'PIC'"):
        family_number("PIC")


def drive(folder: Path, name: str = "RPI-RP2", board_id: str = "RPI-RP2") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    text = f"UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {board_id}\r\n"
    (path / "INFO_UF2.TXT").write_text(text)
    return path


def test_drives_are_found_by_their_info_file(tmp_path: Path) -> None:
    path = drive(tmp_path)
    (tmp_path / "holiday-pictures").mkdir()
    assert find_drives([*tmp_path.iterdir(), tmp_path / "gone"]) == [
        Drive(path, "RPI-RP2", "Raspberry Pi RP2", "RPI-RP2")
    ]


def test_the_drive_of_a_board_is_chosen_by_label_or_board_id(tmp_path: Path) -> None:
    drives = find_drives([drive(tmp_path, "RPI-RP2"), drive(tmp_path, "NRF", "nRF52840-Feather-revD")])
    assert choose_drive(drives, "RPI-RP2").label == "RPI-RP2"
    assert choose_drive(drives, "nrf52840-feather").label == "NRF"
    with pytest.raises(ToolError, match=r"no UF2 drive 'XIAO' is mounted \(mounted: .*RPI-RP2.*hold the board's BOOT"):
        choose_drive(drives, "XIAO")
    with pytest.raises(ToolError, match=r"several UF2 drives fit: .*NRF.*RPI-RP2"):
        choose_drive(drives, "")


def leave_soon(path: Path) -> threading.Thread:
    """A board that restarts when it has its firmware."""

    def leave() -> None:
        while not (path / "FIRMWARE.UF2").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        (path / "INFO_UF2.TXT").unlink()

    thread = threading.Thread(target=leave)
    thread.start()
    return thread


def test_a_firmware_is_copied_to_the_drive(tmp_path: Path) -> None:
    path = drive(tmp_path)
    thread = leave_soon(path)
    data = encode_uf2([Segment(0x1000_0000, bytes(range(256)) * 3)], FAMILIES["RP2040"])
    copy_to_drive(data, find_drives([path])[0])
    thread.join()
    assert (path / "FIRMWARE.UF2").read_bytes() == data


def test_a_board_that_keeps_its_drive_did_not_take_the_firmware(tmp_path: Path) -> None:
    path = drive(tmp_path)
    with pytest.raises(ToolError, match="did not take the firmware: it is for another family"):
        copy_to_drive(b"x" * 512, find_drives([path])[0], patience=0.2)


def test_a_drive_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (drive(tmp_path) / "FIRMWARE.UF2").mkdir()
    with pytest.raises(ToolError, match="cannot copy the firmware to"):
        copy_to_drive(b"x", find_drives([tmp_path / "RPI-RP2"])[0])
