"""A small task to try things on: handwritten digits from scikit-learn, and a residual CNN that learns them in seconds.

The data are 1,797 images of 8x8 in 16 grey levels (UCI ML repository, E. Alpaydin and C. Kaynak 1998).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyopt.errors import ToolError
from tinyopt.graph import Array, Graph


def digits() -> tuple[Array, Array, Array, Array]:
    """Training images float32 [n,1,8,8] in 0..1, training labels, test images, test labels; split fixed, 3 to 1.

    Raises:
        ToolError: when scikit-learn, which carries the data, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ToolError("the example takes its data from scikit-learn; install it: pip install scikit-learn") from None
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    images = (bunch.images.astype(np.float32) / 16.0)[order][:, None]
    labels = bunch.target.astype(np.int64)[order]
    cut = len(labels) * 3 // 4
    return images[:cut], labels[:cut], images[cut:], labels[cut:]


def build_network() -> Any:
    """An untrained residual CNN: 8x8x1 → 16 channels → residual block → 32 channels → 10 classes."""
    from torch import Tensor, nn

    class Residual(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
            self.norm1 = nn.BatchNorm2d(channels)
            self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(channels)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm1(self.depthwise(x)).relu()
            y = self.norm2(self.pointwise(y))
            result: Tensor = (x + y).relu()
            return result

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Residual(16),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Residual(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def digits_graph(seed: int = 0) -> Graph:
    """The untrained network as a float graph (batch norms as operators); ``seed`` fixes its weights."""
    import torch

    from tinyopt.importers import load

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network().eval()
    return load(network, example_inputs=(torch.zeros(1, 1, 8, 8),), name="digits")
