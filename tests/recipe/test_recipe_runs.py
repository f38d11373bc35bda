"""Recipes run: every stage once, to the same result however often they are interrupted, and with a report."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from support import blob_task
from tinyopt.board import load_board
from tinyopt.cli.app import app
from tinyopt.errors import DataError, RecipeError, TinyoptError
from tinyopt.graph import load_graph, save_graph
from tinyopt.recipe import Metrics, Recipe, RecipeResult, Row, make_recipe, markdown, run_recipe
from tinyopt.recipe.report import judge
from tinyopt.train import Callback, Position

TRAIN = {"train": {"epochs": 4, "batch_size": 16, "learning_rate": 1e-2}}
STAGES: tuple[Any, ...] = (
    TRAIN,
    {"prune": {"pruning": {"type": "structured", "amount": 0.5}}},
    {"distill": {"teacher": "train", "training": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3}}},
    "quantize",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and its data."""
    path = tmp_path_factory.mktemp("blobs")
    blob_task.write(path)
    return path


def recipe(folder: Path, *stages: Any, **fields: Any) -> Recipe:
    document: dict[str, Any] = {
        "model": "net.tinyopt",
        "board": "emulated_l4r5zi",
        "threads": 1,
        "measure": "plan",
        "data": {"train": "train.npz", "validation": 0.2, "test": "test.npz"},
        "stages": list(stages),
    }
    return make_recipe({**document, **fields}, folder=folder)


def models(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.tinyopt"))}


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RecipeResult:
    """The usual stages, run without interruption."""
    return run_recipe(recipe(folder, *STAGES), tmp_path_factory.mktemp("whole"))


def test_every_stage_leaves_its_model_its_figures_and_its_log(whole: RecipeResult) -> None:
    names = ["00-original", "01-train", "02-prune", "03-distill", "04-quantize"]
    assert list(models(whole.folder)) == [f"{name}.tinyopt" for name in names]
    for name in names[1:]:
        document = json.loads((whole.folder / f"{name}.json").read_text())
        assert document["metrics"]["accuracy"] is not None and document["config"]["type"]
        assert (whole.folder / f"{name}.log").read_text().rstrip().endswith("s")
    assert not list(whole.folder.glob("*.work")) and not list(whole.folder.glob("*.part"))
    assert load_graph(whole.folder / "04-quantize.tinyopt").is_quantized


def test_batch_norms_can_be_put_back_before_training(folder: Path, tmp_path: Path) -> None:
    stage = {"train": {**TRAIN["train"], "batch_norms": True}}
    result = run_recipe(recipe(folder, stage, "quantize"), tmp_path)
    kinds = [o.kind for o in load_graph(tmp_path / "01-train.tinyopt").operators]
    assert kinds.count("BatchNorm") == 2  # behind the convolutions; the dense layer gives the scores
    rows = {row.stage: row.metrics for row in result.report.rows}
    assert (rows["train"].accuracy or 0) > 0.9 and (rows["quantize"].accuracy or 0) > 0.9


@pytest.mark.parametrize("schedule", ["gradual_cubic", "lottery_ticket"])
def test_channels_leave_over_a_training_to_a_share_of_the_boards_cycles(
    folder: Path, tmp_path: Path, schedule: str
) -> None:
    training = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2}
    target = {"cost": "cycles", "ratio": 0.8}
    pruning = {"type": "structured", "target": target, "scope": "trial", "criterion": "taylor", "normalise": "l2"}
    stage = {"prune": {"pruning": pruning, "schedule": {"type": schedule, "train": training}}}
    rows = {row.stage: row.metrics for row in run_recipe(recipe(folder, TRAIN, stage), tmp_path).report.rows}
    assert rows["prune"].parameters < rows["train"].parameters and (rows["prune"].accuracy or 0) > 0.8


def test_ranges_at_run_time_need_no_data(folder: Path, tmp_path: Path) -> None:
    result = run_recipe(recipe(folder, TRAIN, {"dynamic": {"symmetric": True}}), tmp_path)
    rows = {row.stage: row.metrics for row in result.report.rows}
    assert rows["dynamic"].precision == "dynamic int8"
    assert abs((rows["dynamic"].accuracy or 0) - (rows["train"].accuracy or 0)) < 0.05
    assert (rows["dynamic"].weights_bytes or 0) < 0.5 * (rows["train"].weights_bytes or 0)


