"""Post-training quantization: int8 activations, int8 or narrower weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tinyopt.bridge import dequantize_graph
from tinyopt.data import Samples, Spec, load_samples
from tinyopt.errors import DataError, ModelError, NotApplicableError
from tinyopt.graph import DType, Graph
from tinyopt.optimise import optimise
from tinyopt.quantize.calibration import CalibrationMethod, MaxRange, calibrate
from tinyopt.quantize.convert import convert
from tinyopt.quantize.dynamic import DynamicRanges, with_dynamic_ranges
from tinyopt.quantize.formats import Formats
from tinyopt.quantize.layers import binary_layers, layer_formats
from tinyopt.quantize.reconstruct import reconstruct
from tinyopt.quantize.support import integer_operators
from tinyopt.quantize.technique import FloatTechnique, IntegerTechnique, Progress, Setting, Technique
from tinyopt.quantize.weights import Binary, Int8, WeightFormat


@dataclass(frozen=True)
class PostTraining:
    """int8 activations (per tensor), int8 weights (symmetric) of a chosen format, int32 biases.

    ``activations``: int8, or int16 (symmetric, with 64-bit biases): twice the RAM, and hardly any rounding.

    ``calibration``: how an activation's range follows from what was seen. ``symmetric``: activations have zero point
    0, else wherever it serves the range best. ``per_channel``: one weight scale per output channel, else one per layer.
    ``float_io``: float32 inputs and outputs, converted inside the graph.

    ``weights``: the values that weights may take; ``edges``: those of the first and the last layer, where ``weights``
    is narrower (None: no exception); ``overrides``: layer (or a pattern with ``*``) → its format.

    ``keep_binary``: layers whose float weights are -a and a, with one a for each output channel, become ``Binary``
    unless an override names them. That loses nothing, and layers of them that read signs run on bits.

    ``techniques``: run in the given order: those that rewrite the float graph first, then, at every layer in turn,
    those that change its integers (see ``tinyopt.quantize.technique``).

    ``strict``: an operator that has no integer form, or a layer to which a technique does not apply, is an error; else
    it is left as it is, and the notes say so.
    """

    calibration: CalibrationMethod = field(default_factory=MaxRange)
    per_channel: bool = True
    float_io: bool = False
    symmetric: bool = False
    weights: WeightFormat = field(default_factory=Int8)
    edges: WeightFormat | None = field(default_factory=Int8)
    overrides: Mapping[str, WeightFormat] = field(default_factory=dict, hash=False)
    techniques: tuple[Technique, ...] = ()
    activations: DType = DType.INT8
    strict: bool = False
    keep_binary: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "overrides", MappingProxyType(dict(self.overrides)))
        object.__setattr__(self, "techniques", tuple(self.techniques))
        if self.activations not in (DType.INT8, DType.INT16):
            raise DataError(f"activations are int8 or int16, not {self.activations.value}")
        for technique in self.techniques:
            if not isinstance(technique, (FloatTechnique, IntegerTechnique)):
                raise DataError(f"{technique!r} is no technique of post-training quantization")


def quantize(
    graph: Graph,
    calibration: Spec | None,
    config: PostTraining | DynamicRanges | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_technique: Progress | None = None,
) -> Graph:
    """A float graph as integers.

    The graph is first optimised (batch norms folded, activations fused). ``calibration``: samples as
    ``tinyopt.data.load_samples`` takes them. Operators without an int8 form stay in float32 between Dequantize and
    Quantize; the graph's notes name them, and the layers to which a technique does not apply. ``on_progress``: called
    with (samples done, samples); ``on_technique``: with (technique, steps done, steps).

    With ``DynamicRanges`` ranges are taken at run time: there is nothing to calibrate, and ``calibration`` is None.

    Raises:
        ModelError: when the graph is quantized already or has no float activations.
        NotApplicableError: when the configuration is strict and something does not apply to a layer.
        DataError: when the calibration data do not fit or make an activation NaN or infinite, or an override names no
            layer.
    """
    if isinstance(config, DynamicRanges):
        if calibration is not None:
            raise DataError("ranges that are taken at run time need no calibration data: give None")
        return with_dynamic_ranges(graph, config)
    if calibration is None:
        raise DataError("calibration data are missing: ranges follow from samples (those of DynamicRanges do not)")
    config = config or PostTraining()
    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; give the float model")
    graph = dequantize_graph(graph)  # layers with run-time ranges
    samples = load_samples(calibration, graph)
    _check_fit(samples, graph)
    prepared = optimise(graph)
    operators, notes = integer_operators(prepared, int8_edges=not config.float_io, dtype=config.activations)
    binary = binary_layers(prepared, operators) if config.keep_binary else ()
    overrides = {**dict.fromkeys(binary, Binary()), **config.overrides}
    weights = layer_formats(prepared, operators, config.weights, config.edges, overrides)
    setting = Setting(prepared, samples, weights, config.per_channel, on_technique or _silent)
    for technique in config.techniques:
        if isinstance(technique, FloatTechnique):
            changed = technique.prepare(setting)
            setting = replace(setting, graph=changed.graph)
            notes += changed.notes
    _check_strict(config, notes)
    seen = calibrate(setting.graph, samples, on_progress=on_progress)
    operators = [operator for operator in setting.graph.operators if operator.name in {o.name for o in operators}]
    formats = Formats(
        setting.graph, operators, seen, config.calibration, symmetric=config.symmetric, dtype=config.activations
    )
    result = convert(
        setting.graph,
        operators,
        formats,
        notes,
        weights=weights,
        per_channel=config.per_channel,
        float_io=config.float_io,
    )
    changed = reconstruct(result, setting, [t for t in config.techniques if isinstance(t, IntegerTechnique)])
    _check_strict(config, changed.notes)
    return _with_notes(changed.graph, changed.notes)


def _check_strict(config: PostTraining, notes: Sequence[str]) -> None:
    if config.strict and notes:
        raise NotApplicableError("post-training quantization", notes)


def _silent(_technique: str, _done: int, _steps: int) -> None:
    pass


def _with_notes(graph: Graph, notes: Sequence[str]) -> Graph:
    if not notes:
        return graph
    lines = [*graph.metadata.get("notes", "").splitlines(), *notes]
    return replace(graph, metadata={**graph.metadata, "notes": "\n".join(dict.fromkeys(lines))})


def _check_fit(samples: Samples, graph: Graph) -> None:
    for name in graph.inputs:
        tensor = graph.tensors[name]
        array = samples.inputs.get(name)
        if array is None or array.shape[1:] != tensor.shape or array.dtype != tensor.dtype.numpy:
            have = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise DataError(
                f"calibration data for '{name}' must be {tensor.dtype.value}[samples, "
                f"{', '.join(map(str, tensor.shape))}], got {have}"
            )
