"""Real models, imported and run by the executor, equal TensorFlow Lite Micro byte for byte."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from support.micro import TfliteMicro
from tinyopt.execute import Executor
from tinyopt.graph import Graph
from tinyopt.importers import load

OFFICIAL = {
    "kws_ref_model.tflite": 20,
    "vww_96_int8.tflite": 6,
    "pretrainedResnet_quant.tflite": 6,
    "ad01_int8.tflite": 20,
}
FLOAT = ("vww_96_float.tflite", "pretrainedResnet.tflite", "ad01_fp32.tflite")
WAKE_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")


def mismatches(graph: Graph, judge: TfliteMicro, samples: list[np.ndarray]) -> int:
    executor, name = Executor(graph), graph.inputs[0]
    wrong = 0
    for sample in samples:
        (got,) = executor({name: sample}).values()
        (expected,) = judge(sample)
        wrong += got.dtype != expected.dtype or not np.array_equal(got, expected)
    return wrong


def random_samples(graph: Graph, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shape = graph.tensors[graph.inputs[0]].shape
    return [random.integers(-128, 128, shape).astype(np.int8) for _ in range(count)]


@pytest.mark.data
@pytest.mark.parametrize("file", sorted(OFFICIAL))
def test_official_models_on_random_inputs(mlperf: Path, file: str) -> None:
    graph = load(mlperf / file)
    extremes = [np.full(graph.tensors[graph.inputs[0]].shape, v, np.int8) for v in (-128, 0, 127)]
    samples = [*extremes, *random_samples(graph, OFFICIAL[file])]
    assert mismatches(graph, TfliteMicro((mlperf / file).read_bytes()), samples) == 0


@pytest.mark.data
def test_keyword_spotting_on_recorded_words(mlperf: Path) -> None:
    path = mlperf / "kws_ref_model.tflite"
    graph = load(path)
    shape = graph.tensors[graph.inputs[0]].shape
    with tarfile.open(mlperf / "kws01.tar.xz") as archive:
        members = sorted((m for m in archive if m.name.endswith(".bin")), key=lambda m: m.name)[::13]
        contents = [archive.extractfile(member) for member in members]
        samples = [np.frombuffer(c.read(), np.int8).reshape(shape) for c in contents if c is not None]
    assert len(samples) > 70
    assert mismatches(graph, TfliteMicro(path.read_bytes()), samples) == 0


@pytest.mark.data
@pytest.mark.parametrize("file", FLOAT)
def test_float_models_agree_closely(mlperf: Path, file: str) -> None:
    graph = load(mlperf / file)
    executor, judge = Executor(graph), TfliteMicro((mlperf / file).read_bytes())
    random = np.random.default_rng(0)
    for _ in range(2):
        x = random.normal(size=graph.tensors[graph.inputs[0]].shape).astype(np.float32)
        (got,) = executor({graph.inputs[0]: x}).values()
        np.testing.assert_allclose(got, judge(x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("word", WAKE_WORDS)
def test_wake_word_models_over_many_steps(word: str) -> None:
    package = pytest.importorskip("pymicro_wakeword", reason="the package pymicro-wakeword is not installed")
    path = Path(package.__file__).parent / "models" / f"{word}.tflite"
    graph = load(path)
    assert len(graph.states) == 6
    assert mismatches(graph, TfliteMicro(path.read_bytes()), random_samples(graph, 120)) == 0


def test_a_streaming_model_starts_again_after_a_reset() -> None:
    package = pytest.importorskip("pymicro_wakeword", reason="the package pymicro-wakeword is not installed")
    graph = load(Path(package.__file__).parent / "models" / "okay_nabu.tflite")
    executor, samples = Executor(graph), random_samples(graph, 5)

    def sequence() -> list[np.ndarray]:
        return [next(iter(executor({graph.inputs[0]: sample}).values())) for sample in samples]

    first = sequence()
    executor.reset()
    np.testing.assert_array_equal(first, sequence())
