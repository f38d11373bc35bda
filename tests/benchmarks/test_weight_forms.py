"""The page of kernels by form of weights is the catalogue's."""

from __future__ import annotations

from benchmarks.weight_forms import CORES, TARGET, families, page, rows
from tinyopt.plan.catalogue import all_kernels


def test_the_page_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run python -m benchmarks.weight_forms"


def test_every_kernel_of_these_layers_is_on_the_page() -> None:
    known = families()
    wanted = [kernel for kernel in all_kernels() if kernel.family in known]
    assert {kernel.requires for kernel in wanted} == set(CORES)
    assert sum(cell.count("`") // 2 for *_, cells in rows() for cell in cells) == len(wanted)


def test_compressed_weights_of_every_layer_run_on_every_core() -> None:
    """A form that one core can read, every core can."""
    assert all(cells[0] for _, _, cells in rows())
