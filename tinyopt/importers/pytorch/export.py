"""From an ``nn.Module`` to an exported program with static shapes and no in-place operators."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from tinyopt.errors import ModelError
from tinyopt.importers.values import MAXIMUM_ELEMENTS


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warnings of torch's own code, which the user can do nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def example_tuple(example_inputs: Any) -> tuple[torch.Tensor, ...]:
    """Example inputs as a tuple of tensors: one tensor or array, or a sequence of them.

    Raises:
        ModelError: for anything else.
    """
    items = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    result = []
    for item in items:
        if isinstance(item, torch.Tensor):
            result.append(item)
        elif isinstance(item, np.ndarray):
            result.append(torch.from_numpy(np.ascontiguousarray(item)))
        else:
            raise ModelError(f"example inputs must be tensors or arrays, got {type(item).__name__}")
    if not result:
        raise ModelError("give example inputs: tensors of the shapes that the model takes")
    return tuple(result)


def export_module(module: torch.nn.Module, example_inputs: Any) -> ExportedProgram:
    """Export a module in evaluation mode (its own mode is put back afterwards).

    Raises:
        ModelError: when torch.export cannot trace the module, with torch's reason.
    """
    inputs = example_tuple(example_inputs)
    training = {name: part.training for name, part in module.named_modules()}
    module.eval()
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(module, inputs)
    except Exception as error:
        reason = "\n".join(line for line in str(error).strip().splitlines() if line.strip())[:600]
        raise ModelError(
            f"torch.export could not trace {type(module).__name__}: {reason}\n"
            "Control flow that depends on values and inputs of the wrong shape are the usual causes."
        ) from None
    finally:
        for name, part in module.named_modules():
            part.training = training[name]


def make_static(program: ExportedProgram) -> ExportedProgram:
    """The program with every dynamic dimension of its inputs set: axis 0 to one sample, others to their example."""
    names = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs: list[tuple[list[int], torch.dtype]] = []
    dynamic, others = False, False
    for name in names:
        value = values.get(name) if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):  # a number or None, which the export has baked in
            others = True
            continue
        shape = []
        for axis, size in enumerate(value.shape):
            fixed = isinstance(size, int)
            dynamic |= not fixed
            shape.append(int(size) if fixed else 1 if axis == 0 else _hint(size))
        if math.prod(shape) > MAXIMUM_ELEMENTS or min(shape, default=1) < 1:
            raise ModelError(f"input '{name}' of the exported program has shape {shape}, which tinyopt does not take")
        inputs.append((shape, value.dtype))
    if not dynamic:
        return program
    if others:
        raise ModelError("a program with dynamic shapes must take tensors only; export it with static shapes")
    samples = tuple(torch.zeros(shape, dtype=dtype) for shape, dtype in inputs)
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(program.module(), samples)
    except Exception as error:
        raise ModelError(
            f"the dynamic shapes of the exported program could not be fixed to one sample: {first_line(error)}. "
            "Export the model with static shapes and a batch of one."
        ) from None


def _hint(size: Any) -> int:
    hint = getattr(size.node, "hint", None)
    return int(hint) if hint is not None else 1


def functional(program: ExportedProgram, decompose: Sequence[torch._ops.OpOverload] = ()) -> ExportedProgram:
    """Without in-place operators; ``decompose`` are replaced by simpler operators where torch knows how.

    Raises:
        ModelError: when torch cannot trace the program: its operators do not fit together.
    """
    table: dict[Any, Any] = {}
    if decompose:
        known = torch.export.default_decompositions()
        table = {op: known[op] for op in decompose if op in known}
    try:
        with _quiet():
            result: ExportedProgram = program.run_decompositions(table)
    except Exception as error:
        raise ModelError(f"the exported program is inconsistent: {first_line(error)}") from None
    return result


def first_line(error: Exception) -> str:
    """The beginning of an error message, or the error's name."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
