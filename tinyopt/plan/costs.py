"""What kernels cost: by the formulas of the catalogue, or by what was measured on the board."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinyopt.board import Board
from tinyopt.graph import Graph, Operator, Tensor
from tinyopt.plan.kernel import Kernel

PORTABLE_CODE_BYTES = 500
SPECIAL_CODE_BYTES = 1000
"""Code of a kernel that was not measured: portable ones have no unrolled loops."""
AROUND_CODE_BYTES = 400
"""Code of a kernel that has another one do most of the work, without that one."""
WRAPPER_CODE_BYTES = 100
"""The same without what such kernels share among themselves."""
SHARED_CODE_BYTES = {"blocks_dsp.h": 1300, "huffman.h": 250, "unpack.h": 600}
"""Code that several kernels share, and that sizes of single kernels leave out, by the header that brings it: more or
less, beyond what the common functions take that other kernels call in their place."""


@dataclass(frozen=True)
class Measured:
    """One kernel on one operator, as measured. ``cycles``: of the core. ``predicted``: by the formula, then."""

    signature: str
    kernel: str
    cycles: float
    predicted: float
    code_bytes: int


@dataclass(frozen=True)
class Costs:
    """Predictions for the planner.

    An operator and kernel that were measured cost what was measured. For the others the kernel's formula is scaled: by
    what the formula was off for the kernel as a whole, or, for a kernel without any measurement, for the median kernel.
    So measured and unmeasured kernels can be compared even when a table is incomplete.
    """

    measured: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(operator signature, kernel name) → cycles."""
    scales: Mapping[str, float] = field(default_factory=dict)
    """Kernel name → measured cycles per formula cycle; the empty name: of the median kernel."""
    code: Mapping[str, int] = field(default_factory=dict)
    """Kernel name → bytes of machine code."""
    source: str = ""
    """Where the measurements are from, for reports; empty for formulas alone."""

    @staticmethod
    def of(entries: Iterable[Measured], source: str, base: Costs | None = None) -> Costs:
        """The costs that follow from measurements. ``base``: scales and code sizes of kernels that have none."""
        items = tuple(entries)
        sums: dict[str, tuple[float, float]] = {}
        for item in items:
            cycles, predicted = sums.get(item.kernel, (0.0, 0.0))
            sums[item.kernel] = (cycles + item.cycles, predicted + item.predicted)
        scales = {name: cycles / formula for name, (cycles, formula) in sums.items() if cycles > 0 and formula > 0}
        if scales:
            scales[""] = statistics.median(scales.values())
        return Costs(
            {(item.signature, item.kernel): item.cycles for item in items},
            {**(base.scales if base else {}), **scales},
            {**(base.code if base else {}), **{item.kernel: item.code_bytes for item in items}},
            source,
        )

    def cycles(self, graph: Graph, operator: Operator, kernel: Kernel) -> float:
        """Predicted cycles of one call."""
        if self.measured and not kernel.counts_weights:
            known = self.measured.get((signature(graph, operator), kernel.name))
            if known is not None:
                return known
        # What tinyopt's formulas are off says nothing about those of a library's kernels.
        others = 1.0 if kernel.library is not None else self.scales.get("", 1.0)
        scale = self.scales.get(kernel.name) or self.scales.get(kernel.base) or others
        return scale * kernel.cost(graph, operator)

    def is_measured(self, graph: Graph, operator: Operator, kernel: Kernel) -> bool:
        """Whether the prediction is a measurement itself, and not the formula."""
        return not kernel.counts_weights and (signature(graph, operator), kernel.name) in self.measured

    def code_bytes(self, kernel: Kernel) -> int:
        """Machine code that comes with a kernel, however often it is called."""
        if kernel.base:
            return AROUND_CODE_BYTES + self._alone(kernel.base, kernel)
        return self._alone(kernel.name, kernel)

    def program_bytes(self, kernels: Iterable[Kernel]) -> int:
        """Machine code of several kernels together: what they share, be it a kernel that others are made around or
        common functions, counts once."""
        parts: dict[str, int] = {}
        for kernel in kernels:
            worker = kernel.base or kernel.name
            parts[worker] = self._alone(worker, kernel)
            shared = {header: SHARED_CODE_BYTES[header] for header in kernel.needs if header in SHARED_CODE_BYTES}
            parts.update(shared)
            if kernel.base:
                parts[kernel.name] = WRAPPER_CODE_BYTES if shared else AROUND_CODE_BYTES
        return sum(parts.values())

    def _alone(self, name: str, kernel: Kernel) -> int:
        return self.code.get(name) or (SPECIAL_CODE_BYTES if kernel.requires else PORTABLE_CODE_BYTES)


FORMULAS = Costs()
"""Predictions by the formulas of the catalogue alone."""

CALIBRATION = Path(__file__).with_name("calibration.json")
"""Core → kernel → [measured cycles per formula cycle, bytes of code]; written by ``python -m benchmarks.calibrate``."""


@cache
def _calibration() -> dict[str, Costs]:
    document = json.loads(CALIBRATION.read_text(encoding="utf-8")) if CALIBRATION.is_file() else {}
    return {
        core: Costs(
            scales={name: float(scale) for name, (scale, _) in kernels.items()},
            code={name: int(size) for name, (_, size) in kernels.items() if size},
        )
        for core, kernels in document.items()
    }


def core_costs(board: Board) -> Costs:
    """The formulas, scaled for the board's core by what kernels took on its emulated board.

    A formula says how the cycles of a kernel grow with the layer; how many a core needs for them differs from core to
    core. Cores that were never measured get the formulas as they are, but for the Cortex-M0+: it has the instructions
    of the Cortex-M0, and the same multiplier.
    """
    core = "cortex-m0" if board.core == "cortex-m0plus" else board.core
    return _calibration().get(core, FORMULAS)


def signature(graph: Graph, operator: Operator) -> str:
    """What an operator's cost depends on, as text: kind, attributes, element types and shapes, which inputs are
    constants, and whether their scales are per channel. Equal for every quantization and every weight."""
    ins = " ".join(_describe(tensor) for tensor in graph.ins(operator))
    outs = " ".join(_describe(tensor) for tensor in graph.outs(operator))
    head = f"{operator.kind} {operator.attributes.describe()}".rstrip()
    return f"{head}: {ins} -> {outs}"


def _describe(tensor: Tensor) -> str:
    text = f"{tensor.dtype.value}[{','.join(map(str, tensor.shape))}]"
    if tensor.quantization is not None and tensor.quantization.axis is not None:
        text += "/channel"
    return f"const {text}" if tensor.is_constant else text
