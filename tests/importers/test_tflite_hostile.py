"""Damaged and malicious TFLite files: one clear error, quickly, and never a crash or a huge allocation."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from importers.mutations import mutate

from support.tflite_file import FileSubgraph, serialise
from tinyopt.errors import ModelError
from tinyopt.importers import load
from tinyopt.importers.tflite import import_tflite

CORPUS = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.tflite"))}
MUTANTS = 120


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_sound(name: str) -> None:
    assert import_tflite(CORPUS[name]).operators


def test_the_onnx_corpus_is_sound() -> None:
    for path in (Path(__file__).parent / "corpus").glob("*.onnx"):
        assert load(path).operators


@pytest.mark.parametrize("name", CORPUS)
def test_a_mutated_file_imports_or_is_refused(name: str) -> None:
    refused = 0
    for seed in range(MUTANTS):
        try:
            str(load(mutate(CORPUS[name], random.Random(seed))))
        except ModelError as error:
            assert str(error)
            refused += 1
    assert 0 < refused < MUTANTS


@pytest.mark.parametrize("name", CORPUS)
def test_a_truncated_file_is_refused(name: str) -> None:
    """Also where the cut takes only padding: then the file may still be whole."""
    data = CORPUS[name]
    for length in range(1, len(data) - 16, 61):
        with pytest.raises(ModelError):
            load(data[:length])


def test_the_error_names_the_file_and_the_place(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(CORPUS["streaming"][:900])
    with pytest.raises(ModelError, match=r"cut\.tflite is damaged or truncated: .* cannot be read"):
        load(path)


def tanh_file(**changes: object) -> FileSubgraph:
    file = FileSubgraph()
    file.inputs = [file.add("x", (1, 4), "float32")]
    file.outputs = [file.add("y", (1, 4), "float32")]
    file.operator("TANH", file.inputs, file.outputs)
    for name, value in changes.items():
        setattr(file, name, value)
    return file


def refused(file: FileSubgraph, message: str, *more: FileSubgraph) -> None:
    with pytest.raises(ModelError, match=message):
        import_tflite(serialise([file, *more]))


def test_a_cycle_is_refused() -> None:
    file = tanh_file()
    file.operators[0].inputs = [1]
    refused(file, "'y' is read before anything has written it")


def test_a_tensor_that_is_written_twice_is_refused() -> None:
    file = tanh_file()
    file.operators *= 2
    refused(file, "'y' is written twice")


def test_an_input_that_is_written_is_refused() -> None:
    file = tanh_file()
    file.operators[0].outputs = [0]
    refused(file, "'x' is written twice")


def test_an_input_that_is_listed_twice_is_refused() -> None:
    refused(tanh_file(inputs=[0, 0]), "the input .x. is listed twice")


def test_tensor_numbers_outside_the_file_are_refused() -> None:
    refused(tanh_file(outputs=[7]), "uses tensor 7 of 2")
    refused(tanh_file(outputs=[-1]), "is no tensor")
    refused(tanh_file(outputs=[]), "has no output")


def test_sizes_of_many_gigabytes_are_refused() -> None:
    file = tanh_file()
    for tensor in file.tensors:
        tensor.shape = (1 << 30, 1 << 30)
    refused(file, "is declared with [0-9]+ bytes")


@pytest.mark.parametrize("shape", [(1, 0), (1, -4), (1,) * 9])
def test_impossible_shapes_are_refused(shape: tuple[int, ...]) -> None:
    file = tanh_file()
    file.tensors[0].shape = shape
    refused(file, "must be at least 1|the limit is 8")


def test_a_constant_that_does_not_fill_its_shape_is_refused() -> None:
    file = tanh_file()
    c = file.add("c", (1, 4), "float32", b"\0" * 15)
    file.operator("ADD", [1, c], [file.add("z", (1, 4), "float32")])
    refused(file, r"constant 'c' \(FLOAT32\[1, 4\]\) needs 16 bytes, its buffer holds 15")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_scales_are_refused(scale: float) -> None:
    file = tanh_file()
    for tensor in file.tensors:
        tensor.dtype, tensor.scales, tensor.zero_points = "int8", [scale], [0]
    refused(file, "is not a positive finite number")


def test_per_channel_scales_must_fit_the_tensor() -> None:
    file = FileSubgraph()
    q = {"scales": [0.1], "zero_points": [0]}
    file.inputs, file.outputs = [file.add("x", (1, 4), "int8", **q)], [file.add("y", (1, 2), "int8", **q)]
    w = file.constant("w", np.ones((2, 4), np.int8), scales=[0.1] * 4, zero_points=[0], axis=0)
    file.operator("FULLY_CONNECTED", [*file.inputs, w, -1], file.outputs, "FullyConnectedOptions")
    refused(file, "4 scales on axis 0")


def test_activations_have_one_scale() -> None:
    file = tanh_file()
    for tensor in file.tensors:
        tensor.dtype, tensor.scales, tensor.zero_points, tensor.axis = "int8", [0.1] * 4, [0] * 4, 1
    refused(file, "'x' has one scale per channel, which only weights may have")


def test_an_initial_subgraph_that_calls_itself_is_refused() -> None:
    file, once = tanh_file(), FileSubgraph("NoOp")
    file.operator("CALL_ONCE", [], [], "CallOnceOptions", init_subgraph_index=1)
    once.operator("CALL_ONCE", [], [], "CallOnceOptions", init_subgraph_index=1)
    refused(file, "calls subgraph 1 of 2", once)


def test_constants_that_double_with_every_operator_are_refused() -> None:
    """Forty joins of a constant with itself would make a terabyte of a kilobyte."""
    file = tanh_file()
    last, size = file.constant("c0", np.zeros(256, np.float32)), 256
    for step in range(40):
        size = min(2 * size, 1 << 28)
        joined = file.add(f"c{step + 1}", (size,), "float32")
        file.operator("CONCATENATION", [last, last], [joined], "ConcatenationOptions", axis=0)
        last = joined
    tracemalloc.start()
    refused(file, "the constants are far larger than the file")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_vectors_that_overlap_do_not_multiply_the_work() -> None:
    """A small file in which two hundred operators claim the same twenty thousand inputs."""
    file = tanh_file()
    for step in range(200):
        file.operator("CONCATENATION", [0] * 20_000, [file.add(f"y{step}", (1, 4), "float32")])
    data = serialise([file], share_vectors=True)
    assert len(data) < 200_000
    start = time.perf_counter()
    with pytest.raises(ModelError, match="more inputs and outputs than the file can hold"):
        import_tflite(data)
    assert time.perf_counter() - start < 5


def test_a_deep_chain_of_operators_is_no_recursion() -> None:
    file = tanh_file()
    for step in range(3000):
        file.operator("TANH", [step + 1], [file.add(f"y{step}", (1, 4), "float32")])
    file.outputs = [len(file.tensors) - 1]
    assert len(import_tflite(serialise([file])).operators) == 3001


def test_options_of_another_operator_are_refused() -> None:
    file = tanh_file()
    file.operator("SOFTMAX", [1], [file.add("z", (1, 4), "float32")], "Conv2DOptions", padding=1)
    refused(file, r"\(SOFTMAX\) has options of Conv2DOptions")


def test_another_schema_version_is_refused() -> None:
    with pytest.raises(ModelError, match="schema version 4; only version 3"):
        import_tflite(serialise([tanh_file()], version=4))
