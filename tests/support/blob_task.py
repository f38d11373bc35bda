"""A task that a network of a few hundred weights learns in a second: which quarter of a 6x6 image is bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyopt.graph import Array, DType, Graph, GraphBuilder, ops, save_graph
from tinyopt.graph.ops import Clamp, Padding

CLASSES = 4
RELU = Clamp(0.0, None)


def samples(count: int, seed: int) -> tuple[Array, Array]:
    """Images float32 [count,6,6,1] and labels int64 [count]."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    images = random.normal(0, 0.3, (count, 6, 6, 1)).astype(np.float32)
    for image, label in zip(images, labels):
        row, column = divmod(int(label), 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 1.0
    return images, labels.astype(np.int64)


def network(seed: int = 0, channels: int = 8) -> Graph:
    """An untrained conv3x3 → conv1x1 → dense network."""
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return b.constant(name, (random.standard_normal(shape) * scale).astype(np.float32))

    b = GraphBuilder("blobs")
    x = b.input("image", (1, 6, 6, 1), DType.FLOAT32)
    zeros = b.constant("first.bias", np.zeros(channels, np.float32))
    conv = ops.Conv2d(stride=(2, 2), padding=Padding(1, 1, 1, 1), activation=RELU)
    x = b.add(conv, (x, weights("first.weight", channels, 3, 3, 1), zeros), name="first")
    more = b.constant("second.bias", np.zeros(channels, np.float32))
    x = b.add(ops.Conv2d(activation=RELU), (x, weights("second.weight", channels, 1, 1, channels), more), name="second")
    x = b.add(ops.Reshape((1, 9 * channels)), (x,))
    last = b.constant("last.bias", np.zeros(CLASSES, np.float32))
    x = b.add(ops.FullyConnected(), (x, weights("last.weight", CLASSES, 9 * channels), last), name="last")
    b.output(x)
    return b.build()


def write(folder: Path) -> None:
    """``net.tinyopt``, ``train.npz`` and ``test.npz``."""
    save_graph(network(), folder / "net.tinyopt")
    for name, count, seed in (("train", 160, 1), ("test", 60, 2)):
        x, y = samples(count, seed)
        np.savez(folder / f"{name}.npz", x=x, y=y)
