"""Between graphs and torch: operators as functions on torch tensors, and float graphs as modules to train."""

from tinyopt.bridge.dequantize import dequantize_graph
from tinyopt.bridge.hooks import ActivationHooks
from tinyopt.bridge.module import GraphModule, to_graph, to_torch

__all__ = ["ActivationHooks", "GraphModule", "dequantize_graph", "to_graph", "to_torch"]
