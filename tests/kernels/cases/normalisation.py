"""Single-operator graphs of batch and layer normalisation."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from kernels.cases.quantized import SCALES, Draw, quantizations, shapes, single, values
from tinyopt.graph import DType, Graph, Quantization, ops


@st.composite
def _batch_norm(draw: Draw) -> Graph:
    shape = draw(shapes(1, 4))
    seed = draw(st.integers(0, 99))
    parameters = [values(DType.FLOAT32, shape[-1:], seed + i) for i in range(4)]
    parameters[3] = np.abs(parameters[3]) + np.float32(0.1)
    inputs = [(shape, None), *((p, None) for p in parameters)]
    return single(ops.BatchNorm(draw(st.sampled_from((1e-5, 1e-3)))), inputs, DType.FLOAT32, None)


@st.composite
def _layer_norm(draw: Draw, dtype: DType) -> Graph:
    shape = (*draw(st.sampled_from(((), (1,), (3,), (2, 4)))), draw(st.sampled_from((1, 2, 3, 16, 65, 256))))
    seed = draw(st.integers(0, 99))
    gamma, beta = (values(dtype, shape[-1:], seed + i) for i in range(2))
    x, y, b = (draw(quantizations(dtype)) for _ in range(3))
    g = None if dtype is DType.FLOAT32 else Quantization.per_tensor(draw(SCALES), draw(st.sampled_from((0, 0, 5))))
    attributes = ops.LayerNorm(draw(st.sampled_from((1e-5, 1e-3, 0.0))) if dtype is DType.INT8 else 1e-5)
    return single(attributes, [(shape, x), (gamma, g), (beta, b)], dtype, y)


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "batch_norm_f32": _batch_norm(),
    "layer_norm_f32": _layer_norm(DType.FLOAT32),
    "layer_norm_s8": _layer_norm(DType.INT8),
}
