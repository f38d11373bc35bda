"""Choice by measurement: kernels are timed on the board, and plans are made from what was measured."""

from tinyopt.tune.costs import TunedCosts, tuned_costs
from tinyopt.tune.table import TuningTable, default_table_path, load_table, save_table
from tinyopt.tune.tuner import OperatorTuning, TuningResult, tune

__all__ = [
    "OperatorTuning",
    "TunedCosts",
    "TuningResult",
    "TuningTable",
    "default_table_path",
    "load_table",
    "save_table",
    "tune",
    "tuned_costs",
]
