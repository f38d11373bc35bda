"""Single-operator graphs of softmax and log-softmax: few and many classes, int8 and float32."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels.cases.quantized import Draw, quantizations, single
from tinyopt.graph import DType, Graph, Quantization, ops

_OUTPUTS = {ops.Softmax: Quantization.per_tensor(1 / 256, -128), ops.LogSoftmax: Quantization.per_tensor(1 / 16, 127)}


@st.composite
def _softmax(draw: Draw, kind: type[ops.Softmax] | type[ops.LogSoftmax], dtype: DType) -> Graph:
    shape = (*draw(st.sampled_from(((), (1,), (3,), (2, 4)))), draw(st.sampled_from((1, 2, 3, 10, 12, 64, 300))))
    y = None
    if dtype is DType.INT8:
        y = draw(st.sampled_from((_OUTPUTS[kind], _OUTPUTS[kind], draw(quantizations(dtype)))))
    if dtype is DType.INT16:
        y = Quantization.per_tensor(1 / 32768, 0)
    attributes = kind(draw(st.sampled_from((1.0, 1.0, 0.5)))) if kind is ops.Softmax else kind()
    return single(attributes, [(shape, draw(quantizations(dtype)))], dtype, y)


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "softmax_s8": _softmax(ops.Softmax, DType.INT8),
    "softmax_s16": _softmax(ops.Softmax, DType.INT16),
    "softmax_f32": _softmax(ops.Softmax, DType.FLOAT32),
    "log_softmax_s8": _softmax(ops.LogSoftmax, DType.INT8),
    "log_softmax_f32": _softmax(ops.LogSoftmax, DType.FLOAT32),
}
