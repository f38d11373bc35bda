"""Checkpoints: everything that the rest of a run depends on, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyopt.errors import TrainingError
from tinyopt.train.dataset import Dataset
from tinyopt.train.settings import TrainSettings

FORMAT = 1


def fingerprint(settings: TrainSettings, train: Dataset, validation: Dataset | None, parameters: int) -> dict[str, Any]:
    """What must be the same for a run to be continued: settings (but for the device), data, number of parameters."""
    result = {name: value for name, value in asdict(settings).items() if name != "device"}
    result["training data"] = _digest(train)
    result["validation data"] = _digest(validation) if validation else "none"
    result["trained parameters"] = parameters
    return result


def _digest(dataset: Dataset) -> str:
    value = 0
    for array in (*dataset.inputs, dataset.targets):
        value = zlib.crc32(np.ascontiguousarray(array).data, value)
    return f"{len(dataset)} samples, checksum {value:08x}"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint in place of the one before; an interruption leaves the old one.

    Raises:
        TrainingError: when the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            torch.save({"format": FORMAT, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrainingError(f"cannot write the checkpoint '{path}': {error.strerror or error}") from None


def load(path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the run that ``expected`` describes. Nothing but tensors and plain values is unpickled.

    Raises:
        TrainingError: when the file is damaged or belongs to another run; the message names what differs.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint '{path}': {error.strerror or error}") from None
    except (RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError):
        raise TrainingError(f"the checkpoint '{path}' is damaged; delete it and start again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError(f"'{path}' is no checkpoint of this version; delete it and start again")
    for name, value in expected.items():
        found = content["fingerprint"].get(name)
        if found != value:
            raise TrainingError(
                f"the checkpoint '{path}' belongs to another run: its {name} is {found}, now {value}; "
                "use another folder, or start again with resume=False"
            )
    return content
