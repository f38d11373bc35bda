"""The tuning table: whole at every moment, stale measurements left aside, broken files named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.board import load_board
from tinyopt.errors import DataError
from tinyopt.plan.catalogue import all_kernels
from tinyopt.tune import TuningTable, default_table_path, load_table, save_table, tuned_costs
from tinyopt.tune.context import compiler_version, context_of, kernel_digest
from tinyopt.tune.table import Context, Entry, Unit

M4 = load_board("mps2_an386")
KERNEL = next(kernel for kernel in all_kernels() if kernel.name == "conv2d_s8_ref")
COMPILER = compiler_version(M4) or "some compiler 1.0"


def entry(operator: str = "Conv2d: a -> b", count: float = 1000.0, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "operator": operator,
        "kernel": KERNEL.name,
        "source": kernel_digest(KERNEL),
        "context": 0,
        "count": count,
        "predicted": 500.0,
        "code_bytes": 900,
        "constant_bytes": 80,
        "scratch_bytes": 16,
    }
    return Entry(**(fields | changes))  # type: ignore[arg-type]


def context(unit: Unit = "cycles", **changes: object) -> Context:
    return context_of(M4, COMPILER, unit).model_copy(update=changes)


def table(*entries: Entry, where: Context | None = None) -> TuningTable:
    return TuningTable().with_entries(where or context(), entries)


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "table.json"
    written = table(entry(), entry("Add: a b -> c", 7.5))
    save_table(written, path)
    assert load_table(path) == written
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_the_old_table_stays_when_writing_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    save_table(table(entry()), path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        save_table(table(entry(count=5.0)), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["table.json"]


def test_a_new_measurement_replaces_the_old_one_of_the_same_kernel_and_operator() -> None:
    first = table(entry(), entry("other"))
    second = first.with_entries(context(), [entry(count=5.0)])
    assert sorted((e.operator, e.count) for e in second.entries) == [("Conv2d: a -> b", 5.0), ("other", 1000.0)]
    moved = second.with_entries(context(compiler="another compiler 9"), [entry(count=6.0), entry("other", 7.0)])
    assert [c.compiler for c in moved.contexts] == ["another compiler 9"]
    assert sorted(e.count for e in moved.entries) == [6.0, 7.0]


def test_measurements_of_other_boards_stay() -> None:
    other = context(board="my_board")
    both = table(entry(), where=other).with_entries(context(), [entry(count=5.0)])
    assert {both.contexts[e.context].board: e.count for e in both.entries} == {"my_board": 1000.0, M4.name: 5.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"board_digest": "0000"},
        {"flags": "-O0"},
        {"counter": "cycle model 0000"},
    ],
)
def test_measurements_made_under_other_conditions_are_stale(changes: dict[str, str]) -> None:
    tuned = tuned_costs(table(entry(), where=context(**changes)), M4, Path("t.json"))
    assert (tuned.used, tuned.stale) == (0, 1) and not tuned.costs.measured
    assert "1 measurements of t.json are stale" in tuned.notes[0]
    assert "tinyopt tune" in tuned.notes[0]


def test_a_measurement_of_a_kernel_that_changed_is_stale_and_the_others_hold() -> None:
    tuned = tuned_costs(table(entry(source="0000"), entry("other")), M4, Path("t.json"))
    assert (tuned.used, tuned.stale) == (1, 1)
    assert tuned.costs.measured == {("other", KERNEL.name): 1000.0}


def test_a_table_of_another_board_is_ignored_and_named() -> None:
    tuned = tuned_costs(table(entry(), where=context(board="my_board")), M4, Path("t.json"))
    assert (tuned.used, tuned.stale) == (0, 0)
    assert tuned.notes == ("t.json has measurements of my_board, none of mps2_an386; it was ignored",)


def test_a_board_whose_memories_changed_makes_its_measurements_stale() -> None:
    flash, *rest = M4.memories
    slower = M4.model_copy(update={"memories": (flash.model_copy(update={"wait_states": 3}), *rest)})
    assert tuned_costs(table(entry()), slower, Path("t.json")).used == 0
    retitled = M4.model_copy(update={"title": "the same board", "source": "elsewhere"})
    assert tuned_costs(table(entry()), retitled, Path("t.json")).used == 1


def test_instructions_and_time_become_cycles() -> None:
    host = load_board("host")
    where = context_of(host, compiler_version(host) or "gcc", "nanoseconds")
    tuned = tuned_costs(TuningTable().with_entries(where, [entry(count=2000.0)]), host, Path("t"))
    assert list(tuned.costs.measured.values()) == [2000.0 * host.clock_hz / 1e9]
    tuned = tuned_costs(table(entry(count=250.0), entry("b", 750.0), where=context("instructions")), M4, Path("t"))
    # All formulas together said 1000.
    assert list(tuned.costs.measured.values()) == [250.0, 750.0]
    assert tuned_costs(table(entry(count=2000.0), where=context("instructions")), M4, Path("t")).costs.measured == {
        ("Conv2d: a -> b", KERNEL.name): 500.0
    }


def test_the_table_of_a_board_file_is_beside_it_and_of_a_packaged_board_in_the_data_folder(tmp_path: Path) -> None:
    assert default_table_path(tmp_path / "mine.yaml", M4) == tmp_path / "mine.tuning.json"
    home = {"XDG_DATA_HOME": str(tmp_path)}
    assert default_table_path("mps2_an386", M4, home) == tmp_path / "tinyopt" / "tuning" / "mps2_an386.json"
    for elsewhere in ({}, {"XDG_DATA_HOME": "relative"}):
        assert default_table_path("mps2_an386", M4, elsewhere).is_relative_to(Path.home())


GOOD = json.loads(json.dumps(table(entry()).model_dump(mode="json")))


def changed(path: tuple[str | int, ...], value: object) -> str:
    document = json.loads(json.dumps(GOOD))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "{" * 100_000,
        "[" * 100_000,
        json.dumps(GOOD)[:-40],
        changed(("version",), 2),
        changed(("format",), "recipe"),
        changed(("entries", 0, "count"), -1),
        changed(("entries", 0, "count"), "many"),
        changed(("entries", 0, "count"), 1e300),
        changed(("entries", 0, "context"), 3),
        changed(("entries", 0, "context"), -1),
        changed(("entries", 0, "code_bytes"), 1.5),
        changed(("entries", 0, "kernel"), ""),
        changed(("entries", 0, "kernel"), "k" * 5000),
        changed(("entries", 0, "extra"), 1),
        changed(("contexts", 0, "unit"), "parsecs"),
        changed(("entries",), {"0": 1}),
        json.dumps(GOOD).replace("1000.0", "NaN"),
        json.dumps(GOOD).replace("1000.0", "9" * 5000),
        json.dumps(GOOD).replace("1000.0", "1e999"),
    ],
)
def test_a_broken_table_is_one_error_that_names_the_file_and_the_way_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        load_table(path)
    assert str(path) in str(error.value) and "--tuning none" in str(error.value)
    assert len(str(error.value)) < 600 + len(str(path))


def test_bytes_that_are_no_text_and_a_missing_file_are_errors_too(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="not text"):
        load_table(path)
    with pytest.raises(DataError, match="No such file"):
        load_table(tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot read"):
        load_table(tmp_path)


@given(st.data())
def test_a_file_with_wrong_bytes_is_a_table_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(json.dumps(GOOD).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("t") / "table.json"
    path.write_bytes(bytes(content))
    try:
        assert isinstance(load_table(path), TuningTable)
    except DataError as error:
        assert str(path) in str(error)
