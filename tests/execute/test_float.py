"""The float executor: padding, pooling, resizing and recurrence as specified, alone and in batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.bridge.functional import FUNCTIONS
from tinyopt.errors import DataError
from tinyopt.execute.float import run_batch, run_float
from tinyopt.graph import DType, Graph, GraphBuilder, batch_problem, ops
from tinyopt.graph.ops import Attributes, Padding
from tinyopt.graph.shapes import infer_shapes
from tinyopt.graph.types import Array, Tensor

random = np.random.default_rng(7)


def compute(attributes: Attributes, *arrays: Array, dtype: DType = DType.FLOAT32) -> list[Array]:
    ins = [Tensor(f"i{k}", array.shape, DType.of(array)) for k, array in enumerate(arrays)]
    shapes = infer_shapes(attributes, [t.shape for t in ins])
    outs = [Tensor(f"o{k}", shape, dtype) for k, shape in enumerate(shapes)]
    results = run_float(attributes, list(arrays), ins, outs)
    assert [r.shape for r in results] == shapes
    return results


def floats(*shape: int) -> Array:
    return random.standard_normal(shape).astype(np.float32)


def test_every_operator_kind_has_a_float_implementation() -> None:
    kinds = {k for k in vars(ops).values() if isinstance(k, type) and issubclass(k, Attributes) and k is not Attributes}
    kinds = {k for k in kinds if not issubclass(k, ops.DynamicRange)}  # they round to integers at run time
    assert kinds - set(FUNCTIONS) == {ops.Quantize, ops.Dequantize, ops.PackSigns, ops.XnorConv2d, ops.OrPool2d}


@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.integers(1, 3),
)
def test_convolution_is_the_sum_over_its_window(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int,
) -> None:
    x, w, b = floats(1, *size, 2 * groups), floats(3 * groups, *kernel, 2), floats(3 * groups)
    attributes = ops.Conv2d(stride, Padding(*padding), (1, 1), groups, ops.RELU)
    (y,) = compute(attributes, x, w, b)
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    for oy in range(y.shape[1]):
        for ox in range(y.shape[2]):
            window = padded[0, oy * stride[0] :, ox * stride[1] :][: kernel[0], : kernel[1]]
            for o in range(3 * groups):
                group = window[..., o // 3 * 2 :][..., :2]
                assert y[0, oy, ox, o] == pytest.approx(max(float((group * w[o]).sum() + b[o]), 0), abs=1e-4)


def test_average_pooling_does_not_count_the_padding() -> None:
    x = np.ones((1, 4, 4, 2), np.float32)
    (y,) = compute(ops.AveragePool2d((3, 3), (2, 2), Padding(0, 1, 1, 0)), x)
    assert np.allclose(y, 1)


def test_padding_never_wins_a_maximum() -> None:
    x = np.full((1, 3, 3, 1), -5, np.float32)
    (y,) = compute(ops.MaxPool2d((2, 2), (2, 2), Padding(1, 0, 1, 0)), x)
    assert (y == -5).all()


@given(stride=st.integers(1, 3), kernel=st.integers(1, 4), dilation=st.integers(1, 2), extra=st.integers(0, 2))
def test_transposed_convolution_is_torchs_with_output_padding(
    stride: int, kernel: int, dilation: int, extra: int
) -> None:
    extra = min(extra, max(stride, dilation) - 1)
    x, w, b = floats(1, 4, 5, 3), floats(2, kernel, kernel, 3), floats(2)
    cut = min(1, (kernel - 1) * dilation)
    attributes = ops.TransposeConv2d(
        (stride, stride), Padding(cut, cut - extra, cut, cut - extra), (dilation, dilation)
    )
    (y,) = compute(attributes, x, w, b)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        torch.from_numpy(w).permute(3, 0, 1, 2),
        torch.from_numpy(b),
        stride,
        cut,
        extra,
        dilation=dilation,
    )
    assert np.allclose(y, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("align,half", [(False, False), (True, False), (False, True)])
def test_bilinear_resizing_agrees_with_torch(align: bool, half: bool) -> None:
    x = floats(1, 5, 7, 3)
    (y,) = compute(ops.Resize2d((9, 4), ops.ResizeMethod.BILINEAR, align, half), x)
    if align or half:
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(x).permute(0, 3, 1, 2), (9, 4), mode="bilinear", align_corners=align
        )
        assert np.allclose(y, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    assert np.allclose(y[:, 0, 0], x[:, 0, 0]) or half


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_padding_modes_are_numpys(mode: str) -> None:
    x = floats(1, 4, 5, 2)
    (y,) = compute(ops.Pad((0, 3, 0, 1), (0, 1, 4, 1), ops.PadMode(mode)), x)
    assert np.array_equal(y, np.pad(x, ((0, 0), (3, 1), (0, 4), (1, 1)), mode=mode))  # type: ignore[call-overload]


@pytest.mark.parametrize("reverse", [False, True])
def test_recurrent_layers_are_torchs(reverse: bool) -> None:
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(1))
    lstm, gru = torch.nn.LSTM(3, 4, batch_first=True), torch.nn.GRU(3, 4, batch_first=True)
    steps = torch.flip(x, (1,)) if reverse else x
    with torch.no_grad():
        expected_lstm, (h, c) = lstm(steps)
        expected_gru, _ = gru(steps)
    zero = np.zeros((1, 4), np.float32)
    w, r, b, rb = (p.detach().numpy() for p in lstm.parameters())
    y, h_out, c_out = compute(ops.Lstm(reverse), x.numpy(), w, r, b + rb, zero, zero)
    order = slice(None, None, -1) if reverse else slice(None)
    assert np.allclose(y[:, order], expected_lstm.numpy(), atol=1e-5)
    assert np.allclose(h_out, h[0].numpy(), atol=1e-5) and np.allclose(c_out, c[0].numpy(), atol=1e-5)
    w, r, b, rb = (p.detach().numpy() for p in gru.parameters())
    y, _ = compute(ops.Gru(reverse), x.numpy(), w, r, b, rb, zero)
    assert np.allclose(y[:, order], expected_gru.numpy(), atol=1e-5)


def small_network(*, mixes_batch: bool = False) -> Graph:
    b = GraphBuilder("small")
    x = b.input("x", (1, 6, 6, 2), DType.FLOAT32)
    y = b.add(ops.Conv2d(padding=Padding(1, 1, 1, 1)), [x, b.constant("w", floats(4, 3, 3, 2))])
    y = b.add(ops.Concat(3), [y, b.constant("k", floats(1, 6, 6, 1))])
    y = b.add(ops.Slice((0, 0, 2, 0), (1, 6, 2, 5), (1, 1, 2, 1)), [y])
    y = b.add(ops.Reshape((1, 60)), [y])
    y = b.add(ops.FullyConnected(), [y, b.constant("f", floats(12, 60))])
    if mixes_batch:
        y = b.add(ops.Transpose((1, 0)), [y])
        y = b.add(ops.Reshape((1, 12)), [y])
    y = b.add(ops.Reshape((1, 3, 4)), [y])
    y = b.add(ops.BroadcastTo((1, 3, 4)), [y])
    y, *_ = b.add_multi(
        ops.Lstm(),
        [
            y,
            b.constant("lw", floats(8, 4)),
            b.constant("lr", floats(8, 2)),
            b.constant("lb", floats(8)),
            b.constant("h", floats(1, 2)),
            b.constant("c", floats(1, 2)),
        ],
    )
    b.output(y)
    return b.build()


@pytest.mark.parametrize("mixes_batch", [False, True])
def test_a_batch_gives_what_the_samples_give_alone(mixes_batch: bool) -> None:
    graph = small_network(mixes_batch=mixes_batch)
    assert (batch_problem(graph) is not None) == mixes_batch
    samples = floats(5, 6, 6, 2)
    seen: list[str] = []
    (together,) = run_batch(graph, {"x": samples}, observe=lambda t, _: seen.append(t.name)).values()
    assert seen[0] == "x" and set(graph.producers) <= set(seen)
    alone = [next(iter(run_batch(graph, {"x": s[None]}).values())) for s in samples]
    assert np.allclose(together, np.concatenate(alone), atol=1e-5)


def test_a_batch_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"must be float32\[samples, 6, 6, 2\], got float32\[3, 6, 6\]"):
        run_batch(small_network(), {"x": floats(3, 6, 6)})
