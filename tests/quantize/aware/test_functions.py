"""What rounding does forward, and which gradients it lets through."""

from __future__ import annotations

import pytest
import torch

from tinyopt.quantize.aware.functions import clipped_quantize, fake_quantize, nearest_of, replaced, signs


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def test_values_land_on_steps_halves_away_from_zero_and_end_at_the_range() -> None:
    x = torch.tensor([0.24, 0.25, -0.25, 0.74, 100.0, -100.0])
    got = fake_quantize(x, torch.tensor(0.5), 28, -128, 127)
    assert got.tolist() == [0.0, 0.5, -0.5, 0.5, 49.5, -78.0]


def test_the_gradient_of_a_value_passes_inside_the_range_only() -> None:
    x = leaf(0.3, 3.0, -5.0)
    fake_quantize(x, torch.tensor(1.0), 0, -2, 2).backward(torch.tensor([1.0, 2.0, 3.0]))
    assert x.grad is not None and x.grad.tolist() == [1.0, 0.0, 0.0]


def test_the_gradient_of_a_step_is_that_of_esser_et_al() -> None:
    x, step = torch.tensor([0.3, 1.6, 9.0, -9.0]), leaf(1.0)
    fake_quantize(x, step, 0, -2, 3).sum().backward()
    wanted = (0 - 0.3) + (2 - 1.6) + 3 - 2
    assert step.grad is not None
    assert float(step.grad) == pytest.approx(wanted / (4 * 3) ** 0.5, abs=1e-6)


def test_steps_per_channel_get_gradients_of_their_own() -> None:
    x, step = torch.tensor([[0.3, 9.0], [0.3, -9.0]]), torch.ones(2, 1, requires_grad=True)
    fake_quantize(x, step, 0, -2, 2).sum().backward()
    assert step.grad is not None
    assert step.grad.reshape(-1).tolist() == pytest.approx([1.7 / 2, -2.3 / 2], abs=1e-6)


def test_values_beyond_an_end_move_it() -> None:
    x = leaf(-3.0, 0.1, 5.0, 6.0)
    bottom, top = (torch.tensor(end, requires_grad=True) for end in (-1.0, 2.0))
    y = clipped_quantize(x, bottom, top, torch.tensor(3.0 / 255), -43)
    y.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert x.grad is not None and bottom.grad is not None and top.grad is not None
    assert x.grad.tolist() == [0.0, 10.0, 0.0, 0.0]
    assert (float(bottom.grad), float(top.grad)) == (1.0, 1100.0)


def test_signs_have_no_zero_and_large_weights_no_gradient() -> None:
    x, scale = leaf(-0.2, 0.0, 5.0), leaf(0.5)
    y = signs(x, scale, 4.0)
    y.sum().backward()
    assert y.tolist() == [-0.5, 0.5, 0.5]
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0, 0.0]
    assert scale.grad is not None and float(scale.grad) == pytest.approx(1 / 3**0.5)


def test_a_codebook_gives_its_nearest_value() -> None:
    x, book = leaf(-9.0, 2.4, 2.6, 40.0), torch.tensor([-8.0, 0.0, 5.0, 20.0])
    y = nearest_of(x, torch.tensor(1.0), book)
    y.sum().backward()
    assert y.tolist() == [-8.0, 0.0, 5.0, 20.0]
    assert x.grad is not None and x.grad.tolist() == [1.0] * 4


def test_a_replaced_value_passes_its_gradient_on() -> None:
    x = leaf(1.0, 2.0)
    y = replaced(x, torch.tensor([5.0, 6.0]))
    (3 * y).sum().backward()
    assert y.tolist() == [5.0, 6.0]
    assert x.grad is not None and x.grad.tolist() == [3.0, 3.0]
