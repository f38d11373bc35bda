"""C text: what comes from a model file cannot leave its comment or string, and literals keep their value."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.errors import TinyoptError
from tinyopt.generate import ctext
from tinyopt.plan.kernel import Constant, Symbol


@given(st.text(max_size=200))
def test_a_comment_cannot_be_closed_from_inside(text: str) -> None:
    safe = ctext.comment_text(text)
    assert "*/" not in safe and "/*" not in safe and "\n" not in safe and "\\" not in safe and "??" not in safe
    assert safe.isascii() and len(safe) <= 72


@given(st.text(alphabet="/*\\", max_size=30))
def test_comment_marks_are_taken_apart(text: str) -> None:
    safe = f"/* {ctext.comment_text(text)} */"
    assert safe.index("*/") == len(safe) - 2
    assert "/*" not in safe[2:]


@given(st.text(max_size=200))
def test_a_string_literal_holds_harmless_characters_only(text: str) -> None:
    assert re.fullmatch(r'"[A-Za-z0-9 ._/+-]{0,80}"', ctext.string_literal(text))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_literal_gives_the_same_float32(value: float) -> None:
    text = ctext.float_literal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?f", text) and ("." in text or "e" in text)
    assert np.float32(text[:-1]) == np.float32(value)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_a_list_of_floats_is_written_as_each_alone(values: list[float]) -> None:
    assert ctext.elements(np.array(values, np.float32)) == [ctext.float_literal(v) for v in values]


def test_values_that_have_no_decimal_are_named() -> None:
    assert ctext.float_literal(float("inf")) == "INFINITY"
    assert ctext.float_literal(float("-inf")) == "-INFINITY"
    assert ctext.float_literal(float("nan")) == "NAN"


def test_the_smallest_long_is_written_without_overflow() -> None:
    assert ctext.int_literal(-(2**63)) == "(-9223372036854775807 - 1)"
    assert ctext.int_literal(2**64 - 1) == "18446744073709551615U"


@pytest.mark.parametrize("name", ["model", "kws_2", "K"])
def test_good_names_pass(name: str) -> None:
    assert ctext.check_name(name) == name


@pytest.mark.parametrize("name", ["", "2fast", "int", "a-b", "x" * 49, "tinyopt_model", "../up", "main", "ä"])
def test_names_that_c_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(TinyoptError, match="cannot be the name"):
        ctext.check_name(name)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=100))
def test_rows_fit_the_page_and_hold_every_element(values: list[int]) -> None:
    lines = ctext.rows(np.array(values, np.int32))
    assert all(len(line) <= ctext.COLUMNS for line in lines)
    assert [int(item) for line in lines for item in line.split(",") if item.strip()] == values


def test_fields_are_written_by_type() -> None:
    constant = Constant(np.zeros(3, np.int8))
    lines = ctext.initialiser(
        {
            "count": np.int64(3),
            "scale": 0.5,
            "flag": True,
            "none": None,
            "table": constant,
            "how": Symbol("HOW_ADD"),
            "shape": (1, 2),
            "window": {"height": 3, "inner": {"x": 1}},
        },
        lambda item: "zeros",
    )
    assert [line.strip() for line in lines] == [
        ".count = 3,",
        ".scale = 0.5f,",
        ".flag = true,",
        ".none = NULL,",
        ".table = zeros,",
        ".how = HOW_ADD,",
        ".shape = {1, 2},",
        ".window = {.height = 3, .inner = {.x = 1}},",
    ]


def test_a_long_list_of_pointers_has_a_line_and_a_name_for_each() -> None:
    lines = ctext.pointer_array("void *const outputs[]", [f"at(arena, {10**n})" for n in range(9)], list("abcdefghi"))
    assert len(lines) == 11 and lines[1] == "      at(arena, 1),         // a"
    assert ctext.pointer_array("void *const outputs[]", ["at(arena, 8)"], ["a"]) == [
        "  void *const outputs[] = {at(arena, 8)};"
    ]


def test_a_long_tuple_is_kept_from_the_formatter() -> None:
    lines = ctext.initialiser({"sizes": tuple(range(1000, 1100))}, lambda item: "")
    assert lines[0].strip() == "// clang-format off" and lines[-1].strip() == "// clang-format on"


def test_long_calls_are_broken_between_arguments() -> None:
    lines = ctext.call("tinyopt_kernel", [f"at(arena, {n * 100000})" for n in range(12)])
    assert len(lines) > 1 and all(len(line) <= ctext.COLUMNS for line in lines)
    assert all(line.startswith(" " * len("  tinyopt_kernel(")) for line in lines[1:])