def test_the_report_compares_the_stages(whole: RecipeResult) -> None:
    rows = {row.stage: row.metrics for row in whole.report.rows}
    assert list(rows) == ["original", "train", "prune", "distill", "quantize"]
    assert (rows["train"].accuracy or 0) > 0.9 > (rows["original"].accuracy or 0)
    assert rows["prune"].parameters < 0.7 * rows["train"].parameters
    assert (rows["quantize"].accuracy or 0) > 0.9
    assert rows["quantize"].precision == "int8"
    assert (rows["quantize"].cycles or 0) < (rows["train"].cycles or 0)
    assert (rows["quantize"].energy_uj or 0) > 0
    page = (whole.folder / "report.md").read_text()
    assert page == markdown(whole.report)
    for name in rows:
        assert f"| {name} |" in page
    facts = json.loads((whole.folder / "report.json").read_text())
    assert [row["stage"] for row in facts["stages"]] == list(rows) and facts["met"] is True


def test_a_finished_recipe_has_nothing_left_to_do(folder: Path, whole: RecipeResult) -> None:
    before, report = models(whole.folder), (whole.folder / "report.json").read_bytes()
    again = run_recipe(recipe(folder, *STAGES), whole.folder)
    assert again.reused == ("train", "prune", "distill", "quantize")
    assert models(whole.folder) == before and (whole.folder / "report.json").read_bytes() == report


def test_training_that_was_interrupted_goes_on_to_the_same_weights(
    folder: Path, whole: RecipeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyopt.recipe import training

    original = training.fit
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", lambda *a, callbacks=(), **k: original(*a, callbacks=[_Watch(2)], **k))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe(folder, *STAGES), tmp_path)
    assert (tmp_path / "01-train.work" / "checkpoint.pt").is_file()
    epochs: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(
            training, "fit", lambda *a, callbacks=(), **k: original(*a, callbacks=[_Watch(None, epochs)], **k)
        )
        run_recipe(recipe(folder, *STAGES), tmp_path)
    assert epochs == [2, 3]
    assert models(tmp_path) == models(whole.folder)


def test_pruning_that_trains_goes_on_in_the_middle_of_a_round_to_the_same_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyopt.compress.prune import prune as verb

    pruning = importlib.import_module(verb.__module__)
    tune = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3}
    stages = [
        {"train": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2}},
        {
            "prune": {
                "pruning": {"type": "structured", "amount": 0.4},
                "schedule": {"type": "iterative", "steps": 2, "fine_tune": tune},
            }
        },
        {"prune": {"pruning": "unstructured", "schedule": {"type": "one_shot", "fine_tune": tune}}, "name": "zeros"},
    ]
    whole = run_recipe(recipe(folder, *stages), tmp_path / "whole")
    original, output = pruning.fit, tmp_path / "out"
    seen: list[int] = []

    def run(stop: Callback | None) -> None:
        with monkeypatch.context() as patched:
            watch = [_Watch(None, seen) if stop is None else stop]
            patched.setattr(
                pruning, "fit", lambda *a, callbacks=(), **k: original(*a, callbacks=[*callbacks, *watch], **k)
            )
            run_recipe(recipe(folder, *stages), output)

    # Round one and an epoch of round two; then the rest of it, and two epochs of the next stage.
    for stage, before in (("02-prune", 3 + 1), ("03-zeros", 2 + 2)):
        with pytest.raises(KeyboardInterrupt):
            run(_StopAt(before))
        assert list((output / f"{stage}.work").rglob("checkpoint.pt"))
    run(None)
    assert seen == [2]  # one epoch was left
    assert models(output) == models(whole.folder) and not list(output.glob("*.work"))


