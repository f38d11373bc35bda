"""How to train for integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tinyopt.errors import DataError
from tinyopt.quantize.aware.activations import ActivationRanges, LearnedStep
from tinyopt.quantize.calibration import CalibrationMethod, MaxRange
from tinyopt.quantize.weights import Int8, WeightFormat


@dataclass(frozen=True)
class QuantizationAware:
    """What the integers of the trained graph will be, and what of them is learned.

    ``weights``, ``edges`` and ``overrides``: as in ``PostTraining``; the first and the last layer have the format
    ``edges`` where ``weights`` is narrower. ``learned_weight_scales``: weight scales are trained (learned step size),
    else follow from the weights at every step. ``keep_zeros``: weights that are zero at the start, as pruning leaves
    them, stay zero.

    ``signs``: layers, by name or a pattern with ``*``, that read the signs of their input: binary activations
    (Courbariaux et al. 2016, Rastegari et al. 2016). Their weights are binary unless an override names them, and their
    sums are exclusive ors and counted bits. A pattern leaves out the first and the last layer, and those that cannot.

    ``calibration``: the ranges of activations that training starts from; ``activations``: what becomes of them
    (``LearnedStep``, ``LearnedClipping``, ``Observed``, ``Calibrated``).

    ``train_batch_norm``: batch norms behind layers stay trainable and are folded into the weights that are quantized,
    at every step; else they are folded once, before training. ``freeze_batch_norm`` and ``freeze_ranges``: after that
    share of the epochs, the statistics of batch norms, and all ranges and scales, stay as they are; None: never.

    ``per_channel``, ``symmetric``, ``float_io``, ``strict``: as in ``PostTraining``.
    """

    weights: WeightFormat = field(default_factory=Int8)
    edges: WeightFormat | None = field(default_factory=Int8)
    overrides: Mapping[str, WeightFormat] = field(default_factory=dict, hash=False)
    signs: tuple[str, ...] = ()
    learned_weight_scales: bool = True
    keep_zeros: bool = True
    calibration: CalibrationMethod = field(default_factory=MaxRange)
    activations: ActivationRanges = field(default_factory=LearnedStep)
    train_batch_norm: bool = True
    freeze_batch_norm: float | None = 0.75
    freeze_ranges: float | None = None
    per_channel: bool = True
    symmetric: bool = False
    float_io: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "overrides", MappingProxyType(dict(self.overrides)))
        for what in ("freeze_batch_norm", "freeze_ranges"):
            share = getattr(self, what)
            if share is not None and not 0.0 <= share <= 1.0:
                raise DataError(f"{what} is a share of the epochs from 0 to 1, not {share}")
        if isinstance(self.signs, str):
            raise DataError(f"signs is a sequence of layers: ('{self.signs}',), not '{self.signs}'")
        object.__setattr__(self, "signs", tuple(self.signs))
        if not isinstance(self.activations, ActivationRanges):
            raise DataError(f"{self.activations!r} is no way to find the ranges of activations")
