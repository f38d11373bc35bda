"""What can be read from C text without a compiler: prototypes, definitions, names that are used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
_FUNCTION = re.compile(r"([A-Za-z_][\w \t\n*]*?[\s*])(\w+)\s*\(([^;{}()]*)\)\s*([;{])")
_ARRAY = re.compile(r"\bconst\s+\w+\s+(\w+)\s*\[[^\]]*\]\s*=")
_STRUCT = re.compile(r"typedef\s+struct\s*\{([^{}]*)\}\s*(\w+)\s*;")


@dataclass(frozen=True)
class Function:
    """A function of a C file. ``text``: its definition, without comments. ``is_static``: seen in its file only."""

    name: str
    text: str
    is_static: bool


def without_comments(text: str) -> str:
    """The text with every comment replaced by a space."""
    return _COMMENT.sub(" ", text)


def includes(text: str) -> tuple[str, ...]:
    """Names of the files that are included with quotes, in order."""
    return tuple(_INCLUDE.findall(without_comments(text)))


def names(text: str) -> frozenset[str]:
    """Every identifier outside comments."""
    return frozenset(_NAME.findall(without_comments(text)))


def parameter_types(parameters: str) -> tuple[str, ...]:
    """``"const int8_t *input, const int n"`` → ``("const int8_t *", "const int")``: the types without names."""
    types = []
    for parameter in parameters.split(","):
        words = re.findall(r"\w+|\*|\[[^\]]*\]", parameter)
        if words and words != ["void"]:
            kept = words[:-1] if len(words) > 1 and re.match(r"\w", words[-1]) else words
            types.append(" ".join(kept))
    return tuple(types)


def prototypes(header: str) -> dict[str, tuple[str, ...]]:
    """Functions of the library (``arm_…``) that a header declares: name → parameter types."""
    text = _DIRECTIVE.sub("", without_comments(header))
    found = [(name, parameters) for _, name, parameters, end in _FUNCTION.findall(text) if end == ";"]
    return {name: parameter_types(parameters) for name, parameters in found if name.startswith("arm_")}


def structs(header: str) -> dict[str, tuple[str, ...]]:
    """Structures that a header defines: name → its fields as ``"type name"``."""
    text = _DIRECTIVE.sub("", without_comments(header))
    return {
        name: tuple(" ".join(re.findall(r"\w+|\*", field)) for field in fields.split(";") if field.strip())
        for fields, name in _STRUCT.findall(text)
    }


def functions(source: str) -> tuple[Function, ...]:
    """The functions that a C file defines, in order."""
    text = without_comments(source)
    code = _DIRECTIVE.sub(lambda match: " " * len(match[0]), text)
    found, position = [], 0
    while match := _FUNCTION.search(code, position):
        position = match.end()
        if match[4] == "{":
            position = _closing_brace(code, match.end() - 1)
            found.append(Function(match[2], text[match.start(1) : position], "static" in match[1].lower()))
    return tuple(found)


def tables(source: str) -> tuple[str, ...]:
    """Names of the constant arrays that a C file defines."""
    return tuple(_ARRAY.findall(without_comments(source)))


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    return len(text)


def definitions(sources: Mapping[str, str]) -> dict[str, str]:
    """Functions and tables that files define for others: name → path of the file."""
    found: dict[str, str] = {}
    for path in sorted(sources):
        for function in functions(sources[path]):
            if not function.is_static:
                found.setdefault(function.name, path)
        for name in tables(sources[path]):
            found.setdefault(name, path)
    return found
