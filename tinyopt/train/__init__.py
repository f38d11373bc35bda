"""A plain trainer for modules made from graphs, and for any other ``torch.nn.Module``.

``fit`` trains, ``evaluate`` measures, ``insert_batch_norms`` readies models whose batch norms are folded. Nothing else
in tinyopt needs them: a loop of one's own does as well.
"""

from tinyopt.train.augment import Chain, HorizontalFlip, Noise, PadCrop, TimeShift
from tinyopt.train.batch_norms import insert_batch_norms
from tinyopt.train.dataset import Dataset, DatasetLike
from tinyopt.train.evaluate import Evaluation, evaluate
from tinyopt.train.fit import fit
from tinyopt.train.loop import Callback, EpochLog, Position, TrainResult
from tinyopt.train.loss import CrossEntropy, Loss, MeanSquaredError
from tinyopt.train.settings import TrainSettings

__all__ = [
    "Callback",
    "Chain",
    "CrossEntropy",
    "Dataset",
    "DatasetLike",
    "EpochLog",
    "Evaluation",
    "HorizontalFlip",
    "Loss",
    "MeanSquaredError",
    "Noise",
    "PadCrop",
    "Position",
    "TimeShift",
    "TrainResult",
    "TrainSettings",
    "evaluate",
    "fit",
    "insert_batch_norms",
]
