"""``python -m benchmarks.training digits|images``: trains the reference networks of the compression benchmarks.

Writes the trained graph, ``model.tinyopt``, and the trainer's checkpoint and log into a folder; a run that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import Split, cifar10, spoken_digits
from benchmarks.networks import ds_cnn, resnet8
from tinyopt.bridge import to_graph, to_torch
from tinyopt.errors import TinyoptError
from tinyopt.graph import Array, Graph, Tensor, ops, save_graph
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.train import (
    Chain,
    HorizontalFlip,
    Noise,
    PadCrop,
    TimeShift,
    TrainSettings,
    evaluate,
    fit,
    insert_batch_norms,
)
from tinyopt.train.augment import Augment

CHECKOUT = Path(__file__).resolve().parent.parent
DIGITS = TrainSettings(
    epochs=15, batch_size=32, learning_rate=3e-3, warm_up_epochs=1, weight_decay=1e-3, label_smoothing=0.1
)
IMAGES = TrainSettings(
    epochs=40, batch_size=128, learning_rate=3e-3, warm_up_epochs=1, weight_decay=1e-3, mixed_precision=True
)
FINE_TUNING = replace(IMAGES, epochs=20, optimiser="sgd", learning_rate=0.05, weight_decay=5e-4)


def data_folder() -> Path:
    """The benchmark data."""
    return Path(os.environ.get("TINYOPT_DATA", CHECKOUT.parent / "shared" / "data"))


def digits(channels: int, test_speaker: str | None) -> tuple[Graph, Split, TrainSettings, Augment]:
    """A DS-CNN on MFCC of spoken digits."""
    data = spoken_digits(data_folder(), test_speaker=test_speaker)
    return ds_cnn(channels=channels), data, DIGITS, Chain((TimeShift(8), Noise(0.2)))


def with_batch_norms(official: Graph, images: Array) -> Graph:
    """The official float ResNet-8, whose batch norms are folded, with them, for inputs 0 to 1: the scores are the same.

    Batch norms have the statistics of ``images`` [samples, 32, 32, 3]. Shortcuts have none, as in ``resnet8``.
    """
    first = official.operators[0].inputs[1]
    scaled = Tensor.constant(first, official.tensors[first].value * np.float32(255))
    graph = official.with_operators(official.operators, [scaled])
    shortcuts = [
        o.name
        for o in graph.operators
        if isinstance(o.attributes, ops.Conv2d) and graph.tensors[o.inputs[1]].shape[1:3] == (1, 1)
    ]
    return insert_batch_norms(graph, images, skip=shortcuts)


def official_with_batch_norms(data: Split) -> Graph:
    """The official float ResNet-8 in trainable form, with statistics of the first training images (0 to 1)."""
    official = load(data_folder() / "mlperf-tiny" / "pretrainedResnet.tflite")
    return with_batch_norms(official, data.train.inputs[0][:1000])


def images(fine_tune: bool) -> tuple[Graph, Split, TrainSettings, Augment]:
    """The ResNet-8 on CIFAR-10, inputs 0 to 1: from scratch, or from the official float weights."""
    augment, data = Chain((HorizontalFlip(), PadCrop(4))), cifar10(data_folder(), scale=1 / 255)
    if fine_tune:
        return official_with_batch_norms(data), data, FINE_TUNING, augment
    return resnet8(), data, IMAGES, augment


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("task", choices=("digits", "images"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the model, checkpoint and log")
    parser.add_argument("--channels", type=int, default=64, help="width of the digits network")
    parser.add_argument("--test-speaker", help="digits: test on a voice that training has not heard")
    parser.add_argument("--fine-tune", action="store_true", help="images: start from the official float network")
    parser.add_argument("--epochs", type=int, help="other than the task's own")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        task = digits(arguments.channels, arguments.test_speaker) if arguments.task == "digits" else None
        graph, data, settings, augment = task or images(arguments.fine_tune)
        if arguments.epochs:
            settings = replace(settings, epochs=arguments.epochs)
        module = to_torch(graph)
        print(f"before: {100 * (evaluate(module, data.test).accuracy or 0):.2f} % of {len(data.test)} test samples")
        result = fit(
            module, data.train, data.validation, settings, augment=augment, folder=arguments.output, progress=True
        )
        trained = optimise(to_graph(module))
        save_graph(trained, arguments.output / "model.tinyopt")
        print(f"after {len(result.history)} epochs, {result.seconds:.0f} s:", end=" ")
        print(
            f"{100 * (evaluate(trained, data.test).accuracy or 0):.2f} %, written {arguments.output / 'model.tinyopt'}"
        )
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interruption:
        print(interruption, file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
