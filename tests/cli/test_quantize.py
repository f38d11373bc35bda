"""``tinyopt quantize``: formats, techniques and budgets from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tinyopt.cli.app import app
from tinyopt.errors import DataError
from tinyopt.graph import DType, GraphBuilder, load_graph, ops, save_graph


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    builder = GraphBuilder("little")
    x = builder.input("x", (1, 8, 8, 2), DType.FLOAT32)
    for number, name in enumerate(("first", "second", "third")):
        w = builder.constant("w", rng.normal(0, 0.3, (4, 3, 3, 4 if number else 2)).astype(np.float32))
        b = builder.constant("b", rng.normal(size=4).astype(np.float32))
        x = builder.add(ops.Conv2d(activation=ops.RELU), [x, w, b], name=name)
    builder.output(builder.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x], name="mean"))
    path = tmp_path_factory.mktemp("model") / "little.tinyopt"
    save_graph(builder.build(), path)
    return path


def quantize(model: Path, folder: Path, *options: str) -> tuple[dict[str, object], dict[str, int]]:
    """The JSON facts, and layer → largest magnitude of its weights."""
    output = folder / "q.tinyopt"
    command = ["quantize", str(model), "-c", "random:0:24", "-o", str(output), "--json", *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    graph = load_graph(output)
    layers = {
        o.name: int(np.abs(graph.ins(o)[1].value.astype(int)).max()) for o in graph.operators if o.kind == "Conv2d"
    }
    return json.loads(result.stdout), layers


def test_narrow_weights_keep_the_edges_wide_unless_asked(model: Path, tmp_path: Path) -> None:
    _, layers = quantize(model, tmp_path, "--weights", "ternary")
    assert layers == {"first": 127, "second": 1, "third": 127}
    _, layers = quantize(model, tmp_path, "--weights", "ternary", "--all-layers", "--layer", "first=int8")
    assert layers == {"first": 127, "second": 1, "third": 1}


@pytest.mark.parametrize("method", ["max", "percentile", "entropy", "mse"])
def test_every_method_and_technique_runs(model: Path, tmp_path: Path, method: str) -> None:
    facts, _ = quantize(
        model, tmp_path, "--method", method, "--weights", "int4", "-t", "equalise", "-t", "activation-aware",
        "-t", "adaround", "-t", "feedback", "-t", "bias", "--steps", "5", "--seed", "3", "--symmetric", "--per-layer",
        "-d", "random:1:8",
    )  # fmt: skip
    assert facts["sqnr_db"] > 12  # type: ignore[operator]


def test_a_budget_in_bytes_and_one_in_cycles(model: Path, tmp_path: Path) -> None:
    facts, layers = quantize(model, tmp_path, "--max-bytes", "450", "--choices", "int8,int4")
    assert facts["chosen_weight_bytes"] <= 450  # type: ignore[operator]
    assert set(facts["weights"].values()) == {"int8", "int4"}  # type: ignore[attr-defined]
    assert sorted(layers.values())[0] <= 8


def test_a_budget_that_cannot_be_met_leaves_the_best_and_exit_code_11(model: Path, tmp_path: Path) -> None:
    for options, missed in (
        (("--max-bytes", "3"), "weight bytes by "),
        (("--max-cycles", "10", "-b", "mps2_an386", "--choices", "int8,int4"), "cycles by "),
    ):
        output = tmp_path / "q.tinyopt"
        output.unlink(missing_ok=True)
        command = ["quantize", str(model), "-o", str(output), "-c", "random:0:16", "--json", *options]
        result = CliRunner().invoke(app, command)
        assert getattr(result.exception, "exit_code", None) == 11
        assert "is the best that was found, and misses " + missed in str(result.exception)
        assert min(map(float, json.loads(result.stdout)["shortfall"].values())) > 0
        assert load_graph(output).is_quantized


def test_int16_activations(model: Path, tmp_path: Path) -> None:
    quantize(model, tmp_path, "--activations", "int16")
    graph = load_graph(tmp_path / "q.tinyopt")
    assert {t.dtype for t in graph.tensors.values() if not t.is_constant} == {DType.INT16}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--activations", "int4"], "--activations must be int8 or int16"),
        (["--method", "guess"], "--method must be one of max, percentile, entropy, mse"),
        (["--weights", "int5"], "no weight format"),
        (["--layer", "first"], "NAME=FORMAT"),
        (["--layer", "fist=int4"], "no quantized layer of 'little' is called 'fist'; its layers are: first, second"),
        (["--technique", "magic"], "--technique must be one of equalise"),
        (["--max-cycles", "5"], "--max-cycles needs --board"),
        (["--min-accuracy", "0.9"], "--min-accuracy needs --data"),
        (["--min-accuracy", "0.9", "-d", "random:0:4"], "needs labelled data"),
    ],
)
def test_bad_options_are_one_clear_error(model: Path, tmp_path: Path, options: list[str], words: str) -> None:
    output = tmp_path / "never.tinyopt"
    command = ["quantize", str(model), "-c", "random:0:8", "-o", str(output), *options]
    with pytest.raises(DataError, match=words.replace("(", r"\(")):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not output.exists()
