"""``tinyopt factorize`` and ``tinyopt distill``: models in, smaller models out, and messages that say what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyopt.graph import DType, Graph, GraphBuilder, load_graph, ops, save_graph


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinyopt", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def network(hidden: int, seed: int = 0, classes: int = 4) -> Graph:
    random = np.random.default_rng(seed)
    b = GraphBuilder(f"net{hidden}")
    x = b.input("x", (1, 20), DType.FLOAT32)
    low = random.standard_normal((hidden, 2)) @ random.standard_normal((2, 20)) / 4
    x = b.add(ops.FullyConnected(ops.RELU), [x, b.constant("w1", low.astype(np.float32))], output="hidden")
    w = random.standard_normal((classes, hidden)) / np.sqrt(hidden)
    b.output(b.add(ops.FullyConnected(), [x, b.constant("w2", w.astype(np.float32))], output="scores"))
    return b.build()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    save_graph(network(40), path / "large.tinyopt")
    save_graph(network(4, 1), path / "small.tinyopt")
    save_graph(network(4, 1, classes=3), path / "other.tinyopt")
    random = np.random.default_rng(3)
    labels = np.arange(120) % 4
    centres = np.random.default_rng(9).standard_normal((4, 20)) * 1.5
    x = (centres[labels] + random.standard_normal((120, 20))).astype(np.float32)
    np.savez(path / "data.npz", x=x, y=labels)
    np.save(path / "unlabelled.npy", x)
    return path


def test_factorize_writes_the_model_and_says_what_it_did(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tinyopt"
    done = cli("factorize", str(folder / "large.tinyopt"), "-o", str(out), "--energy", "0.999")
    assert done.returncode == 0, done.stderr
    assert "hidden" in done.stdout and "rank 2" in done.stdout and "scores" in done.stdout and "left:" in done.stdout
    assert [operator.name for operator in load_graph(out).operators] == ["hidden/reduce", "hidden/expand", "scores"]


def test_factorize_to_cycles_and_fine_tune(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tinyopt"
    options = ["--cycles", "0.8", "-b", "mps2_an386", "--train", str(folder / "data.npz"), "--epochs", "2", "--json"]
    done = cli("factorize", str(folder / "large.tinyopt"), "-o", str(out), *options)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["cost_after"] < facts["cost_before"] and facts["layers"][0]["method"] == "svd"
    assert facts["accuracy_fine_tuned"] >= facts["accuracy_factorized"] and out.is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cycles", "0.5"], "give --board"),
        (["--energy", "0.5", "--parameters", "0.5"], "only one of"),
        (["--method", "magic"], "no factorization 'magic'"),
        (["--layer", "hidden"], "must be NAME=leave"),
        (["--layer", "nobody=svd:3"], "no layer 'nobody'"),
        (["--layer", "hidden=tucker", "--strict"], "'hidden' cannot be factorized"),
        (["--energy", "7"], "makes no sense"),
    ],
)
def test_factorize_says_what_is_wrong(folder: Path, tmp_path: Path, options: list[str], message: str) -> None:
    out = tmp_path / "out.tinyopt"
    done = cli("factorize", str(folder / "large.tinyopt"), "-o", str(out), *options)
    assert done.returncode == 3 and message in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


def test_a_budget_that_cannot_be_met_leaves_the_best_and_exit_code_11(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tinyopt"
    for options, text in (
        (["--parameters", "0.01"], " parameters, "),
        (["--cycles", "0.01", "-b", "mps2_an386"], " cycles, "),
    ):
        out.unlink(missing_ok=True)
        done = cli("factorize", str(folder / "large.tinyopt"), "-o", str(out), *options)
        assert done.returncode == 11 and "the budget is missed: " in done.stderr and text in done.stderr
        assert "1.0 % were asked for" in done.stderr and "is the best that was found" in done.stderr
        assert load_graph(out).operators


def test_a_layer_gets_the_ranks_that_are_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tinyopt"
    options = ["--layer", "hidden=svd:3", "--layer", "scores=leave", "--json"]
    facts = json.loads(cli("factorize", str(folder / "large.tinyopt"), "-o", str(out), *options).stdout)
    assert facts["layers"][0]["ranks"] == [3] and facts["left"][0]["reason"] == "asked to be left"


def test_distill_trains_the_student(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tinyopt"
    arguments = [str(folder / "small.tinyopt"), str(folder / "large.tinyopt"), "-d", str(folder / "data.npz")]
    options = ["--epochs", "6", "--learning-rate", "0.02", "--alpha", "0.2", "--hint", "hidden=hidden", "--json"]
    done = cli("distill", *arguments, "-o", str(out), *options)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["student_accuracy"] > facts["student_accuracy_before"]
    assert load_graph(out).name == "net4"
    assistant = ["--assistant", str(folder / "small.tinyopt"), "--alpha", "1", "--epochs", "1"]
    arguments[3] = str(folder / "unlabelled.npy")
    done = cli("distill", *arguments, "-o", str(out), *assistant)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("teacher", "options", "code", "message"),
    [
        ("other", [], 5, "gives 3 scores"),
        ("large", ["--hint", "hidden"], 9, "must be OURS=THEIRS"),
        ("large", ["--hint", "hidden=nothing"], 3, "no tensor 'nothing'"),
        ("large", ["-T", "0"], 9, "temperature"),
    ],
)
def test_distill_says_what_is_wrong(
    folder: Path, tmp_path: Path, teacher: str, options: list[str], code: int, message: str
) -> None:
    arguments = [str(folder / "small.tinyopt"), str(folder / f"{teacher}.tinyopt"), "-d", str(folder / "data.npz")]
    done = cli("distill", *arguments, "-o", str(tmp_path / "out.tinyopt"), *options)
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
