"""The intermediate representation of a network: tensors, operators, graphs.

Everything else in tinyopt takes a ``Graph`` and returns another one, or something made from it.
"""

from tinyopt.graph.batching import batch_problem, for_batch, stacked
from tinyopt.graph.builder import GraphBuilder
from tinyopt.graph.costs import (
    graph_macs,
    lifetimes,
    operator_macs,
    operator_parameter_bytes,
    parameter_bytes,
    peak_activation_bytes,
)
from tinyopt.graph.graph import Graph, Operator, State, topological_order
from tinyopt.graph.serialise import load_graph, save_graph
from tinyopt.graph.shapes import infer_shapes
from tinyopt.graph.text import dump
from tinyopt.graph.types import Array, DType, Quantization, Shape, Tensor

__all__ = [
    "Array",
    "DType",
    "Graph",
    "GraphBuilder",
    "Operator",
    "Quantization",
    "Shape",
    "State",
    "Tensor",
    "batch_problem",
    "dump",
    "for_batch",
    "graph_macs",
    "infer_shapes",
    "lifetimes",
    "load_graph",
    "operator_macs",
    "operator_parameter_bytes",
    "parameter_bytes",
    "peak_activation_bytes",
    "save_graph",
    "stacked",
    "topological_order",
]
