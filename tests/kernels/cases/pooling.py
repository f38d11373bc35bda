"""Single-operator graphs of pooling: every kernel, stride and padding of small images, int8 and float32."""

from __future__ import annotations

from hypothesis import strategies as st

from kernels.cases.quantized import CLAMPS, Draw, quantizations, single
from tinyopt.graph import DType, Graph, ops


@st.composite
def _pool(draw: Draw, kind: type[ops.MaxPool2d] | type[ops.AveragePool2d], dtype: DType) -> Graph:
    size = [draw(st.integers(1, 9)) for _ in range(2)]
    kernel = [draw(st.sampled_from((1, 2, 3, extent, draw(st.integers(1, extent))))) for extent in size]
    stride = [draw(st.integers(1, 3)) for _ in range(2)]
    before, after, outputs = [], [], []
    for axis in range(2):
        pad = (0, 0)
        if kernel[axis] > size[axis] or draw(st.booleans()):  # as SAME: ceil(size / stride) windows
            count = -(-size[axis] // stride[axis])
            total = max((count - 1) * stride[axis] + kernel[axis] - size[axis], 0)
            pad = (total // 2, total - total // 2)
        before.append(pad[0])
        after.append(pad[1])
        outputs.append(size[axis])
    padding = ops.Padding(before[0], after[0], before[1], after[1])
    shape = (draw(st.integers(1, 2)), size[0], size[1], draw(st.sampled_from((1, 3, 4, 8, 17))))
    x = draw(quantizations(dtype))
    y = (
        x
        if kind is ops.MaxPool2d or dtype is DType.INT16
        else draw(st.sampled_from((x, x, draw(quantizations(dtype)))))
    )
    attributes = kind((kernel[0], kernel[1]), (stride[0], stride[1]), padding, draw(CLAMPS))
    return single(attributes, [(shape, x)], dtype, y)


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "max_pool2d_s8": _pool(ops.MaxPool2d, DType.INT8),
    "max_pool2d_s16": _pool(ops.MaxPool2d, DType.INT16),
    "average_pool2d_s16": _pool(ops.AveragePool2d, DType.INT16),
    "max_pool2d_f32": _pool(ops.MaxPool2d, DType.FLOAT32),
    "average_pool2d_s8": _pool(ops.AveragePool2d, DType.INT8),
    "average_pool2d_f32": _pool(ops.AveragePool2d, DType.FLOAT32),
}
