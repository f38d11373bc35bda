"""Preparation: a float network becomes a module that computes with the values that integers can have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tinyopt.bridge import GraphModule, dequantize_graph, to_graph
from tinyopt.data import Spec, load_samples
from tinyopt.errors import ModelError, NotApplicableError
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.graph.ops import Attributes
from tinyopt.quantize.aware.activations import ActivationQuantizer, FixedQuantizer
from tinyopt.quantize.aware.config import QuantizationAware
from tinyopt.quantize.aware.module import AwareModule, Intent, Requantized
from tinyopt.quantize.aware.norms import Structure, folded, structure
from tinyopt.quantize.aware.signs import layers_of_signs, with_signs
from tinyopt.quantize.aware.weights import ConstantQuantizer, WeightQuantizer
from tinyopt.quantize.calibration import calibrate
from tinyopt.quantize.formats import Formats
from tinyopt.quantize.layers import layer_formats, output_axis, weighted_layers
from tinyopt.quantize.post_training import _check_fit
from tinyopt.quantize.support import integer_operators
from tinyopt.quantize.weights import Binary

_OWN_CONSTANTS = (ops.Binary, ops.Prelu, ops.LayerNorm, ops.MatMul)
"""Operators whose constant operands are int8 with a range of their own."""


def prepare(model: Graph | GraphModule, calibration: Spec, config: QuantizationAware | None = None) -> AwareModule:
    """A float network as a module to train for integers, warm-started from post-training quantization.

    The graph is optimised first. ``calibration``: samples as ``tinyopt.data.load_samples`` takes them; they give the
    ranges that training starts from. Fake quantization stands where ``quantize`` has integers: on every activation
    that an integer operator reads or writes (shared formats are one quantizer), on the weights of layers, and on
    constant operands.

    Raises:
        ModelError: when the graph is quantized already.
        DataError: when the calibration data do not fit, or an override names no layer.
        NotApplicableError: when the configuration is strict and something does not apply to a layer.
    """
    config = config or QuantizationAware()
    graph = to_graph(model) if isinstance(model, GraphModule) else model
    if graph.is_quantized:
        raise ModelError(
            f"'{graph.name}' is quantized already; give the float model, or make one with "
            "tinyopt.bridge.dequantize_graph"
        )
    graph = dequantize_graph(graph)  # layers with run-time ranges
    samples = load_samples(calibration, graph)
    _check_fit(samples, graph)
    plan = structure(graph, train_batch_norm=config.train_batch_norm)
    overrides = dict(config.overrides)
    if config.signs:
        layers = layers_of_signs(plan.trained, config.signs)
        plan = structure(with_signs(plan.trained, layers), train_batch_norm=config.train_batch_norm)
        overrides = {**overrides, **{name: Binary() for name in layers if name not in overrides}}
    inference = folded(plan.trained)
    operators, notes = integer_operators(inference, int8_edges=not config.float_io)
    weights = layer_formats(inference, operators, config.weights, config.edges, overrides)
    seen = calibrate(inference, samples)
    formats = Formats(inference, operators, seen, config.calibration, symmetric=config.symmetric)
    shared = tuple(members for members, _ in formats.sharing())
    all_notes = (*notes, *([plan.note] if plan.note else []))
    if config.strict and all_notes:
        raise NotApplicableError("quantization-aware training", all_notes)
    intent = Intent(config, tuple(o.name for o in operators), weights, seen.cells, shared, all_notes)
    module = AwareModule(plan.trained, intent)
    _quantize_activations(module, formats)
    chosen = [o for o in plan.trained.operators if o.name in set(intent.operators)]
    _quantize_weights(module, plan, chosen, {o.name: o.outputs[0] for o in inference.operators})
    _quantize_constants(module, chosen)
    module.scaled = frozenset(o.name for o in chosen if _scales_sums(o.attributes))
    return module


def _quantize_activations(module: AwareModule, formats: Formats) -> None:
    config = module.intent.config
    for members, fixed in formats.sharing():
        form = formats[members[0]]
        quantizer: ActivationQuantizer
        if fixed or form.dtype is not DType.INT8:
            quantizer = FixedQuantizer(form)
        else:
            quantizer = config.activations.quantizer(form, symmetric=config.symmetric)
        for name in members:
            module.activation_hooks[name] = quantizer


def _quantize_weights(
    module: AwareModule, plan: Structure, operators: list[Operator], outputs: Mapping[str, str]
) -> None:
    """``outputs``: layer → the activation that it writes once batch norms are folded."""
    config, done = module.intent.config, set[str]()
    for operator in weighted_layers(operators):
        recurrent = isinstance(operator.attributes, (ops.Lstm, ops.Gru))
        for name in operator.inputs[1 : 3 if recurrent else 2]:
            if name in done:
                continue
            done.add(name)
            module.quantized_weights += (name,)
            norm = plan.norms.get(operator.name)
            quantizer = WeightQuantizer(
                module.constant(name),
                module.intent.weights[operator.name],
                output_axis(operator),
                per_channel=config.per_channel,
                learned=config.learned_weight_scales,
                keep_zeros=config.keep_zeros,
                factor=None if norm is None else _NormFactor(module, norm),
            )
            module.parametrize(name, quantizer)
        if not recurrent:
            norm = plan.norms.get(operator.name)
            x, weights, *bias = operator.inputs
            y = outputs[operator.name]
            before = bias[0] if bias and norm is not None else None
            module.requantized[(norm or operator).name] = Requantized(x, weights, y, before)


class _NormFactor:
    """What a batch norm multiplies its channels with now, as the running statistics have it."""

    def __init__(self, module: AwareModule, norm: Operator) -> None:
        assert isinstance(norm.attributes, ops.BatchNorm)
        self._weights: tuple[nn.Module] = (module.weights,)  # in a tuple: no part of the parametrization
        self._gamma, self._variance = (module.attribute(norm.inputs[i]) for i in (1, 4))
        self._epsilon = norm.attributes.epsilon

    def __call__(self) -> Tensor:
        (weights,) = self._weights
        gamma, variance = getattr(weights, self._gamma), getattr(weights, self._variance)
        result: Tensor = gamma / torch.sqrt(variance + self._epsilon)
        return result


def _scales_sums(a: Attributes) -> bool:
    if isinstance(a, ops.Reduce):
        return a.op in (ops.ReduceKind.MEAN, ops.ReduceKind.SUM)
    return isinstance(a, ops.MatMul) or (isinstance(a, ops.Binary) and a.op is ops.BinaryKind.MUL)


def _quantize_constants(module: AwareModule, operators: list[Operator]) -> None:
    done = set[str]()
    for operator in operators:
        a = operator.attributes
        if not isinstance(a, _OWN_CONSTANTS):
            continue
        if isinstance(a, ops.Binary) and a.op in (ops.BinaryKind.MINIMUM, ops.BinaryKind.MAXIMUM):
            continue  # in the format of the output, which their result is brought to anyway
        for tensor in module.graph.ins(operator):
            if tensor.is_constant and tensor.dtype is DType.FLOAT32 and tensor.name not in done:
                done.add(tensor.name)
                module.parametrize(tensor.name, ConstantQuantizer())
