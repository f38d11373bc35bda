"""Compiles a generated project into firmware."""

from tinyopt.build.firmware import Firmware, build
from tinyopt.build.sizes import Sections, function_at
from tinyopt.build.stack import StackBound

__all__ = ["Firmware", "Sections", "StackBound", "build", "function_at"]
