"""Before a model is made small: where its cycles and bytes go on a board, and what each layer bears."""

from tinyopt.analyse.analyse import TECHNIQUES, Analysis, Sensitivity, Suggestion, Trial, analyse, suggest
from tinyopt.analyse.profile import LayerProfile, Predicted, Profile, predict, profile
from tinyopt.analyse.quality import accuracy_of, real_outputs, sqnr_db
from tinyopt.analyse.render import render
from tinyopt.analyse.trials import Channels, Factorized, Quantized, Sparse, Technique

__all__ = [
    "TECHNIQUES",
    "Analysis",
    "Channels",
    "Factorized",
    "LayerProfile",
    "Predicted",
    "Profile",
    "Quantized",
    "Sensitivity",
    "Sparse",
    "Suggestion",
    "Technique",
    "Trial",
    "accuracy_of",
    "analyse",
    "predict",
    "profile",
    "real_outputs",
    "render",
    "sqnr_db",
    "suggest",
]
