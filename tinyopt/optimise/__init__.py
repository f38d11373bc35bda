"""Exact work on the graph: the same outputs on every input, from fewer and smaller operators.

Quantized graphs keep every bit. Float graphs keep their value up to the rounding of a re-ordered sum.
"""

from tinyopt.optimise.optimise import DEFAULT, Pass, Step, explain, optimise

__all__ = ["DEFAULT", "Pass", "Step", "explain", "optimise"]
