"""``python -m benchmarks.distillation``: what a small keyword network gains from a large one.

A DS-CNN teacher and small students on spoken digits of a voice that none of them has heard; every way of training a
student is repeated with several seeds, from the same starting weights and with the same augmentation.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import spoken_digits
from benchmarks.networks import ds_cnn
from benchmarks.training import data_folder
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.distill import DistillSettings, distill_module
from tinyopt.errors import TinyoptError
from tinyopt.graph import graph_macs, load_graph, parameter_bytes, save_graph
from tinyopt.optimise import optimise
from tinyopt.train import Chain, Noise, TimeShift, TrainSettings, evaluate, fit

TEACHER = TrainSettings(epochs=15, batch_size=32, learning_rate=3e-3, warm_up_epochs=1, weight_decay=1e-3)
"""Smoothed labels would make a better network but a worse teacher (Müller et al. 2019)."""
STUDENT = replace(TEACHER, epochs=20, learning_rate=1e-2, label_smoothing=0.1)
AUGMENT = Chain((TimeShift(8), Noise(0.2)))
LAST = (("depthwise_2/relu", "depthwise_4/relu"),)
SOFT = DistillSettings(temperature=4.0, alpha=0.9)
WAYS: dict[str, DistillSettings | None] = {
    "labels alone": None,
    "soft scores, T = 4, alpha = 0.9": SOFT,
    "soft scores, T = 2, alpha = 0.5": DistillSettings(temperature=2.0, alpha=0.5),
    "soft scores and hint": replace(SOFT, hints=LAST),
    "soft scores and attention": replace(SOFT, attention=LAST),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the teacher")
    parser.add_argument("--channels", type=int, default=12, help="width of the student")
    parser.add_argument("--blocks", type=int, default=2, help="depth of the student")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-speaker", default="theo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = spoken_digits(data_folder(), test_speaker=arguments.test_speaker)
        path = arguments.output / "teacher.tinyopt"
        if not path.is_file():
            module = to_torch(ds_cnn())
            fit(module, data.train, data.validation, TEACHER, augment=AUGMENT, folder=arguments.output)
            save_graph(optimise(to_graph(module)), path)
        teacher = load_graph(path)
        student = optimise(ds_cnn(channels=arguments.channels, blocks=arguments.blocks))
        for name, graph in (("teacher", teacher), ("student", student)):
            print(f"{name}: {graph_macs(graph):,} MACs, {parameter_bytes(graph) // 4:,} parameters")
        print(f"teacher: {100 * (evaluate(teacher, data.test).accuracy or 0):.1f} % of {len(data.test)}", flush=True)
        for name, settings in WAYS.items():
            found = []
            for seed in range(arguments.seeds):
                module = to_torch(ds_cnn(channels=arguments.channels, blocks=arguments.blocks, seed=seed))
                training = replace(STUDENT, seed=seed)
                if settings is None:
                    fit(module, data.train, data.validation, training, augment=AUGMENT)
                else:
                    chosen = replace(settings, training=training)
                    distill_module(module, teacher, data.train, chosen, validation=data.validation, augment=AUGMENT)
                found.append(100 * (evaluate(module, data.test).accuracy or 0))
            each = ", ".join(f"{value:.1f}" for value in found)
            print(f"{name}: {np.mean(found):.1f} % (deviation {np.std(found):.1f}; {each})", flush=True)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
