"""``python -m benchmarks.channels MODEL``: which channels of an image network leave for half of its cycles.

MODEL is a trained float network for CIFAR-10 with inputs 0 to 1, e.g. of ``python -m benchmarks.training images
--fine-tune``. Every criterion and scope takes channels until the plan for the emulated Cortex-M4 has half of the
predicted cycles; printed is the accuracy right after that, and with ``--epochs`` after so much training.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.datasets import cifar10
from benchmarks.training import FINE_TUNING, data_folder
from tinyopt.board import load_board
from tinyopt.bridge import to_graph, to_torch
from tinyopt.compress.factorize import PredictedCycles
from tinyopt.compress.prune import (
    L2,
    ActivationStatistics,
    Criterion,
    Random,
    StructuredPruning,
    Target,
    Taylor,
    prune,
)
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, load_graph
from tinyopt.train import Chain, Dataset, HorizontalFlip, PadCrop, TrainSettings, evaluate, fit

TRAINING, TESTS = 8000, 2000
"""Images that criteria and training see, and that accuracy is measured on: the first so many."""
CRITERIA: tuple[Criterion, ...] = (Random(), L2(), ActivationStatistics(), Taylor())
TUNING = TrainSettings(
    batch_size=FINE_TUNING.batch_size,
    optimiser="sgd",
    learning_rate=0.02,
    weight_decay=5e-4,
    warm_up_epochs=0.25,
    restore_best=False,
)


def configs(target: Target) -> list[StructuredPruning]:
    """What is compared."""
    made = [
        StructuredPruning(target=target, criterion=c, scope=scope, multiple=4, layer_limit=0.75, compensate=compensate)
        for scope in ("layer", "global", "cost", "trial")
        for c in CRITERIA
        for compensate in (False, "linear")
    ]
    return [config for config in made if config.scope != "trial" or isinstance(config.criterion, Taylor)]


def tuned(graph: Graph, data: Dataset, epochs: int) -> Graph:
    """After a short training."""
    module = to_torch(graph)
    settings = TrainSettings(**{**vars(TUNING), "epochs": epochs})
    fit(module, data, settings=settings, augment=Chain((HorizontalFlip(), PadCrop(4))), progress=False)
    return to_graph(module)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.channels", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ratio", type=float, default=0.5, help="share of the predicted cycles")
    parser.add_argument("--epochs", type=int, default=0, help="train each of them for so long")
    parser.add_argument("--scope", help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        graph, data = load_graph(arguments.model), cifar10(data_folder(), scale=1 / 255, limit=TRAINING)
        test = Dataset((data.test.inputs[0][:TESTS],), data.test.targets[:TESTS])
        cycles = PredictedCycles(load_board("emulated_l4r5zi"))
        whole = cycles(graph)
        print(f"dense: {100 * float(evaluate(graph, test).accuracy or 0):.1f} %, {whole:,.0f} cycles")
        for config in configs(Target(cycles, ratio=arguments.ratio)):
            if arguments.scope not in (None, config.scope):
                continue
            started = time.monotonic()
            pruned = prune(graph, config, data.train)
            seconds = time.monotonic() - started
            graphs = [pruned, *([tuned(pruned, data.train, arguments.epochs)] if arguments.epochs else [])]
            figures = " ".join(f"{100 * float(evaluate(g, test).accuracy or 0):5.1f}" for g in graphs)
            name = f"{type(config.criterion).__name__:20} {config.scope:7} {config.compensate or 'none':7}"
            print(f"{name} {figures} %  {cycles(pruned) / whole:.3f} of the cycles  {seconds:.0f} s", flush=True)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
