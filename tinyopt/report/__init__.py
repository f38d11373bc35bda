"""What a person or a CI job reads of a run."""

from tinyopt.report.compare import Comparison, compare, predictions, top1
from tinyopt.report.run import LayerReport, RunReport, layer_table, per_class, render, summary_rows

__all__ = [
    "Comparison",
    "LayerReport",
    "RunReport",
    "compare",
    "layer_table",
    "per_class",
    "predictions",
    "render",
    "summary_rows",
    "top1",
]
