"""What training makes small.

A loss is called with (module, inputs, targets) for one batch and returns a scalar tensor, the mean over the batch. It
runs the module itself, so that it may look at activations (``module.features``), run a teacher, or add penalties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from tinyopt.bridge import GraphModule

Loss = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


def scores(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """The scores [batch, classes] for cross-entropy: before a softmax where a graph ends with one; the output of any
    other module (the first of several)."""
    if isinstance(module, GraphModule):
        return module.logits(*inputs)
    result = module(*inputs)
    first: Tensor = result[0] if isinstance(result, tuple) else result
    return first


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy of the scores with class numbers."""

    label_smoothing: float = 0.0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        return self.of_scores(scores(module, inputs), targets)

    def of_scores(self, values: Tensor, targets: Tensor) -> Tensor:
        """From scores [batch, classes] that were computed already."""
        return F.cross_entropy(values.reshape(len(targets), -1).float(), targets, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared difference of the first output and the targets, of the same number of elements."""

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
        result = module(*inputs)
        first: Tensor = result[0] if isinstance(result, tuple) else result
        first = first.float()
        return F.mse_loss(first, targets.reshape(first.shape).float())
