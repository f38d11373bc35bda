"""Which data a recipe names, and for what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Role = Literal["train", "validation", "calibration", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "calibration", "test")
Text = Annotated[str, Field(min_length=1, max_length=1024, strict=True)]


class Strict(BaseModel):
    """Fields that are known, and values that stay."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_source(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


class Source(Strict):
    """Data as ``tinyopt.data.load_samples`` takes them, or ``example:digits/train`` and ``/test``. ``limit``: the first
    so many samples."""

    source: Text
    limit: Annotated[int, Field(ge=1, strict=True)] | None = None


Data = Annotated[Source, BeforeValidator(_as_source)]


class DataSets(Strict):
    """``train``: with labels, for whatever trains. ``validation``: data, or the share of ``train`` that is set aside
    (the same samples for the same seed). ``test``: what accuracy is measured on, and what is run. ``calibration``:
    what ranges of activations are taken from; else the first 256 samples of ``train``."""

    train: Data | None = None
    validation: Annotated[float, Field(gt=0, lt=1, strict=True)] | Data | None = None
    test: Data | None = None
    calibration: Data | None = None
