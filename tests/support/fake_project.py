"""A project around a hand-written model, for tests of the build, the firmware and the measuring run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyopt.board import Board
from tinyopt.generate import Project, Source
from tinyopt.generate.measuring import linker_script, measuring_defines, measuring_files, measuring_include_dirs

FAKE_MODEL = Path(__file__).resolve().parent.parent / "build" / "fake_model"

INPUT_SHAPES = ((24,), (8,))
OUTPUT_TYPES = ((np.dtype(np.int8), (4,)), (np.dtype(np.int32), (1,)))
LAYERS = 2


def fake_project(folder: Path, board: Board, defines: Sequence[str] = ()) -> Project:
    """The hand-written model with the measuring firmware of a board."""
    shutil.copytree(FAKE_MODEL, folder, dirs_exist_ok=True)
    sources = [
        Source("src/model.c", "model"),
        Source("src/model_weights.c", "weights"),
        Source("src/fake.c", "kernel"),
    ]
    for file in measuring_files(board):
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.absolute, target)
        if file.is_source:
            sources.append(Source(str(file.path), file.role))
    script = linker_script(board)
    if script is not None:
        (folder / "linker.ld").write_text(script)
    return Project(
        directory=folder,
        name="model",
        board=board,
        sources=tuple(sources),
        include_dirs=("src", *measuring_include_dirs(board)),
        defines=(*measuring_defines(board), *defines),
        linker_script="linker.ld" if script is not None else None,
    )


def samples(count: int, seed: int = 0) -> list[list[np.ndarray]]:
    """Random inputs of the hand-written model."""
    rng = np.random.default_rng(seed)
    return [[rng.integers(-128, 127, shape, dtype=np.int8) for shape in INPUT_SHAPES] for _ in range(count)]


def expected(inputs: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """What the hand-written model computes, from its reset on."""
    n, k = np.meshgrid(np.arange(4), np.arange(24), indexing="ij")
    weights = (7 * n + 3 * k) % 11 - 5
    total, results = 100, []
    for dense, summed in inputs:
        total += int(summed.sum())
        sums = weights @ dense.astype(np.int64)
        results.append([np.fmod(sums, 128).astype(np.int8), np.array([total], np.int32)])
    return results
