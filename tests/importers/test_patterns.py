"""Activations written out as arithmetic come back as one operator, whatever way they were written."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tinyopt.execute.float import run_sample
from tinyopt.importers.pytorch import import_torch

Formula = Callable[[torch.Tensor], torch.Tensor]


class Module(torch.nn.Module):
    def __init__(self, formula: Formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.formula(x)


ROOT = math.sqrt(2 / math.pi)
WRITTEN: list[tuple[str, Formula, Formula]] = [
    ("Gelu", lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), F.gelu),
    ("Gelu", lambda x: x * 0.5 * (torch.erf(x * math.sqrt(0.5)) + 1), F.gelu),
    ("Gelu", lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2, F.gelu),
    ("Gelu", lambda x: x * (0.5 * (1 + torch.erf(x / 1.4142135))), F.gelu),
    (
        "GeluTanh",
        lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    ("Silu", lambda x: x * torch.sigmoid(x), F.silu),
    ("Silu", lambda x: torch.sigmoid(x) * x, F.silu),
    ("HardSwish", lambda x: x * F.relu6(x + 3) / 6, F.hardswish),
    ("HardSwish", lambda x: x * (F.relu6(x + 3) / 6), F.hardswish),
    ("HardSwish", lambda x: x * F.hardsigmoid(x), F.hardswish),
]


@pytest.mark.parametrize("index", range(len(WRITTEN)))
def test_a_written_out_activation_is_one_operator(index: int) -> None:
    kind, written, meant = WRITTEN[index]
    x = torch.linspace(-5, 5, 40).reshape(1, 40)
    graph = import_torch(Module(written), x)
    assert [operator.kind for operator in graph.operators] == [kind]
    (result,) = run_sample(graph, {graph.inputs[0]: x.numpy()}).values()
    assert np.allclose(result, meant(x).numpy(), atol=1e-5)


ALMOST: list[Formula] = [
    lambda x: 0.5 * x * (1 + torch.erf(x / 2)),
    lambda x: x * torch.sigmoid(2 * x),
    lambda x: x * F.relu6(x + 2) / 6,
    lambda x: 0.4 * x * (1 + torch.erf(x / math.sqrt(2))),
    lambda x: x[:, :1] * torch.sigmoid(x),
]


@pytest.mark.parametrize("formula", ALMOST)
def test_what_only_looks_like_one_is_left_alone(formula: Formula) -> None:
    x = torch.linspace(-5, 5, 40).reshape(1, 40)
    graph = import_torch(Module(formula), x)
    assert len(graph.operators) > 1
    (result,) = run_sample(graph, {graph.inputs[0]: x.numpy()}).values()
    assert np.allclose(result, formula(x).numpy(), atol=1e-5)
