"""The kernel catalogue: every C kernel that tinyopt can call, one module per family.

A module of this package defines ``KERNELS``, a tuple of ``Kernel``. It is found by itself: adding a kernel is one C
file and one entry here.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tinyopt.graph import Graph, Operator
from tinyopt.plan.kernel import Kernel


@cache
def all_kernels() -> tuple[Kernel, ...]:
    """Every kernel of the catalogue, in the order of the module names."""
    kernels: list[Kernel] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        kernels += importlib.import_module(f"{__name__}.{module}").KERNELS
    names = [kernel.name for kernel in kernels]
    assert len(set(names)) == len(names), "two kernels share a name"
    return tuple(kernels)


def candidates(graph: Graph, operator: Operator, features: frozenset[str]) -> tuple[Kernel, ...]:
    """The kernels that can compute this operator on a core with these features, cheapest first."""
    fit = [k for k in all_kernels() if k.requires <= features and k.accepts(graph, operator)]
    return tuple(sorted(fit, key=lambda kernel: (kernel.cost(graph, operator), kernel.name)))
