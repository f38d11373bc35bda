"""Quantization-aware training: the network learns to live with the integers that it will be computed in.

``quantize_aware`` is the one verb; ``prepare`` and ``convert_trained`` are its two halves, for a training loop of
one's own.
"""

from tinyopt.quantize.aware.activations import ActivationRanges, Calibrated, LearnedClipping, LearnedStep, Observed
from tinyopt.quantize.aware.config import QuantizationAware
from tinyopt.quantize.aware.convert import convert_trained
from tinyopt.quantize.aware.module import AwareModule
from tinyopt.quantize.aware.prepare import prepare
from tinyopt.quantize.aware.train import (
    FINE_TUNING,
    TEACHER_ALPHA,
    TEACHER_TEMPERATURE,
    AwareResult,
    FreezeAfter,
    parameter_groups,
    quantize_aware,
    train_aware,
)

__all__ = [
    "FINE_TUNING",
    "TEACHER_ALPHA",
    "TEACHER_TEMPERATURE",
    "ActivationRanges",
    "AwareModule",
    "AwareResult",
    "Calibrated",
    "FreezeAfter",
    "LearnedClipping",
    "LearnedStep",
    "Observed",
    "QuantizationAware",
    "convert_trained",
    "parameter_groups",
    "prepare",
    "quantize_aware",
    "train_aware",
]
