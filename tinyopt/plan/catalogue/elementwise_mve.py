"""Arithmetic, tables and pooling with Helium (MVE): the calls of the portable kernels, or of the DSP extension's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan.catalogue import activation, elementwise_dsp, pooling
from tinyopt.plan.kernel import Kernel

Cost = Callable[[Graph, Operator], float]
_KNOWN = {kernel.name: kernel for kernel in (*activation.KERNELS, *elementwise_dsp.KERNELS, *pooling.KERNELS)}


def _like(name: str, cost: Cost, needs: tuple[str, ...] = ()) -> Kernel:
    """The family's kernel for Helium; it accepts and is called like the kernel ``name``."""
    known = _KNOWN[name]
    return replace(
        known,
        name=f"{known.family}_mve",
        source="mve.c",
        cost=cost,
        requires=frozenset({"mve"}),
        needs=("common.h", "mve.h", *needs),
    )


def _per_output(instructions: float) -> Cost:
    return lambda graph, operator: instructions * graph.outs(operator)[0].size + 30


def _pooling(lanes: int, per_tap: float, per_output: float) -> Cost:
    def cost(graph: Graph, operator: Operator) -> float:
        a, y = operator.attributes, graph.outs(operator)[0]
        assert isinstance(a, (ops.MaxPool2d, ops.AveragePool2d))
        vectors = -(-y.shape[3] // lanes)
        per_pixel = vectors * (per_tap * a.kernel[0] * a.kernel[1] + 6 * a.kernel[0] + 14) + 40
        return y.size // y.shape[3] * per_pixel + per_output * y.size

    return cost


KERNELS = (
    _like("add_s8_dsp", _per_output(4.6), ("broadcast.h",)),
    *elementwise_dsp.products("mve", 3.5),
    _like("lut_s8_ref", _per_output(0.4)),
    _like("max_pool2d_s8_ref", _pooling(16, 5, 0), ("window.h",)),
)
