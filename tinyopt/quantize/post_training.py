"""Post-training static quantization to int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tinyopt.data import Samples, Spec, load_samples
from tinyopt.errors import DataError, ModelError
from tinyopt.graph import Graph
from tinyopt.optimise import optimise
from tinyopt.quantize.calibration import CalibrationMethod, MaxRange, calibrate
from tinyopt.quantize.convert import convert
from tinyopt.quantize.formats import Formats
from tinyopt.quantize.support import integer_operators


@dataclass(frozen=True)
class PostTraining:
    """int8 activations (asymmetric, per tensor), int8 weights (symmetric), int32 biases.

    ``calibration``: how an activation's range follows from what was seen. ``per_channel``: one weight scale per
    output channel, else one per layer. ``float_io``: float32 inputs and outputs, converted inside the graph.
    """

    calibration: CalibrationMethod = field(default_factory=MaxRange)
    per_channel: bool = True
    float_io: bool = False


def quantize(
    graph: Graph,
    calibration: Spec,
    config: PostTraining | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """A float graph as int8.

    The graph is first optimised (batch norms folded, activations fused). ``calibration``: samples as
    ``tinyopt.data.load_samples`` takes them. Operators without an int8 form stay in float32 between Dequantize and
    Quantize; the graph's notes name them. ``on_progress``: called with (samples done, samples).

    Raises:
        ModelError: when the graph is quantized already or has no float activations.
        DataError: when the calibration data do not fit or make an activation NaN or infinite.
    """
    config = config or PostTraining()
    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; give the float model")
    samples = load_samples(calibration, graph)
    _check_fit(samples, graph)
    prepared = optimise(graph)
    seen = calibrate(prepared, samples, on_progress=on_progress)
    operators, notes = integer_operators(prepared, int8_edges=not config.float_io)
    formats = Formats(prepared, operators, seen, config.calibration)
    return convert(prepared, operators, formats, notes, per_channel=config.per_channel, float_io=config.float_io)


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
