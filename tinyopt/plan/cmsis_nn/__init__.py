"""CMSIS-NN as a backend: kernels that are adapters to functions of a library that the user named.

They stand beside the kernels of the catalogue and are chosen like them. A kernel accepts only operators for which its
function gives, on the core in question, the bits that the contract asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyopt.board import Board
from tinyopt.cmsis_nn import Library
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph, Operator
from tinyopt.plan.cmsis_nn import convolution, elementwise, fully_connected, pooling
from tinyopt.plan.cmsis_nn.target import Target
from tinyopt.plan.kernel import Kernel


@dataclass(frozen=True, eq=False)
class Backend:
    """Kernels beside those of the catalogue. ``only``: wherever one accepts an operator, no other kernel is considered;
    else all compete by their costs."""

    kernels: tuple[Kernel, ...]
    only: bool
    title: str

    def accepting(self, graph: Graph, operator: Operator) -> tuple[Kernel, ...]:
        """The kernels that can compute an operator."""
        return tuple(kernel for kernel in self.kernels if kernel.accepts(graph, operator))


def cmsis_nn_backend(library: Library, board: Board, *, only: bool) -> Backend:
    """The kernels that a library has for a board.

    Raises:
        TinyoptError: the library has none of the functions that tinyopt calls, or is for Arm compilers alone.
    """
    if library.core and not board.core.startswith("cortex"):
        raise TinyoptError(
            f"{library.title} in {library.origin} compiles for Arm cores only, and '{board.name}' is {board.core}; "
            "later releases compile everywhere"
        )
    target = Target.of(library, board.features)
    groups = (convolution, fully_connected, pooling, elementwise)
    kernels = tuple(kernel for group in groups for kernel in group.kernels(target))
    if not kernels:
        raise TinyoptError(f"{library.title} in {library.origin} has none of the functions that tinyopt calls")
    return Backend(kernels, only, library.title)


__all__ = ["Backend", "cmsis_nn_backend"]
