"""``python -m benchmarks.suggestions``: what an analysis predicts that a suggestion saves, against what it saves.

For the network of the digits and the keyword network of MLPerf Tiny: the analysis of ``tinyopt analyse``, then every
suggestion done by itself to the int8 network, and all that do not touch the same layer together, each built, linked
and run on the emulated NUCLEO-L4R5ZI, and its accuracy taken on 450 samples, of which the analysis saw 128.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.training import data_folder
from tinyopt.analyse import TECHNIQUES, Quantized, Sensitivity, Suggestion, accuracy_of, analyse, real_outputs
from tinyopt.board import Board, load_board
from tinyopt.bridge import dequantize_graph, to_graph, to_torch
from tinyopt.data import Samples, load_samples
from tinyopt.examples import digits, digits_graph
from tinyopt.graph import Graph
from tinyopt.importers import load
from tinyopt.names import short_name
from tinyopt.optimise import optimise
from tinyopt.pipeline import run_on_board
from tinyopt.quantize import PostTraining, quantize
from tinyopt.train import TrainSettings, fit

BOARD = "emulated_l4r5zi"
CONFIG = Sensitivity(samples=128, objective="latency=1,flash=1")
CALIBRATION = 100
CHECKED = 450
"""Samples for the accuracy of the int8 networks."""


@dataclass(frozen=True)
class Measured:
    """What the linked firmware of an int8 network takes, and its accuracy."""

    cycles: int
    flash: int
    accuracy: float | None


def digits_network() -> tuple[Graph, Samples]:
    """The residual CNN of ``tinyopt demo`` after 15 epochs, and its test images."""
    images, labels, test_images, test_labels = digits()
    module = to_torch(digits_graph(0))
    graph = module.graph
    train = Samples.from_array(images, graph, labels=labels)
    fit(module, train, settings=TrainSettings(epochs=15, batch_size=32, learning_rate=3e-3), progress=False)
    graph = to_graph(module)
    return graph, Samples.from_array(test_images, graph, labels=test_labels)


def keywords(data: Path) -> tuple[Graph, Samples]:
    """The official float network, and the 1,000 official inputs as the numbers that their integers stand for."""
    folder = data / "mlperf-tiny"
    graph, official = load(folder / "kws_ref_model_float32.tflite"), load(folder / "kws_ref_model.tflite")
    with TemporaryDirectory() as temporary:
        with tarfile.open(folder / "kws01.tar.xz") as archive:
            archive.extractall(temporary, filter="data")
        (labels,) = Path(temporary).rglob("y_labels.csv")
        samples = load_samples(labels.parent, official)
    quantization = official.tensor(official.inputs[0]).quantization
    assert quantization is not None
    values = (samples.inputs[official.inputs[0]].astype(np.float32) - quantization.zero_point) * quantization.scale
    order = np.random.default_rng(0).permutation(len(samples))  # the official order is by class
    known = None if samples.labels is None else samples.labels[order]
    return graph, Samples.from_array(values[order].astype(np.float32), graph, labels=known)


def measure(graph: Graph, board: Board, samples: Samples, formats: Mapping[str, Any]) -> Measured:
    """The int8 form of a float network on the board."""
    config = PostTraining(overrides=formats)
    quantized = quantize(graph, samples.limit(CALIBRATION), config)
    report = run_on_board(quantized, board, load_samples("random:0:1", quantized), objective=CONFIG.objective).report
    integers = Samples.from_arrays({quantized.inputs[0]: samples.inputs[graph.inputs[0]]}, quantized)
    accuracy = accuracy_of(real_outputs(quantized, integers), samples.labels, graph)
    return Measured(report.cycles or 0, report.code_bytes + report.weights_bytes, accuracy)


def done(graph: Graph, suggestions: Sequence[Suggestion]) -> tuple[Graph, dict[str, Any]]:
    """The float network after suggestions, and the formats that they ask for."""
    formats: dict[str, Any] = {}
    by_name = {str(technique): technique for technique in TECHNIQUES}
    for item in suggestions:
        technique = by_name[item.trial.technique]
        if isinstance(technique, Quantized):
            formats[item.trial.layer] = technique.form
            continue
        operator = next(o for o in graph.operators if o.name == item.trial.layer)
        changed = technique.applied(graph, operator)
        assert isinstance(changed, Graph), changed
        graph = changed
    return graph, formats


def one_each(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """The first suggestion of every layer."""
    return list({item.trial.layer: item for item in reversed(suggestions)}.values())[::-1]


def row(name: str, predicted: tuple[float, float], found: Measured, base: Measured) -> str:
    """A line of the table: predicted and measured changes."""
    points = "–"
    if found.accuracy is not None and base.accuracy is not None:
        points = f"{100 * (found.accuracy - base.accuracy):+.1f}"
    return (
        f"| {name} | {-predicted[0]:+.1%} | {found.cycles / base.cycles - 1:+.1%} | "
        f"{-predicted[1]:+.1%} | {found.flash / base.flash - 1:+.1%} | {points} |"
    ).replace("-", "−")


def table(name: str, graph: Graph, samples: Samples) -> None:
    board = load_board(BOARD)
    graph = optimise(dequantize_graph(graph))  # the keyword file has int8 weights behind its float activations
    samples = samples.limit(CHECKED)
    analysis = analyse(graph, board, samples, CONFIG)
    base = measure(graph, board, samples, {})
    assert analysis.baseline is not None
    print(
        f"\n{name}: int8 takes {base.cycles:,} cycles (predicted {analysis.baseline.cycles:,.0f}) and {base.flash:,} "
        f"bytes of flash (predicted {analysis.baseline.flash_bytes:,}), accuracy {base.accuracy or 0:.1%}\n"
    )
    print("| suggestion | cycles, predicted | measured | flash, predicted | measured | accuracy, points |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for item in analysis.suggestions:
        found = measure(*_around(done(graph, [item]), board, samples))
        name = f"{short_name(item.trial.layer, 24)}: {item.trial.technique}"
        print(row(name, (item.saved_cycles_share, item.saved_flash_share), found, base), flush=True)
    together = one_each(analysis.suggestions)
    found = measure(*_around(done(graph, together), board, samples))
    total = (sum(i.saved_cycles_share for i in together), sum(i.saved_flash_share for i in together))
    print(row(f"the first of each layer together ({len(together)}); predicted: their sum", total, found, base))


def _around(
    changed: tuple[Graph, dict[str, Any]], board: Board, samples: Samples
) -> tuple[Graph, Board, Samples, dict[str, Any]]:
    return changed[0], board, samples, changed[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="*", choices=["digits", "keywords"], default=["digits", "keywords"])
    tasks = parser.parse_args().task
    if "digits" in tasks:
        table("digits", *digits_network())
    if "keywords" in tasks:
        table("keywords", *keywords(data_folder()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
