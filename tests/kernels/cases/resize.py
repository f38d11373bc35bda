"""Single-operator graphs of image resizing: smaller and larger, every coordinate rule."""

from __future__ import annotations

from hypothesis import strategies as st

from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

RULES = ((False, False), (True, False), (False, True))
"""(align_corners, half_pixel_centers); TFLite does not allow both."""


@st.composite
def resize(draw: st.DrawFn, method: ops.ResizeMethod, dtypes: tuple[DType, ...]) -> Graph:
    shape = (draw(st.sampled_from((1, 1, 2))), *(draw(st.integers(1, 9)) for _ in range(2)), draw(st.integers(1, 5)))
    size = (draw(st.integers(1, 20)), draw(st.integers(1, 20)))
    corners, half_pixel = draw(st.sampled_from(RULES))
    dtype = draw(st.sampled_from(dtypes))
    quantization = None if dtype is DType.FLOAT32 else Quantization.per_tensor(0.1, 4 if dtype is DType.INT8 else 0)
    builder = GraphBuilder("resize")
    x = builder.input("x", shape, dtype, quantization)
    attributes = ops.Resize2d(size, method, corners, half_pixel)
    builder.output(builder.add(attributes, [x], quantization=quantization))
    return builder.build()


CASES: dict[str, st.SearchStrategy[Graph]] = {
    "resize_nearest": resize(ops.ResizeMethod.NEAREST, (DType.INT8, DType.INT8, DType.INT16, DType.FLOAT32)),
    "resize_bilinear_s8": resize(ops.ResizeMethod.BILINEAR, (DType.INT8,)),
    "resize_bilinear_f32": resize(ops.ResizeMethod.BILINEAR, (DType.FLOAT32,)),
}
