"""Preparation: a float network becomes a module that computes with the values that integers can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tinyopt.bridge import GraphModule, to_graph
from tinyopt.data import Spec, load_samples
from tinyopt.errors import ModelError
from tinyopt.graph import DType, Graph, Operator, ops
from tinyopt.quantize.aware.activations import ActivationQuantizer, FixedQuantizer
from tinyopt.quantize.aware.config import QuantizationAware
from tinyopt.quantize.aware.norms import Structure, folded, structure
from tinyopt.quantize.aware.weights import ConstantQuantizer, Factor, WeightQuantizer
from tinyopt.quantize.calibration import calibrate
from tinyopt.quantize.formats import Formats
from tinyopt.quantize.layers import layer_formats, output_axis, weighted_layers
from tinyopt.quantize.post_training import _check_fit
from tinyopt.quantize.support import integer_operators
from tinyopt.quantize.weights import WeightFormat

_OWN_CONSTANTS = (ops.Binary, ops.Prelu, ops.LayerNorm, ops.MatMul)
"""Operators whose constant operands are int8 with a range of their own."""


@dataclass(frozen=True, eq=False)
class Intent:
    """What ``prepare`` decided and ``convert_trained`` needs.

    ``operators``: names of those that become integer. ``weights``: layer → format. ``cells``: LSTM layer → largest
    magnitude of its cell state. ``shared``: activations that have one format, the first names their quantizer.
    """

    config: QuantizationAware
    operators: tuple[str, ...]
    weights: Mapping[str, WeightFormat]
    cells: Mapping[str, float]
    shared: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> Intent:
        return self


class AwareModule(GraphModule):
    """A ``GraphModule`` with fake quantization on weights and activations: its forward pass computes what the integer
    graph will. Train it as any other module, then call ``convert_trained``.

    Weights are parametrized: ``module.weights.parametrizations`` holds the real ones, which the optimiser trains.
    Batch norms are in training mode until ``batch_norm_momentum`` is None.
    """

    intent: Intent

    def __init__(self, graph: Graph, intent: Intent) -> None:
        super().__init__(graph)
        self.intent = intent

    def quantizer(self, activation: str) -> ActivationQuantizer:
        """The fake quantization of an activation.

        Raises:
            KeyError: when the activation stays float32.
        """
        found = self.activation_hooks[activation]
        assert isinstance(found, ActivationQuantizer)
        return found

    def weight_quantizers(self) -> dict[str, WeightQuantizer]:
        """Weight tensor → its fake quantization."""
        result = {}
        for name in self.constant_names:
            chain = getattr(self.weights, "parametrizations", {})
            attribute = self.attribute(name)
            if attribute in chain:
                found = [part for part in chain[attribute] if isinstance(part, WeightQuantizer)]
                result.update({name: part for part in found})
        return result

    def weights_behind(self, name: str) -> Tensor:
        """The real weights that are trained behind the quantized ones of a tensor."""
        chain = self.weights.parametrizations[self.attribute(name)]  # type: ignore[union-attr, index]
        value: Tensor = chain.original  # type: ignore[union-attr, assignment]
        return value

    def freeze_ranges(self) -> None:
        """No range and no learned scale changes from now on."""
        for part in self.modules():
            if isinstance(part, (ActivationQuantizer, WeightQuantizer)):
                part.freeze()


def prepare(model: Graph | GraphModule, calibration: Spec, config: QuantizationAware | None = None) -> AwareModule:
    """A float network as a module to train for integers, warm-started from post-training quantization.

    The graph is optimised first. ``calibration``: samples as ``tinyopt.data.load_samples`` takes them; they give the
    ranges that training starts from. Fake quantization stands where ``quantize`` has integers: on every activation
    that an integer operator reads or writes (shared formats are one quantizer), on the weights of layers, and on
    constant operands.

    Raises:
        ModelError: when the graph is quantized already.
        DataError: when the calibration data do not fit, or an override names no layer.
    """
    config = config or QuantizationAware()
    graph = to_graph(model) if isinstance(model, GraphModule) else model
    if graph.is_quantized:
        raise ModelError(
            f"'{graph.name}' is quantized already; give the float model, or make one with "
            "tinyopt.bridge.dequantize_graph"
        )
    samples = load_samples(calibration, graph)
    _check_fit(samples, graph)
    plan = structure(graph, train_batch_norm=config.train_batch_norm)
    inference = folded(plan.trained)
    operators, notes = integer_operators(inference, int8_edges=not config.float_io)
    weights = layer_formats(inference, operators, config.weights, config.edges, config.overrides)
    seen = calibrate(inference, samples)
    formats = Formats(inference, operators, seen, config.calibration, symmetric=config.symmetric)
    shared = tuple(members for members, _ in formats.sharing())
    all_notes = tuple([*notes, *([plan.note] if plan.note else [])])
    intent = Intent(config, tuple(o.name for o in operators), weights, seen.cells, shared, all_notes)
    module = AwareModule(plan.trained, intent)
    _quantize_activations(module, formats)
    chosen = [o for o in plan.trained.operators if o.name in set(intent.operators)]
    _quantize_weights(module, plan, chosen)
    _quantize_constants(module, chosen)
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


def _quantize_weights(module: AwareModule, plan: Structure, operators: list[Operator]) -> None:
    config, done = module.intent.config, set[str]()
    for operator in weighted_layers(operators):
        recurrent = isinstance(operator.attributes, (ops.Lstm, ops.Gru))
        for name in operator.inputs[1 : 3 if recurrent else 2]:
            if name in done:
                continue
            done.add(name)
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
