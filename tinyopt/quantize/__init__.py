"""From floating point to integers: calibration, quantization parameters, and the quantized graph."""

from tinyopt.quantize.adaround import AdaRound
from tinyopt.quantize.bias import BiasCorrection
from tinyopt.quantize.calibration import CalibrationMethod, MaxRange, Percentile, Statistics, calibrate
from tinyopt.quantize.dynamic import DynamicRanges
from tinyopt.quantize.equalise import ActivationAware, Equalise
from tinyopt.quantize.feedback import ErrorFeedback
from tinyopt.quantize.half import half_weights
from tinyopt.quantize.mixed import Budget, LayerCost, Sensitivity, Widths, choose_widths
from tinyopt.quantize.post_training import PostTraining, quantize
from tinyopt.quantize.ranges import Entropy, MeanSquaredError
from tinyopt.quantize.report import TensorError, compare_tensors
from tinyopt.quantize.walk import simulate
from tinyopt.quantize.weights import (
    Binary,
    Clustered,
    Int4,
    Int8,
    Ternary,
    UniformFormat,
    WeightFormat,
    weight_format,
)

__all__ = [
    "ActivationAware",
    "AdaRound",
    "BiasCorrection",
    "Binary",
    "Budget",
    "CalibrationMethod",
    "Clustered",
    "DynamicRanges",
    "Entropy",
    "Equalise",
    "ErrorFeedback",
    "Int4",
    "Int8",
    "LayerCost",
    "MaxRange",
    "MeanSquaredError",
    "Percentile",
    "PostTraining",
    "Sensitivity",
    "Statistics",
    "TensorError",
    "Ternary",
    "UniformFormat",
    "WeightFormat",
    "Widths",
    "calibrate",
    "choose_widths",
    "compare_tensors",
    "half_weights",
    "quantize",
    "simulate",
    "weight_format",
]
