"""What a person or a CI job reads of a run."""

from tinyopt.report.compare import Comparison, compare, predictions, top1
from tinyopt.report.layers import LayerReport, LayerTable, write_csv
from tinyopt.report.run import RunReport, per_class, render, summary_rows

__all__ = [
    "Comparison",
    "LayerReport",
    "LayerTable",
    "RunReport",
    "compare",
    "per_class",
    "predictions",
    "render",
    "summary_rows",
    "top1",
    "write_csv",
]
