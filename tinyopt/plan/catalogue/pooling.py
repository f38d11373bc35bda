"""Kernels of max and average pooling."""

from __future__ import annotations

from collections.abc import Callable

from tinyopt.execute.integer.pooling import average_rescale
from tinyopt.graph import DType, Graph, Operator, Tensor, ops
from tinyopt.plan.kernel import Call, Kernel, Value, all_dtypes
from tinyopt.plan.packing import float_limits, output_limits

_HEADERS = ("common.h", "window.h")
_EXTENSIONS: dict[str, tuple[str, ...]] = {"ref": (), "dsp": ("dsp.h", "sums_dsp.h"), "mve": ("mve.h",)}
_MAX_WINDOW = 32767
"""Elements of a window: sums and products of the mean stay inside int32."""
_MAX_NARROW_WINDOW = 255
"""Elements of a window whose sum fits int16."""


def _accepts(kind: type[ops.MaxPool2d] | type[ops.AveragePool2d], dtype: DType) -> Callable[[Graph, Operator], bool]:
    def accepts(graph: Graph, operator: Operator) -> bool:
        a = operator.attributes
        if not isinstance(a, kind) or not all_dtypes(graph, operator, dtype):
            return False
        quantized = graph.outs(operator)[0].quantization is not None
        if dtype is DType.INT16 and graph.ins(operator)[0].quantization != graph.outs(operator)[0].quantization:
            return False
        small = a.kernel[0] * a.kernel[1] <= _MAX_WINDOW
        return not graph.ins(operator)[0].is_constant and (dtype is DType.FLOAT32 or (quantized and small))

    return accepts


def pool_fields(a: ops.MaxPool2d | ops.AveragePool2d | ops.OrPool2d, x: Tensor, y: Tensor) -> dict[str, Value]:
    """The fields of a parameter struct that say where windows lie."""
    return {
        "batches": x.shape[0],
        "input_height": x.shape[1],
        "input_width": x.shape[2],
        "channels": x.shape[3],
        "output_height": y.shape[1],
        "output_width": y.shape[2],
        "kernel_height": a.kernel[0],
        "kernel_width": a.kernel[1],
        "stride_height": a.stride[0],
        "stride_width": a.stride[1],
        "pad_top": a.padding.top,
        "pad_left": a.padding.left,
    }


def _lower(graph: Graph, operator: Operator, kernel: Kernel) -> Call:
    a, x, y = operator.attributes, graph.ins(operator)[0], graph.outs(operator)[0]
    assert isinstance(a, (ops.MaxPool2d, ops.AveragePool2d))
    parameters = pool_fields(a, x, y)
    if x.dtype is DType.FLOAT32:
        parameters.update(float_limits(a.activation))
        return Call(kernel, operator, parameters, (x.name,), (y.name,))
    limits = output_limits(y, a.activation)
    if isinstance(a, ops.MaxPool2d) or x.dtype is DType.INT16:
        del limits["output_zero_point"]
    else:
        multiplier, shift = average_rescale(x, y)
        parameters.update(
            {
                "rescale": int(x.quantization != y.quantization),
                "input_zero_point": x.zero_point,
                "multiplier": multiplier,
                "shift": shift,
            }
        )
    return Call(kernel, operator, {**parameters, **limits}, (x.name,), (y.name,))


def _cost(per_tap: float, per_output: float) -> Callable[[Graph, Operator], float]:
    def cost(graph: Graph, operator: Operator) -> float:
        a = operator.attributes
        assert isinstance(a, (ops.MaxPool2d, ops.AveragePool2d))
        return graph.outs(operator)[0].size * (per_tap * a.kernel[0] * a.kernel[1] + per_output)

    return cost


def _one_quantization(graph: Graph, operator: Operator) -> bool:
    return graph.ins(operator)[0].quantization == graph.outs(operator)[0].quantization


def _is_narrow(graph: Graph, operator: Operator) -> bool:
    """Windows whose sums fit 16 bits; with a quantization each, an output scaled down by at least a half."""
    a = operator.attributes
    assert isinstance(a, ops.AveragePool2d)
    x, y = graph.ins(operator)[0], graph.outs(operator)[0]
    if a.kernel[0] * a.kernel[1] > _MAX_NARROW_WINDOW:
        return False
    return _one_quantization(graph, operator) or average_rescale(x, y)[1] <= -1


def _has_words(graph: Graph, operator: Operator) -> bool:
    return graph.ins(operator)[0].shape[3] >= 4


def _kernel(
    family: str,
    kind: type[ops.MaxPool2d] | type[ops.AveragePool2d],
    dtype: DType,
    per_tap: float,
    *,
    name: str = "ref",
    fits: Callable[[Graph, Operator], bool] = lambda graph, operator: True,
    per_output: float = 30.0,
) -> Kernel:
    of_kind = _accepts(kind, dtype)
    source = name.rsplit("_", 1)[-1]
    return Kernel(
        f"{family}_{name}",
        family,
        f"{source}.c",
        lambda graph, operator: of_kind(graph, operator) and fits(graph, operator),
        _lower,
        _cost(per_tap, per_output),
        requires=frozenset() if source == "ref" else frozenset({source}),
        needs=(*_HEADERS, *_EXTENSIONS[source]),
    )


def _average(name: str, per_tap: float, per_output: float, *, words: bool = False) -> tuple[Kernel, Kernel]:
    """For input and output of one quantization, and of one each."""
    narrow = name != "ref"

    def fits(rescale: bool) -> Callable[[Graph, Operator], bool]:
        def accepts(graph: Graph, operator: Operator) -> bool:
            if _one_quantization(graph, operator) == rescale or (words and not _has_words(graph, operator)):
                return False
            return not narrow or _is_narrow(graph, operator)

        return accepts

    family, kind = "average_pool2d_s8", ops.AveragePool2d
    return (
        _kernel(family, kind, DType.INT8, per_tap, name=name, fits=fits(False), per_output=per_output),
        _kernel(
            family, kind, DType.INT8, per_tap, name=f"rescale_{name}", fits=fits(True), per_output=per_output + 25.0
        ),
    )


KERNELS = (
    _kernel("max_pool2d_s8", ops.MaxPool2d, DType.INT8, 10.0),
    _kernel("max_pool2d_s8", ops.MaxPool2d, DType.INT8, 2.8, name="dsp", fits=_has_words, per_output=6.0),
    _kernel("max_pool2d_s16", ops.MaxPool2d, DType.INT16, 6.0),
    _kernel("average_pool2d_s16", ops.AveragePool2d, DType.INT16, 5.0),
    _kernel("max_pool2d_f32", ops.MaxPool2d, DType.FLOAT32, 6.0),
    *_average("ref", 8.0, 30.0),
    *_average("dsp", 1.6, 8.0, words=True),
    *_average("mve", 0.8, 4.0),
    _kernel("average_pool2d_f32", ops.AveragePool2d, DType.FLOAT32, 6.0),
)
