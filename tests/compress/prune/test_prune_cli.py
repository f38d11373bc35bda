"""``tinyopt prune``: files in, files out, errors that name the option."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tinyopt.cli.app import app
from tinyopt.errors import TinyoptError
from tinyopt.graph import DType, GraphBuilder, graph_macs, load_graph, ops, save_graph


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a convolution and a dense layer, and labelled data for it."""
    random = np.random.default_rng(0)
    b = GraphBuilder("little")

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.standard_normal(shape).astype(np.float32))

    x = b.input("x", (1, 6, 6, 2), DType.FLOAT32)
    x = b.add(ops.Conv2d(activation=ops.RELU), [x, weights("w", 8, 3, 3, 2), weights("b", 8)], name="conv")
    x = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x])
    b.output(b.add(ops.FullyConnected(), [x, weights("v", 3, 8)], name="scores"))
    place = tmp_path_factory.mktemp("prune")
    save_graph(b.build(), place / "model.tinyopt")
    inputs = random.standard_normal((48, 6, 6, 2)).astype(np.float32)
    np.savez(place / "data.npz", x=inputs, y=np.arange(48) % 3)
    return place


def run(folder: Path, *arguments: str) -> str:
    command = ["prune", str(folder / "model.tinyopt"), "-o", str(folder / "out.tinyopt"), *arguments]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_half_of_the_weights_become_zero(folder: Path) -> None:
    text = run(folder, "--amount", "0.5")
    graph = load_graph(folder / "out.tinyopt")
    zeros = sum(int((graph.tensors[name].value == 0).sum()) for name in ("w", "v"))
    assert zeros == 84 and "50.0%" in text and "conv" in text


@pytest.mark.parametrize(("pattern", "share"), [("2:4", 0.5), ("1x4", 0.5), ("1:3", 2 / 3)])
def test_patterns(folder: Path, pattern: str, share: float) -> None:
    facts = json.loads(run(folder, "--pattern", pattern, "--json"))
    assert facts["sparsity"] == pytest.approx(share, abs=0.07) and facts["macs"] == facts["macs_before"]


@pytest.mark.parametrize("scope", ["cost", "trial"])
def test_channels_leave_where_the_work_is(folder: Path, scope: str) -> None:
    options = ("--scope", scope, "--compensate", "linear", "--criterion", "taylor", "--normalise", "l2")
    data = ("--data", str(folder / "data.npz"), "--json")
    facts = json.loads(run(folder, "--structured", "--macs", "0.5", *options, *data))
    assert graph_macs(load_graph(folder / "out.tinyopt")) == facts["macs"] <= 0.5 * facts["macs_before"]


def test_structured_pruning_to_a_share_of_the_work(folder: Path) -> None:
    facts = json.loads(run(folder, "--structured", "--macs", "0.5", "--data", str(folder / "data.npz"), "--json"))
    graph = load_graph(folder / "out.tinyopt")
    assert graph_macs(graph) == facts["macs"] <= 0.5 * facts["macs_before"]
    assert graph.tensors["w"].shape == (4, 3, 3, 2) and 0 <= facts["accuracy"] <= 1
    assert facts["layers"][0]["weights"] == [4, 3, 3, 2]
    assert any("cannot" not in note and "'scores' keeps its channels" in note for note in facts["notes"])


