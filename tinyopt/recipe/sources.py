"""Where the model and the data of a recipe come from."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyopt.data import Samples, load_samples
from tinyopt.errors import DataError, RecipeError
from tinyopt.graph import Array, Graph
from tinyopt.recipe.data_sets import DataSets, Role, Source

EXAMPLE = "example:"
EXAMPLES = ("digits",)
CALIBRATION_SAMPLES = 256
"""Taken from the training data where a recipe names no calibration data."""


def load_model(model: str, folder: Path, *, seed: int, input_layout: str) -> Graph:
    """The model that a recipe starts from: a file (relative to ``folder``) or an example.

    Raises:
        RecipeError: for an example that does not exist.
        ModelError: when the file is no model that can be imported.
    """
    if model.startswith(EXAMPLE):
        name = model.removeprefix(EXAMPLE)
        if name not in EXAMPLES:
            raise RecipeError(f"there is no example model '{name}'; there is {', '.join(EXAMPLES)}")
        from tinyopt.examples import digits_graph

        return digits_graph(seed)
    from tinyopt.importers import load

    return load(folder / model, input_layout=input_layout)


def check_labels(labels: Array, graph: Graph, where: str) -> None:
    """Whether every label is a class of the network.

    Raises:
        DataError: naming the first that is none.
    """
    from tinyopt.train.dataset import checked_targets

    checked_targets(labels, where, max(graph.tensors[graph.outputs[0]].size, 2))  # one output: yes or no


class RecipeData:
    """The data of a recipe, read on first use and brought to the form of each model."""

    def __init__(self, sets: DataSets, folder: Path, seed: int) -> None:
        self._sets, self._folder, self._seed = sets, folder, seed
        self._loaded: dict[tuple[Any, ...], Samples] = {}
        self._digests: dict[Role, str] = {}

    def has(self, role: Role) -> bool:
        """Whether the recipe says where data for this come from."""
        if role == "calibration":
            return self._sets.calibration is not None or self._sets.train is not None
        if role == "validation" and isinstance(self._sets.validation, float):
            return self._sets.train is not None
        return getattr(self._sets, role) is not None

    def samples(self, role: Role, graph: Graph) -> Samples:
        """The samples of a role in the form of the model's inputs.

        Raises:
            DataError: when there are none, or they cannot be read or do not fit.
        """
        if not self.has(role):
            raise DataError(f"the recipe names no {role} data")
        share = self._sets.validation
        if role in ("train", "validation") and isinstance(share, float):
            return self._part(share, role == "validation", graph)
        if role == "calibration" and self._sets.calibration is None:
            return self.samples("train", graph).limit(CALIBRATION_SAMPLES)
        return self._read(getattr(self._sets, role), graph)

    def optional(self, role: Role, graph: Graph) -> Samples | None:
        """The samples, or None where the recipe names none."""
        return self.samples(role, graph) if self.has(role) else None

    def digest(self, role: Role, graph: Graph) -> str:
        """What the samples are, in a few letters; ``none`` where there are none. ``graph``: the first model."""
        if role not in self._digests:
            self._digests[role] = _digest(self.samples(role, graph)) if self.has(role) else "none"
        return self._digests[role]

    def _part(self, share: float, validation: bool, graph: Graph) -> Samples:
        assert self._sets.train is not None
        samples = self._read(self._sets.train, graph)
        count = round(share * len(samples))
        if not 0 < count < len(samples):
            raise DataError(
                f"{share:g} of {len(samples)} training samples leaves nothing for one of training and validation"
            )
        order = np.random.default_rng(self._seed).permutation(len(samples))
        return _take(samples, np.sort(order[:count] if validation else order[count:]))

    def _read(self, source: Source, graph: Graph) -> Samples:
        form = tuple((t.name, t.shape, t.dtype, repr(t.quantization)) for t in map(graph.tensor, graph.inputs))
        key = (source.source, source.limit, form)
        if key not in self._loaded:
            samples = self._open(source.source, graph)
            self._loaded[key] = samples.limit(source.limit) if source.limit else samples
        return self._loaded[key]

    def _open(self, spec: str, graph: Graph) -> Samples:
        if spec.startswith(EXAMPLE):
            return _example(spec, graph)
        if spec.startswith("random:"):
            return load_samples(spec, graph)
        return load_samples(self._folder / Path(spec), graph)


def _example(spec: str, graph: Graph) -> Samples:
    from tinyopt.examples import digits

    images, labels, test_images, test_labels = digits()
    parts = {"digits/train": (images, labels), "digits/test": (test_images, test_labels)}
    chosen = parts.get(spec.removeprefix(EXAMPLE))
    if chosen is None:
        raise DataError(f"there are no example data '{spec}'; there are {', '.join(EXAMPLE + name for name in parts)}")
    return Samples.from_array(chosen[0], graph, labels=chosen[1], source=spec)


def _take(samples: Samples, indices: Any) -> Samples:
    inputs = {name: array[indices] for name, array in samples.inputs.items()}
    return replace(samples, inputs=inputs, labels=None if samples.labels is None else samples.labels[indices])


def _digest(samples: Samples) -> str:
    result = hashlib.sha256()
    for name, array in samples.inputs.items():
        result.update(f"{name} {array.dtype} {array.shape}\0".encode())
        result.update(np.ascontiguousarray(array).data)
    if samples.labels is not None:
        result.update(np.ascontiguousarray(samples.labels).data)
    return result.hexdigest()[:32]
