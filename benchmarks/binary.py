"""What binary networks give, on scikit-learn's handwritten digits: accuracy, cycles and bytes on an emulated board.

python -m benchmarks.binary [BOARD]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tinyopt.board import load_board
from tinyopt.bridge import to_graph, to_torch
from tinyopt.data import Samples
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.pipeline import reference_outputs, run_on_board
from tinyopt.quantize import Binary, quantize
from tinyopt.quantize.aware import QuantizationAware, train_aware
from tinyopt.report import predictions
from tinyopt.train import Dataset, TrainSettings, fit

BOARD = "emulated_l4r5zi"
SETTINGS = TrainSettings(epochs=6, batch_size=32, learning_rate=5e-3, seed=0)
AWARE = TrainSettings(epochs=12, batch_size=32, learning_rate=2e-3, seed=0)


@dataclass(frozen=True)
class Row:
    """A network: ``config`` None is quantized after training, the others go on training with it; ``objective``: what
    it is planned for."""

    name: str
    config: QuantizationAware | None
    objective: str = "latency"


INNER = QuantizationAware(signs=("*",))
ROWS = (
    Row("int8, post-training", None),
    Row("binary weights", QuantizationAware(weights=Binary())),
    Row("binary weights, planned for flash", QuantizationAware(weights=Binary()), "flash"),
    Row("signs and binary weights", INNER),
    Row("… the last layer too", QuantizationAware(signs=("*", "last"))),
    Row("… the first layer too", QuantizationAware(signs=("*", "first"))),
)


def digits() -> tuple[Dataset, Dataset]:
    """1200 images to train with and 597 to test, values from -1 to 1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.images[..., None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    every = Dataset((x,), bunch.target.astype(np.int64), "digits")
    return every.take(order[:1200]), every.take(order[1200:])


def network(channels: int = 64) -> Graph:
    """A first layer, three binary candidates of 3x3 (a max-pooling behind the first of them), and a last layer."""
    random = np.random.default_rng(0)
    builder = GraphBuilder("digits")
    same = ops.Padding(1, 1, 1, 1)

    def weights(*shape: int) -> str:
        return builder.constant("w", (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("f4"))

    def layer(x: str, name: str, inputs: int, outputs: int) -> str:
        y = builder.add(ops.Conv2d(padding=same), [x, weights(outputs, 3, 3, inputs)], name=name)
        ones, zeros = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
        y = builder.add(ops.BatchNorm(1e-3), [y, *(builder.constant("n", v) for v in (ones, zeros, zeros, ones))])
        return builder.add(ops.Clip(), [y])

    x = layer(builder.input("x", (1, 8, 8, 1), DType.FLOAT32), "first", 1, 32)
    x = layer(x, "a", 32, channels)
    x = builder.add(ops.MaxPool2d((2, 2), (2, 2)), [x])
    x = layer(layer(x, "b", channels, channels), "c", channels, channels)
    x = builder.add(ops.Reshape((1, 16 * channels)), [x])
    builder.output(builder.add(ops.FullyConnected(), [x, weights(10, 16 * channels)], name="last"))
    return builder.build()


def trained(start: Graph, config: QuantizationAware | None, data: Dataset) -> Graph:
    if config is None:
        return quantize(start, data.inputs[0][:100, None])
    return train_aware(start, data, None, config, AWARE, progress=False).graph


def samples_of(graph: Graph, data: Dataset) -> Samples:
    tensor = graph.tensors[graph.inputs[0]]
    assert tensor.quantization is not None
    values = tensor.quantization.quantize(data.inputs[0][:, None], tensor.dtype)
    return Samples({tensor.name: values}, data.targets, "digits")


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    board = load_board(names[0] if names else BOARD)
    train, test = digits()
    module = to_torch(network())
    fit(module, train, settings=SETTINGS, progress=False)
    start = to_graph(module)
    known: dict[QuantizationAware | None, Graph] = {}
    for row in ROWS:
        if row.config not in known:
            known[row.config] = trained(start, row.config, train)
        graph = known[row.config]
        samples = samples_of(graph, test)
        scores = [outputs[0] for outputs in reference_outputs(graph, samples)]
        right = predictions(scores, graph.tensors[graph.outputs[0]]) == samples.labels
        few = Samples({name: values[:3] for name, values in samples.inputs.items()}, None, "digits")
        report = run_on_board(graph, board, few, objective=row.objective).report
        assert report.mismatches == 0
        print(
            f"| {row.name} | {100 * float(np.mean(right)):.1f} | {report.cycles:,} | {report.arena_bytes:,} "
            f"| {report.weights_bytes:,} | {report.code_bytes:,} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
