"""Run a graph on this machine: exactly (integer) or in floating point (torch)."""

from tinyopt.execute.executor import Executor, run, run_stacked

__all__ = ["Executor", "run", "run_stacked"]
