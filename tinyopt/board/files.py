"""Board files: finding and reading them, with the line of whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tinyopt.board.schema import Board
from tinyopt.errors import BoardError
from tinyopt.resources import resource

_LARGEST_FILE = 1 << 20
_MOST_BRACKETS = 1000
"""Bounds their nesting, with whose square the time to read them grows."""


@dataclass(frozen=True)
class Problem:
    """Something wrong or doubtful in a board file. ``where``: the field (``memories.0.size``; empty: the whole file);
    ``line``: counted from one, 0 where it has none."""

    where: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.where or 'board'}: {self.message}" + (f" (line {self.line})" if self.line else "")


@dataclass(frozen=True)
class BoardText:
    """A board file as it was read: its fields, and where in the file they are."""

    document: dict[Any, Any]
    node: yaml.Node
    repeated: tuple[Problem, ...]
    """Keys that are there twice."""

    def line(self, where: Sequence[int | str]) -> int:
        """The line of a field; of the nearest one around it where it is not there."""
        node = self.node
        line: int = node.start_mark.line + 1
        for part in where:
            found = _below(node, part)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        return line


@cache
def board_names() -> tuple[str, ...]:
    """Names of the packaged boards, sorted."""
    return tuple(sorted(path.stem for path in resource("boards").glob("*.yaml")))


def load_board(name: str | Path) -> Board:
    """A board by name, or from a YAML file.

    Raises:
        BoardError: unknown name (with the nearest ones), unreadable file, or a field that is wrong (all listed, with
            their lines).
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return _packaged(_named(str(name)))
    return _load(path)


@cache
def _packaged(name: str) -> Board:
    return _load(resource("boards") / f"{name}.yaml")


def _load(path: Path) -> Board:
    board, problems = validate_text(read_text(path))
    if board is None:
        raise BoardError(f"board file {path} is not valid:\n" + "\n".join(f"  {problem}" for problem in problems))
    return board


def _named(name: str) -> str:
    """The packaged board of a name or an alias."""
    if name in board_names():
        return name
    aliases = _aliases()
    if name.replace("-", "_").lower() in aliases:
        return aliases[name.replace("-", "_").lower()]
    import difflib

    near = difflib.get_close_matches(name, [*board_names(), *aliases], n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"known boards: {', '.join(board_names())}"
    raise BoardError(f"there is no board '{name}'; {hint} `tinyopt boards list` shows all.")


@cache
def _aliases() -> dict[str, str]:
    """Name and aliases of every packaged board, as far as their files are valid."""
    found: dict[str, str] = {}
    for name in board_names():
        board, _ = validate_text(read_text(resource("boards") / f"{name}.yaml"))
        found |= dict.fromkeys((name, *(board.aliases if board else ())), name)
    return found


def read_text(path: Path) -> BoardText:
    """Read a board file without judging its fields.

    Raises:
        BoardError: it cannot be read, is no YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise BoardError(f"board file {path} is larger than 1 MiB")
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > _MOST_BRACKETS:
            raise BoardError(f"board file {path} has more than {_MOST_BRACKETS} lists and mappings in brackets")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        document = loader.construct_document(node) if node is not None else None
        repeated = tuple(_repeated(node, "", set())) if node is not None else ()
    except OSError as error:
        raise BoardError(f"cannot read board file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BoardError(f"board file {path} is not valid YAML: {error}") from None
    if node is None or not isinstance(document, dict):
        raise BoardError(f"board file {path} must be a mapping of fields")
    return BoardText(document, node, repeated)


def validate_text(text: BoardText) -> tuple[Board | None, tuple[Problem, ...]]:
    """The board of a file, or None and everything that is wrong with it, in the order of the file."""
    problems = list(text.repeated)
    board = None
    try:
        board = Board.model_validate(text.document)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            where = tuple(part for part in item["loc"] if isinstance(part, (int, str)))
            message = item["msg"].removeprefix("Value error, ")
            problems.append(Problem(".".join(map(str, where)), message, text.line(where)))
    except RecursionError:
        problems.append(Problem("", "its fields are nested in themselves"))
    if problems:
        return None, tuple(sorted(problems, key=lambda problem: problem.line))
    return board, ()


def _below(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that a field or an index names, and the node where it starts."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _repeated(node: yaml.Node, where: str, seen: set[int]) -> Iterator[Problem]:
    """Keys that a mapping has twice, of which YAML readers silently take the last."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            below = f"{where}.{name}" if where else name
            if name and name in names:
                yield Problem(below, "is there twice", key.start_mark.line + 1)
            names.add(name)
            yield from _repeated(value, below, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{where}.{index}", seen)
