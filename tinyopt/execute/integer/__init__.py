"""The integer executor: exact numpy implementations of every quantized operator, the numerical contract in code."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from tinyopt.execute.integer.registry import FUNCTIONS, Function
from tinyopt.graph.ops import Attributes


@cache
def integer_functions() -> Mapping[type[Attributes], Function]:
    """Operator kind → implementation; every module of this package registers its own."""
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
        importlib.import_module(f"{__name__}.{info.name}")
    return FUNCTIONS
