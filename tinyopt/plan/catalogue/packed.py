"""Kernels for weights of few different values: codes that are expanded to what a kernel for int8 weights reads.

For every such kernel there is one here that packs its weights, whatever their order; see
``firmware/kernels/common/unpack.h``. Convolutions expand all weights at once and use them for all pixels, fully
connected layers expand those of a few outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from tinyopt.graph import Graph, Operator, ops
from tinyopt.plan.blocks import block_words
from tinyopt.plan.blocks_mve import padded_to_vectors
from tinyopt.plan.catalogue import (
    convolution,
    convolution_blocks,
    convolution_mve,
    convolution_triples,
    depthwise_3x3,
    depthwise_lines,
    depthwise_lines_dsp,
    depthwise_mve,
    fully_connected,
    fully_connected_blocks,
    fully_connected_mve,
    fully_connected_quads,
    grouped,
    multiplied,
)
from tinyopt.plan.kernel import Call, Constant, Kernel, Value
from tinyopt.plan.packed import Order, Uniform, different_values, is_packable, pack

_PIECE = 1024
"""Bytes of weights that a fully connected layer expands at a time, if that is more than one block."""
_EXPANSION = 5.0
"""Cycles for each byte of expanded weights."""
_EXPANSION_BY_TABLE = 8.5
"""The same with a codebook."""


@dataclass(frozen=True)
class _Dense:
    """A kernel for int8 weights. ``order``: of the bytes that it reads for an operator. ``outputs``: of a fully
    connected layer, those of a block."""

    kernel: Kernel
    order: Callable[[Graph, Operator], Order]
    outputs: int = 0


def _plain(graph: Graph, operator: Operator) -> Order:
    """Weights alone: one block."""
    size = graph.ins(operator)[1].size
    return Order(-(-size // 4) * 4)


def _fours(graph: Graph, operator: Operator) -> Order:
    """Weights alone, in blocks of four outputs, each of them filled up to whole words where they end."""
    return Order(4 * graph.ins(operator)[1].shape[1])


def _padded_fours(graph: Graph, operator: Operator) -> Order:
    return Order(4 * (-(-graph.ins(operator)[1].shape[1] // 4) * 4))


def _conv2d_dsp(graph: Graph, operator: Operator) -> Order:
    """Every row of weights ends with a whole word."""
    w = graph.ins(operator)[1]
    return Order(w.shape[0] * (-(-(w.size // w.shape[0]) // 4) * 4))


def _triples(graph: Graph, operator: Operator) -> Order:
    """An even number of channels by an even number of taps."""
    w = graph.ins(operator)[1]
    return Order(-(-w.shape[0] // 2) * 2 * (-(-(w.size // w.shape[0]) // 2) * 2))


def _pairs(tail: int) -> Callable[[Graph, Operator], Order]:
    """``blocks_dsp.h``: per pair of channels one word, two others, the remaining words, ``tail`` others."""

    def order(graph: Graph, operator: Operator) -> Order:
        run = convolution_blocks.run_of(graph, operator)
        w = graph.ins(operator)[1]
        words = w.size // w.shape[0] // run * block_words(run)
        return Order(4, 8, 4 * (words - 1), 4 * tail, halves=True)

    return order


def _eights(graph: Graph, operator: Operator) -> Order:
    """``fully_connected_s8/dsp_8.c``"""
    return Order(0, 32, 8 * graph.ins(operator)[1].shape[1], 48, halves=True)


def _vectors(runs: Callable[[Graph, Operator], int]) -> Callable[[Graph, Operator], Order]:
    """``blocks_mve.h``: per four channels their vectors, then twelve words."""

    def order(graph: Graph, operator: Operator) -> Order:
        w, count = graph.ins(operator)[1], runs(graph, operator)
        return Order(4 * count * padded_to_vectors(w.size // w.shape[0] // count), 48)

    return order


def _depthwise_mve(graph: Graph, operator: Operator) -> Order:
    w = graph.ins(operator)[1]
    return Order(0, 96, 8 * w.shape[1] * w.shape[2])


def _depthwise_mve_3x3(graph: Graph, operator: Operator) -> Order:
    return Order(16 * graph.ins(operator)[1].shape[3] + 4)


def _of_groups(order: Callable[[Graph, Operator], Order]) -> Callable[[Graph, Operator], Order]:
    """Groups lie one after the other, each in the order of a convolution without groups."""
    return lambda graph, operator: order(*grouped.one_group(graph, operator))


def _of_parts(order: Callable[[Graph, Operator], Order]) -> Callable[[Graph, Operator], Order]:
    """The same for the outputs of a channel, each of which is a depthwise convolution of its own."""
    return lambda graph, operator: order(*multiplied.one_part(graph, operator))


def _one_run(graph: Graph, operator: Operator) -> int:
    return 1


def _run_per_row(graph: Graph, operator: Operator) -> int:
    return graph.ins(operator)[1].shape[1]


def _named(kernels: tuple[Kernel, ...], name: str) -> Kernel:
    return next(kernel for kernel in kernels if kernel.name == name)


def _dense_kernels() -> Iterator[_Dense]:
    yield _Dense(_named(convolution.KERNELS, "conv2d_s8_ref"), _plain)
    yield _Dense(_named(convolution.KERNELS, "conv2d_s8_dsp"), _conv2d_dsp)
    yield _Dense(_named(convolution_triples.KERNELS, "conv2d_s8_triples"), _triples)
    yield _Dense(_named(convolution_blocks.KERNELS, "conv2d_s8_dsp_4x2"), _pairs(3))
    yield _Dense(_named(convolution_blocks.KERNELS, "conv2d_s8_dsp_4x2_relu"), _pairs(5))
    yield _Dense(_named(convolution_mve.KERNELS, "conv2d_s8_mve"), _vectors(_one_run))
    yield _Dense(_named(convolution_mve.KERNELS, "conv2d_s8_mve_rows"), _vectors(_run_per_row))
    yield _Dense(_named(grouped.KERNELS, "grouped_conv2d_s8_triples"), _of_groups(_triples))
    yield _Dense(_named(grouped.KERNELS, "grouped_conv2d_s8_dsp_4x2"), _of_groups(_pairs(3)))
    yield _Dense(_named(grouped.KERNELS, "grouped_conv2d_s8_dsp_4x2_relu"), _of_groups(_pairs(5)))
    yield _Dense(_named(grouped.KERNELS, "grouped_conv2d_s8_mve"), _of_groups(_vectors(_one_run)))
    yield _Dense(_named(grouped.KERNELS, "grouped_conv2d_s8_mve_rows"), _of_groups(_vectors(_run_per_row)))
    yield _Dense(_named(convolution.KERNELS, "depthwise_conv2d_s8_ref"), _plain)
    yield _Dense(_named(convolution.KERNELS, "depthwise_conv2d_s8_dsp"), _plain)
    yield _Dense(_named(depthwise_lines.KERNELS, "depthwise_conv2d_s8_lines_3x3"), _plain)
    for kernel in depthwise_3x3.KERNELS:
        yield _Dense(kernel, _plain)
    for kernel in depthwise_lines_dsp.KERNELS:
        yield _Dense(kernel, _plain)
    yield _Dense(_named(depthwise_mve.KERNELS, "depthwise_conv2d_s8_mve"), _depthwise_mve)
    yield _Dense(_named(depthwise_mve.KERNELS, "depthwise_conv2d_s8_mve_3x3"), _depthwise_mve_3x3)
    for kernel in multiplied.KERNELS:
        orders = {"mve.c": _of_parts(_depthwise_mve), "mve_3x3.c": _of_parts(_depthwise_mve_3x3)}
        yield _Dense(kernel, orders.get(kernel.source, _plain))
    yield _Dense(_named(fully_connected.KERNELS, "fully_connected_s8_ref"), _fours, 4)
    yield _Dense(_named(fully_connected.KERNELS, "fully_connected_s8_dsp"), _padded_fours, 4)
    yield _Dense(_named(fully_connected_quads.KERNELS, "fully_connected_s8_quads"), _fours, 4)
    yield _Dense(_named(fully_connected_blocks.KERNELS, "fully_connected_s8_dsp_8"), _eights, 8)
    yield _Dense(_named(fully_connected_mve.KERNELS, "fully_connected_s8_mve"), _vectors(_one_run), 4)


def _packed(dense: _Dense) -> Kernel:
    """The kernel that expands weights for a kernel for int8 weights."""
    kernel = dense.kernel

    def accepts(graph: Graph, operator: Operator) -> bool:
        windowed = isinstance(operator.attributes, (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected))
        if not windowed or not convolution.is_int8(graph, operator) or not is_packable(graph.ins(operator)[1]):
            return False
        return kernel.accepts(graph, operator)

    def lower(graph: Graph, operator: Operator, packed: Kernel) -> Call:
        call, order = kernel.lower(graph, operator, kernel), dense.order(graph, operator)
        weights = cast(Constant, call.parameters["weights"])
        fields, size = pack(weights.data, order, weights.source)
        parameters: dict[str, Value] = {"packed": fields, "dense": _without_weights(call.parameters)}
        scratch = -(-size // 8) * 8
        if dense.outputs:
            blocks = min(max(_PIECE // order.block, 1), size // order.block)
            parameters.update(block=dense.outputs, blocks=blocks)
            scratch = blocks * order.block
        return replace(call, kernel=packed, parameters=parameters, scratch=scratch + call.scratch)

    def cost(graph: Graph, operator: Operator) -> float:
        weights = graph.ins(operator)[1].value
        expansion = _EXPANSION if Uniform.of(different_values(weights)) else _EXPANSION_BY_TABLE
        return kernel.cost(graph, operator) + 150 + expansion * weights.size

    return Kernel(
        name=f"packed_{kernel.name}",
        family=f"packed_{kernel.family}",
        source=kernel.source,
        accepts=accepts,
        lower=lower,
        cost=cost,
        requires=kernel.requires,
        needs=("unpack.h", f"{kernel.family}/{kernel.source}", *kernel.needs),
        uses_scratch=True,
        base=kernel.base or kernel.name,
    )


def _without_weights(parameters: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in parameters.items() if name != "weights"}


KERNELS = tuple(_packed(dense) for dense in _dense_kernels())
