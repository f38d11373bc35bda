"""A graph that is written as a TFLite file and imported again computes the same outputs, for every operator."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels import cases
from support.tflite_writer import NotInTflite, write_tflite
from tinyopt.errors import UnsupportedOperatorsError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, Tensor, ops
from tinyopt.importers.tflite import import_tflite

CASES: dict[str, st.SearchStrategy[Graph]] = {
    name: strategy
    for module in sorted(info.name for info in pkgutil.iter_modules(cases.__path__))
    for name, strategy in importlib.import_module(f"{cases.__name__}.{module}").CASES.items()
}
NOT_IN_TFLITE = {
    *("batch_norm_f32", "layer_norm_f32", "layer_norm_s8", "layer_norm_parameters_s8"),
    *(f"{op}_{kind}" for op in ("hard_sigmoid", "silu", "softplus", "erf", "sign", "signum") for kind in ("s8", "f32")),
    *("pack_signs", "xnor_conv2d_s8", "xnor_conv2d_bits", "or_pool2d"),  # operators of plans
    *(name for name in CASES if name.startswith(("gru", "lstm"))),  # states: see test_tflite_lstm
    *(name for name in CASES if name.startswith("dynamic_")),  # see test_tflite_hybrid
}


def values(tensor: Tensor) -> np.ndarray:
    """Deterministic data that fills the range of the type; indices stay small."""
    random = np.random.default_rng(tensor.size)
    if tensor.dtype is DType.FLOAT32:
        return random.normal(size=tensor.shape).astype(np.float32)
    if tensor.dtype is DType.BOOL:
        return random.integers(0, 2, tensor.shape).astype(bool)
    low, high = tensor.dtype.limits if tensor.quantization is not None else (0, 2)
    return random.integers(low, high, tensor.shape, dtype=tensor.dtype.numpy, endpoint=True)


@pytest.mark.parametrize("case", sorted(set(CASES) - NOT_IN_TFLITE))
def test_what_is_written_is_imported_again(case: str) -> None:
    written = 0

    @settings(max_examples=8)
    @given(CASES[case])
    def check(graph: Graph) -> None:
        nonlocal written
        try:
            data = write_tflite(graph)
        except NotInTflite:
            assume(False)
        try:
            again = import_tflite(data)
        except UnsupportedOperatorsError as error:
            # Only what the format itself has no arithmetic for may be refused.
            assert any("arithmetic on" in item.reason for item in error.items), error
            assume(False)
        inputs = {name: values(graph.tensors[name]) for name in graph.inputs}
        expected, got = Executor(graph)(inputs), Executor(again)(inputs)
        for name, other in zip(graph.outputs, again.outputs, strict=True):
            assert graph.tensors[name].quantization == again.tensors[other].quantization
            np.testing.assert_array_equal(expected[name], got[other])
        written += 1

    check()
    assert written, f"no example of {case} has a TFLite form"


def test_states_are_written_and_read_as_variables() -> None:
    q = Quantization.per_tensor(0.1, -5)
    builder = GraphBuilder("streaming")
    x = builder.input("x", (1, 4), DType.INT8, q)
    kept = builder.state("kept", np.arange(8, dtype=np.int8).reshape(1, 8), q)
    idle = builder.state("idle", np.full((1, 3), 7, np.int8), q)
    joined = builder.add(ops.Concat(1), [kept, x], quantization=q)
    builder.assign("kept", builder.add(ops.Slice((0, 4), (1, 8), (1, 1)), [joined], quantization=q))
    builder.output(builder.add(ops.Concat(1), [joined, idle], quantization=q))
    graph = builder.build()
    again = import_tflite(write_tflite(graph))
    assert [(s.name, s.initial.tolist()) for s in again.states] == [(s.name, s.initial.tolist()) for s in graph.states]
    first, second = Executor(graph), Executor(again)
    random = np.random.default_rng(3)
    for _ in range(4):
        sample = {"x": random.integers(-128, 128, (1, 4)).astype(np.int8)}
        np.testing.assert_array_equal(next(iter(first(sample).values())), next(iter(second(sample).values())))
