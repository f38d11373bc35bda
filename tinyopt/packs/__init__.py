"""CMSIS-Packs: device descriptions become board files, and packs of libraries are fetched.

A pack is a zip archive with a description (``.pdsc``, XML) of what it holds: Open-CMSIS-Pack specification,
open-cmsis-pack.github.io/Open-CMSIS-Pack-Spec.
"""

from tinyopt.packs.archive import open_description
from tinyopt.packs.boards import board_name, board_text
from tinyopt.packs.description import Algorithm, Description, Device, PackMemory, Processor
from tinyopt.packs.index import PackReference, fetch_packs, find_in_index, parse_reference

__all__ = [
    "Algorithm",
    "Description",
    "Device",
    "PackMemory",
    "PackReference",
    "Processor",
    "board_name",
    "board_text",
    "fetch_packs",
    "find_in_index",
    "open_description",
    "parse_reference",
]
