"""PyTorch: an ``nn.Module``, an exported program, or a ``.pt2`` file into a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from tinyopt.errors import ModelError
from tinyopt.graph import Graph
from tinyopt.importers.pytorch.archive import load_archive, load_bytes
from tinyopt.importers.pytorch.export import example_tuple, export_module, make_static
from tinyopt.importers.pytorch.lowering import lower_program

__all__ = ["import_torch"]


def import_torch(
    module: torch.nn.Module | ExportedProgram | bytes | str | Path,
    example_inputs: Any = None,
    *,
    name: str | None = None,
    input_layout: str = "nchw",
    output_layout: str = "nchw",
) -> Graph:
    """Import a PyTorch model.

    ``module``: an ``nn.Module`` (exported in evaluation mode with ``example_inputs``: one tensor or array, or a tuple
    of them, batch of one), an ``ExportedProgram``, or a ``.pt2`` file (path or bytes) that ``torch.export.save``
    wrote. ``input_layout`` and ``output_layout``: ``"nchw"`` keeps the model's order; ``"nhwc"`` makes the graph's
    four-axis inputs or outputs channels-last, which saves a transpose on the device.

    Raises:
        ModelError: when the model cannot be exported or read.
        UnsupportedOperatorsError: with all operators that the graph cannot express.
    """
    for layout in (input_layout, output_layout):
        if layout not in ("nchw", "nhwc"):
            raise ModelError(f"layout '{layout}' is unknown; choose 'nchw' or 'nhwc'")
    if isinstance(module, torch.nn.Module):
        if example_inputs is None:
            raise ModelError("an nn.Module needs example_inputs: tensors of the shapes that it takes, batch of one")
        program = export_module(module, example_tuple(example_inputs))
        name = name or type(module).__name__.lower()
    elif isinstance(module, ExportedProgram):
        program = module
    elif isinstance(module, bytes):
        program = load_bytes(module, name or "the model")
    else:
        program = load_archive(module)
        name = name or Path(module).stem
    return lower_program(
        make_static(program),
        name or "model",
        channels_last=(input_layout == "nhwc", output_layout == "nhwc"),
    )
