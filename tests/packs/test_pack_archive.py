"""Packs from anywhere: what is broken or hostile is refused with one clear error, and nothing is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packs.sample_pack import DESCRIPTION, archive, write_description, write_pack
from tinyopt.board import Board
from tinyopt.errors import BoardError
from tinyopt.packs import archive as reader
from tinyopt.packs import board_text, open_description
from tinyopt.packs.description import read_description

ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE package [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<package><vendor>&b;</vendor></package>
"""
OUTSIDE = '<!DOCTYPE package [<!ENTITY file SYSTEM "file:///etc/hostname">]><package><vendor>&file;</vendor></package>'


def test_a_pack_is_read_like_the_description_in_it(tmp_path: Path) -> None:
    loose = open_description(write_description(tmp_path))
    packed = open_description(
        write_pack(tmp_path, {"Acme.Rocket_DFP.pdsc": DESCRIPTION, "Flash/Rocket.FLM": b"\0" * 99})
    )
    assert packed.identity == loose.identity
    assert packed.device("RK100A") == loose.device("RK100A")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Acme.Rocket_DFP.1.2.0.pack", "Acme.Rocket_DFP.pdsc"]


def test_a_pack_in_a_folder_of_its_own_is_found_and_examples_deeper_down_are_not(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"top/a/Example.pdsc": "<package/>", "top/Acme.Rocket_DFP.pdsc": DESCRIPTION}
    assert open_description(write_pack(tmp_path, files)).name == "Rocket_DFP"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no description"),
        ({"readme.txt": "hello"}, "no description"),
        ({"a.pdsc": DESCRIPTION, "b.pdsc": DESCRIPTION}, "more than one description: a.pdsc, b.pdsc"),
        ({"a.pdsc": DESCRIPTION, "../../outside.c": "x"}, r"'\.\./\.\./outside\.c', which would lie outside"),
        ({"a.pdsc": DESCRIPTION, "x/..\\..\\outside.c": "x"}, "which would lie outside"),
        ({"a.pdsc": DESCRIPTION, "/etc/passwd": "x"}, "which would lie outside"),
        ({"a.pdsc": DESCRIPTION, "C:\\windows\\x": "x"}, "which would lie outside"),
        ({"a.pdsc": "<package"}, "no XML that can be read"),
        ({"a.pdsc": ""}, "no XML that can be read"),
        ({"a.pdsc": "<html/>"}, "its root is <html>"),
        ({"a.pdsc": ENTITIES}, "declares a document type or entities"),
        ({"a.pdsc": OUTSIDE}, "declares a document type or entities"),
        ({"a.pdsc": "<package>" * 2000}, "deeper"),
        ({"a.pdsc": b'<?xml version="1.0" encoding="klingon"?><package/>'}, r"a\.pdsc"),
    ],
)
def test_a_pack_that_is_none_or_wants_harm_is_refused(tmp_path: Path, files: dict[str, str | bytes], said: str) -> None:
    with pytest.raises(BoardError, match=said):
        open_description(write_pack(tmp_path, files))


def test_a_description_that_unpacks_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST_DESCRIPTION", 1 << 20)
    bomb = write_pack(tmp_path, {"a.pdsc": b" " * (2 << 20)})
    assert bomb.stat().st_size < 10_000
    with pytest.raises(BoardError, match="unpacks to 2,097,152 bytes"):
        open_description(bomb)


def test_what_an_archive_says_of_sizes_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST_DESCRIPTION", 1 << 20)
    data = bytearray(archive({"a.pdsc": b" " * (2 << 20)}))
    for place in range(len(data) - 4):
        if data[place : place + 4] == (2 << 20).to_bytes(4, "little"):
            data[place : place + 4] = (100).to_bytes(4, "little")
    path = tmp_path / "liar.pack"
    path.write_bytes(data)
    with pytest.raises(BoardError, match="liar"):
        open_description(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all", b"\0" * 100])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pack"
    path.write_bytes(content)
    with pytest.raises(BoardError, match=r"broken\.pack is no pack"):
        open_description(path)


def test_an_encrypted_pack_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive({"a.pdsc": DESCRIPTION}, zipfile.ZIP_STORED))
    data[6] |= 1
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1
    path = tmp_path / "secret.pack"
    path.write_bytes(data)
    with pytest.raises(BoardError, match="encrypted"):
        open_description(path)


@pytest.mark.parametrize("name", ["absent.pdsc", "absent.pack"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BoardError, match=rf"cannot read .*{name}: No such file"):
        open_description(tmp_path / name)


def use(data: bytes) -> None:
    """Make boards of a description. Either an error that tinyopt raises on purpose comes out, or a valid board."""
    try:
        description = read_description(data, "mutated")
    except BoardError:
        return
    for name in list(description.chains)[::4]:
        try:
            device = description.device(name)
            for processor in device.processors:
                Board.model_validate(yaml.safe_load(board_text(device, processor=processor.name)))
        except BoardError as error:
            assert "\n" not in str(error) or "device" in str(error)


ORIGINAL = DESCRIPTION.encode()
places = st.integers(0, len(ORIGINAL) - 1)


@settings(max_examples=30)
@given(st.integers(0, len(ORIGINAL)))
def test_a_truncated_description_is_an_error_and_no_crash(length: int) -> None:
    use(ORIGINAL[:length])


@settings(max_examples=30)
@given(st.lists(st.tuples(places, st.binary(min_size=1, max_size=6)), min_size=1, max_size=6))
def test_a_damaged_description_is_an_error_or_a_device_and_no_crash(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(ORIGINAL)
    for place, new in changes:
        data[place : place + len(new)] = new
    use(bytes(data))


@settings(max_examples=30)
@given(
    st.sampled_from(
        ["Dcore", "Dfpu", "Dclock", "Dmve", "start", "size", "access", "name", "Pname", "Dname", "alias", "default"]
    ),
    st.one_of(
        st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12),
        st.sampled_from(["", "-1", "0x", "0xffffffffffffffff", "1e9", "1_000", "Cortex-M4", "FP_MVE", "rwx", "true"]),
    ),
    st.integers(0, 30),
)
def test_any_value_of_an_attribute_is_an_error_or_a_device(key: str, value: str, which: int) -> None:
    from xml.sax.saxutils import quoteattr

    parts = DESCRIPTION.split(f' {key}="')
    at = 1 + which % (len(parts) - 1)
    parts[at] = quoteattr(value) + parts[at][parts[at].index('"') + 1 :]
    text = f' {key}="'.join(parts[:at]) + f" {key}=" + f' {key}="'.join(parts[at:])
    use(text.encode())


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_pack_are_an_error(data: bytes) -> None:
    use(data)


@settings(max_examples=30)
@given(st.data())
def test_a_damaged_archive_is_an_error_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = archive({"a.pdsc": DESCRIPTION, "Flash/x.FLM": b"abc"})
    damaged = bytearray(good[: data.draw(st.integers(0, len(good)))] if data.draw(st.booleans()) else good)
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.pack"
    path.write_bytes(damaged)
    try:
        open_description(path)
    except BoardError as error:
        assert "damaged.pack" in str(error)
