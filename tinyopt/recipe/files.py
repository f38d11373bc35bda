"""Reading recipe files: YAML and TOML as plain data, with nothing in them believed."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tinyopt.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_BYTES = 256 << 10
DEEPEST = 32


class _Loader(yaml.SafeLoader):
    """Plain data only; no aliases (a few lines of them unfold to gigabytes), no key twice, no endless nesting."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=event.start_mark)
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="merge keys are not allowed", problem_mark=key.start_mark)
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {name!r} comes twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


# YAML 1.1, which the library reads, takes 1e-3 for text; everybody who writes it means the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


Lines: TypeAlias = "Mapping[tuple[str | int, ...], int]"
"""The way to a value (keys, and places in lists) → the line where it begins, counted from 1."""


def read_document(path: Path) -> tuple[dict[str, Any], Lines]:
    """The mapping that a ``.yaml``, ``.yml`` or ``.toml`` file holds, and the lines of its fields (of YAML).

    Raises:
        RecipeError: when the file cannot be read, is too large, or is not in its format.
    """
    if path.suffix not in (".yaml", ".yml", ".toml"):
        raise RecipeError(f"a recipe is a .yaml or .toml file, not '{path.name}'")
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe '{path}': {error.strerror or error}") from None
    if len(content) > LARGEST_BYTES:
        raise RecipeError(f"the recipe '{path}' is larger than {LARGEST_BYTES >> 10} KiB")
    return parse_document(content, path.suffix, str(path)), {} if path.suffix == ".toml" else field_lines(content)


def parse_document(content: bytes, suffix: str, where: str) -> dict[str, Any]:
    """``read_document`` of bytes; ``suffix`` says the format."""
    kind = "TOML" if suffix == ".toml" else "YAML"
    try:
        text = content.decode("utf-8-sig")
        document = tomllib.loads(text) if kind == "TOML" else yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, LookupError) as error:
        raise RecipeError(f"the recipe '{where}' is not valid {kind}: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise RecipeError(f"the recipe '{where}' must be a mapping of fields: model, board, data, stages …")
    return document


def field_lines(content: bytes) -> Lines:
    """The lines of the fields of a YAML file that ``parse_document`` has read."""
    found: dict[tuple[str | int, ...], int] = {}

    def walk(node: Any, way: tuple[str | int, ...]) -> None:
        entries: list[tuple[str | int, Any, Any]] = []
        if isinstance(node, yaml.MappingNode):
            entries = [(key.value, key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            entries = [(index, value, value) for index, value in enumerate(node.value)]
        for step, first, value in entries:
            here = (*way, step)
            found[here] = first.start_mark.line + 1
            walk(value, here)

    walk(yaml.compose(content.decode("utf-8-sig"), _Loader), ())
    return found
