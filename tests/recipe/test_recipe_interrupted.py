"""A recipe that is killed again and again, wherever it is, ends with the bytes of one that ran through."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import blob_task
from tinyopt.recipe import make_recipe, run_recipe

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be killed")

TRAINING = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3}
STAGES: tuple[Any, ...] = (
    {"train": {**TRAINING, "augment": [{"type": "noise", "deviation": 0.05}]}},
    {
        "prune": {
            "pruning": {"type": "structured", "amount": 0.3, "criterion": "taylor"},
            "schedule": {"type": "iterative", "steps": 2, "fine_tune": TRAINING},
        }
    },
    {
        "prune": {
            "pruning": {"type": "unstructured", "amount": 0.4},
            "schedule": {"type": "gradual_cubic", "train": TRAINING, "interval": 3, "regrow": "gradient"},
        },
        "name": "zeros",
    },
    {"fine_tune": {**TRAINING, "patience": 2}},
    {"factorize": {"rule": {"type": "energy", "keep": 0.8}}},
    {"distill": {"teacher": "train", "training": TRAINING}},
    {"qat": {"weights": "int4", "teacher": "train", "training": TRAINING}},
    {"compile": {"project": "library"}},
)
OTHERS: tuple[Any, ...] = (
    STAGES[0],
    {"quantize": {"techniques": [{"type": "ada_round", "steps": 20}], "budget": {"sqnr_db": 15.0}}},
    {"run": {"limit": 2}},
)


def run(folder: Path, stages: tuple[Any, ...], output: Path) -> None:
    """The recipe in this process."""
    document = {
        "model": "net.tinyopt",
        "board": "emulated_l4r5zi",
        "threads": 1,
        "measure": "plan",
        "seed": 3,
        "data": {"train": "train.npz", "validation": 0.2, "test": "test.npz"},
        "stages": list(stages),
    }
    run_recipe(make_recipe(document, folder=folder), output)


def contents(output: Path) -> dict[str, bytes]:
    """Every file that a run leaves, but for the logs, which tell the time."""
    files = sorted(path for path in output.rglob("*") if path.is_file())
    return {str(p.relative_to(output)): p.read_bytes() for p in files if p.suffix != ".log" and p.name != ".lock"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blobs")
    blob_task.write(path)
    return path


@pytest.fixture(scope="module")
def processes() -> Any:
    """Processes that start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    slow = ["torch._dynamo", "torch.utils.tensorboard"]  # the first training imports them
    context.set_forkserver_preload([*slow, "tinyopt.recipe.stages", "tinyopt.quantize.aware", "tinyopt.pipeline"])
    return context


def interrupted(
    processes: Any, work: tuple[Path, tuple[Any, ...], Path], until: Callable[[], bool], how: signal.Signals
) -> bool:
    """Start the recipe in a process and end it as soon as ``until()``; whether it was ended before it was done."""
    process = processes.Process(target=run, args=work)
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and not until():
        assert time.monotonic() < deadline, "the run does not get there"
        time.sleep(0.002)
    if process.is_alive():
        assert process.pid is not None
        os.kill(process.pid, how)
    process.join(120)
    return bool(process.exitcode != 0)


def test_killed_in_every_stage_the_recipe_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, processes: Any
) -> None:
    run(folder, STAGES, tmp_path / "whole")
    output = tmp_path / "out"
    places = [
        "01-train.work/checkpoint.pt",
        "02-prune.work/round-1/checkpoint.pt",
        "02-prune.work/round-2/checkpoint.pt",
        "03-zeros.work/gradual/checkpoint.pt",
        "04-fine-tune.work/checkpoint.pt",
        "04-fine-tune.tinyopt",  # the model is there, what is known about it is not
        "06-distill.work/checkpoint.pt",
        "07-qat.work/checkpoint.pt",
        "08-compile",
    ]
    for number, place in enumerate(places):
        how = (signal.SIGKILL, signal.SIGINT)[number % 2]
        assert interrupted(processes, (folder, STAGES, output), (output / place).exists, how), place
        assert not (output / "report.json").exists()
    run(folder, STAGES, output)
    assert contents(output) == contents(tmp_path / "whole")


def test_killed_at_any_moment_the_recipe_ends_with_the_same_bytes(folder: Path, tmp_path: Path, processes: Any) -> None:
    begin = time.monotonic()
    run(folder, OTHERS, tmp_path / "whole")
    length = time.monotonic() - begin
    output, moments = tmp_path / "out", random.Random(5)
    for number in range(8):
        end = time.monotonic() + moments.uniform(0.0, 0.5 * length)
        how = (signal.SIGKILL, signal.SIGINT)[number % 2]
        interrupted(processes, (folder, OTHERS, output), lambda end=end: time.monotonic() > end, how)
    run(folder, OTHERS, output)
    assert contents(output) == contents(tmp_path / "whole")
