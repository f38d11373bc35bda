"""tinyopt: trained neural networks, made small, on microcontrollers, measured.

The main job in a few names, each loaded on first use, so that ``import tinyopt`` is fast and needs neither torch nor
onnx::

    graph = tinyopt.load("model.tflite")
    board = tinyopt.load_board("mps2_an386")
    result = tinyopt.run_on_board(graph, board, tinyopt.load_samples("random:0:4", graph))

The steps by themselves are ``tinyopt.optimise.optimise``, ``tinyopt.quantize.quantize``, ``tinyopt.generate.generate``
and so on: each package has one function of its own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinyopt.version import __version__

if TYPE_CHECKING:
    from tinyopt.board import Board, load_board
    from tinyopt.data import Samples, load_samples
    from tinyopt.errors import TinyoptError
    from tinyopt.execute import Executor
    from tinyopt.graph import Graph, load_graph, save_graph
    from tinyopt.importers import load
    from tinyopt.pipeline import run_on_board
    from tinyopt.plan import make_plan

__all__ = [
    "Board",
    "Executor",
    "Graph",
    "Samples",
    "TinyoptError",
    "__version__",
    "load",
    "load_board",
    "load_graph",
    "load_samples",
    "make_plan",
    "run_on_board",
    "save_graph",
]

_HOMES = {
    "Board": "tinyopt.board",
    "Executor": "tinyopt.execute",
    "Graph": "tinyopt.graph",
    "Samples": "tinyopt.data",
    "TinyoptError": "tinyopt.errors",
    "load": "tinyopt.importers",
    "load_board": "tinyopt.board",
    "load_graph": "tinyopt.graph",
    "load_samples": "tinyopt.data",
    "make_plan": "tinyopt.plan",
    "run_on_board": "tinyopt.pipeline",
    "save_graph": "tinyopt.graph",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tinyopt' has no attribute '{name}'")
