"""C text: identifiers, comments, literals, initialisers and calls, laid out as clang-format lays them out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinyopt.errors import TinyoptError
from tinyopt.graph import Array
from tinyopt.plan.kernel import Constant, Symbol, Value

COLUMNS = 120
_RESERVED = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main "
    "asm class delete friend namespace new operator private protected public template this throw try using virtual "
    "bool true false catch"
)


def check_name(name: str) -> str:
    """``name`` if it can be the prefix of C identifiers and the name of files.

    Raises:
        TinyoptError: when it cannot.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,47}", name) or name in _RESERVED.split() or name.startswith("tinyopt"):
        raise TinyoptError(
            f"'{name}' cannot be the name of generated C code: use a letter followed by at most 47 letters, digits or "
            "underscores, no word of C, and nothing that starts with tinyopt"
        )
    return name


def snake(text: str) -> str:
    """``"FullyConnected"`` → ``"fully_connected"``, ``"Conv2d"`` → ``"conv2d"``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()


def comment_text(text: str, width: int = 72) -> str:
    """Text from a model file made safe inside a C comment: printable ASCII, no comment marks, the end of it if long."""
    text = text.split(";")[0]  # the first of the names that converters join
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '\\"?' else "_" for c in text)
    plain = re.sub(r"/(?=\*)|(?<=\*)/", "_", plain)
    return plain if len(plain) <= width else "..." + plain[len(plain) - width + 3 :]


def plain_text(text: str) -> str:
    """Words that mean the same in Markdown, YAML, Kconfig and properties; the rest of a model's name is left out."""
    return re.sub(r"[^A-Za-z0-9 .,+-]+", "_", text)[:72].strip(" ._") or "model"


def string_literal(text: str) -> str:
    """A C string of the harmless characters of ``text``; others become underscores."""
    return '"' + re.sub(r"[^A-Za-z0-9 ._/+-]", "_", text)[:80] + '"'


def float_literal(value: float | np.floating) -> str:
    """Shortest decimal that gives the same float32: ``0.1f``, ``-1e-05f``, ``INFINITY``."""
    number = np.float32(value)
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = str(number)
    return f"{text if any(c in text for c in '.e') else text + '.0'}f"


def int_literal(value: int) -> str:
    if value > 2**63 - 1:
        return f"{value}U"
    return "(-9223372036854775807 - 1)" if value == -(2**63) else str(value)


def elements(data: Array) -> list[str]:
    """The C literals of a one-dimensional array."""
    if data.dtype == np.float32:
        if not np.isfinite(data).all():
            return [float_literal(value) for value in data]
        return [f"{text if '.' in text or 'e' in text else text + '.0'}f" for text in data.astype(str).tolist()]
    if data.dtype == np.bool_:
        return [str(int(value)) for value in data]
    if data.dtype.itemsize == 8:
        return [int_literal(value) for value in data.tolist()]
    return list(map(str, data.tolist()))


def rows(data: Array) -> list[str]:
    """Lines of an array initialiser, right-aligned in columns, each at most 120 characters long."""
    items = elements(data)
    width = max(map(len, items))
    count = max((COLUMNS - 2) // (width + 2), 1)
    for tidy in (32, 16, 8):
        if count >= tidy:
            count = tidy
            break
    return [
        "  " + " ".join(f"{item + ',':>{width + 1}}" for item in items[start : start + count])
        for start in range(0, len(items), count)
    ]


def initialiser(fields: Mapping[str, Value], name_of: Callable[[Constant], str]) -> list[str]:
    """The lines between the braces of a struct's initialiser."""
    lines = []
    for field, value in fields.items():
        text = f"    .{field} = {_value(value, name_of)},"
        if len(text) <= COLUMNS or not isinstance(value, tuple):
            lines.append(text)
            continue
        items = [f"        {_value(item, name_of)}," for item in value]
        lines += ["    // clang-format off", f"    .{field} = {{", *items, "    },", "    // clang-format on"]
    return lines


def _value(value: Value, name_of: Callable[[Constant], str]) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Constant):
        return name_of(value)
    if isinstance(value, Symbol):
        return value.text
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return int_literal(int(value))
    if isinstance(value, (float, np.floating)):
        return float_literal(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f".{key} = {_value(item, name_of)}" for key, item in value.items()) + "}"
    return "{" + ", ".join(_value(item, name_of) for item in value) + "}"


def call(function: str, arguments: Sequence[str]) -> list[str]:
    """The lines of a call statement, indented by two, broken between arguments where it is too long."""
    lines, line = [], f"  {function}("
    indent = " " * len(line)
    for index, argument in enumerate(arguments):
        end = ");" if index == len(arguments) - 1 else ","
        glue = "" if line.endswith("(") or line == indent else " "
        if len(line) + len(glue) + len(argument) + len(end) > COLUMNS and line.strip():
            lines.append(line)
            line, glue = indent, ""
        line += glue + argument + end
    return [*lines, line if arguments else line + ");"]


def pointer_array(declaration: str, items: Sequence[str], notes: Sequence[str]) -> list[str]:
    """The lines of ``declaration = {items};``, indented by two; a long one has a line and a note for each item."""
    text = f"  {declaration} = {{{', '.join(items)}}};"
    if len(text) <= COLUMNS:
        return [text]
    width = max(map(len, items)) + 1
    lines = [f"      {item + ',':<{width}} // {note}" for item, note in zip(items, notes)]
    return [f"  {declaration} = {{", *lines, "  };"]
