"""The module that is trained: a float network whose forward pass computes what its integers will compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from tinyopt.bridge import GraphModule
from tinyopt.graph import Graph, Operator, ops
from tinyopt.graph.ops import Attributes
from tinyopt.quantize.aware.activations import ActivationQuantizer
from tinyopt.quantize.aware.config import QuantizationAware
from tinyopt.quantize.aware.functions import replaced
from tinyopt.quantize.aware.weights import ConstantQuantizer, WeightQuantizer
from tinyopt.quantize.weights import WeightFormat


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


@dataclass(frozen=True)
class Requantized:
    """Tensors of a layer whose 32-bit sums are scaled to int8.

    ``bias``: one that the layer has before its batch norm.
    """

    x: str
    weights: str
    y: str
    bias: str | None = None


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
        self.quantized_weights: tuple[str, ...] = ()
        self.requantized: dict[str, Requantized] = {}
        """By the operator that completes the layer: itself, or the batch norm behind it."""
        self.scaled: frozenset[str] = frozenset()
        """Operators without weights whose 32-bit results are scaled to int8 as those of layers are."""

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
        return {name: self._weight_quantizer(name) for name in self.quantized_weights}

    def weights_behind(self, name: str) -> Tensor:
        """The real weights that are trained behind the quantized ones of a tensor."""
        value: Tensor = self._chain(name).original
        return value

    def _compute(self, operator: Operator, attributes: Attributes, inputs: list[Tensor]) -> list[Tensor]:
        layer = self.requantized.get(operator.name)
        if layer is None:
            outputs = super()._compute(operator, attributes, inputs)
            if isinstance(attributes, ops.AveragePool2d) and operator.outputs[0] in self.activation_hooks:
                return [_halves_by_sign(outputs[0], *self.quantizer(operator.outputs[0]).parameters_now())]
            if operator.name not in self.scaled:
                return outputs
            return [self._scaled_once(operator, attributes, outputs[0])]
        quantizer = self._weight_quantizer(layer.weights)
        with torch.no_grad():
            step = self._scale(layer.x) * quantizer.scales
            moved = self._bias_rounding(attributes, inputs, layer, step, quantizer.factor())
        if moved is not None:
            inputs = [*inputs[:2], inputs[2] + moved, *inputs[3:]]
        (y,) = super()._compute(operator, attributes, inputs)
        return [_rounded_once(y, step, self._scale(layer.y))]

    def _scaled_once(self, operator: Operator, attributes: Attributes, y: Tensor) -> Tensor:
        """As for layers: products of activations, and means, are scaled to the output in two roundings."""
        step = self._scale(operator.inputs[0])
        if not isinstance(attributes, ops.Reduce):
            return _rounded_once(y, step * self._scale(operator.inputs[1]), self._scale(operator.outputs[0]))
        count = self.graph.tensors[operator.inputs[0]].size // self.graph.tensors[operator.outputs[0]].size
        more = count.bit_length() - 1 if attributes.op is ops.ReduceKind.MEAN else 0
        return _rounded_once(y, step, self._scale(operator.outputs[0]), more)

    def _scale(self, name: str) -> Tensor:
        """The step of an activation, or of a constant operand, as it is now; without gradient."""
        if self.graph.tensors[name].is_constant:
            return next(part.scale for part in self._chain(name) if isinstance(part, ConstantQuantizer))
        return self.quantizer(name).parameters_now()[0].detach()

    def _bias_rounding(
        self, attributes: Attributes, inputs: list[Tensor], layer: Requantized, step: Tensor, factor: Tensor | None
    ) -> Tensor | None:
        """What makes the bias (folded, for batch norms) a whole number of input scale times weight scale."""
        if isinstance(attributes, ops.BatchNorm) and factor is not None:
            beta, mean = inputs[2:4]
            shift = mean if layer.bias is None else mean - self.constant(layer.bias)
            bias = beta - shift * factor
        elif len(inputs) > 2:
            bias = inputs[2]
        else:
            return None
        return torch.round(bias / step) * step - bias

    def _chain(self, name: str) -> ParametrizationList:
        every = self.weights.parametrizations
        assert isinstance(every, nn.ModuleDict)
        chain = every[self.attribute(name)]
        assert isinstance(chain, ParametrizationList)
        return chain

    def _weight_quantizer(self, name: str) -> WeightQuantizer:
        return next(part for part in self._chain(name) if isinstance(part, WeightQuantizer))

    def freeze_ranges(self) -> None:
        """No range and no learned scale changes from now on."""
        for part in self.modules():
            if isinstance(part, (ActivationQuantizer, WeightQuantizer)):
                part.freeze()


def _halves_by_sign(y: Tensor, scale: Tensor, zero_point: int) -> Tensor:
    """Averages whose halves round away from the integer zero, as in integer pooling, rather than from the real zero."""
    scale = scale.detach()
    return y + torch.sign(y.detach() + zero_point * scale) * (scale * 2.0**-10)


def _rounded_once(y: Tensor, step: Tensor, y_scale: Tensor, more_bits: int = 0) -> Tensor:
    """y after the first of the two roundings of TensorFlow Lite's requantization.

    Sums (multiples of ``step``) are multiplied with a factor from 0.5 to 1 and rounded, then divided by a power of two
    and rounded again. Where that power is small, as with few large weights, the first rounding shows. ``more_bits``
    divide the sums further.
    """
    with torch.no_grad():
        _, exponent = torch.frexp(step / y_scale)
        grid = y_scale * torch.exp2((exponent - more_bits).clamp(max=0).to(y.dtype))
        rounded = (y / grid).round_().mul_(grid)
    return replaced(y, rounded)
