"""The command line: quick help, clear errors with exit codes, nothing half-written."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyopt.graph import DType, GraphBuilder, ops, save_graph


def cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinyopt", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    builder = GraphBuilder("little")
    x = builder.input("x", (1, 8, 8, 2), DType.FLOAT32)
    w = builder.constant("w", rng.normal(size=(4, 3, 3, 2)).astype(np.float32))
    b = builder.constant("b", rng.normal(size=4).astype(np.float32))
    y = builder.add(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1), activation=ops.RELU), [x, w, b], name="conv")
    y = builder.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [y], name="mean")
    builder.output(y)
    path = tmp_path_factory.mktemp("model") / "little.tinyopt"
    save_graph(builder.build(), path)
    return path


def test_help_answers_in_half_a_second() -> None:
    """In seconds of the processor: other tests run at the same time."""
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = cli("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert result.returncode == 0
        assert "microcontroller" in result.stdout
    assert min(seconds) < 0.5


def test_inspect_prints_shapes_and_costs(float_model: Path) -> None:
    result = cli("inspect", str(float_model))
    assert result.returncode == 0, result.stderr
    assert "Conv2d" in result.stdout
    assert "4,608 MACs" in result.stdout
    facts = json.loads(cli("inspect", str(float_model), "--json").stdout)
    assert facts["macs"] == 8 * 8 * 4 * 18
    assert facts["inputs"][0]["shape"] == [1, 8, 8, 2]


def test_the_whole_way_from_a_float_model_to_an_emulated_board(float_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    rng = np.random.default_rng(1)
    np.savez(data, x=rng.normal(size=(20, 8, 8, 2)).astype(np.float32), y=rng.integers(0, 4, 20))
    result = cli(
        "run", str(float_model), "--board", "mps2_an386", "--data", str(data), "--calibration", str(data), "--json",
        "--project", str(tmp_path / "project"), "--outputs", str(tmp_path / "y.npy"), "--limit", "10",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["samples"], report["mismatches"]) == (10, 0)
    assert 0.0 <= report["top1"] <= 1.0
    wanted = "model board samples mismatches top1 instructions cycles arena_bytes code_bytes weights_bytes stack_bytes"
    assert set(f"{wanted} macs layers".split()) <= set(report)
    assert set(report["layers"][0]) >= {"name", "operator", "kernel", "macs", "instructions", "cycles"}
    assert np.load(tmp_path / "y.npy").shape[0] == 10
    assert (tmp_path / "project" / "src" / "model.h").is_file()


def test_quantize_writes_a_model_that_compiles(float_model: Path, tmp_path: Path) -> None:
    result = cli("quantize", str(float_model), "-c", "random:3:32", "-o", str(tmp_path / "q.tinyopt"), "--json")
    assert result.returncode == 0, result.stderr
    result = cli("compile", str(tmp_path / "q.tinyopt"), "-b", "mps2_an386", "-o", str(tmp_path / "project"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "project" / "CMakeLists.txt").is_file()


ERRORS = {
    "an unknown board is named, with the nearest": (
        ["run", "{model}", "-b", "mps2_an387", "-d", "random:0:1"],
        6,
        ["mps2_an387", "mps2_an386"],
    ),
    "a model that is no model": (["inspect", "{garbage}"], 3, ["garbage.tflite"]),
    "a model that is absent": (["inspect", "{folder}/absent.tflite"], 3, ["absent.tflite"]),
    "calibration data of the wrong shape": (
        ["quantize", "{model}", "-c", "{wrong}", "-o", "{folder}/never.tinyopt"],
        5,
        ["wrong.npy", "8, 8, 2]"],
    ),
    "data that is absent": (["run", "{model}", "-b", "host", "-d", "{folder}/absent.npz"], 5, ["absent.npz"]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_one_clear_error(name: str, float_model: Path, tmp_path: Path) -> None:
    arguments, code, words = ERRORS[name]
    (tmp_path / "garbage.tflite").write_bytes(b"\x18\x00\x00\x00TFL3 and then nothing that makes sense")
    np.save(tmp_path / "wrong.npy", np.zeros((3, 7), np.float32))
    places = {
        "model": float_model,
        "garbage": tmp_path / "garbage.tflite",
        "wrong": tmp_path / "wrong.npy",
        "folder": tmp_path,
    }
    before = sorted(tmp_path.iterdir())
    result = cli(*(a.format(**places) for a in arguments))
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_boards_are_listed_shown_and_checked(tmp_path: Path) -> None:
    names = {board["name"] for board in json.loads(cli("boards", "list", "--json").stdout)}
    assert {"mps2_an386", "microbit", "rv32_virt", "host"} <= names
    assert "cortex-m4" in cli("boards", "show", "mps2_an386").stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\ntitle: no core\n")
    result = cli("boards", "check", str(bad))
    assert result.returncode == 6
    assert "core" in result.stderr


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tinyopt import recipe
    from tinyopt.cli import main

    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "r.yaml").write_text("model: example:digits\nboard: mps2_an386\nstages: [run]\n")
    monkeypatch.setattr(recipe, "run_recipe", interrupt)
    monkeypatch.setattr(sys, "argv", ["tinyopt", "recipe", "run", str(tmp_path / "r.yaml"), "-o", "results"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    assert "run the recipe again to go on from what is in 'results'" in capsys.readouterr().err
