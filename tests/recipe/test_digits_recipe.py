"""The recipe of the documentation does what it says: half the cycles, all budgets met, no output that differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyopt.recipe import load_recipe, run_recipe

RECIPE = Path(__file__).resolve().parents[2] / "docs" / "recipes" / "digits.yaml"


@pytest.mark.slow
def test_the_digits_recipe_halves_the_cycles_and_meets_its_budgets(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    recipe = load_recipe(RECIPE)
    report = run_recipe(recipe, tmp_path).report
    assert report.met, report.verdict()
    rows = {row.stage: row.metrics for row in report.rows}
    assert all(row.measured for row in rows.values())
    assert (rows["qat"].accuracy or 0) > (rows["train"].accuracy or 0) - 0.02
    assert (rows["distill"].accuracy or 0) > (rows["prune"].accuracy or 0)
    assert (rows["distill"].cycles or 0) < 0.55 * (rows["train"].cycles or 0)
    assert (rows["qat"].cycles or 0) < 0.1 * (rows["train"].cycles or 0)
    facts = json.loads((tmp_path / "05-run.json").read_text())["facts"]
    assert facts["mismatches"] == 0 and facts["samples"] == 100
