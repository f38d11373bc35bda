"""What the planner knows about a kernel, and what a kernel makes of one operator.

A ``Kernel`` is a catalogue entry: one C function in ``firmware/kernels/<family>/``. Its ``lower`` turns an operator
into a ``Call``: the fields of the family's C parameter struct (with packed constants), the tensors that are passed as
pointers, and the scratch bytes. The generator writes a call as::

    static const tinyopt_<family> <layer> = { .field = value, ... };
    tinyopt_<kernel name>(&<layer>, <inputs...>, <outputs...>, <scratch>);

The scratch pointer is passed when the kernel has ``uses_scratch`` set, even if the call needs zero bytes (then NULL).
A kernel with ``pointer_arrays`` set takes any number of tensors, so its pointers travel in two arrays::

    tinyopt_concat_ref(&<layer>, (const void *const[]){<inputs...>}, (void *const[]){<outputs...>});
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

import numpy as np

from tinyopt.graph import Array, DType, Graph, Operator

if TYPE_CHECKING:
    from tinyopt.cmsis_nn import Library


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that is stored in flash. ``weights``: counted as weights (else as a table of the code)."""

    data: Array
    """1-D, in the order of consumption; its dtype gives the C type."""
    weights: bool = True
    align: int = 4
    source: str = ""
    """Name of the graph tensor it was packed from; equal data is stored once however often it is used."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", np.ascontiguousarray(self.data).reshape(-1))

    @property
    def c_type(self) -> str:
        if self.data.dtype in (np.uint16, np.uint32, np.uint64):
            return f"{self.data.dtype.name}_t"
        return DType.of(self.data).c_type

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


@dataclass(frozen=True)
class Symbol:
    """A C identifier or constant expression that is written as it is (``NULL``, ``TINYOPT_ADD``)."""

    text: str


Value = Union[int, float, bool, Constant, Symbol, None, "tuple[Value, ...]", "Mapping[str, Value]"]
"""A field of a parameter struct: a number, a constant array (pointer), NULL (None), an array or a nested struct."""


@dataclass(frozen=True, eq=False)
class Call:
    """One operator lowered for one kernel."""

    kernel: Kernel
    operator: Operator
    parameters: Mapping[str, Value]
    inputs: tuple[str, ...]
    """Activation tensors passed as pointers, in the order of the C function's arguments."""
    outputs: tuple[str, ...]
    scratch: int = 0
    """Bytes of scratch memory (8-byte aligned) that the call needs."""
    in_place: tuple[tuple[int, int], ...] = ()
    """Pairs (input index, output index) that may be the same memory: the output may start where the input starts."""
    overlaps: tuple[tuple[int, int, int], ...] = ()
    """(input index, output index, lag): the output may reach into the input's memory, if it starts at least ``lag``
    bytes before the input starts."""
    predicted_cycles: float = 0.0
    """What the planner expects the call to take: the kernel's formula, or a measurement of a tuning table."""


@dataclass(frozen=True)
class Kernel:
    """A catalogue entry.

    ``name`` is the C function without its ``tinyopt_`` prefix: ``conv2d_s8_ref``, ``conv2d_s8_dsp``. ``source`` is the
    C file inside ``firmware/kernels/<family>/``; the family's header is ``<family>.h``; ``needs`` names further
    headers or sources in ``firmware/kernels/common/``. ``requires``: instruction-set features the board must have
    (``dsp``, ``mve``, ``fpu`` …); the empty set is portable C.
    """

    name: str
    family: str
    source: str
    accepts: Callable[[Graph, Operator], bool] = field(compare=False)
    """Whether the kernel can compute this operator (kind, dtypes, shapes)."""
    lower: Callable[[Graph, Operator, Kernel], Call] = field(compare=False)
    cost: Callable[[Graph, Operator], float] = field(compare=False)
    """Predicted cycles, to choose between kernels; rough is good enough until tables are measured."""
    requires: frozenset[str] = frozenset()
    needs: tuple[str, ...] = ("common.h",)
    uses_scratch: bool = False
    pointer_arrays: bool = False
    """Inputs and outputs are passed as one array of pointers each (``const void *const *``, ``void *const *``)."""
    library: Library | None = field(default=None, compare=False)
    """The library that the kernel's file is an adapter to; its sources go into the project."""
    functions: tuple[str, ...] = ()
    """Functions of the library that the kernel calls."""
    counts_weights: bool = False
    """Its cycles depend on the values of the weights (how many are zero, how they are coded), so what was measured on
    other weights of the same shape says nothing but how far the formula is off."""
    base: str = ""
    """Name of the kernel that does most of the work, where it is another: what is known of its cost holds here too."""

    @property
    def function(self) -> str:
        return f"tinyopt_{self.name}"

    @property
    def struct(self) -> str:
        return f"tinyopt_{self.family}"


def all_dtypes(graph: Graph, operator: Operator, dtype: DType, *, inputs: Sequence[int] | None = None) -> bool:
    """Whether the inputs (all, or those of the given indices) and the outputs have this element type."""
    ins = graph.ins(operator)
    chosen = ins if inputs is None else [ins[i] for i in inputs if i < len(ins)]
    return all(t.dtype is dtype for t in (*chosen, *graph.outs(operator)))
