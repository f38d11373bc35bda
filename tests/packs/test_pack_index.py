"""Devices and packs of the index, from a cache of cmsis-pack-manager that the test prepares; there is no network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packs.sample_pack import DESCRIPTION, archive, write_description
from tinyopt.errors import BoardError, ToolError
from tinyopt.packs import PackReference, fetch_packs, find_in_index, parse_reference

manager = pytest.importorskip("cmsis_pack_manager", reason="cmsis-pack-manager is not installed")


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been downloaded. Nothing is, as on a computer without a network."""
    wanted: list[str] = []
    monkeypatch.setattr(manager.Cache, "cache_descriptors", lambda self: wanted.append("index"))
    monkeypatch.setattr(manager.Cache, "download_pack_list", lambda self, packs: wanted.extend(map(str, packs)))
    return wanted


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one pack, its index made by cmsis-pack-manager itself."""
    folder = tmp_path / "cache"
    folder.mkdir()
    # without what the library cannot index: no odd devices, no processor that speaks for others
    clean = DESCRIPTION[: DESCRIPTION.index('<family Dfamily="Odd')] + "</devices></package>"
    clean = clean.replace('<processor Dendian="Little-endian"/>', "")
    path = write_description(folder, clean, "Acme.Rocket_DFP.1.2.0.pdsc")
    manager.Cache(True, False, json_path=str(folder), data_path=str(folder)).add_pack_from_path(str(path))
    return folder


def test_a_device_of_the_index_is_found_in_the_cache(cache: Path, downloads: list[str]) -> None:
    device = find_in_index("RK100B", cache=cache)
    assert (device.pack, device.processors[0].clock_hz) == ("Acme::Rocket_DFP@1.2.0", 120_000_000)
    assert find_in_index("tw7", cache=cache).name == "TW747"
    assert downloads == []


def test_the_index_is_downloaded_on_demand_and_for_devices_that_are_not_in_it(
    cache: Path, downloads: list[str]
) -> None:
    find_in_index("RK100B", cache=cache, update=True)
    assert downloads == ["index"]
    with pytest.raises(BoardError, match="no pack of the index describes a device 'RK200Z'"):
        find_in_index("RK200Z", cache=cache)
    assert downloads == ["index", "index"]


def test_a_download_that_reaches_nobody_does_not_empty_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def emptied(self: Any) -> None:
        Path(self.index_path).write_text("{}")
        Path(self.aliases_path).unlink(missing_ok=True)

    monkeypatch.setattr(manager.Cache, "cache_descriptors", emptied)
    assert find_in_index("RK050", cache=cache, update=True).name == "RK050"


def test_without_network_and_cache_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"could not be downloaded: is there a network\? .* --pack FILE"):
        find_in_index("RK100A", cache=tmp_path / "empty")


def test_a_download_that_fails_says_what_the_library_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Any) -> None:
        raise Exception(b"connection refused")

    monkeypatch.setattr(manager.Cache, "cache_descriptors", failing)
    with pytest.raises(ToolError, match="could not be downloaded: connection refused"):
        find_in_index("RK100A", cache=cache, update=True)


def test_several_devices_that_begin_alike_are_listed(cache: Path) -> None:
    with pytest.raises(BoardError, match="several devices of the index begin with 'RK1': RK100AX, RK100B"):
        find_in_index("RK1", cache=cache)


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", '{"RK100A": 7}', '{"RK100A": {"from_pack": {"vendor": "..", "pack": "x", "version": "1"}}}'],
)
def test_a_broken_cache_is_an_error_and_no_crash(cache: Path, text: str) -> None:
    (cache / "index.json").write_text(text)
    with pytest.raises(ToolError, match=r"--update|could not be downloaded"):
        find_in_index("RK100A", cache=cache)


def test_an_index_without_its_descriptions_says_so(cache: Path) -> None:
    (cache / "Acme.Rocket_DFP.1.2.0.pdsc").unlink()
    with pytest.raises(ToolError, match=r"no description of Acme::Rocket_DFP@1\.2\.0"):
        find_in_index("RK100A", cache=cache)


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cmsis_pack_manager", None)
    with pytest.raises(ToolError, match=r"pip install 'tinyopt\[packs\]'.*--pack FILE"):
        find_in_index("RK100A", cache=tmp_path)


def stored(cache: Path, version: str) -> None:
    """A pack that was downloaded before."""
    write_description(cache, f"<package><name>{version}</name></package>", f"ARM.CMSIS-NN.{version}.pdsc")
    target = cache / "ARM" / "CMSIS-NN" / f"{version}.pack"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(archive({"Include/arm_nnfunctions.h": f"/* {version} */"}))


def test_the_newest_release_of_a_pack_is_fetched_or_the_one_that_is_named(cache: Path, tmp_path: Path) -> None:
    for version in ("6.0.0", "10.0.0-rc1", "9.1.0", "10.0.0"):
        stored(cache, version)
    folder = tmp_path / "packs"
    paths = fetch_packs([parse_reference("arm::cmsis-nn"), parse_reference("ARM::CMSIS-NN@6.0.0")], folder, cache=cache)
    assert [path.name for path in paths] == ["ARM.CMSIS-NN.10.0.0.pack", "ARM.CMSIS-NN.6.0.0.pack"]
    assert paths[1].read_bytes() == (cache / "ARM" / "CMSIS-NN" / "6.0.0.pack").read_bytes()


def test_a_pack_that_is_not_in_the_cache_is_downloaded(
    cache: Path, tmp_path: Path, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_description(cache, "<package/>", "ARM.CMSIS-NN.7.0.0.pdsc")
    with pytest.raises(ToolError, match=r"ARM::CMSIS-NN@7\.0\.0 could not be downloaded: is there a network"):
        fetch_packs([parse_reference("ARM::CMSIS-NN")], tmp_path, cache=cache)
    assert downloads == ["ARM.CMSIS-NN.7.0.0"]
    monkeypatch.setattr(manager.Cache, "download_pack_list", lambda self, packs: stored(cache, "7.0.0"))
    assert fetch_packs([parse_reference("ARM::CMSIS-NN")], tmp_path, cache=cache)[0].is_file()


@pytest.mark.parametrize(("name", "said"), [("ARM::CMSIS-N", "did you mean ARM::CMSIS-NN"), ("X::Y", "no pack X::Y")])
def test_a_pack_that_is_not_in_the_index_is_answered_with_near_names(
    cache: Path, tmp_path: Path, name: str, said: str
) -> None:
    stored(cache, "7.0.0")
    with pytest.raises(ToolError, match=said):
        fetch_packs([parse_reference(name)], tmp_path, cache=cache)


def test_an_empty_cache_without_network_cannot_give_packs(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="could not be downloaded: is there a network"):
        fetch_packs([PackReference("ARM", "CMSIS-NN")], tmp_path, cache=tmp_path / "empty")


def test_a_reference_has_vendor_name_and_perhaps_a_version() -> None:
    assert parse_reference("ARM::CMSIS-NN@7.0.0") == PackReference("ARM", "CMSIS-NN", "7.0.0")
    assert str(parse_reference("ARM::CMSIS")) == "ARM::CMSIS"


@pytest.mark.parametrize("text", ["", "CMSIS-NN", "ARM:CMSIS", "ARM::../x", "ARM::a/b", "a b::c", "A::B@", "A::B@1/2"])
def test_anything_else_is_no_reference(text: str) -> None:
    with pytest.raises(ToolError, match="VENDOR::NAME"):
        parse_reference(text)


def test_the_index_of_the_cache_is_what_the_library_writes(cache: Path) -> None:
    index = json.loads((cache / "index.json").read_text())
    assert index["RK100B"]["from_pack"]["pack"] == "Rocket_DFP"
