"""Data movement and resizing equal TensorFlow Lite Micro byte for byte, where it has the operator and the type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels.cases import movement, resize
from kernels.cases.movement import values
from support.micro import run_tflite_micro
from support.tflite_writer import NotInTflite, write_tflite
from tinyopt.execute import Executor
from tinyopt.execute.integer.resize import FRACTION_BITS
from tinyopt.graph import DType, Graph, ops

CASES = {
    **{name: case for name, case in movement.CASES.items() if name != "constant_only"},
    "resize_nearest": resize.CASES["resize_nearest"],
    "resize_bilinear_s8": resize.CASES["resize_bilinear_s8"],
}
MOST_AXES = {"transpose": 5, "slice": 4, "broadcast_to": 5, "pad": 4}
"""Ranks that TensorFlow Lite Micro has."""


def stays_inside(graph: Graph) -> bool:
    """Whether TFLM's integer resize reads inside the image: its rounded scale can step past the last pixel."""
    a, x = graph.operators[0].attributes, graph.ins(graph.operators[0])[0]
    if not isinstance(a, ops.Resize2d) or a.method is ops.ResizeMethod.NEAREST:
        return True
    steps = [((size << FRACTION_BITS) + out // 2) // out * out for size, out in zip(x.shape[1:3], a.size)]
    return all(step <= size << FRACTION_BITS for step, size in zip(steps, x.shape[1:3])) or a.align_corners


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_equals_tflite_micro(name: str, data: st.DataObject) -> None:
    graph = data.draw(CASES[name])
    operator = graph.operators[0]
    x = graph.ins(operator)[0]
    assume(x.dtype in (DType.INT8, DType.FLOAT32) and len(x.shape) <= MOST_AXES.get(name, 6) and stays_inside(graph))
    inputs = {n: values(graph.tensors[n].dtype, graph.tensors[n].shape, 5) for n in graph.inputs}
    if isinstance(operator.attributes, ops.Gather):
        indices = graph.ins(operator)[1]
        assume(indices.dtype is DType.INT32 and indices.shape)
        if "indices" in inputs:
            inputs["indices"] = np.mod(inputs["indices"], x.shape[operator.attributes.axis])
    try:
        model = write_tflite(graph)
    except NotInTflite:
        assume(False)
    expected = Executor(graph)(inputs)
    for got, output in zip(run_tflite_micro(model, list(inputs.values())), graph.outputs):
        np.testing.assert_array_equal(got.reshape(expected[output].shape), expected[output])
