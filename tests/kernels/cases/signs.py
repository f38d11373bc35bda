"""Signs as bits: packing, and convolutions of signs that give int8 or bits again."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tinyopt.execute.integer.signs import pack_signs
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops

ZERO_POINTS = st.sampled_from([-128, 127, 0, 5, -31])
CHANNELS = st.sampled_from([1, 3, 5, 31, 32, 33, 64, 64, 95, 96, 128, 130])
KERNELS = st.sampled_from([(1, 1), (1, 1), (3, 3), (3, 3), (1, 3), (2, 2), (5, 1)])
SIGN = Quantization.per_tensor(1.0)


def _packed_input(draw, name: str, shape: tuple[int, ...]) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder(name)
    x = builder.input("x", shape, DType.INT8, Quantization.per_tensor(0.05, draw(ZERO_POINTS)))
    return builder, builder.add(ops.PackSigns(), [x], output="signs", dtype=DType.INT32, quantization=SIGN)


@st.composite
def pack(draw) -> Graph:
    shape = draw(st.sampled_from([(1,), (2, 3), (1, 3, 5)]))
    builder, packed = _packed_input(draw, "pack", (*shape, draw(CHANNELS)))
    builder.output(packed)
    return builder.build()


@st.composite
def xnor_conv2d(draw, packed: bool) -> Graph:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel, channels, outputs = draw(KERNELS), draw(CHANNELS), draw(st.sampled_from([1, 2, 7, 31, 32, 33, 40, 64]))
    stride, dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2)])), draw(st.sampled_from([1, 1, 1, 2]))
    top, bottom, left, right = draw(st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)]))
    size = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    if draw(st.sampled_from([False, False, False, True])):  # one patch: the image
        size, dilation, top, bottom, left, right = kernel, 1, 0, 0, 0, 0
    reach = [(taps - 1) * dilation + 1 for taps in kernel]
    padding = ops.Padding(top, max(bottom, reach[0] - size[0] - top), left, max(right, reach[1] - size[1] - left))
    builder, x = _packed_input(draw, "xnor_conv2d", (draw(st.sampled_from([1, 1, 2])), *size, channels))
    data = pack_signs(rng.integers(0, 2, (outputs, *kernel, channels)).astype(bool))
    scales = 0.01 * 2.0 ** rng.uniform(-2, 2, outputs if draw(st.booleans()) else 1)
    weights = Quantization.per_channel(scales, 0) if len(scales) > 1 else Quantization.per_tensor(scales[0])
    depth = channels * kernel[0] * kernel[1]
    reach_of_sums = int(2 * np.sqrt(depth)) + 1
    third = rng.integers(-reach_of_sums, reach_of_sums + 1, outputs).astype(np.int32)
    if draw(st.booleans()):  # always, and never
        third[0], third[-1] = -depth - 1, depth + 1
    names = [x, builder.constant("weights", data, weights), builder.constant("third", third)]
    attributes = ops.XnorConv2d(
        channels, stride, padding, (dilation, dilation), draw(st.sampled_from([ops.NONE, ops.RELU])), packed
    )
    scale = float(np.float32(0.01 * np.sqrt(depth) / 40))
    output = SIGN if packed else Quantization.per_tensor(scale, draw(ZERO_POINTS))
    dtype = DType.INT32 if packed else DType.INT8
    y = builder.add(attributes, names, name="layer", output="y", dtype=dtype, quantization=output)
    builder.output(y)
    return builder.build()


@st.composite
def or_pool2d(draw) -> Graph:
    kernel, stride = draw(st.sampled_from([(2, 2), (3, 3), (1, 2)])), draw(st.sampled_from([(2, 2), (1, 1)]))
    borders = [draw(st.integers(0, 1)) if taps > side + 1 else 0 for taps in kernel for side in (0, 1)]
    padding = ops.Padding(*borders)
    size = draw(st.integers(4, 7)), draw(st.integers(4, 7))
    builder, x = _packed_input(draw, "or_pool2d", (draw(st.sampled_from([1, 2])), *size, draw(CHANNELS)))
    attributes = ops.OrPool2d(kernel, stride, padding)
    builder.output(builder.add(attributes, [x], output="y", dtype=DType.INT32, quantization=SIGN))
    return builder.build()


CASES = {
    "or_pool2d": or_pool2d(),
    "pack_signs": pack(),
    "xnor_conv2d_s8": xnor_conv2d(packed=False),
    "xnor_conv2d_bits": xnor_conv2d(packed=True),
}