def test_predicted_cycles_of_a_board_are_a_target(folder: Path) -> None:
    text = run(folder, "--structured", "--cycles", "0.7", "-b", "mps2_an386", "--criterion", "l1")
    assert "8x3x3x2 → " in text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--macs", "0.001"], "the target of 2 multiply-accumulates is missed by "),
        (["--parameters", "0.001"], " parameters is missed by "),
        (["--cycles", "0.001", "-b", "mps2_an386"], " cycles is missed by "),
    ],
)
def test_a_target_that_cannot_be_met_leaves_the_best_and_exit_code_11(
    folder: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    out = tmp_path / "out.tinyopt"
    command = ["prune", str(folder / "model.tinyopt"), "-o", str(out), "--structured", "--json", *options]
    result = CliRunner().invoke(app, command)
    assert getattr(result.exception, "exit_code", None) == 11, result.output
    assert text in str(result.exception) and f"'{out}' is the best that was found" in str(result.exception)
    assert text in json.loads(result.stdout)["missed"]
    assert graph_macs(load_graph(out)) < graph_macs(load_graph(folder / "model.tinyopt"))


def test_schedules_train_between(folder: Path) -> None:
    data = ["--data", str(folder / "data.npz"), "--epochs", "1"]
    for options in (
        ["--schedule", "iterative", "--steps", "2"],
        ["--schedule", "gradual", "--regrow", "gradient"],
        ["--schedule", "lottery", "--steps", "1", "--rewind-step", "1"],
        ["--criterion", "taylor"],
    ):
        facts = json.loads(run(folder, "--amount", "0.6", *data, *options, "--json"))
        assert facts["sparsity"] == pytest.approx(0.6, abs=0.02) and facts["accuracy"] is not None
    run(folder, "--structured", "--unit", "channels", "--compensate", "mean", "--schedule", "iterative", *data)


def test_batch_norms_are_put_back_before_pruning(folder: Path) -> None:
    data = ("--data", str(folder / "data.npz"), "--epochs", "1", "--json")
    json.loads(run(folder, "--structured", "--macs", "0.6", "--batch-norms", *data))
    kinds = [operator.kind for operator in load_graph(folder / "out.tinyopt").operators]
    assert kinds.count("BatchNorm") == 1


@pytest.mark.parametrize("schedule", ["gradual", "lottery"])
def test_channels_leave_over_a_training(folder: Path, schedule: str) -> None:
    data = ("--data", str(folder / "data.npz"), "--epochs", "2", "--json")
    facts = json.loads(run(folder, "--structured", "--macs", "0.5", "--schedule", schedule, "--steps", "1", *data))
    assert graph_macs(load_graph(folder / "out.tinyopt")) == facts["macs"] <= 0.5 * facts["macs_before"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--macs", "0.5"], "--macs needs --structured"),
        (["--structured", "--macs", "0.5", "--amount", "0.5"], "not both"),
        (["--structured", "--macs", "0.5", "--parameters", "0.5"], "only one of"),
        (["--structured", "--cycles", "0.5"], "give --board"),
        (["--pattern", "4"], "--pattern must be"),
        (["--pattern", "2:4", "--amount", "0.3"], "leave out --amount"),
        (["--criterion", "l3"], "--criterion must be"),
        (["--criterion", "taylor"], "labels"),
        (["--schedule", "gradual"], "give --epochs"),
        (["--schedule", "slow"], "--schedule must be"),
        (["--regrow", "random"], "needs --schedule gradual"),
        (["--scope", "all"], "scope is"),
        (["--amount", "1.5"], "amount must be a share"),
        (["--skip", "convolution"], "fits no layer"),
        (["--only", "Conv3d"], "layers: 'Conv3d' fits no layer"),
        (["--structured", "--only", "Conv2d"], "--only is for zeros"),
        (["--structured", "--unit", "rows"], "unit is one of"),
        (["--compensate", "mean"], "needs --structured"),
        (["--normalise", "l2"], "needs --structured"),
        (["--structured", "--normalise", "max"], "mean, l2 or none"),
        (["--structured", "--compensate", "median"], "mean or linear"),
        (["--structured", "--scope", "trial"], "give a target"),
        (["--structured", "--macs", "0.5", "--scope", "trial"], "trials"),
        (["--batch-norms"], "give --data"),
        (["--structured", "--compensate", "linear"], "needs data"),
    ],
)
def test_mistakes_are_named(folder: Path, options: list[str], message: str) -> None:
    with pytest.raises(TinyoptError, match=message):
        run(folder, *options)
