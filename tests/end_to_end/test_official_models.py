"""The official MLPerf Tiny int8 models run on every emulated board, unmodified, and equal TensorFlow Lite Micro."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.support.micro import TfliteMicro

MODELS = {
    "kws": "kws_ref_model.tflite",
    "vww": "vww_96_int8.tflite",
    "ic": "pretrainedResnet_quant.tflite",
    "ad": "ad01_int8.tflite",
}
BOARDS = (
    "mps2_an385",
    "mps2_an386",
    "mps2_an500",
    "mps2_an505",
    "mps3_an547",
    "mps2_m0",
    "rv32_virt",
    "host",
)
NEEDS = {"rv32_virt": ("qemu-system-riscv32", "riscv64-unknown-elf-gcc"), "host": ("gcc",)}


def run_cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinyopt", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=cwd,
    )


def need_tools(board: str) -> None:
    for tool in NEEDS.get(board, ("qemu-system-arm", "arm-none-eabi-gcc")):
        if shutil.which(tool) is None:
            pytest.skip(f"{board} needs {tool}, which is not installed")


@cache
def samples(model: Path, count: int) -> np.ndarray:
    """Random int8 inputs with the extremes among them, [count, ...]."""
    from tinyopt.importers import load

    graph = load(model)
    shape = graph.tensors[graph.inputs[0]].shape
    values = np.random.default_rng(7).integers(-128, 128, (count, *shape)).astype(np.int8)
    values[0], values[1] = -128, 127
    return values


@cache
def micro_outputs(model: Path, count: int) -> np.ndarray:
    interpreter = TfliteMicro(model.read_bytes())
    return np.stack([interpreter(sample)[0] for sample in samples(model, count)])


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("model", MODELS)
def test_an_official_model_equals_tflite_micro_on_a_board(mlperf: Path, tmp_path: Path, model: str, board: str) -> None:
    need_tools(board)
    path, count = mlperf / MODELS[model], 3
    np.save(tmp_path / "x.npy", samples(path, count))
    result = run_cli(
        "run", str(path), "--board", board, "--data", str(tmp_path / "x.npy"), "--json",
        "--outputs", str(tmp_path / "y.npy"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["samples"], report["mismatches"], report["top1"]) == (count, 0, None)
    assert report["arena_bytes"] >= report["arena_lower_bound"] > 0
    assert board == "host" or report["instructions"] > report["macs"] / 32
    assert len(report["layers"]) > 5
    outputs = np.load(tmp_path / "y.npy")
    assert np.array_equal(outputs.reshape(count, -1), micro_outputs(path, count).reshape(count, -1))


@pytest.fixture(scope="session")
def keyword_folder(mlperf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official keyword-spotting inputs, unpacked."""
    folder = tmp_path_factory.mktemp("kws")
    with tarfile.open(mlperf / "kws01.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    (labels,) = folder.rglob("y_labels.csv")
    return labels.parent


@pytest.mark.slow
def test_keyword_spotting_on_all_official_inputs(mlperf: Path, keyword_folder: Path, tmp_path: Path) -> None:
    need_tools("mps2_an386")
    path = mlperf / MODELS["kws"]
    result = run_cli(
        "run", str(path), "--board", "mps2_an386", "--data", str(keyword_folder), "--json",
        "--outputs", str(tmp_path / "y.npy"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["samples"], report["mismatches"]) == (1000, 0)
    assert report["top1"] == pytest.approx(0.901, abs=1e-9)
    assert sum(item["total"] for item in report["per_class"]) == 1000
    assert np.load(tmp_path / "y.npy").shape[0] == 1000
