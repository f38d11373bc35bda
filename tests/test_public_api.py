"""The names that a user imports exist, and importing the package is quick."""

from __future__ import annotations

import subprocess
import sys

import tinyopt


def test_every_public_name_loads() -> None:
    for name in tinyopt.__all__:
        assert getattr(tinyopt, name) is not None


def test_importing_the_package_loads_no_large_library() -> None:
    code = "import sys, tinyopt; print(sorted({'torch', 'onnx', 'numpy', 'pydantic'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
