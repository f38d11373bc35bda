"""Where projects are written: whole or not at all, and never over what somebody else made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyopt.errors import TinyoptError
from tinyopt.generate.folder import MANIFEST, File, write_folder

FACTS = {"model": "m"}


def write(folder: Path, **files: str) -> None:
    items = [File(name.replace("__", "/") + ".c", text.encode(), name == "main") for name, text in files.items()]
    write_folder(folder, items, FACTS)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST}


def test_a_new_folder_holds_the_files(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "project", src__a="1", b="2")
    assert names(tmp_path / "deep" / "project") == {"src/a.c", "b.c"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["project"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    write(tmp_path / "project", a="1")
    assert names(tmp_path / "project") == {"a.c"}


def test_files_of_the_last_time_go_and_those_of_a_person_stay(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder, a="1", old__b="2")
    (folder / "build").mkdir()
    (folder / "build" / "mine.o").write_text("object")
    (folder / "notes.txt").write_text("mine")
    write(folder, a="3")
    assert names(folder) == {"a.c", "build/mine.o", "notes.txt"}
    assert (folder / "a.c").read_text() == "3"
    assert not (folder / "old").exists()


def test_an_edited_starter_file_is_kept_and_an_unedited_one_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder, main="first")
    write(folder, main="second")
    assert (folder / "main.c").read_text() == "second"
    (folder / "main.c").write_text("edited")
    write(folder, main="third")
    write(folder, main="fourth")
    assert (folder / "main.c").read_text() == "edited"


def test_a_folder_of_somebody_else_is_refused_without_force(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(TinyoptError, match="did not write"):
        write(folder, a="1")
    assert names(folder) == {"thesis.tex"}
    write_folder(folder, [File("a.c", b"1")], FACTS, force=True)
    assert names(folder) == {"a.c"}


def test_a_file_in_the_way_is_refused_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "project").write_text("a file")
    with pytest.raises(TinyoptError, match="not a folder"):
        write_folder(tmp_path / "project", [File("a.c", b"1")], FACTS, force=True)


def test_the_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "file").write_text("mine")
    monkeypatch.chdir(work)
    for folder in (Path(), tmp_path):
        with pytest.raises(TinyoptError, match="not a place for a project"):
            write_folder(folder, [File("a.c", b"1")], FACTS, force=True)


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    write(folder, a="1")
    with pytest.raises(TinyoptError, match="cannot write"):
        write_folder(folder, [File("a.c", b"2"), File("a.c/below.c", b"3")], FACTS)
    assert (folder / "a.c").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
