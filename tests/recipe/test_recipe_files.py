"""What a recipe file may say, and that nothing else in one does any harm."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyopt.compress.prune import BlockPruning, Iterative, NMPruning, StructuredPruning, Taylor
from tinyopt.errors import RecipeError, TinyoptError
from tinyopt.quantize import AdaRound, Clustered, Equalise, Int4, Percentile, PostTraining
from tinyopt.recipe import Recipe, load_recipe, make_recipe, stage_kinds
from tinyopt.recipe.board_cost import names_board
from tinyopt.recipe.files import parse_document
from tinyopt.recipe.runner import describe
from tinyopt.recipe.schema import implementations, plain, spoken_name

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "recipes"
BASE: dict[str, Any] = {"model": "net.tinyopt", "board": "mps2_an386"}


def recipe(*stages: Any, **fields: Any) -> Recipe:
    return make_recipe({**BASE, "stages": list(stages), **fields})


def config(stage: Any, **fields: Any) -> Any:
    return recipe(stage, **fields).stages[0].config


def test_stages_take_the_fields_of_the_configurations() -> None:
    found = config("quantize")
    assert {f.name: getattr(found, f.name) for f in fields(PostTraining)} == vars(PostTraining())
    found = config(
        {
            "quantize": {
                "calibration": {"type": "percentile", "percent": 99.5},
                "weights": "int4",
                "overrides": {"first*": {"type": "clustered", "values": 4}},
                "techniques": ["equalise", {"type": "ada_round", "steps": 7}],
            }
        }
    )
    assert found.calibration == Percentile(99.5) and found.weights == Int4()
    assert found.overrides["first*"] == Clustered(4)
    assert found.techniques == (Equalise(), AdaRound(steps=7))


def test_a_class_is_named_in_any_writing_and_without_the_word_that_all_share() -> None:
    for name in ("structured_pruning", "StructuredPruning", "structured"):
        found = config({"prune": {"pruning": {"type": name, "amount": 0.25, "criterion": "taylor"}}})
        assert found.pruning == StructuredPruning(amount=0.25, criterion=Taylor())
    assert config({"prune": {"pruning": "nm"}}).pruning == NMPruning()
    schedule = {"type": "iterative", "steps": 2, "fine_tune": {"epochs": 3}}
    found = config({"prune": {"pruning": "nm", "schedule": schedule}})
    assert isinstance(found.schedule, Iterative) and found.schedule.fine_tune.epochs == 3


def test_layers_are_chosen_by_kind() -> None:
    pruning = {"type": "block", "amount": 0.9, "skip": ["DepthwiseConv2d"], "layers": ["*Conv2d", "classes"]}
    found = config({"prune": {"pruning": pruning}})
    assert found.pruning == BlockPruning(0.9, skip=("DepthwiseConv2d",), layers=("*Conv2d", "classes"))


def test_the_seed_of_the_recipe_is_the_seed_of_every_stage_that_names_none() -> None:
    found = recipe("train", {"fine_tune": {"seed": 3}}, {"quantize": {"techniques": ["ada_round"]}}, seed=11)
    assert found.stages[0].config.seed == 11
    assert found.stages[1].config.seed == 3
    assert found.stages[2].config.techniques[0].seed == 11


def test_cycles_on_the_board_can_be_a_cost() -> None:
    found = config({"prune": {"pruning": {"type": "structured", "target": {"cost": "cycles", "ratio": 0.5}}}})
    assert names_board(found)
    assert not names_board(config({"prune": {"pruning": {"type": "structured", "amount": 0.5}}}))


def test_every_technique_that_a_package_exports_can_be_named() -> None:
    from tinyopt.quantize import CalibrationMethod, WeightFormat

    assert {"max_range", "percentile", "entropy"} <= {spoken_name(c) for c in implementations(CalibrationMethod)}
    for kind in implementations(WeightFormat):
        assert type(config({"quantize": {"weights": spoken_name(kind)}}).weights) is kind


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_documentation_are_valid(path: Path) -> None:
    assert load_recipe(path).stages


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "model: m.tflite\nboard: mps2_an386\ndata: {train: t.npz, validation: 0.2}\n"
        "stages:\n  - train: {epochs: 3, learning_rate: 1e-3, augment: [{type: noise, deviation: 1e-1}]}\n"
        "  - quantize\n"
    )
    (tmp_path / "a.toml").write_text(
        'model = "m.tflite"\nboard = "mps2_an386"\ndata = {train = "t.npz", validation = 0.2}\n'
        "[[stages]]\ntrain = {epochs = 3, learning_rate = 1e-3, augment = [{type = 'noise', deviation = 0.1}]}\n"
        "[[stages]]\nquantize = {}\n"
    )
    first, second = load_recipe(tmp_path / "a.yaml"), load_recipe(tmp_path / "a.toml")
    assert describe(first) == describe(second)
    assert first.name == "a" and first.folder == tmp_path


def test_a_recipe_with_all_defaults_filled_in_is_the_same_recipe() -> None:
    first = recipe({"train": {"augment": ["horizontal_flip"]}}, {"distill": {"teacher": "train"}}, "qat", "run")
    document = describe(first)
    again = make_recipe(yaml.safe_load(yaml.safe_dump(document)))
    assert describe(again) == document


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        make_recipe(
            {
                "model": "x",
                "bord": "mps2_an386",
                "stages": [
                    "polish",
                    {"train": {"epochs": "many", "speed": 3}},
                    {"quantize": {"calibration": {"type": "percentile", "percent": 1}}},
                    {"run": {}, "name": "../escape"},
                    {"quantize": {"weights": "int3"}},
                ],
                "data": {"validation": 2.0},
            }
        )
    text = str(caught.value)
    for part in (
        "board: is missing",
        "bord: there is no such field",
        "stages.1: no stage is called 'polish'",
        "stages.2.train.epochs: Input should be a valid integer",
        "stages.2.train.speed: there is no such field",
        "stages.3.quantize.calibration: a calibration percentile must lie between 50 and 100, not 1",
        "stages.4.name",
        "stages.5.quantize.weights: give one of these, by name or as a mapping with 'type': binary, clustered, int4",
        "data.validation",
    ):
        assert part in text, text


def test_two_stages_of_one_kind_get_names_of_their_own() -> None:
    found = recipe("train", {"prune": {"pruning": "nm"}}, "fine_tune", "fine_tune", {"train": None, "name": "late"})
    assert [stage.name for stage in found.stages] == ["train", "prune", "fine-tune", "fine-tune-2", "late"]
    with pytest.raises(RecipeError, match="several stages are called 'a'"):
        recipe({"run": {}, "name": "a"}, {"run": {}, "name": "a"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: 1\na: 2", "comes twice"),
        ("base: {a: 1}\nb:\n  <<: {a: 2}", "merge"),
        ("[1, 2]", "must be a mapping"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("x: " + "[" * 100 + "]" * 100, "levels deep"),
        ("\x00", "not valid YAML"),
        ("? [a, b]\n: 1", "comes twice|must be"),
        ("1: 2", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_yaml_that_means_harm_is_refused(text: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        parse_document(text.encode(), ".yaml", "r.yaml")


def test_files_that_are_no_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match=r"\.yaml or \.toml"):
        load_recipe(tmp_path / "recipe.json")
    (tmp_path / "large.yaml").write_text("# " + "x" * (300 << 10))
    with pytest.raises(RecipeError, match="larger than 256 KiB"):
        load_recipe(tmp_path / "large.yaml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not valid YAML"):
        load_recipe(tmp_path / "bytes.yaml")


_FIELDS = """type pruning schedule calibration weights techniques training epochs int4 percentile structured amount
target cost cycles ratio iterative seed teacher name model board data budgets stages test flash accuracy"""
_WORDS = st.sampled_from([*stage_kinds(), *_FIELDS.split(), "../x", "\x00", "ä"])
_LEAVES = st.one_of(
    _WORDS,
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.dates(),
)
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_WORDS | st.integers(), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(_WORDS, _ANYTHING, max_size=6), st.lists(_ANYTHING, max_size=3))
def test_whatever_a_document_holds_it_is_a_recipe_or_one_clear_error(document: dict[str, Any], stages: Any) -> None:
    for value in (document, {**BASE, "stages": stages}, {**BASE, "stages": ["run"], **document}):
        try:
            found = make_recipe(value)
        except TinyoptError as error:
            assert str(error).strip()
        else:
            plain([stage.config for stage in found.stages])


@settings(max_examples=150)
@given(st.text(max_size=60) | st.sampled_from(("a: *a", "&a [*a]", "- - - -", "{a: {b: [", "!!set {x}", "a: 0x_")))
def test_whatever_a_file_holds_it_is_a_document_or_one_clear_error(text: str) -> None:
    for suffix in (".yaml", ".toml"):
        try:
            assert isinstance(parse_document(text.encode("utf-8", "surrogatepass"), suffix, "r"), dict)
        except RecipeError as error:
            assert "r" in str(error)
