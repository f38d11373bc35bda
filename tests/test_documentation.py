"""The Python of the pages about compression runs as it stands, but for fewer epochs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tinyopt
from tinyopt.bridge import to_torch
from tinyopt.compress.factorize import PredictedCycles
from tinyopt.compress.prune import StructuredPruning, Target, Taylor
from tinyopt.graph import DType, Graph, GraphBuilder, ops, save_graph
from tinyopt.quantize import Budget, ErrorFeedback, Int4, Int8, PostTraining, Ternary, choose_widths
from tinyopt.train import TrainSettings, fit

DOCS = Path(__file__).resolve().parent.parent / "docs"
IMPORTED = {
    kind.__name__: kind
    for kind in (
        *(StructuredPruning, Target, Taylor, PredictedCycles, fit, to_torch),
        *(Budget, ErrorFeedback, Int4, Int8, PostTraining, Ternary, choose_widths),
    )
} | {"tinyopt": tinyopt, "torch": torch, "nn": torch.nn}
"""What a later snippet of a page takes for imported."""
RELU = ops.Clamp(0.0, None)
RECIPE = """\
model: net.onnx
board: mps2_an386
measure: plan
data: {train: train.npz}
stages: [{distill: {teacher: original, training: {epochs: 1}}}, quantize]
"""


def network(channels: int) -> Graph:
    """A network whose layers have the names that the pages use."""
    random = np.random.default_rng(channels)
    b = GraphBuilder("net")

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.normal(0, 0.4, shape).astype(np.float32))

    def bias(name: str, count: int) -> str:
        return b.constant(name, np.zeros(count, np.float32))

    x = b.input("x", (1, 8, 8, 1), DType.FLOAT32)
    first = [x, weights("conv.weight", channels, 3, 3, 1), bias("conv.bias", channels)]
    x = b.add(ops.Conv2d(activation=RELU), first, name="conv2d_3", output="relu_3")
    depthwise = [x, weights("d", 1, 3, 3, channels), bias("e", channels)]
    x = b.add(ops.DepthwiseConv2d(activation=RELU), depthwise, name="depthwise_1")
    pointwise = [x, weights("p", channels, 1, 1, channels), bias("q", channels)]
    x = b.add(ops.Conv2d(activation=RELU), pointwise, name="block1_pointwise")
    x = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x], name="pool", output="pooled")
    b.output(b.add(ops.FullyConnected(), [x, weights("v", 4, channels), bias("c", 4)], name="last"))
    return b.build()


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the pages take for granted: files in the working folder, and a few names."""
    monkeypatch.chdir(tmp_path)
    sizes = {"net.tflite": 12, "net.onnx": 12, "model.onnx": 12, "large.onnx": 16, "small.tflite": 6}
    for file, channels in sizes.items():
        save_graph(network(channels), tmp_path / file)  # content decides, not the suffix
    random = np.random.default_rng(0)
    x, y = random.standard_normal((64, 8, 8, 1)).astype(np.float32), np.arange(64) % 4
    for file in ("train", "test", "validation", "calibration"):
        np.savez(tmp_path / f"{file}.npz", x=x, y=y)
    (tmp_path / "net.yaml").write_text(RECIPE)
    return {
        "x": x, "y": y, "train": (x, y), "validation": (x, y), "x_train": x, "y_train": y, "x_val": x, "y_val": y,
        "x_test": x, "y_test": y, "calibration": "calibration.npz", "settings": TrainSettings(epochs=1),
        "graph": network(12), "board": tinyopt.load_board("mps2_an386"), "keep": torch.ones(12, 3, 3, 1),
        "FakeQuantize": torch.nn.Identity, **IMPORTED,
    }  # fmt: skip


@pytest.mark.parametrize(
    "page",
    [
        "analysis", "distillation", "factorization", "pruning", "quantization", "quantization-aware-training",
        "recipes", "training",
    ],
)  # fmt: skip
def test_the_python_of_a_page_runs(page: str, names: dict[str, Any]) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert snippets
    for number, snippet in enumerate(snippets, 1):
        code = re.sub(r"epochs=\d+", "epochs=1", snippet)
        if page == "training":  # what is behind a mask, and its input, belong to one module
            names["x"] = torch.as_tensor(names["x_train"])
        exec(compile(code, f"{page}.md, snippet {number}", "exec"), names)
