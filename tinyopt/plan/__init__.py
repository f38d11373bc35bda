"""Lowering a graph for one board: which kernels are called, with which constants, and where every buffer lies."""

from tinyopt.plan.kernel import Call, Constant, Kernel, Symbol, Value
from tinyopt.plan.layout import Buffer
from tinyopt.plan.plan import Plan, make_plan

__all__ = ["Buffer", "Call", "Constant", "Kernel", "Plan", "Symbol", "Value", "make_plan"]
