"""How a student learns from a teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tinyopt.errors import TrainingError
from tinyopt.train import TrainSettings

Pairs = tuple[tuple[str, str], ...]
"""(tensor of the student, tensor of the teacher), several times."""


@dataclass(frozen=True)
class DistillSettings:
    """What the student's loss is made of.

    ``alpha · T² · KL(softmax(teacher / T) ‖ softmax(student / T)) + (1 - alpha) · cross-entropy with the labels``
    (Hinton et al. 2015; the factor T² keeps both gradients of one size when the temperature T changes), and

    - ``hints``: pairs of activations that should be equal (Romero et al. 2015): their mean squared difference over the
      teacher's mean square, times ``hint_weight``. Where they differ in channels, a linear map of the student's
      channels (a 1x1 convolution) is trained along and thrown away; where they differ in size, the larger is averaged.
    - ``attention``: pairs whose maps of mean square over channels should be equal (Zagoruyko and Komodakis 2017): the
      squared distance of the two maps, each of norm one, times ``attention_weight``. The channels may differ.

    For networks that are no classifiers (targets that are no class numbers), the first two terms are the mean squared
    differences with the teacher's outputs and with the targets; the temperature plays no part.

    ``alpha`` of 1 needs no labels. ``training``: how to train, see ``TrainSettings``.

    Raises:
        TrainingError: when a value makes no sense.
    """

    temperature: float = 4.0
    alpha: float = 0.9
    hints: Pairs = ()
    hint_weight: float = 1.0
    attention: Pairs = ()
    attention_weight: float = 1.0
    training: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        rules = {
            "temperature": 0 < self.temperature < math.inf,
            "alpha": 0 <= self.alpha <= 1,
            "hint_weight": 0 <= self.hint_weight < math.inf,
            "attention_weight": 0 <= self.attention_weight < math.inf,
            "hints": all(len(pair) == 2 for pair in self.hints),
            "attention": all(len(pair) == 2 for pair in self.attention),
        }
        for name, holds in rules.items():
            if not holds:
                raise TrainingError(f"the distillation setting {name} = {getattr(self, name)!r} makes no sense")
