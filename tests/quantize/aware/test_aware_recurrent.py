"""Recurrent layers: the module follows the integers closely, whatever the weights are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.quantize.test_quantize_recurrent import INPUTS, LAYERS, STEPS, layer, outputs, sequences
from tinyopt.quantize import Int4, Int8, Ternary, WeightFormat
from tinyopt.quantize.aware import QuantizationAware, convert_trained, prepare


def decibels(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(wanted - got).sum()))


@pytest.mark.parametrize("weights", [Int8(), Int4(), Ternary()], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_a_recurrent_layer_and_its_integers_agree(name: str, weights: WeightFormat) -> None:
    graph, data = layer(LAYERS[name], STEPS, streaming=False), sequences(6)
    module = prepare(graph, data, QuantizationAware(weights, edges=None)).eval()
    with torch.no_grad():
        trained = module(torch.from_numpy(data[:, 0])).numpy()
    _, got = outputs(graph, convert_trained(module), data)
    assert decibels(trained.reshape(-1), got.reshape(-1)) > 28


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_streaming_states_are_carried_over_alike(name: str) -> None:
    graph = layer(LAYERS[name], 1, streaming=True)
    data = sequences(2).reshape(-1, 1, 1, INPUTS)[:STEPS]
    module = prepare(graph, data, QuantizationAware(Int4(), edges=None)).eval()
    with torch.no_grad():
        trained = module.sequence(torch.from_numpy(data.reshape(1, STEPS, 1, INPUTS)))
    assert isinstance(trained, torch.Tensor)
    _, got = outputs(graph, convert_trained(module), data)
    assert decibels(trained.numpy().reshape(-1), got.reshape(-1)) > 30
