"""Every int8 and int16 operator here equals TensorFlow Lite Micro byte for byte, on every case that it accepts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels.cases import elementwise, formats, pooling, reduction, softmax
from kernels.cases.quantized import values
from support.micro import run_tflite_micro
from support.tflite_writer import NotInTflite, write_tflite
from tinyopt.execute import Executor
from tinyopt.execute.integer.elementwise import divide_parameters
from tinyopt.graph import DType, Graph, ops

_OURS = {  # TFLM has no int8 arithmetic for these
    *(f"{op}_s8" for op in ("hard_sigmoid", "gelu", "gelu_tanh", "silu", "softplus", "neg", "exp", "log", "sqrt")),
    *(f"{op}_s8" for op in ("square", "erf", "reduce_min", "sign", "signum")),
}
_CASES = {
    name: strategy
    for module in (elementwise, pooling, reduction, softmax, formats)
    for name, strategy in module.CASES.items()
    if (name.endswith(("_s8", "_s16")) and name not in _OURS) or (module is formats and name != "cast")
}

_F32, _S8, _U8, _S16, _S32 = DType.FLOAT32, DType.INT8, DType.UINT8, DType.INT16, DType.INT32
_TFLM_FORMATS = {
    *((_F32, y) for y in (_S8, _S16)),
    *((_S8, y) for y in (_S8, _U8, _S16, _S32, _F32)),
    *((_S16, y) for y in (_S8, _S16, _S32, _F32)),
    *((_U8, y) for y in (_S8, _F32)),
    *((_S32, y) for y in (_S8, _S16)),
}


def _same_contract(graph: Graph) -> bool:
    """Whether TFLM computes this graph at all, and by the rule that we share with it."""
    operator = graph.operators[0]
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    same = x.quantization == y.quantization
    if isinstance(a, ops.Binary):
        others = graph.ins(operator)[1]
        if a.op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM):
            return same and others.quantization == y.quantization
        return a.op is not ops.BinaryKind.DIV or others.is_constant
    if isinstance(a, (ops.AveragePool2d, ops.MaxPool2d)):
        return same
    if isinstance(a, ops.Reduce):
        return same or a.op in (ops.ReduceKind.MEAN, ops.ReduceKind.SUM)
    if isinstance(a, ops.ArgMax):
        return a.dtype == "int32" and not a.keep_dims
    if isinstance(a, ops.Clip):
        return a.clamp == ops.RELU or (a.clamp == ops.RELU6 and same and _six_fits(x))
    if isinstance(a, ops.Softmax):
        return x.dtype is DType.INT16 or (y.scale == 1 / 256 and y.zero_point == -128)
    if isinstance(a, ops.LogSoftmax):
        return y.scale == 1 / 16 and y.zero_point == 127
    if isinstance(a, (ops.Quantize, ops.Dequantize)):
        return (x.dtype, y.dtype) in _TFLM_FORMATS
    if isinstance(a, ops.Unary):
        return _unary_in_tflm(a, x, y)
    return True


def _six_fits(x) -> bool:  # type: ignore[no-untyped-def]
    return x.zero_point + round(6 / x.scale) <= x.dtype.limits[1]


def _unary_in_tflm(a: ops.Unary, x, y) -> bool:  # type: ignore[no-untyped-def]
    if a.op is ops.UnaryKind.LOGISTIC:
        return x.dtype is DType.INT16 or (y.zero_point == -128 and y.scale == 1 / 256)
    if a.op is ops.UnaryKind.TANH:
        return x.dtype is DType.INT16 or (y.zero_point == 0 and y.scale == 1 / 128)
    if a.op is ops.UnaryKind.ELU:
        return a.alpha == 1.0
    if a.op is ops.UnaryKind.HARD_SWISH:
        return 0.99 * y.scale > x.scale / 128 and 1.01 * y.scale < x.scale * 512
    return True


def _divisions_defined_in_tflm(graph: Graph, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """TFLM shifts by more than the width of int32, undefined in C, where the quotient is tiny (1 / 100 gives 127)."""
    a, b = graph.ins(graph.operators[0])
    x, y = (inputs[t.name] if t.data is None else t.data for t in (a, b))
    numerator, divisor = np.broadcast_arrays(x.astype(int) - a.zero_point, y.astype(int) - b.zero_point)
    numerator = np.where(divisor < 0, -numerator, numerator)
    magnitude = np.where(numerator < 0, ~numerator, numerator)
    headroom = 31 - np.frexp(magnitude.astype(float))[1]
    shift = divide_parameters(a, b, graph.outs(graph.operators[0])[0])[1]
    exponent = np.frexp(np.abs(divisor).astype(float))[1] - 1 + headroom - shift
    return (exponent >= 0) & (exponent <= 31)


@pytest.mark.parametrize("name", sorted(_CASES))
@settings(max_examples=30)
@given(data=st.data())
def test_executor_equals_tflite_micro(name: str, data: st.DataObject) -> None:
    graph = data.draw(_CASES[name])
    assume(_same_contract(graph))
    try:
        model = write_tflite(graph)
    except NotInTflite:
        assume(False)
    inputs = {}
    for number, tensor in enumerate(graph.tensors[n] for n in graph.inputs):
        array = values(tensor.dtype, tensor.shape, number)
        if name == "rsqrt_s8":  # TFLM stops at negative values
            array = np.maximum(array, tensor.zero_point)
        inputs[tensor.name] = array
    (wanted,) = run_tflite_micro(model, list(inputs.values()))
    (got,) = Executor(graph)(inputs).values()
    if name == "div_s8":
        defined = _divisions_defined_in_tflm(graph, inputs)
        got, wanted = got[defined], wanted[defined]
    if got.dtype == np.float32:
        np.testing.assert_array_equal(got.view(np.int32), wanted.view(np.int32))
    else:
        np.testing.assert_array_equal(got, wanted)
