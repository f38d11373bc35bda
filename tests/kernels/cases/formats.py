"""Single-operator graphs of number formats: quantize, requantize, dequantize and cast between all types."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels.cases.quantized import Draw, quantizations, shapes, single
from tinyopt.graph import DType, Graph, ops

QUANTIZED = (DType.INT8, DType.UINT8, DType.INT16, DType.INT32)


@st.composite
def _quantize(draw: Draw) -> Graph:
    y = draw(st.sampled_from(QUANTIZED))
    return single(ops.Quantize(), [(draw(shapes()), None)], DType.FLOAT32, draw(quantizations(y)), output_dtype=y)


@st.composite
def _requantize(draw: Draw, x: DType) -> Graph:
    y = draw(st.sampled_from(QUANTIZED))
    source = draw(quantizations(x))
    target = source if x is y and draw(st.booleans()) else draw(quantizations(y))
    return single(ops.Quantize(), [(draw(shapes()), source)], x, target, output_dtype=y)


@st.composite
def _dequantize(draw: Draw) -> Graph:
    x = draw(st.sampled_from(QUANTIZED))
    return single(ops.Dequantize(), [(draw(shapes()), draw(quantizations(x)))], x, None)


@st.composite
def _cast(draw: Draw) -> Graph:
    x, y = draw(st.sampled_from(DType)), draw(st.sampled_from(DType))
    return single(ops.Cast(y.value), [(draw(shapes()), None)], x, None)


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "quantize": _quantize(),
    **{f"requantize_{x.value}": _requantize(x) for x in QUANTIZED},
    "dequantize": _dequantize(),
    "cast": _cast(),
}
