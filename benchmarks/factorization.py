"""``python -m benchmarks.factorization``: a keyword network of k x k convolutions as products of smaller layers.

Trains the network on spoken digits, factorizes it in several ways, fine-tunes each, quantizes to int8 and runs it on
the emulated Cortex-M4.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import Split, spoken_digits
from benchmarks.networks import convolutions
from benchmarks.training import data_folder
from tinyopt.board import load_board
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.factorize import CostBudget, Factorization, MethodName, PredictedCycles, explain
from tinyopt.data import Samples, load_samples
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, load_graph, save_graph
from tinyopt.pipeline import reference_outputs, run_on_board
from tinyopt.quantize import quantize
from tinyopt.train import Chain, Noise, TimeShift, TrainSettings, evaluate, fit

TRAINING = TrainSettings(
    epochs=12, batch_size=32, learning_rate=3e-3, warm_up_epochs=1, weight_decay=1e-3, label_smoothing=0.1
)
FINE_TUNING = replace(TRAINING, epochs=6, learning_rate=1e-3)
LONGER = replace(TRAINING, epochs=TRAINING.epochs + FINE_TUNING.epochs)
NARROW = (20, 30, 40)
"""Widths of a network of as many multiply-accumulates as the factorized ones that take half the cycles."""
AUGMENT = Chain((TimeShift(8), Noise(0.2)))
WAYS: tuple[tuple[MethodName | None, float], ...] = (
    (None, 0.7),
    (None, 0.5),
    ("tucker", 0.5),
    ("spatial", 0.5),
    ("cp", 0.5),
    ("tensor_train", 0.5),
    (None, 0.3),
)


def accuracy_int8(graph: Graph, data: Split) -> tuple[Graph, float]:
    """The int8 form of a network, and its accuracy in percent by the integer executor."""
    calibration = Samples.from_arrays({"input": data.train.inputs[0][::24]}, graph)
    quantized = quantize(graph, calibration)
    samples = Samples.from_arrays({"input": data.test.inputs[0]}, quantized)
    outputs = reference_outputs(quantized, samples)
    guesses = np.array([values[0].argmax() for values in outputs])
    return quantized, 100 * float((guesses == data.test.targets).mean())


def line(name: str, graph: Graph, data: Split, before: float | None = None) -> str:
    """One row: accuracies, size, and what the emulated board counts."""
    quantized, accuracy = accuracy_int8(graph, data)
    board = load_board("mps2_an386")
    report = run_on_board(quantized, board, load_samples("random:0:1", quantized)).report
    real = 100 * (evaluate(graph, data.test).accuracy or 0)
    parts = [name, "–" if before is None else f"{before:.1f}", f"{real:.1f}", f"{accuracy:.1f}"]
    parts += [f"{report.macs:,}", f"{report.weights_bytes:,}", f"{report.arena_bytes:,}", f"{report.cycles or 0:,.0f}"]
    return "| " + " | ".join(parts) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.factorization", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the trained network")
    parser.add_argument("--test-speaker", help="test on a voice that training has not heard")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = spoken_digits(data_folder(), test_speaker=arguments.test_speaker)
        path = arguments.output / "trained.tinyopt"
        if not path.is_file():
            module = to_torch(convolutions())
            fit(module, data.train, data.validation, TRAINING, augment=AUGMENT, folder=arguments.output)
            save_graph(to_graph(module), path)
        trained = load_graph(path)
        print("| network | float, before fine-tuning | float | int8 | MACs | weights | arena | cycles |")
        print(line("trained", trained, data), flush=True)
        module = to_torch(trained)
        fit(module, data.train, data.validation, FINE_TUNING, augment=AUGMENT)
        print(line("trained, fine-tuned as the others", to_graph(module), data), flush=True)
        narrow = to_torch(convolutions(widths=NARROW))
        fit(narrow, data.train, data.validation, LONGER, augment=AUGMENT)
        print(line("narrower, from scratch", to_graph(narrow), data), flush=True)
        cost = PredictedCycles(load_board("mps2_an386"))
        for method, share in WAYS:
            config = Factorization(method or "auto", CostBudget(share, cost), multiple_of=4)
            graph, report = explain(trained, config)
            print(report.table(), file=sys.stderr, flush=True)
            before = 100 * (evaluate(graph, data.test).accuracy or 0)
            module = to_torch(graph)
            fit(module, data.train, data.validation, FINE_TUNING, augment=AUGMENT)
            print(line(f"{method or 'auto'}, {share:.0%} of the cycles", to_graph(module), data, before), flush=True)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
