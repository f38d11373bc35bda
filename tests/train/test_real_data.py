"""Training on real recordings and images, where the benchmark data is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import Split, cifar10, log_mel, mfcc, one_second, spoken_digits
from benchmarks.networks import ds_cnn, resnet8
from tinyopt.bridge import to_graph, to_torch
from tinyopt.execute.float import run_batch
from tinyopt.graph import dump
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.train import TrainSettings, evaluate, fit


@pytest.fixture(scope="module")
def digits(data_folder: Path) -> Split:
    return spoken_digits(data_folder)


def test_a_tone_is_loudest_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype(np.float32)
    energies = log_mel(one_second(tone[:4000]))
    assert energies.shape == (49, 40) and mfcc(one_second(tone)).shape == (49, 10)
    assert energies[25].argmax() == 18 and energies[25].max() > energies[0].max() + 5


def test_the_networks_have_the_published_size() -> None:
    for graph, macs in ((ds_cnn(), 2_656_640), (resnet8(), 12_501_632)):
        x = np.random.default_rng(0).standard_normal((2, *graph.tensors["input"].shape[1:])).astype(np.float32)
        assert run_batch(graph, {"input": x})["scores"].shape == (2, 10)
        assert f"{macs:,} MACs" in dump(graph)


@pytest.mark.data
def test_digits_are_split_by_their_authors_rule(digits: Split) -> None:
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [2400, 300, 300]
    for part in (digits.train, digits.validation, digits.test):
        assert np.bincount(part.targets).tolist() == [len(part) // 10] * 10
    x = digits.train.inputs[0]
    assert x.shape[1:] == (49, 10, 1) and np.allclose(x.mean((0, 1), np.float64), 0, atol=1e-3)


@pytest.mark.data
def test_a_keyword_network_is_trained_from_scratch(digits: Split) -> None:
    module = to_torch(ds_cnn(channels=16, blocks=2))
    fit(module, digits.train, settings=TrainSettings(epochs=4, batch_size=32, learning_rate=0.01))
    found = evaluate(module, digits.test)
    assert found.accuracy is not None and found.accuracy > 0.8
    folded = evaluate(optimise(to_graph(module)), digits.test)
    assert folded.accuracy == pytest.approx(found.accuracy, abs=0.01)


@pytest.mark.data
def test_the_official_image_network_has_the_executors_accuracy(data_folder: Path, mlperf: Path) -> None:
    images = cifar10(data_folder, limit=400).test
    graph = load(mlperf / "pretrainedResnet.tflite")
    expected = run_batch(graph, {graph.inputs[0]: images.inputs[0]})[graph.outputs[0]].argmax(1)
    found = evaluate(to_torch(graph), images)
    assert found.accuracy == (expected == images.targets).mean() and 0.7 < found.accuracy < 0.82
