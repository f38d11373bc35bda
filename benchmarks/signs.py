"""What layers of signs cost: cycles and bytes of every kernel for them, and of packing signs.

python -m benchmarks.signs [BOARD …]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil import measure
from tinyopt.board import Board, load_board
from tinyopt.build import build
from tinyopt.data import load_samples
from tinyopt.execute.integer.signs import pack_signs
from tinyopt.generate import generate
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.pipeline import reference_outputs
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.plan.lowering import constants_of
from tinyopt.report import compare

BOARDS = ("mps2_an386", "mps2_m0", "mps3_an547")
SAME = ops.Padding(1, 1, 1, 1)


@dataclass(frozen=True)
class Layer:
    """``size``: pixels on a side of the image; ``packed``: gives bits, else int8."""

    name: str
    size: int
    channels: int
    outputs: int
    kernel: int = 1
    packed: bool = True

    @property
    def products(self) -> int:
        padded = self.kernel == 3
        pixels = self.size if padded else self.size - self.kernel + 1
        return pixels**2 * self.kernel**2 * self.channels * self.outputs


LAYERS = (
    Layer("3x3 32→32", 8, 32, 32, 3),
    Layer("3x3 64→64", 8, 64, 64, 3),
    Layer("3x3 64→64, int8 results", 8, 64, 64, 3, packed=False),
    Layer("3x3 128→128", 4, 128, 128, 3),
    Layer("1x1 64→64", 8, 64, 64),
    Layer("1x1 128→64", 8, 128, 64),
    Layer("1x1 128→128", 8, 128, 128),
    Layer("dense 1024→10, int8 results", 1, 1024, 10, packed=False),
    Layer("dense 4096→64", 8, 64, 64, 8),
)


@dataclass(frozen=True)
class Cost:
    """One kernel on one layer. ``constants``: bytes of all its constants."""

    layer: str
    kernel: str
    products: int
    cycles: int
    instructions: int
    predicted: float
    constants: int
    scratch: int


def graph_of(layers: Sequence[Layer]) -> Graph:
    """The layers, each with its own input and packing."""
    random = np.random.default_rng(0)
    builder = GraphBuilder("signs")
    sign = Quantization.per_tensor(1.0)
    for layer in layers:
        shape = (1, layer.size, layer.size, layer.channels)
        x = builder.input(f"{layer.name}.x", shape, DType.INT8, Quantization.per_tensor(0.05, 0))
        bits = builder.add(ops.PackSigns(), [x], name=f"{layer.name}/pack", dtype=DType.INT32, quantization=sign)
        data = pack_signs(random.integers(0, 2, (layer.outputs, layer.kernel, layer.kernel, layer.channels)) > 0)
        weights = builder.constant("w", data, Quantization.per_tensor(0.01))
        third = builder.constant("b", random.integers(-20, 20, layer.outputs).astype(np.int32))
        padding = SAME if layer.kernel == 3 else ops.Padding()
        attributes = ops.XnorConv2d(layer.channels, padding=padding, packed=layer.packed)
        quantization = sign if layer.packed else Quantization.per_tensor(0.05)
        dtype = DType.INT32 if layer.packed else DType.INT8
        names = [bits, weights, third]
        builder.output(builder.add(attributes, names, name=layer.name, dtype=dtype, quantization=quantization))
    return builder.build()


def costs(board: Board, layers: Sequence[Layer] = LAYERS) -> Iterator[Cost]:
    """Every kernel on every layer; outputs are compared with the reference."""
    graph = graph_of(layers)
    found = {o.name: [k.name for k in candidates(graph, o, frozenset(board.features))] for o in graph.operators}
    samples = load_samples("random:0:1", graph)
    expected = reference_outputs(graph, samples)
    types = [(t.dtype.numpy, t.shape) for t in (graph.tensors[name] for name in graph.outputs)]
    for turn in range(max(map(len, found.values()))):
        pins = {name: kernels[turn % len(kernels)] for name, kernels in found.items()}
        plan = make_plan(graph, board, pins=pins)
        with tempfile.TemporaryDirectory(prefix="tinyopt-bench-") as folder:
            firmware = build(generate(plan, Path(folder) / "project", harness=True))
            measurement = measure(firmware, board, list(samples), outputs=types)
        assert compare(graph, measurement.outputs, expected).mismatches == 0, pins
        for call, seen in zip(plan.calls, measurement.layers):
            name = call.operator.name
            if turn < len(found[name]):
                packing = isinstance(call.operator.attributes, ops.PackSigns)
                layer = next(layer for layer in layers if name in (layer.name, f"{layer.name}/pack"))
                products = layer.size**2 * layer.channels if packing else layer.products
                constants = sum(constant.nbytes for constant in constants_of(call.parameters))
                assert seen.cycles is not None and seen.instructions is not None
                yield Cost(
                    name, call.kernel.name, products, seen.cycles, seen.instructions, call.predicted_cycles,
                    constants, call.scratch,
                )  # fmt: skip


def main(names: Sequence[str]) -> None:
    for name in names or BOARDS:
        for cost in sorted(costs(load_board(name)), key=lambda cost: (cost.layer, cost.cycles)):
            print(
                f"{name} {cost.layer:30} {cost.kernel:26} {cost.cycles / cost.products:6.3f} cycles a product "
                f"(predicted {cost.predicted / cost.products:6.3f}), {cost.instructions / cost.products:6.3f} "
                f"instructions, {cost.constants:6} bytes, {cost.scratch:5} of scratch",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
