"""``tinyopt qat``: from a float model and labelled data to a trained integer model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.quantize.aware.conftest import stripes
from tinyopt.cli.app import app
from tinyopt.errors import DataError
from tinyopt.graph import Graph, load_graph, ops, save_graph


@pytest.fixture(scope="module")
def files(trained: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qat")
    save_graph(trained, folder / "net.tinyopt")
    for name, seed in (("train", 0), ("test", 1)):
        x, y = stripes(160, seed)
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    model, data = str(folder / "net.tinyopt"), str(folder / "train.npz")
    return ["qat", model, "-d", data, "-o", str(folder / "out.tinyopt"), "--epochs", "2", *more]


def test_a_float_model_becomes_a_trained_integer_model(files: Path) -> None:
    test = str(files / "test.npz")
    more = ["--weights", "ternary", "--layer", "depth*=int4", "--validation", test, "--test", test, "--json"]
    result = CliRunner().invoke(app, arguments(files, *more, "--teacher", "self", "--folder", str(files / "run")))
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["int8_top1"] > 0.8
    assert facts["int8_top1"] == pytest.approx(facts["validation_top1"], abs=0.01)
    assert (files / "run" / "log.jsonl").is_file()
    quantized = load_graph(files / "out.tinyopt")
    weights = {o.name: quantized.ins(o)[1].value for o in quantized.operators if isinstance(o.attributes, ops.Conv2d)}
    assert set(np.unique(weights["pointwise"])) <= {-1, 0, 1}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--weights", "int3"], "no weight format"),
        (["--layer", "depthwise"], "LAYER=FORMAT"),
        (["--layer", "second=int4"], "its layers are"),
        (["--ranges", "all"], "--ranges must be one of"),
    ],
)
def test_bad_options_are_one_clear_error(files: Path, more: list[str], words: str) -> None:
    result = CliRunner().invoke(app, arguments(files, *more))
    assert isinstance(result.exception, DataError)
    assert words in str(result.exception)
