"""Executables that stand in for flashing tools: they record how they are called and answer as they are told."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_PROGRAM = """#!{python} -IS
import json, os, shutil, sys, time
name = os.path.basename(sys.argv[0])
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
with open(os.path.join(folder, "answers.json")) as stream:
    answers = json.load(stream)
arguments = sys.argv[1:]
kept = {{}}
for argument in arguments:
    for path in (argument, *argument.split(":"), *argument.strip("{{}}").split("}}")):
        if os.path.isfile(path) and path not in kept:
            kept[path] = os.path.join(folder, "kept-%d" % len(os.listdir(folder)))
            shutil.copy(path, kept[path])
with open(os.path.join(folder, "calls.jsonl"), "a") as stream:
    stream.write(json.dumps({{"program": name, "arguments": arguments, "files": kept}}) + "\\n")
for answer in answers:
    if answer["program"] == name and answer["when"] in " ".join(arguments):
        time.sleep(answer["seconds"])
        sys.stdout.write(answer["out"])
        sys.stdout.flush()
        sys.stderr.write(answer["err"])
        sys.exit(answer["code"])
"""


@dataclass
class Call:
    """One call. ``files``: contents, at that time, of the files that the arguments name, in their order."""

    program: str
    arguments: list[str]
    files: list[bytes] = field(default_factory=list)

    @property
    def line(self) -> str:
        return " ".join([self.program, *self.arguments])


class FakePrograms:
    """A folder of fake programs, alone on the search path."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        self._answers: list[dict[str, object]] = []
        self._save()
        self._text = _PROGRAM.format(python=sys.executable)
        monkeypatch.setenv("PATH", str(folder))
        # Programs beside the interpreter are found, too.
        monkeypatch.setattr(sys, "executable", str(folder / "python"))

    def add(self, *names: str) -> FakePrograms:
        """Install programs that succeed and say nothing."""
        for name in names:
            path = self.folder / name
            path.write_text(self._text)
            path.chmod(0o755)
        return self

    def answer(
        self, program: str, when: str = "", *, out: str = "", err: str = "", code: int = 0, seconds: float = 0.0
    ) -> FakePrograms:
        """What a program does if ``when`` is in its arguments; the first answer that fits counts."""
        self._answers.append(
            {"program": program, "when": when, "out": out, "err": err, "code": code, "seconds": seconds}
        )
        self._save()
        return self

    def calls(self) -> list[Call]:
        """All calls so far."""
        path = self.folder / "calls.jsonl"
        if not path.exists():
            return []
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            Call(r["program"], r["arguments"], [Path(kept).read_bytes() for kept in r["files"].values()])
            for r in records
        ]

    def _save(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps(self._answers))