class _StopAt(Callback):
    """Interrupts at the start of an epoch, counted over all trainings."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def on_epoch_start(self, position: Position) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class _Watch(Callback):
    """Interrupts at the start of an epoch; writes down the epochs that begin."""

    def __init__(self, stop: int | None, seen: list[int] | None = None) -> None:
        self.stop, self.seen = stop, [] if seen is None else seen

    def on_epoch_start(self, position: Position) -> None:
        if position.epoch == self.stop:
            raise KeyboardInterrupt
        self.seen.append(position.epoch)


@pytest.mark.parametrize("stop", ["prune", "distill", "quantize"])
def test_stopped_before_any_stage_the_recipe_goes_on_to_the_same_models(
    folder: Path, whole: RecipeResult, tmp_path: Path, stop: str
) -> None:
    def interrupt(stage: str, _state: str) -> None:
        if stage == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(folder, *STAGES), tmp_path, on_stage=interrupt)
    result = run_recipe(recipe(folder, *STAGES), tmp_path)
    assert "train" in result.reused and stop not in result.reused
    assert models(tmp_path) == models(whole.folder)
    assert (tmp_path / "report.json").read_bytes() == (whole.folder / "report.json").read_bytes()


def test_what_changed_is_done_again_with_all_that_follows(folder: Path, tmp_path: Path) -> None:
    prune, finer = {"prune": {"pruning": "nm"}}, {"prune": {"pruning": {"type": "nm", "n": 1}}}
    run_recipe(recipe(folder, TRAIN, prune, "quantize"), tmp_path)
    assert run_recipe(recipe(folder, TRAIN, finer, "quantize"), tmp_path).reused == ("train",)
    percentile = {"quantize": {"calibration": "percentile"}}
    assert run_recipe(recipe(folder, TRAIN, finer, percentile), tmp_path).reused == ("train", "prune")
    longer = {"train": {**TRAIN["train"], "epochs": 5}}
    assert run_recipe(recipe(folder, longer, finer, percentile), tmp_path).reused == ()
    assert run_recipe(recipe(folder, longer, finer, percentile, seed=3), tmp_path).reused == ()
    assert run_recipe(recipe(folder, longer, finer, percentile, seed=3), tmp_path, resume=False).reused == ()


def test_other_data_or_a_damaged_model_are_noticed(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run_recipe(recipe(folder, TRAIN, "quantize"), output)
    data = {"train": {"source": "train.npz", "limit": 120}, "validation": 0.2, "test": "test.npz"}
    assert run_recipe(recipe(folder, TRAIN, "quantize", data=data), output).reused == ()
    path = output / "02-quantize.tinyopt"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert run_recipe(recipe(folder, TRAIN, "quantize", data=data), output).reused == ("train",)
    assert path.read_bytes() == content


def test_pruned_weights_stay_zero_in_the_stages_that_follow(folder: Path, tmp_path: Path) -> None:
    fine = {"fine_tune": {"epochs": 1, "batch_size": 16}}
    qat = {"qat": {"training": {"epochs": 1}}}
    result = run_recipe(recipe(folder, TRAIN, {"prune": {"pruning": {"type": "unstructured"}}}, fine, qat), tmp_path)
    shares = {row.stage: row.metrics.nonzero / row.metrics.parameters for row in result.report.rows}
    assert shares["train"] > 0.9
    assert shares["prune"] == pytest.approx(0.5, abs=0.06)
    assert shares["fine-tune"] == pytest.approx(shares["prune"], abs=0.03)
    assert shares["qat"] <= shares["prune"] + 0.03


def test_integers_learn_from_an_earlier_stage_or_a_file(folder: Path, tmp_path: Path) -> None:
    def qat(**fields: Any) -> dict[str, Any]:
        return {"qat": {"weights": "ternary", "training": {"epochs": 2, "batch_size": 16}, **fields}}

    half = {"prune": {"pruning": {"type": "structured", "amount": 0.5}}}
    alone = run_recipe(recipe(folder, TRAIN, half, qat()), tmp_path / "alone")
    output = tmp_path / "taught"
    taught = run_recipe(recipe(folder, TRAIN, half, qat(teacher="train")), output)
    content = (output / "03-qat.tinyopt").read_bytes()
    assert content != (alone.folder / "03-qat.tinyopt").read_bytes()
    assert taught.graphs["qat"].is_quantized and (taught.report.rows[-1].metrics.accuracy or 0) > 0.8
    assert json.loads((output / "03-qat.json").read_text())["config"]["teacher"] == "train"

    teacher = tmp_path / "teacher.tinyopt"
    teacher.write_bytes((output / "01-train.tinyopt").read_bytes())
    stages = (TRAIN, half, qat(teacher=str(teacher)))
    assert run_recipe(recipe(folder, *stages), output).reused == ("train", "prune")
    assert (output / "03-qat.tinyopt").read_bytes() == content
    assert run_recipe(recipe(folder, *stages), output).reused == ("train", "prune", "qat")
    save_graph(blob_task.network(5), teacher)
    assert run_recipe(recipe(folder, *stages), output).reused == ("train", "prune")  # another teacher in the file
    assert (output / "03-qat.tinyopt").read_bytes() != content


def test_taught_integers_that_were_interrupted_go_on_to_the_same_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aware = importlib.import_module("tinyopt.quantize.aware.train")
    stages = (TRAIN, {"qat": {"teacher": "original", "alpha": 0.5, "training": {"epochs": 3, "batch_size": 16}}})
    run_recipe(recipe(folder, *stages), tmp_path / "whole")
    original, output = aware.fit, tmp_path / "out"

    def run(stop: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(
                aware, "fit", lambda *a, callbacks=(), **k: original(*a, callbacks=[*callbacks, _StopAt(stop)], **k)
            )
            run_recipe(recipe(folder, *stages), output)

    with pytest.raises(KeyboardInterrupt):
        run(2)
    run(1)  # one epoch was left
    assert models(output) == models(tmp_path / "whole")


def test_a_budget_of_the_quantization_gives_each_layer_its_format(folder: Path, tmp_path: Path) -> None:
    mixed = {"quantize": {"edges": None, "budget": {"sqnr_db": 12.0}, "formats": ["int8", "int4", "ternary"]}}
    run_recipe(recipe(folder, TRAIN, mixed), tmp_path)
    weights = json.loads((tmp_path / "02-quantize.json").read_text())["facts"]["weights"]
    assert set(weights) == {"first", "second", "last"} and set(weights.values()) & {"int4", "ternary"}
    never = {"quantize": {"edges": None, "budget": {"weight_bytes": 1}}}
    result = run_recipe(recipe(folder, TRAIN, never), tmp_path)
    assert "the budget of mixed precision is missed: weight bytes by" in (result.report.rows[-1].missed or "")
    assert not result.report.met


def test_stages_that_a_recipe_no_longer_has_leave_no_files(folder: Path, tmp_path: Path) -> None:
    run_recipe(recipe(folder, TRAIN, {"prune": {"pruning": "nm"}}, "quantize"), tmp_path)
    (tmp_path / "02-prune.notes.txt").write_text("mine")
    run_recipe(recipe(folder, TRAIN, "quantize"), tmp_path)
    assert [path.stem for path in sorted(tmp_path.glob("*.tinyopt"))] == ["00-original", "01-train", "02-quantize"]
    assert (tmp_path / "02-prune.notes.txt").exists()


def test_a_missed_budget_names_the_best_and_by_how_much_it_misses(folder: Path, tmp_path: Path) -> None:
    wanted = {"accuracy": 0.5, "accuracy_loss": 0.1, "flash": 100, "ram": "1K", "cycles": 1000, "energy_uj": 1e6}
    report = run_recipe(recipe(folder, TRAIN, "quantize", budgets=wanted), tmp_path).report
    assert not report.met and report.best == "quantize"
    found = {budget.name: budget for budget in report.budgets}
    assert found["accuracy"].met and found["ram"].met and found["energy_uj"].met
    flash = report.rows[-1].metrics.flash_bytes or 0
    assert found["flash"].excess == pytest.approx(flash / 100 - 1)
    assert f"flash: {flash:,} bytes, wanted at most 100 bytes: missed by {flash - 100:,} bytes" in report.verdict()
    assert "missed by" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        (
            {"prune": {"pruning": {"type": "structured", "target": {"cost": "macs", "at_most": 1.0}}}},
            "stage 'prune': the target of 1 multiply-accumulates is missed by ",
        ),
        (
            {"prune": {"pruning": {"type": "structured", "target": {"cost": "cycles", "ratio": 0.001}}}},
            " cycles is missed by ",
        ),
        ({"factorize": {"rule": {"type": "parameter_budget", "share": 0.001}}}, "0.1 % were asked for"),
        ({"quantize": {"budget": {"accuracy": 1.0}, "formats": ["ternary"]}}, "accuracy by "),
    ],
)
def test_a_target_of_a_stage_that_cannot_be_met_ends_with_the_best_and_is_told(
    folder: Path, tmp_path: Path, stage: dict[str, Any], text: str
) -> None:
    start = [TRAIN] if "quantize" not in stage else []
    for _ in range(2):  # the second time, everything is up to date
        result = run_recipe(recipe(folder, *start, stage, budgets={"flash": "1M"}), tmp_path)
        report = result.report
        assert not report.met and all(budget.met for budget in report.budgets)
        assert text in report.verdict() and "All budgets met" in report.verdict()
        assert text.split("'")[-1] in (tmp_path / "report.md").read_text()
        assert json.loads((tmp_path / "report.json").read_text())["stages"][-1]["missed"]
    assert result.graphs and result.reused


def test_the_best_may_be_an_earlier_stage(folder: Path, tmp_path: Path) -> None:
    ruin = {"prune": {"pruning": {"type": "unstructured", "amount": 0.98, "layer_limit": 0.99}}}
    report = run_recipe(recipe(folder, TRAIN, ruin, "quantize", budgets={"accuracy": 0.9}), tmp_path).report
    assert not report.met and report.best == "train"
    assert "Nearest to the budgets is 'train': it meets all of them" in report.verdict()


def test_a_loss_of_exactly_the_budget_keeps_it(folder: Path) -> None:
    def row(stage: str, precision: str, accuracy: float) -> Row:
        return Row(stage, "train", Metrics(precision, accuracy, 300, 10, 10, 10))

    wanted = recipe(folder, TRAIN, budgets={"accuracy_loss": 0.01, "accuracy": 0.1})
    rows = [row("train", "float32", 299 / 300), row("quantize", "int8", 296 / 300)]
    assert 299 / 300 - 296 / 300 > 0.01  # by the rounding of floats
    assert judge(wanted, load_board("emulated_l4r5zi"), rows).met
    assert not judge(wanted, load_board("emulated_l4r5zi"), [rows[0], row("quantize", "int8", 295 / 300)]).met


@pytest.mark.parametrize(
    ("stages", "fields", "reason"),
    [
        (["quantize", TRAIN], {}, "takes a float model and 'quantize' gives int8; put it before the quantization"),
        ([TRAIN], {"data": {"test": "test.npz"}}, "needs data.train, which the recipe does not name"),
        (["run"], {"data": {}}, "needs data.test"),
        ([{"distill": {"teacher": "later"}}, TRAIN], {}, "refers to the model 'later'; there are original"),
        (
            [TRAIN, {"qat": {"teacher": "tain"}}],
            {},
            "stage 2, 'qat', refers to the model 'tain'; there are original, t",
        ),
        ([{"distill": {"teacher": "none.onnx"}}], {}, "the model file 'none.onnx', which is not in"),
        ([{"qat": {"teacher": "none.tinyopt"}}], {}, "the model file 'none.tinyopt', which is not in"),
        ([TRAIN], {"data": {"train": "train.npz"}, "budgets": {"accuracy": 0.5}}, "a budget for accuracy needs"),
        ([TRAIN], {"board": "mps2"}, "there is no board 'mps2'"),
        ([TRAIN], {"objective": "speed"}, "unknown objective"),
        ([TRAIN], {"model": "none.tflite"}, "none.tflite"),
        ([TRAIN], {"model": "example:letters"}, "there is no example model 'letters'"),
        ([TRAIN], {"data": {"train": "none.npz"}}, "there is no data at"),
        ([TRAIN], {"data": {"train": "random:0:9"}}, "have no labels; training needs them"),
        ([TRAIN], {"data": {"train": "example:letters"}}, "there are no example data"),
        ([TRAIN], {"data": {"train": "train.npz", "validation": 0.001}}, "leaves nothing"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(
    folder: Path, tmp_path: Path, stages: list[Any], fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TinyoptError, match=reason):
        run_recipe(recipe(folder, *stages, **fields), tmp_path / "out", on_stage=_never)


def _never(stage: str, state: str) -> None:
    raise AssertionError(f"{stage} must not start")


def test_labels_that_the_network_does_not_have_are_refused(folder: Path, tmp_path: Path) -> None:
    x, y = blob_task.samples(20, 0)
    np.savez(tmp_path / "wrong.npz", x=x, y=y + 7)
    for role in ("train", "validation", "test"):
        data = {"train": "train.npz", "test": "test.npz", role: str(tmp_path / "wrong.npz")}
        with pytest.raises(
            DataError, match=rf"{role} data .*: sample 0 has the label \d+, but the network has 4 classes"
        ):
            run_recipe(recipe(folder, TRAIN, data=data), tmp_path / "out", on_stage=_never)


def test_devices_that_the_machine_does_not_have_are_refused_before_anything_starts(
    folder: Path, tmp_path: Path
) -> None:
    deep = {"prune": {"pruning": "nm", "schedule": {"type": "iterative", "fine_tune": {"device": "nothing:3"}}}}
    for stage in ({"qat": {"training": {"device": "nothing:3"}}}, deep):
        with pytest.raises(
            TinyoptError, match=r"stage 2, '(qat|prune)': the device 'nothing:3' cannot be used: .*auto"
        ):
            run_recipe(recipe(folder, TRAIN, stage), tmp_path / "out", on_stage=_never)


def test_a_folder_with_files_of_somebody_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(RecipeError, match="somebody else"):
        run_recipe(recipe(folder, TRAIN), tmp_path)
    (tmp_path / "recipe.json").write_text("[]")
    with pytest.raises(RecipeError, match="not of a recipe's run"):
        run_recipe(recipe(folder, TRAIN), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.json", "thesis.txt"]


def test_two_runs_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    def again(stage: str, state: str) -> None:
        with pytest.raises(RecipeError, match="another run works in"):
            run_recipe(recipe(folder, TRAIN), tmp_path)

    run_recipe(recipe(folder, TRAIN), tmp_path, on_stage=again)


def test_a_model_that_does_not_fit_the_board_yet_is_said_and_no_error(folder: Path, tmp_path: Path) -> None:
    from tinyopt.resources import resource

    text = (resource("boards") / "mps2_an386.yaml").read_text()
    document = yaml.safe_load(text)
    for memory in document["memories"]:
        if memory["kind"] == "flash":
            memory["size"] = 1024
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(document))
    data = {"train": str(folder / "train.npz"), "test": str(folder / "test.npz")}
    found = recipe(tmp_path, TRAIN, "quantize", model=str(folder / "net.tinyopt"), board="small.yaml", data=data)
    rows = run_recipe(found, tmp_path / "out").report.rows
    assert "does not fit" in (rows[0].metrics.problem or "") and rows[0].metrics.cycles is None
    assert rows[-1].metrics.problem is None and rows[-1].metrics.cycles


def test_compile_and_run_end_with_a_project_and_a_measurement(folder: Path, tmp_path: Path) -> None:
    stages = (TRAIN, "quantize", {"compile": {"project": "library"}}, {"run": {"limit": 10}})
    result = run_recipe(recipe(folder, *stages, measure="run"), tmp_path)
    assert (tmp_path / "03-compile" / "tinyopt-project.json").is_file()
    facts = json.loads((tmp_path / "04-run.json").read_text())["facts"]
    assert facts["samples"] == 10 and facts["mismatches"] == 0
    last = result.report.rows[-1].metrics
    assert last.measured and last.cycles == facts["cycles"] and last.ram_bytes > last.arena_bytes
    assert run_recipe(recipe(folder, *stages, measure="run"), tmp_path).reused == (
        "train",
        "quantize",
        "compile",
        "run",
    )


def test_on_the_command_line_a_missed_budget_is_exit_code_11(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blob.yaml").write_text(
        f"model: {folder}/net.tinyopt\nboard: mps2_an386\nmeasure: plan\nthreads: 1\n"
        f"data: {{train: {folder}/train.npz, test: {folder}/test.npz}}\n"
        "budgets: {flash: 10}\nstages: [{train: {epochs: 1}}, quantize]\n"
    )
    cli = CliRunner()
    out = str(tmp_path / "out")
    done = cli.invoke(app, ["recipe", "run", str(tmp_path / "blob.yaml"), "-o", out, "--json"])
    assert getattr(done.exception, "exit_code", None) == 11
    assert json.loads(done.stdout)["met"] is False
    checked = cli.invoke(app, ["recipe", "check", str(tmp_path / "blob.yaml"), "--json"])
    assert checked.exit_code == 0 and json.loads(checked.stdout)["budgets"]["flash"] == 10
    listed = cli.invoke(app, ["recipe", "stages", "--json"])
    assert {"train", "prune", "distill", "qat", "run"} <= set(json.loads(listed.stdout))
