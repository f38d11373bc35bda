"""How much machine code a kernel brings along."""

from __future__ import annotations

from pathlib import Path

from tinyopt.build import Firmware
from tinyopt.build.sizes import Contribution, map_contributions
from tinyopt.generate.kernels import VENDOR, library_files
from tinyopt.plan import Plan
from tinyopt.plan.kernel import Kernel
from tinyopt.plan.lowering import kernels_of

_LOADED = (".text", ".rodata", ".data", ".sdata", ".srodata")


def code_bytes(plan: Plan, firmware: Firmware) -> dict[str, int]:
    """Kernel name → bytes of code and tables from its C file, and from its library's, that the linker kept.

    Where two kernels of a plan share a file, the sections that are named after the one do not count for the other.
    What several files share (headers' functions are in each of them; those of ``common/*.c`` in none) is not counted.
    """
    alone = firmware.map_file.with_name("model_alone.map")
    text = (alone if alone.is_file() else firmware.map_file).read_text(errors="replace")
    by_object: dict[str, list[Contribution]] = {}
    for item in map_contributions(text):
        if item.section.startswith(_LOADED):
            by_object.setdefault(item.object_file, []).append(item)
    objects = firmware.project.directory / "build" / "objects"
    kernels = kernels_of(plan.calls)
    return {
        kernel.name: sum(_own(kernel, kernels, by_object.get(str(path), [])) for path in _objects(objects, kernel))
        for kernel in kernels
    }


def _objects(objects: Path, kernel: Kernel) -> list[Path]:
    files = [Path(kernel.family, kernel.source), *(Path(VENDOR, name) for name in library_files((kernel,)))]
    return [objects / "kernels" / file.with_suffix(".o") for file in files if file.suffix == ".c"]


def _own(kernel: Kernel, kernels: tuple[Kernel, ...], items: list[Contribution]) -> int:
    others = {k.function for k in kernels if k.name != kernel.name}
    return sum(item.size for item in items if item.section.rpartition(".")[2] not in others)
