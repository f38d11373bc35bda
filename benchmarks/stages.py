"""``python -m benchmarks.stages digits|voices|images -o FOLDER``: every technique of compression on one network.

Each row of the tables is a model. It is trained once, kept in the folder with its figures, and taken from there by the
next call, so that an interrupted run goes on; remove a row's files to make it again. Rows build on other rows (a pruned
network on the trained one), seeds are folders of their own. ``--write`` puts the tables into docs/compression.md.

Accuracy is that of the integer executor (float32 rows: of the float executor) on all test samples; nothing is chosen by
it. Sizes are of the linked firmware; cycles and energy are estimates on the emulated Cortex-M4 (see docs/cycles.md).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import Split
from benchmarks.stage_rows import SECTIONS, Lab, Row, rows_of
from benchmarks.stage_tasks import TASKS, Task
from tinyopt.analyse.quality import accuracy_of, real_outputs
from tinyopt.board import load_board
from tinyopt.data import Samples
from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph
from tinyopt.pipeline import run_on_board

CHECKOUT = Path(__file__).resolve().parent.parent
TARGET = CHECKOUT / "docs" / "compression.md"
BOARD = "emulated_l4r5zi"
BALANCED, SMALLEST = "latency=1,flash=1", "flash"
"""What plans are made for: one percent of cycles worth one percent of flash, and flash alone."""
DEVICE_SAMPLES = 2
"""Test samples that run on the emulated board; its outputs must equal the executor's."""


@dataclass(frozen=True)
class Figures:
    """Of one model. ``accuracy``: percent of the test samples. ``weights``, ``flash`` (with code and tables),
    ``arena``: bytes; ``cycles`` and ``energy_uj`` of one inference, estimated: of the balanced plan. ``least_flash``
    and ``least_flash_cycles``: of the plan for flash alone. ``agrees``: whether the board's outputs equal the
    executor's (None for float32, whose sums are rounded in another order)."""

    accuracy: float
    samples: int
    weights: int
    flash: int
    arena: int
    cycles: int
    energy_uj: float
    least_flash: int
    least_flash_cycles: int
    agrees: bool | None


def measure(graph: Graph, data: Split) -> Figures:
    """All figures of one model."""
    test = Samples.from_array(data.test.inputs[0], graph, labels=data.test.targets)
    accuracy = accuracy_of(real_outputs(graph, test), test.labels, graph)
    board = load_board(BOARD)
    few = test.limit(DEVICE_SAMPLES)
    balanced, smallest = (run_on_board(graph, board, few, objective=o).report for o in (BALANCED, SMALLEST))
    exact = graph.is_quantized
    return Figures(
        accuracy=round(100 * float(accuracy or 0), 3),
        samples=len(test),
        weights=balanced.weights_bytes,
        flash=balanced.code_bytes + balanced.weights_bytes,
        arena=balanced.arena_bytes,
        cycles=int(balanced.cycles or 0),
        energy_uj=round((balanced.energy_nj or 0) / 1000, 1),
        least_flash=smallest.code_bytes + smallest.weights_bytes,
        least_flash_cycles=int(smallest.cycles or 0),
        agrees=not (balanced.mismatches or smallest.mismatches) if exact else None,
    )


def figures_of(lab: Lab, row: Row) -> Figures:
    """From the folder, or measured now."""
    path = lab.folder / f"{row.key}.json"
    if not path.is_file():
        graph = lab.graph(row.key)
        started = time.monotonic()
        found = measure(graph, lab.data)
        path.write_text(json.dumps(asdict(found), indent=1) + "\n")
        seconds = time.monotonic() - started
        print(f"seed {lab.seed}  {row.key:28} {found.accuracy:6.2f} %  {found}  ({seconds:.0f} s)", flush=True)
    return Figures(**json.loads(path.read_text()))


# ---- tables ------------------------------------------------------------------------------------------------------

COLUMNS = (
    "accuracy, %", "change", "weights", "flash", "arena", "cycles", "energy, µJ", "least flash", "its cycles"
)  # fmt: skip


def known(task: Task, folder: Path, row: Row) -> dict[str, Figures]:
    """Seed → its figures, of all that are there."""
    paths = sorted((folder / task.name).glob(f"seed*/{row.key}.json"))
    return {path.parent.name: Figures(**json.loads(path.read_text())) for path in paths}


def cells(found: dict[str, Figures], base: dict[str, Figures]) -> list[str]:
    """One row of a table: means over seeds, the accuracy with its extremes."""

    def mean(field: str) -> float:
        return float(np.mean([getattr(figures, field) for figures in found.values()]))

    each = [figures.accuracy for figures in found.values()]
    accuracy = f"{np.mean(each):.2f}"
    if len(each) > 1:
        accuracy += f" ({min(each):.1f} … {max(each):.1f})"
    paired = [figures.accuracy - base[seed].accuracy for seed, figures in found.items() if seed in base]
    change = f"{np.mean(paired):+.2f}" if paired and found is not base else ""
    sizes = [f"{mean(field):,.0f}" for field in ("weights", "flash", "arena", "cycles", "energy_uj")]
    return [accuracy, change, *sizes, f"{mean('least_flash'):,.0f}", f"{mean('least_flash_cycles'):,.0f}"]


def tables(task: Task, folder: Path) -> list[str]:
    """Markdown of all sections of which there are figures."""
    rows = rows_of(task)
    base = known(task, folder, rows[0])
    lines: list[str] = []
    for section in SECTIONS:
        chosen = [(row, known(task, folder, row)) for row in rows if row.section == section]
        chosen = [(row, found) for row, found in chosen if found]
        if not chosen:
            continue
        seeds = max(len(found) for _, found in chosen)
        lines += [f"\n**{section}**" + (f" ({seeds} seeds)" if seeds > 1 else "") + "\n"]
        lines += [f"| model | {' | '.join(COLUMNS)} |", "| --- |" + " ---: |" * len(COLUMNS)]
        for row, found in chosen:
            title = row.title if len(found) == seeds else f"{row.title} ({len(found)} seed{'s' * (len(found) > 1)})"
            lines.append(f"| {title} | {' | '.join(cells(found, base if row is not rows[0] else found))} |")
    return lines


def write(task: Task, folder: Path) -> None:
    """The tables between the marks of the task in docs/compression.md."""
    text = TARGET.read_text()
    first, last = f"<!-- {task.name}: made by python -m benchmarks.stages -->", f"<!-- end of {task.name} -->"
    before, _, rest = text.partition(first)
    _, _, after = rest.partition(last)
    TARGET.write_text(f"{before}{first}\n" + "\n".join(tables(task, folder)) + f"\n\n{last}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("task", choices=tuple(TASKS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for models and figures")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", help="only these keys, comma-separated")
    parser.add_argument("--tables", action="store_true", help="print the tables of what is there, run nothing")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/compression.md")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        task = TASKS[arguments.task]()
        rows = rows_of(task)
        if arguments.rows:
            wanted = arguments.rows.split(",")
            unknown = [key for key in wanted if key not in {row.key for row in rows}]
            if unknown:
                raise TinyoptError(f"no row is named '{unknown[0]}'; there are {', '.join(row.key for row in rows)}")
            rows = [row for row in rows if row.key in wanted]
        if not arguments.tables:
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                lab = Lab(task, seed, arguments.output / task.name / f"seed{seed}")
                for row in rows:
                    figures_of(lab, row)
        print("\n".join(tables(task, arguments.output)))
        if arguments.write:
            write(task, arguments.output)
    except TinyoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interruption:
        print(interruption, file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
