"""Quantization-aware training on spoken digits: every weight format after training against before.

Run with ``python -m benchmarks.aware FLOAT_MODEL -o FOLDER``; the model comes from ``python -m benchmarks.training
digits --test-speaker theo``. Accuracy is that of the integer executor, whose results are those of the device.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import Split, spoken_digits
from benchmarks.training import data_folder
from tinyopt.board import load_board
from tinyopt.data import Samples
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, load_graph, save_graph
from tinyopt.pipeline import plan_for, reference_outputs
from tinyopt.quantize import Int8, PostTraining, quantize, weight_format
from tinyopt.quantize.aware import QuantizationAware, train_aware
from tinyopt.report import top1
from tinyopt.train import Chain, Dataset, Noise, TimeShift, TrainSettings, evaluate

DEPTHWISE = "depthwise_*"
"""Layers with a tenth of the weights and nine weights a channel."""


@dataclass(frozen=True)
class Run:
    """``weights``, ``depthwise``: formats; ``epochs`` and ``learning_rate`` of the training."""

    weights: str
    depthwise: str
    epochs: int
    learning_rate: float

    @property
    def name(self) -> str:
        text = self.weights if self.weights == self.depthwise else f"{self.weights}, depthwise {self.depthwise}"
        return text.replace(":", " ")


RUNS = (
    Run("int8", "int8", 3, 5e-4),
    Run("int4", "int4", 4, 5e-4),
    Run("ternary", "int8", 8, 1.5e-3),
    Run("ternary", "ternary", 8, 1.5e-3),
    Run("binary", "int8", 8, 1.5e-3),
)


def accuracy(graph: Graph, data: Dataset) -> float:
    """Top-1 of a quantized graph, in percent."""
    samples = Samples.from_array(data.inputs[0], graph, labels=data.targets)
    outputs = [sample[0] for sample in reference_outputs(graph, samples)]
    return 100 * float(top1(outputs, graph.tensors[graph.outputs[0]], data.targets))


def measure(run: Run, graph: Graph, data: Split, folder: Path, seed: int) -> str:
    """One row of the table; the trained model is left in the folder."""
    overrides = {} if run.depthwise == run.weights else {DEPTHWISE: weight_format(run.depthwise)}
    form = weight_format(run.weights)
    chosen = np.linspace(0, len(data.train) - 1, 256).astype(int)
    calibration = Samples.from_array(data.train.inputs[0][chosen], graph)
    before = quantize(graph, calibration, PostTraining(weights=form, edges=Int8(), overrides=overrides))
    settings = TrainSettings(
        epochs=run.epochs,
        batch_size=32,
        learning_rate=run.learning_rate,
        warm_up_epochs=0.5,
        label_smoothing=0.1,
        restore_best=False,
        seed=seed,
    )
    after = train_aware(
        graph,
        data.train,
        data.validation,
        QuantizationAware(weights=form, overrides=overrides),
        settings,
        teacher=graph,
        augment=Chain((TimeShift(8), Noise(0.2))),
        progress=True,
    ).graph
    save_graph(after, folder / f"{run.name.replace(', ', '-').replace(' ', '-')}.tinyopt")
    plan = plan_for(after, load_board("mps2_an386"), objective="flash")
    columns = (f"{accuracy(before, data.test):.1f}", f"{accuracy(after, data.test):.1f}", f"{plan.weights_bytes:,}")
    return f"| {run.name} | {run.epochs} | {' | '.join(columns)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aware", description=__doc__)
    parser.add_argument("model", type=Path, help="the trained float network (.tinyopt)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the trained models")
    parser.add_argument("--only", help="the format of one row, for example int4")
    parser.add_argument("--test-speaker", default="theo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        graph = load_graph(arguments.model)
        data = spoken_digits(data_folder(), test_speaker=arguments.test_speaker)
        arguments.output.mkdir(parents=True, exist_ok=True)
        print(f"float32: {100 * (evaluate(graph, data.test).accuracy or 0):.1f} % of {len(data.test)}")
        print("| weights | epochs | top-1 before, % | after, % | weights in flash, bytes |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for run in RUNS:
            if arguments.only in (None, run.weights):
                print(measure(run, graph, data, arguments.output, arguments.seed), flush=True)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
