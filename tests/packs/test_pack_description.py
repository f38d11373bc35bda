"""Devices of a pack inherit from their family down, as the Open-CMSIS-Pack specification says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packs.sample_pack import DESCRIPTION, write_description
from tinyopt.errors import BoardError
from tinyopt.packs import Description, Device, PackMemory, open_description


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return open_description(write_description(tmp_path_factory.mktemp("pack")))


def memory(device: Device, name: str) -> PackMemory:
    return next(memory for memory in device.memories if memory.name == name)


def test_a_pack_says_who_made_it_and_which_release_it_is(pack: Description) -> None:
    assert pack.identity == "Acme::Rocket_DFP@1.2.0"


def test_devices_and_their_variants_are_there(pack: Description) -> None:
    assert {"RK100A", "RK100AX", "RK100B", "RK050", "TW747", "HE55"} <= set(pack.chains)


def test_attributes_of_a_processor_add_up_and_the_lower_level_has_the_last_word(pack: Description) -> None:
    (processor,) = pack.device("RK100A").processors
    assert (processor.core, processor.fpu, processor.clock_hz) == ("Cortex-M4", "SP_FPU", 120_000_000)
    assert pack.device("RK100AX").processors[0].clock_hz == 100_000_000
    (other,) = pack.device("RK050").processors
    assert (other.core, other.fpu, other.endian) == ("Cortex-M0+", "0", "Little-endian")


def test_memories_are_inherited_extended_and_replaced_by_name(pack: Description) -> None:
    assert memory(pack.device("RK100A"), "SRAM1").size == 0x30000
    inherited = memory(pack.device("RK100AX"), "SRAM1")
    assert (inherited.size, inherited.access, inherited.default) == (0x20000, "rwx", True)
    assert memory(pack.device("RK100AX"), "Flash").startup
    assert memory(pack.device("RK050"), "Boot").size == 0x7000


def test_memories_of_the_old_form_have_their_rights_in_their_id(pack: Description) -> None:
    device = pack.device("RK050")
    assert memory(device, "IROM1").access == "rx"
    assert memory(device, "IRAM1").access == "rwx"


def test_of_two_algorithms_for_the_same_flash_the_lower_one_counts(pack: Description) -> None:
    assert [a.file for a in pack.device("RK100A").algorithms] == ["Flash/Rocket_All.FLM"]
    assert [a.file for a in pack.device("RK100AX").algorithms] == ["Flash/Rocket_X.FLM"]


def test_the_description_of_registers_is_overridden_too(pack: Description) -> None:
    assert pack.device("RK100A").svd == {"": "SVD/RK1.svd"}
    assert pack.device("RK050").svd == {"": "SVD/Rocket.svd"}
    assert pack.device("TW747").svd == {"slow": "SVD/slow.svd"}


def test_a_processor_without_a_name_speaks_for_all(pack: Description) -> None:
    fast, slow = pack.device("TW747").processors
    assert (fast.name, fast.core, fast.endian) == ("fast", "Cortex-M7", "Little-endian")
    assert (slow.name, slow.core, slow.endian) == ("slow", "Cortex-M4", "Little-endian")


@pytest.mark.parametrize(("asked", "name"), [("rk100b", "RK100B"), ("RK05", "RK050"), ("TW", "TW747")])
def test_letter_case_and_a_missing_end_do_not_matter(pack: Description, asked: str, name: str) -> None:
    assert pack.device(asked).name == name


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("RK100", "several devices.*RK100A, RK100AX, RK100B"),
        ("RK100C", "did you mean.*RK100"),
        ("STM32L4R5ZITx", "it has RK100A"),
        ("", "there is no device ''"),
        ("ODD_SIZE", "memory 'Ram': size=\"lots\" is no number"),
        ("ODD_NONE", "'ODD_NONE'.*has no processor"),
    ],
)
def test_what_cannot_be_found_or_read_is_named(pack: Description, asked: str, said: str) -> None:
    with pytest.raises(BoardError, match=said):
        pack.device(asked)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('<memory name="SRAM2" access="rwx" start="0x10000000"', "<memory", "neither name nor id \\(line 21\\)"),
        ('start="0x10000000" size="0x10000"', 'start="0x10000000"', "memory 'SRAM2' does not say 'size'"),
        ('Dclock="0x7270E00"', 'Dclock="fast"', 'Dclock="fast" is no number'),
        ('start="0x10000000"', 'start="-5"', 'start="-5" is no number'),
        ('start="0x10000000"', 'start="99999999999999999999"', "is no number"),
    ],
)
def test_a_slip_in_a_description_is_explained(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in DESCRIPTION
    with pytest.raises(BoardError, match=said):
        open_description(write_description(tmp_path, DESCRIPTION.replace(old, new))).device("RK100A")
