"""``python -m benchmarks.distillation handwriting|speech``: what a small network gains from a large one.

Every way of training a student is repeated with several seeds, from the same starting weights, with the same data and
augmentation as without a teacher. ``handwriting`` is scikit-learn's digits and takes a minute; ``speech`` is a small
keyword network on spoken digits, by default of a voice that neither network has heard.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import spoken_digits
from benchmarks.networks import ds_cnn, handwriting
from benchmarks.training import data_folder
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.distill import DistillSettings, distill_module
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, graph_macs, load_graph, parameter_bytes, save_graph
from tinyopt.optimise import optimise
from tinyopt.train import Chain, Dataset, Noise, TimeShift, TrainSettings, evaluate, fit
from tinyopt.train.augment import Augment

SOFT = DistillSettings(temperature=4.0, alpha=0.9)


@dataclass(frozen=True)
class Task:
    """``sizes``: how many training samples the student sees; the teacher sees all of them. ``last``: the activation of
    the student and of the teacher that hints and attention compare."""

    train: Dataset
    validation: Dataset | None
    test: Dataset
    teacher: Graph
    student: Callable[[int], Graph]
    teaching: TrainSettings
    learning: TrainSettings
    augment: Augment | None
    sizes: tuple[int, ...]
    last: tuple[str, str]


def handwriting_task() -> Task:
    """900 images of scikit-learn's digits to train on, the other 897 to test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    every = Dataset(((bunch.images[..., None] / 8 - 1).astype(np.float32),), bunch.target.astype(np.int64), "digits")
    teaching = TrainSettings(epochs=12, batch_size=32, learning_rate=5e-3)
    learning = replace(teaching, epochs=30, learning_rate=1e-2)
    train, test = every.take(order[:900]), every.take(order[900:])
    last = ("second/relu", "second/relu")
    teacher = handwriting((16, 24))
    return Task(
        train, None, test, teacher, lambda s: handwriting((2, 4), seed=s), teaching, learning, None, (100, 900), last
    )


def speech_task(test_speaker: str | None) -> Task:
    """A DS-CNN of 64 channels and four blocks teaches one of 12 channels and two blocks."""
    data = spoken_digits(data_folder(), test_speaker=test_speaker)
    # Smoothed labels would make a better network but a worse teacher (Müller et al. 2019).
    teaching = TrainSettings(epochs=15, batch_size=32, learning_rate=3e-3, warm_up_epochs=1, weight_decay=1e-3)
    learning = replace(teaching, epochs=20, learning_rate=1e-2, label_smoothing=0.1)
    augment = Chain((TimeShift(8), Noise(0.2)))
    last = ("depthwise_2/relu", "depthwise_4/relu")

    def student(seed: int) -> Graph:
        return ds_cnn(channels=12, blocks=2, seed=seed)

    size = (len(data.train),)
    return Task(data.train, data.validation, data.test, ds_cnn(), student, teaching, learning, augment, size, last)


def trained_teacher(task: Task, path: Path) -> Graph:
    """From the file, or trained and written there."""
    if not path.is_file():
        module = to_torch(task.teacher)
        fit(module, task.train, task.validation, task.teaching, augment=task.augment, folder=path.parent)
        save_graph(optimise(to_graph(module)), path)
    return load_graph(path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation", description=__doc__)
    parser.add_argument("task", choices=("handwriting", "speech"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the teacher")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-speaker", default="theo", help="speech: whose voice is for tests alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        task = handwriting_task() if arguments.task == "handwriting" else speech_task(arguments.test_speaker)
        teacher = trained_teacher(task, arguments.output / "teacher.tinyopt")
        for name, graph in (("teacher", teacher), ("student", optimise(task.student(0)))):
            print(f"{name}: {graph_macs(graph):,} MACs, {parameter_bytes(graph) // 4:,} parameters")
        print(f"teacher: {100 * (evaluate(teacher, task.test).accuracy or 0):.1f} % of {len(task.test)}", flush=True)
        ways: dict[str, DistillSettings | None] = {
            "labels alone": None,
            "soft scores": SOFT,
            "soft scores and hint": replace(SOFT, hints=(task.last,)),
            "soft scores and attention": replace(SOFT, attention=(task.last,)),
        }
        for size in task.sizes:
            train = task.train.take(np.arange(size)) if size < len(task.train) else task.train
            for name, settings in ways.items():
                found = []
                for seed in range(arguments.seeds):
                    module = to_torch(task.student(seed))
                    training = replace(task.learning, seed=seed)
                    if settings is None:
                        fit(module, train, task.validation, training, augment=task.augment)
                    else:
                        chosen = replace(settings, training=training)
                        distill_module(module, teacher, train, chosen, validation=task.validation, augment=task.augment)
                    found.append(100 * (evaluate(module, task.test).accuracy or 0))
                each = ", ".join(f"{value:.1f}" for value in found)
                print(f"| {size:,} | {name} | {np.mean(found):.1f} | {each} |", flush=True)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
