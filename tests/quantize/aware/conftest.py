"""A small convolutional network with batch norms, and images to teach it."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.graph import Array, DType, Graph, GraphBuilder, ops


def stripes(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Noisy images float32 [count, 8, 8, 1] of stripes in four directions, and which."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    rows, columns = np.mgrid[:8, :8]
    directions = np.stack([rows, columns, rows + columns, rows - columns])
    phase = random.integers(0, 4, count)
    images = ((directions[labels] + phase[:, None, None]) % 4 < 2) * 1.0
    return (images + 0.35 * random.standard_normal(images.shape)).astype(np.float32)[..., None], labels


def network(seed: int = 0) -> Graph:
    """Convolution, depthwise and pointwise with batch norms, a residual addition, mean, dense, softmax."""
    random = np.random.default_rng(seed)
    b = GraphBuilder("stripes")

    def weights(*shape: int) -> str:
        fan_in = np.prod(shape[1:] if shape[0] != 1 else shape[1:3])
        return b.constant("weights", (random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def norm(x: str, relu: bool = True) -> str:
        c = b.tensor(x).shape[-1]
        mean, deviation = 0.1 * random.standard_normal(c), 1 + 0.2 * random.random(c)
        values = [deviation, mean, 0.2 * mean, deviation**2]
        y = b.add(ops.BatchNorm(1e-3), [x, *(b.constant("norm", v.astype(np.float32)) for v in values)])
        return b.add(ops.Clip(), [y]) if relu else y

    border = ops.Padding(1, 1, 1, 1)
    x = b.input("x", (1, 8, 8, 1), DType.FLOAT32)
    y = norm(b.add(ops.Conv2d((2, 2), border), [x, weights(12, 3, 3, 1)], output="first"))
    z = norm(b.add(ops.DepthwiseConv2d(padding=border), [y, weights(1, 3, 3, 12)], output="depthwise"))
    z = norm(b.add(ops.Conv2d(), [z, weights(12, 1, 1, 12)], output="pointwise"), relu=False)
    y = b.add(ops.Binary(ops.BinaryKind.ADD, ops.RELU), [y, z], output="sum")
    y = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [y], output="pooled")
    bias = b.constant("dense_bias", np.zeros(4, np.float32))
    y = b.add(ops.FullyConnected(), [y, weights(4, 12), bias], output="scores")
    b.output(b.add(ops.Softmax(), [y], output="probabilities"))
    return b.build()


@pytest.fixture(scope="session")
def trained() -> Graph:
    """The network after some epochs in float32."""
    import torch

    from tinyopt.bridge import to_graph, to_torch
    from tinyopt.train import TrainSettings, fit

    torch.set_num_threads(1)
    module = to_torch(network())
    fit(module, stripes(600), None, TrainSettings(epochs=8, batch_size=32, learning_rate=0.01))
    return to_graph(module)
