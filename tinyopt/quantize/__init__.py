"""From floating point to integers: calibration, quantization parameters, and the quantized graph."""

from tinyopt.quantize.calibration import CalibrationMethod, MaxRange, Percentile, Statistics, calibrate
from tinyopt.quantize.post_training import PostTraining, quantize
from tinyopt.quantize.report import TensorError, compare_tensors

__all__ = [
    "CalibrationMethod",
    "MaxRange",
    "Percentile",
    "PostTraining",
    "Statistics",
    "TensorError",
    "calibrate",
    "compare_tensors",
    "quantize",
]
