"""Run a graph on this machine: exactly (integer) or in floating point (torch)."""

from tinyopt.execute.executor import Executor, run

__all__ = ["Executor", "run"]
