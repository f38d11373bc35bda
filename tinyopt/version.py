"""The version of tinyopt."""

__version__ = "0.1.0"
