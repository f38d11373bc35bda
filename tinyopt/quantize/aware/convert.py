"""Conversion: the integer graph that a module was trained as."""

from __future__ import annotations

from tinyopt.bridge import to_graph
from tinyopt.graph import Graph
from tinyopt.quantize.aware.activations import range_of
from tinyopt.quantize.aware.module import AwareModule
from tinyopt.quantize.aware.norms import folded
from tinyopt.quantize.aware.weights import Rows, Trained
from tinyopt.quantize.calibration import Calibration, MaxRange, Statistics
from tinyopt.quantize.convert import convert
from tinyopt.quantize.formats import Formats
from tinyopt.quantize.layers import weighted_layers
from tinyopt.quantize.weights import WeightFormat


def convert_trained(module: AwareModule) -> Graph:
    """The int8 graph of a module of ``prepare``: the integers and scales that its forward pass used, as they are.

    Its results differ from the module's by the rounding of biases (to input scale times weight scale) and of the
    integer arithmetic, next to always by at most one output step. Where a scale had to be raised, because sums would
    leave 32 bits, a note of the graph says so.

    Raises:
        ModelError: when training left NaN or infinite values.
    """
    intent = module.intent
    graph = folded(to_graph(module))
    chosen = set(intent.operators)
    operators = [o for o in graph.operators if o.name in chosen]
    integers = {name: q.integers(module.weights_behind(name)) for name, q in module.weight_quantizers().items()}
    weights: dict[str, WeightFormat] = {}
    for operator in weighted_layers([o for o in module.graph.operators if o.name in chosen]):
        tensors: tuple[Rows, ...] = tuple(integers[name] for name in operator.inputs if name in integers)
        weights[operator.name] = Trained(tensors, intent.weights[operator.name].bits)
    symmetric = intent.config.symmetric
    wanted = {members: module.quantizer(members[0]).format() for members in intent.shared}
    seen = {members[0]: Statistics(*range_of(form, symmetric=symmetric), count=1) for members, form in wanted.items()}
    formats = Formats(graph, operators, Calibration(seen, intent.cells), MaxRange(), symmetric=symmetric)
    notes = list(intent.notes)
    for members, form in wanted.items():
        found = formats[members[0]]
        if found != form:
            notes.append(
                f"'{members[0]}' was trained with the step {form.quantization.scale:.6g} and has "
                f"{found.quantization.scale:.6g}: it must cover constants, or sums would leave 32 bits"
            )
    return convert(
        graph,
        operators,
        formats,
        notes,
        weights=weights,
        per_channel=intent.config.per_channel,
        float_io=intent.config.float_io,
    )
