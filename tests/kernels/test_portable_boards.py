"""The kernels for cores without SIMD have assembly that the host cannot run: chains of layers of awkward sizes give the
executor's outputs on the emulated boards of those cores, bit for bit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.data import load_samples
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.pipeline import run_on_board

BOARDS = {
    "mps2_m0": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "mps2_an385": ("qemu-system-arm", "arm-none-eabi-gcc"),
    "rv32_virt": ("qemu-system-riscv32", "riscv64-unknown-elf-gcc"),
}


class Chain:
    """Layers one after the other, with random weights and scales that their sums fill and sometimes overflow."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = GraphBuilder("chain")
        self.quantization = Quantization.per_tensor(0.05, 3)
        self.x = self.builder.input("x", shape, DType.INT8, self.quantization)
        self.scale = 0.05
        self.count = 0

    def add(self, attributes: ops.Attributes, shape: tuple[int, ...], axis: int = 0) -> None:
        self.count += 1
        name, channels = f"layer{self.count}", shape[axis]
        largest = int(self.random.integers(20, 128))
        values = self.random.integers(-largest, largest + 1, shape).astype(np.int8)
        scales = 0.01 * 2.0 ** self.random.uniform(-1, 1, channels)
        weights = self.builder.constant(f"{name}_weights", values, Quantization.per_channel(scales, axis))
        bias = self.builder.constant(f"{name}_bias", self.random.integers(-4096, 4096, channels).astype(np.int32))
        scale = float(np.float32(self.scale * 0.01 * 0.4 * largest * np.sqrt(values.size / channels)))
        output = Quantization.per_tensor(scale, int(self.random.choice([-128, 0, 5, 127])))
        self.x = self.builder.add(
            attributes, [self.x, weights, bias], name=name, output=f"{name}_output", quantization=output
        )
        self.scale, self.quantization = scale, output

    def reshape(self, shape: tuple[int, ...]) -> None:
        self.x = self.builder.add(
            ops.Reshape(shape), [self.x], name="flat", output="flat", quantization=self.quantization
        )

    def build(self) -> Graph:
        self.builder.output(self.x)
        return self.builder.build()


def convolutions(seed: int) -> Graph:
    """Odd numbers of taps, channels and pixels; one to three channels in the last block; sums of several segments."""
    chain = Chain((1, 7, 5, 3), seed)
    chain.add(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1)), (7, 3, 3, 3))
    chain.add(ops.Conv2d(activation=ops.RELU6), (38, 1, 1, 7))
    chain.add(ops.Conv2d(padding=ops.Padding(1, 1, 0, 1)), (5, 3, 3, 38))
    chain.add(ops.Conv2d(stride=(2, 1), dilation=(1, 2)), (10, 2, 2, 5))
    return chain.build()


def depthwise(seed: int) -> Graph:
    """Both strides, lines along either side, then a fully connected layer of odd sizes."""
    chain = Chain((1, 11, 6, 5), seed)
    chain.add(ops.DepthwiseConv2d(padding=ops.Padding(1, 1, 1, 1)), (1, 3, 3, 5), 3)
    chain.add(ops.DepthwiseConv2d(stride=(2, 2), padding=ops.Padding(0, 1, 0, 1)), (1, 3, 3, 5), 3)
    chain.add(ops.DepthwiseConv2d(padding=ops.Padding(2, 0, 2, 0), activation=ops.RELU), (1, 3, 3, 5), 3)
    chain.reshape((1, 5 * 3 * 5))
    chain.add(ops.FullyConnected(), (9, 5 * 3 * 5))
    chain.add(ops.FullyConnected(activation=ops.RELU), (6, 9))
    return chain.build()


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("graph", [convolutions, depthwise])
def test_chains_agree_on_the_board(board: str, graph) -> None:
    for tool in BOARDS[board]:
        if shutil.which(tool) is None:
            pytest.skip(f"{board} needs {tool}, which is not installed")
    model = graph(11)
    result = run_on_board(model, load_board(board), load_samples("random:0:24", model))
    names = {call.kernel.name for call in result.plan.calls}
    wanted = (
        {"conv2d_s8_triples"}
        if graph is convolutions
        else {"depthwise_conv2d_s8_lines_3x3", "fully_connected_s8_quads"}
    )
    assert wanted <= names
    if graph is convolutions:  # among them sums that are cut
        assert any(call.parameters["segment"] < 9 * 38 for call in result.plan.calls if call.scratch > 8 * 9 * 38)
    assert result.report.mismatches == 0
    outputs = np.concatenate([np.ravel(sample[0]) for sample in result.outputs])
    assert len(np.unique(outputs)) > 20
