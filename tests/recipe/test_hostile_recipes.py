"""Whatever is done to a recipe file: it is still a recipe, or one clear error that says where; nothing is written."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from support import blob_task
from tinyopt.cli.app import app
from tinyopt.errors import RecipeError, TinyoptError
from tinyopt.recipe import Recipe, load_recipe, make_recipe
from tinyopt.recipe.files import LARGEST_BYTES, field_lines, parse_document

REAL = {
    path.stem: path.read_bytes()
    for path in sorted((Path(__file__).resolve().parents[2] / "docs" / "recipes").glob("*.yaml"))
}
FULL = b"""\
model: net.onnx
board: emulated_l4r5zi
seed: 0
data:
  train: train.npz
  validation: 0.1
  test: {source: test.npz, limit: 2000}
budgets: {accuracy_loss: 0.01, flash: 64K, ram: 16K, cycles: 2_000_000, energy_uj: 600}
stages:
  - train: {epochs: 3, augment: [{type: noise, deviation: 1e-1}], patience: 2}
  - prune: {pruning: {type: structured, target: {cost: cycles, ratio: 0.5}, criterion: taylor},
            schedule: {type: iterative, steps: 3, fine_tune: {epochs: 4, learning_rate: 1e-3}}}
  - factorize: {rule: {type: energy, keep: 0.9}, layers: {first: {method: svd}}}
  - distill: {teacher: original, training: {epochs: 20}, hints: [[a, b]]}
  - qat: {teacher: original, overrides: {'*': int4}, training: {epochs: 5}}
  - compile: {project: platformio}
  - run: {limit: 200}
    name: last
"""
FILES = {**REAL, "full": FULL}


def read(content: bytes, suffix: str = ".yaml") -> Recipe | str:
    """The recipe that a file holds, or the one error."""
    try:
        document = parse_document(content, suffix, "mine.yaml")
        lines = field_lines(content) if suffix == ".yaml" else {}
        return make_recipe(document, where="mine.yaml", lines=lines)
    except RecipeError as error:
        text = str(error)
        assert "mine.yaml" in text and len(text) < 20_000
        return text


def test_the_files_to_be_broken_are_whole() -> None:
    for name, content in FILES.items():
        assert isinstance(read(content), Recipe), name


# ---- bytes ----


_STRANGE = [
    b"\t", b"&a ", b"*a", b"<<: ", b"!!python/name:os.system ", b"? ", b"- ", b"|", b">", b"\x00", b"\xff", b"[" * 40,
    b"{a: " * 40, b"%", b"@", b"---\n", b"...\n", b".nan", b".inf", b"0x", b"1_0", b"2026-01-01",
]  # fmt: skip


@st.composite
def broken_files(draw: st.DrawFn) -> bytes:
    """A recipe file after a few cuts, copies, and strokes of a cat on the keyboard."""
    content = FILES[draw(st.sampled_from(sorted(FILES)))]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["cut", "end", "insert", "copy", "line"]))
        if how == "cut":
            content = content[:start] + content[end:]
        elif how == "end":
            content = content[:start]
        elif how == "insert":
            strange = st.sampled_from(_STRANGE)
            content = content[:start] + draw(strange | st.binary(max_size=6)) + content[start:]
        elif how == "copy":
            content = content[:end] + content[start:end] * draw(st.integers(1, 5)) + content[end:]
        else:
            lines = content.splitlines(keepends=True)
            place = draw(st.integers(0, max(len(lines) - 1, 0)))
            lines[place:place] = lines[place : place + 1]
            content = b"".join(lines)
    return content


@settings(max_examples=200)
@given(broken_files())
def test_a_broken_file_is_a_recipe_or_one_clear_error(content: bytes) -> None:
    read(content)
    read(content, ".toml")


# ---- values ----

_JUNK: list[Any] = [
    None, True, False, 0, -1, 3, 10**9, 10**30, -(10**30), 0.5, 1e300, -1e300, float("nan"), float("inf"), "", "x",
    "../../etc/passwd", "/etc/shadow", "\x00", "ä" * 2000, "int8", "taylor", [], [[]], [1, "a"], ["x"] * 10_001, {},
    {"type": "structured"}, {"type": "no such"}, {"type": ["taylor"]}, {"type": {}}, {"": 1}, {"a": {"b": {"c": 1}}},
]  # fmt: skip


def ways(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, item in entries for way in [(*before, key), *ways(item, (*before, key))]]


@st.composite
def twisted_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document with some values that are something else, gone, twice there, or under another name."""
    document = yaml.safe_load(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(ways(document)[:200]))
        parent: Any = document
        for key in way[:-1]:
            parent = parent[key]
        how = draw(st.sampled_from(["other", "gone", "twice", "renamed"]))
        if how == "gone":
            del parent[way[-1]]
        elif how == "other" or not isinstance(parent, (list, dict)):
            parent[way[-1]] = deepcopy(draw(st.sampled_from(_JUNK)))
        elif how == "twice":
            parent.insert(way[-1], parent[way[-1]]) if isinstance(parent, list) else parent.update(typo=parent[way[-1]])
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(["typ", "Epochs", "name", "seed", "type"]))] = parent.pop(way[-1])
        if not document:
            break
    return dict(document)


