"""Where the tests find a CMSIS-NN: what TINYOPT_CMSIS_NN names, else the sources inside the PyPI package ``bakenn``
(a part of release 4.0.0, Apache-2.0), which is a development dependency."""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

from tinyopt.cmsis_nn import Library, open_library


@cache
def place() -> str | None:
    named = os.environ.get("TINYOPT_CMSIS_NN", "")
    if named:
        return named
    package = importlib.util.find_spec("bakenn")
    if package is None or package.origin is None:
        return None
    vendor = Path(package.origin).parent / "backend" / "cmsis_nn" / "vendor"
    return str(vendor) if vendor.is_dir() else None


def library() -> Library:
    """The library; the test is skipped where there is none."""
    where = place()
    if where is None:
        pytest.skip("no CMSIS-NN: install the package bakenn, or set TINYOPT_CMSIS_NN")
    return open_library(where)


def need_tools(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}, which is not installed")
