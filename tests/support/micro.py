"""TensorFlow Lite Micro (PyPI ``tflite-micro``), the judge of the integer arithmetic."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tflite


class TfliteMicro:
    """An interpreter that keeps its state between calls, for streaming models.

    Calls ``pytest.skip`` where the package is not installed.
    """

    def __init__(self, model: bytes, *, arena: int | None = None) -> None:
        runtime = pytest.importorskip("tflite_micro", reason="the package tflite-micro is not installed").runtime
        self._output_count = tflite.Model.GetRootAs(model, 0).Subgraphs(0).OutputsLength()
        with _quiet():
            self._interpreter = runtime.Interpreter.from_bytes(model, arena_size=arena or 4 * len(model) + (4 << 20))

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """One inference: arrays in the order of the model's inputs, arrays out."""
        for index, array in enumerate(inputs):
            self._interpreter.set_input(np.ascontiguousarray(array), index)
        self._interpreter.invoke()
        outputs = []
        for index in range(self._output_count):
            shape = self._interpreter.get_output_details(index)["shape"]
            outputs.append(np.array(self._interpreter.get_output(index)).reshape(shape))
        return outputs

    def reset(self) -> None:
        self._interpreter.reset()


def run_tflite_micro(model: bytes, inputs: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """Outputs of one inference of a fresh interpreter."""
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    return TfliteMicro(model)(*arrays)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Silence the interpreter's own prints on standard error; show them when it fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception as error:
            log.seek(0)
            raise RuntimeError(f"{error}: {log.read().decode(errors='replace').strip()}") from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)