@settings(max_examples=200)
@given(twisted_documents())
def test_a_twisted_document_is_a_recipe_or_an_error_that_names_the_field(document: dict[str, Any]) -> None:
    try:
        found = make_recipe(document, where="mine.yaml")
    except RecipeError as error:
        head, *problems = str(error).splitlines()
        assert head == "mine.yaml is not valid:" and problems
        fields = "model|board|seed|data|budgets|stages|name|threads|measure|objective|input_layout|folder|recipe"
        fields += "|" + "|".join(re.escape(str(key)) for key in document if str(key).strip())
        assert any(re.match(rf"  ({fields})\b", line) for line in problems), problems
    else:
        assert all(not Path(stage.name).is_absolute() and "/" not in stage.name for stage in found.stages)


# ---- by hand ----


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seed: 0", "seed: 0\nsead: 1", "sead (line 4): there is no such field"),
        ("epochs: 3,", "epochs: many,", "stages.1.train.epochs (line 10): Input should be a valid integer"),
        ("epochs: 3,", "epochs: .nan,", "stages.1.train.epochs (line 10): "),
        ("epochs: 3,", "epochs: 100000000000000000000,", "stages.1.train.epochs (line 10): Input should be less than"),
        (
            "epochs: 3,",
            "epochs: 2000000,",
            "stages.1.train (line 10): the training setting epochs = 2000000 makes no s",
        ),
        ("steps: 3", "steps: 100000", "stages.2.prune.schedule (line 12): an iterative schedule has 1 to 1000 steps"),
        ("deviation: 1e-1", "deviation: -.inf", "stages.1.train.augment.1.deviation (line 10): "),
        ("ratio: 0.5", "ratio: 0.5, ratios: 1", "stages.2.prune.pruning.target.ratios (line 11): there is no such"),
        ("criterion: taylor", "criterion: tailor", "stages.2.prune.pruning.criterion (line 11): give one of these"),
        ("flash: 64K", "flash: 64X", "budgets.flash (line 8): '64X' is not a size"),
        ("cycles: 2_000_000", "cycles: -1", "budgets.cycles (line 8): Input should be greater than 0"),
        ("limit: 2000", "limit: 0", "data.test"),
        ("limit: 200}", "limit: 0}", "stages.7.run (line 17): a limit of 0 samples leaves nothing to run"),
        ("project: platformio", "name: ../../etc", "stages.6.compile (line 16): '../../etc' cannot be the name"),
        ("name: last", "name: ../last", "stages.7.name (line 18): String should match"),
        ("name: last", "name: qat", "several stages are called 'qat'"),
        ("  - run:", "  - walk:", "stages.7 (line 17): no stage is called 'walk', 'name'"),
        ("teacher: original, t", "t", "stages.4.distill.teacher (line 14): is missing"),
        ("'*': int4", "'*': int3", "stages.5.qat.overrides.* (line 15): give one of these"),
        ("seed: 0", "seed: -1", "seed (line 3): Input should be greater than or equal to 0"),
        ("board: emulated_l4r5zi", "board: []", "board (line 2): Input should be a valid string"),
    ],
)
def test_an_error_names_the_field_and_its_line(old: str, new: str, problem: str) -> None:
    assert old in FULL.decode()
    text = read(FULL.decode().replace(old, new, 1).encode())
    assert isinstance(text, str) and problem in text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"stages: []\n", "give a list of stages"),
        (b"stages:\n" + b"  - run\n" * 65, "65 are too many; the limit is 64"),
        (b"stages: &s [*s]\n", "aliases are not allowed"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"b: &b [*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b]\n",
            "aliases are not allowed",
        ),
        (b"x: " + b"[" * 5000 + b"]" * 5000, "levels deep"),
        (b"x: " + b"{a: " * 5000, "levels deep"),
        (b"model: m\nmodel: n\n", "the key 'model' comes twice"),
        (b"!!python/object/apply:os.system ['touch x']\n", "not valid YAML"),
        (b"--- {model: a}\n--- {model: b}\n", "not valid YAML"),
        (b"\xfe\xff\x00m", "not valid YAML"),
        (b"# " + b"x" * LARGEST_BYTES, "is larger than 256 KiB"),
    ],
)
def test_on_the_command_line_it_is_one_message_exit_code_10_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(content)
    for command in (["recipe", "run", "bad.yaml", "-o", "out"], ["recipe", "check", "bad.yaml"]):
        done = CliRunner().invoke(app, command)
        assert isinstance(done.exception, RecipeError) and done.exception.exit_code == 10
        assert reason in str(done.exception) and "bad.yaml" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("board: mps2_an386", "board: mps2_an385x", "there is no board 'mps2_an385x'"),
        ("train.npz", "trains.npz", "there is no data at"),
        ("train.npz", "/etc/passwd", "is no data file"),
        ("net.tinyopt", "train.npz", "train.npz"),
        ("- quantize\n", "- quantize\n- train\n", "takes a float model and 'quantize' gives int8"),
        ("- quantize\n", "- distill: {teacher: ../../etc/passwd.onnx}\n", "which is not in"),
        ("- quantize\n", "- train: {device: 'cuda:77'}\n", "the device 'cuda:77' cannot be used"),
        ("board:", "objective: speed\nboard:", "unknown objective"),
    ],
)
def test_a_check_finds_what_a_run_would_stumble_over(tmp_path: Path, old: str, new: str, reason: str) -> None:
    blob_task.write(tmp_path)
    good = "model: net.tinyopt\nboard: mps2_an386\nmeasure: plan\ndata: {train: train.npz}\nstages:\n- quantize\n"
    (tmp_path / "good.yaml").write_text(good)
    assert CliRunner().invoke(app, ["recipe", "check", str(tmp_path / "good.yaml")]).exit_code == 0
    (tmp_path / "bad.yaml").write_text(good.replace(old, new, 1))
    before = sorted(tmp_path.iterdir())
    for command in (["check"], ["run", "-o", str(tmp_path / "out")]):
        done = CliRunner().invoke(app, ["recipe", *command, str(tmp_path / "bad.yaml")])
        assert isinstance(done.exception, TinyoptError) and reason in str(done.exception), done.exception
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_of_toml_has_no_lines_and_the_same_messages(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "m.onnx"\nboard = "mps2_an386"\nstages = [{train = {epochs = "x"}}]\n')
    with pytest.raises(RecipeError, match=r"  stages\.1\.train\.epochs: Input should be a valid integer"):
        load_recipe(tmp_path / "r.toml")
