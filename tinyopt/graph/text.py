"""The text form of a graph: one line per operator, aligned, stable, good to diff."""

from __future__ import annotations

from tinyopt.graph.costs import graph_macs, operator_macs, parameter_bytes, peak_activation_bytes
from tinyopt.graph.graph import Graph
from tinyopt.graph.types import Tensor
from tinyopt.names import short_name


def _shape(tensor: Tensor) -> str:
    return f"{tensor.dtype.value}[{'x'.join(str(d) for d in tensor.shape)}]"


def _typed(tensor: Tensor) -> str:
    quantization = f" ({tensor.quantization.describe()})" if tensor.quantization is not None else ""
    return f"{_shape(tensor)}{quantization}"


def dump(graph: Graph) -> str:
    """A page of text: inputs, states, one line per operator with its output type, cost and operands, outputs."""
    lines = [
        f"graph {graph.name}: {len(graph.operators)} operators, {graph_macs(graph):,} MACs, "
        f"{parameter_bytes(graph):,} parameter bytes, peak activations {peak_activation_bytes(graph):,} bytes"
    ]
    if graph.metadata.get("source"):
        lines.append(f"  source  {graph.metadata['source']}")
    lines += [f"  note    {note}" for note in graph.metadata.get("notes", "").splitlines() if note]
    lines += [f"  input   %{short_name(name)}: {_typed(graph.tensors[name])}" for name in graph.inputs]
    lines += [
        f"  state   {s.name}: %{short_name(s.read)} <- %{short_name(s.write)}: {_typed(graph.tensors[s.read])}"
        for s in graph.states
    ]
    rows = []
    for operator in graph.operators:
        operands = []
        for tensor in graph.ins(operator):
            operands.append(f"{{{_shape(tensor)}}}" if tensor.is_constant else f"%{short_name(tensor.name)}")
        macs = operator_macs(graph, operator)
        rows.append(
            (
                operator.kind,
                f"{', '.join('%' + short_name(o) for o in operator.outputs)}",
                ", ".join(_typed(t) for t in graph.outs(operator)),
                f"{macs:,}" if macs else "",
                f"({', '.join(operands)}) {operator.attributes.describe()}".rstrip(),
            )
        )
    widths = [min(max((len(row[i]) for row in rows), default=0), 48) for i in range(4)]
    for row in rows:
        lines.append(
            f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}"
        )
    lines += [f"  output  %{short_name(name)}: {_typed(graph.tensors[name])}" for name in graph.outputs]
    return "\n".join(lines) + "\n"
