"""Writes a plan out as C sources and a project that builds."""

from tinyopt.generate.generator import generate
from tinyopt.generate.project import Project, Role, Source

__all__ = ["Project", "Role", "Source", "generate"]
