"""Run-time ranges: int8 weights, float32 activations that every layer rounds to int8 for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tinyopt.bridge import dequantize_graph
from tinyopt.errors import DataError, ModelError
from tinyopt.graph import DType, Graph, Operator, Quantization, Tensor, ops
from tinyopt.optimise import optimise
from tinyopt.quantize.layers import output_axis, weighted_layers
from tinyopt.quantize.parameters import weight_rows
from tinyopt.quantize.weights import Int8

MOST_PRODUCTS = (2**31 - 1) // (255 * 128)
"""Products in a sum that cannot leave 32 bits."""


@dataclass(frozen=True)
class DynamicRanges:
    """Convolutions, depthwise convolutions and fully connected layers multiply int8 weights with inputs that are
    rounded to int8 when the layer runs, with the range that they have then; what is between layers stays float32. Needs
    no calibration data. TensorFlow Lite calls it dynamic range quantization.

    ``per_channel``: one weight scale per output channel, else one per layer. ``symmetric``: the range of an input is
    that of its largest magnitude, with zero point 0; else from its smallest to its largest value, which uses all 8 bits
    where values have one sign. ``least_weights``: layers with fewer weights stay float32. ``float_layers``: so do these
    (names, or patterns with ``*``).
    """

    per_channel: bool = True
    symmetric: bool = False
    least_weights: int = 0
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "float_layers", tuple(self.float_layers))
        if self.least_weights < 0:
            raise DataError(f"a layer cannot have {self.least_weights} weights; least_weights starts at 0")


def with_dynamic_ranges(graph: Graph, config: DynamicRanges) -> Graph:
    """The float graph with int8 weights and run-time ranges. It is optimised first (batch norms folded), since the
    rounded weights are those that are stored. Notes name the layers with weights that stay float32, and why.

    Raises:
        ModelError: when the graph is quantized already, or has no layer that can have a run-time range.
        DataError: when ``float_layers`` names no layer.
    """
    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; give the float model")
    graph = optimise(dequantize_graph(graph))  # where there are run-time ranges already
    _check_names(graph, config.float_layers)
    tensors: dict[str, Tensor] = {}
    operators, notes, changed = [], [], 0
    for operator in graph.operators:
        reason = _obstacle(graph, operator, config)
        if reason is None:
            operator, tensor = _dynamic(graph, operator, config, f"{operator.inputs[1]}/int8")
            tensors[tensor.name] = tensor
            changed += 1
        elif reason:
            notes.append(f"'{operator.name}' ({operator.kind}) stays in float32: {reason}")
        operators.append(operator)
    if not changed:
        raise ModelError(f"no layer of '{graph.name}' can have a run-time range" + "".join(f"\n  {n}" for n in notes))
    result = graph.with_operators(operators, tensors.values())
    lines = [*graph.metadata.get("notes", "").splitlines(), *notes]
    return replace(result, metadata={**graph.metadata, "notes": "\n".join(lines)}) if notes else result


def _dynamic(graph: Graph, operator: Operator, config: DynamicRanges, name: str) -> tuple[Operator, Tensor]:
    """The operator with a run-time range, and its int8 weights, called ``name``."""
    layer, weights = operator.attributes, graph.ins(operator)[1]
    assert isinstance(layer, (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected))
    axis = output_axis(operator)
    rows, restore = weight_rows(weights.value, axis, per_channel=config.per_channel)
    integers, scales = Int8().integers(rows)
    quantization = (
        Quantization.per_channel(scales, axis) if config.per_channel else Quantization.per_tensor(float(scales[0]))
    )
    tensor = Tensor(name, weights.shape, DType.INT8, restore(integers), quantization)
    inputs = (operator.inputs[0], name, *operator.inputs[2:])
    return replace(operator, attributes=ops.DynamicRange.of(layer, config.symmetric), inputs=inputs), tensor


def _obstacle(graph: Graph, operator: Operator, config: DynamicRanges) -> str | None:
    """Why an operator stays float32; empty where there is nothing to tell, None where it need not."""
    if not weighted_layers([operator]):
        return ""
    if not isinstance(operator.attributes, (ops.Conv2d, ops.DepthwiseConv2d, ops.FullyConnected)):
        return "such a layer has no run-time range"
    ins = graph.ins(operator)
    if not all(tensor.is_constant for tensor in ins[1:]):
        return "its weights or bias are computed"
    if any(fnmatchcase(operator.name, pattern) for pattern in config.float_layers):
        return "as configured"
    if ins[1].size < config.least_weights:
        return f"it has {ins[1].size} weights, fewer than {config.least_weights}"
    if ins[1].size // ins[1].shape[output_axis(operator)] > MOST_PRODUCTS:
        return f"sums of more than {MOST_PRODUCTS:,} products may leave 32 bits"
    return None


def _check_names(graph: Graph, patterns: Sequence[str]) -> None:
    names = [operator.name for operator in weighted_layers(graph.operators)]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            listed = ", ".join(names) or "none"
            raise DataError(f"no layer of '{graph.name}' is called '{pattern}'; its layers are: {listed}")
