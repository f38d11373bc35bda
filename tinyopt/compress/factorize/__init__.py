"""Layers as products of smaller ones: SVD, spatial, Tucker-2, CP and tensor-train factorizations."""

from tinyopt.compress.factorize.config import (
    Cost,
    CostBudget,
    Energy,
    Factorization,
    LayerChoice,
    ParameterBudget,
    Ranks,
)
from tinyopt.compress.factorize.cycles import MeasuredCycles, PredictedCycles
from tinyopt.compress.factorize.factorize import explain, factorize
from tinyopt.compress.factorize.methods import METHODS, MethodName
from tinyopt.compress.factorize.report import FactorizationReport, FactorizedLayer, LeftLayer

__all__ = [
    "METHODS",
    "Cost",
    "CostBudget",
    "Energy",
    "Factorization",
    "FactorizationReport",
    "FactorizedLayer",
    "LayerChoice",
    "LeftLayer",
    "MeasuredCycles",
    "MethodName",
    "ParameterBudget",
    "PredictedCycles",
    "Ranks",
    "explain",
    "factorize",
]
