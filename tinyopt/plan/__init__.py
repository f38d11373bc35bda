"""Lowering a graph for one board: which kernels are called, with which constants, and where every buffer lies."""

from tinyopt.plan.kernel import Call, Constant, Kernel, Symbol, Value
from tinyopt.plan.layout import Buffer
from tinyopt.plan.plan import Plan, make_plan
from tinyopt.plan.text import call_table, memory_map

__all__ = ["Buffer", "Call", "Constant", "Kernel", "Plan", "Symbol", "Value", "call_table", "make_plan", "memory_map"]
