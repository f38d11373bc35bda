"""The tables of the compression benchmarks."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import stages
from benchmarks.stage_rows import SECTIONS, Lab, rows_of
from benchmarks.stage_tasks import TASKS
from benchmarks.training import data_folder, with_batch_norms
from tinyopt.bridge import to_torch
from tinyopt.graph import Graph, ops, save_graph
from tinyopt.importers import load

FIGURES = stages.Figures(90.0, 300, 1000, 3000, 500, 100_000, 27.8, 2500, 300_000, True)


def keep(folder: Path, seed: int, key: str, figures: stages.Figures) -> None:
    path = folder / "digits" / f"seed{seed}" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(figures)))


@pytest.mark.parametrize("name", TASKS)
def test_rows_have_names_of_their_own_and_a_section(name: str) -> None:
    rows = rows_of(TASKS[name]())
    assert len({row.key for row in rows}) == len(rows)
    assert {row.section for row in rows} <= set(SECTIONS)
    assert rows[0].key == "float"


def test_tables_compare_seeds_with_their_own_float_network(tmp_path: Path) -> None:
    for seed, (before, after) in enumerate([(90.0, 89.0), (80.0, 81.0)]):
        keep(tmp_path, seed, "float", replace(FIGURES, accuracy=before, agrees=None))
        keep(tmp_path, seed, "int8-ptq", replace(FIGURES, accuracy=after))
    keep(tmp_path, 1, "int4-ptq", replace(FIGURES, accuracy=77.0))
    text = "\n".join(stages.tables(TASKS["digits"](), tmp_path))
    assert "(2 seeds)" in text
    assert "| float32 | 85.00 (80.0 … 90.0) |  | 1,000 | 3,000 | 500 | 100,000 | 28 | 2,500 | 300,000 |" in text
    assert "| int8, after training | 85.00 (81.0 … 89.0) | +0.00 |" in text
    assert "| int4, after training (1 seed) | 77.00 | -3.00 |" in text
    assert "Zeros" not in text, "sections without figures are left out"


def test_tables_are_written_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, 0, "float", FIGURES)
    target = tmp_path / "page.md"
    mark = "<!-- digits: made by python -m benchmarks.stages -->"
    target.write_text(f"before\n{mark}\nold\n<!-- end of digits -->\nafter\n")
    monkeypatch.setattr(stages, "TARGET", target)
    stages.write(TASKS["digits"](), tmp_path)
    text = target.read_text()
    assert text.startswith(f"before\n{mark}\n") and text.endswith("<!-- end of digits -->\nafter\n")
    assert "| float32 | 90.00 |" in text and "old" not in text


def test_models_and_figures_in_the_folder_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyopt.examples import digits_graph

    made: Graph = digits_graph(0)
    lab = Lab(TASKS["digits"](), 0, tmp_path / "digits" / "seed0")
    monkeypatch.setattr(Lab, "trained", lambda self: pytest.fail("trained again"))
    save_graph(made, lab.folder / "float.tinyopt")
    assert lab.graph("float").inputs == made.inputs
    keep(tmp_path, 0, "float", FIGURES)
    assert stages.figures_of(lab, rows_of(lab.task)[0]) == FIGURES


def test_batch_norms_that_are_put_back_leave_the_official_network_as_it_is() -> None:
    path = data_folder() / "mlperf-tiny" / "pretrainedResnet.tflite"
    if not path.is_file():
        pytest.skip(f"no benchmark data: '{path}' is absent (set TINYOPT_DATA)")
    images = np.random.default_rng(0).random((8, 32, 32, 3)).astype(np.float32)
    official = load(path)
    graph = with_batch_norms(official, images)
    expected = to_torch(official).logits(torch.tensor(images * 255)).detach().numpy()
    found = to_torch(graph).eval().logits(torch.tensor(images)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert sum(isinstance(o.attributes, ops.BatchNorm) for o in graph.operators) == 7
