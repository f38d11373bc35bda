"""Samples that run together give the bits that each gives alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernels.test_sweep import CASES
from tinyopt.execute import Executor, run_stacked
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops


def data_for(graph: Graph, samples: int) -> dict[str, Array]:
    random = np.random.default_rng(len(graph.operators))
    arrays = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        shape = (samples, *tensor.shape)
        if tensor.dtype is DType.FLOAT32:
            arrays[name] = random.standard_normal(shape).astype(np.float32)
        else:
            low, high = (0, 1) if tensor.dtype is DType.BOOL else tensor.dtype.limits
            arrays[name] = random.integers(low, high, shape, endpoint=True).astype(tensor.dtype.numpy)
    return arrays


def assert_equal_alone_and_together(graph: Graph, inputs: dict[str, Array]) -> None:
    executor = Executor(graph)
    together = list(run_stacked(graph, inputs))
    assert len(together) == len(next(iter(inputs.values())))
    for index, values in enumerate(together):
        alone = executor({name: array[index] for name, array in inputs.items()})
        for name, array in alone.items():
            assert values[name].shape == array.shape and values[name].dtype == array.dtype
            assert np.array_equal(values[name], array)


@pytest.mark.parametrize("case", sorted(name for name in CASES if name.endswith("_s8") or "s8" in name.split("_")))
def test_stacked_samples_give_the_same_bits(case: str) -> None:
    @settings(
        max_examples=4,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        graph = data.draw(CASES[case])
        assert_equal_alone_and_together(graph, data_for(graph, 11))

    check()


def test_a_constant_beside_the_samples_is_not_stacked() -> None:
    builder = GraphBuilder("beside")
    q = Quantization.per_tensor(0.5, 3)
    x = builder.input("x", (1, 2), DType.INT8, q)
    c = builder.constant("c", np.array([[5, 6]], np.int8), q)
    builder.output(builder.add(ops.Concat(1), [x, c], output="y", quantization=q))
    graph = builder.build()
    assert_equal_alone_and_together(graph, data_for(graph, 11))
