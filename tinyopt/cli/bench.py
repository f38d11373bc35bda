"""What ``tinyopt hil run`` does: build, open the device, stream, summarise."""

from __future__ import annotations

import hashlib
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyopt.board import Board, load_board
from tinyopt.cli.commands import _quantized, load_model
from tinyopt.cli.console import console, errors, print_json, progress
from tinyopt.cli.kernels import planning_backend, planning_costs
from tinyopt.data import Samples, load_samples
from tinyopt.errors import DataError, MismatchError
from tinyopt.graph import Graph
from tinyopt.version import __version__

if TYPE_CHECKING:
    from hil import Cost
    from hil.device import Device
    from hil.meters import Meter
    from tinyopt.build import Firmware
    from tinyopt.plan import Plan


@dataclass(frozen=True)
class BenchRequest:
    """The options of ``tinyopt hil run``; see its help."""

    model: Path
    board: str
    data: str
    output: Path
    port: str | None = None
    firmware: Path | None = None
    flash: bool = True
    programmer: str | None = None
    serial_number: str | None = None
    meter: str | None = None
    resume: bool = False
    force: bool = False
    limit: int = 0
    seed: int | None = None
    reset_each: bool = False
    save_outputs: bool = False
    timeout: float = 60.0
    calibration: str | None = None
    optimise: bool = True
    objective: str = "latency"
    tuning: str = "auto"
    kernels: str = "native"
    cmsis_nn: Path | None = None
    arena_limit: int | None = None
    input_layout: str = "nchw"
    json_output: bool = False


def bench(request: BenchRequest) -> None:
    """Run a request to its end and print the summary.

    Raises:
        TinyoptError: whatever stands in the way; the results file keeps what was done before.
        MismatchError: outputs differ from the reference.
    """
    from hil.bench import Job, Judge, firmware_id, run_job

    board = load_board(request.board)
    meter = _meter_opener(request.meter)
    graph = _quantized(load_model(request.model, input_layout=request.input_layout), request.calibration)
    samples = chosen_samples(load_samples(request.data, graph), request.limit, request.seed)
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_interrupted())
        plan, firmware = _firmware(request, board, graph, stack)
        elf = firmware.elf if firmware is not None else request.firmware
        emulated = board.is_emulated
        job = Job(
            board=board,
            judge=Judge(graph, samples, reset_each=request.reset_each),
            header=_header(request, board, samples, firmware, elf, plan, emulated),
            open_device=lambda: _open(request, board, elf),
            firmware=elf,
            firmware_id=firmware_id(firmware) if firmware is not None else 0,
            emulated=emulated,
            starts_here=emulated and request.port in (None, "auto"),
            reset_each=request.reset_each,
            timeout=request.timeout,
            open_meter=meter,
            save_outputs=request.save_outputs,
            describe_layers=lambda costs: _layers(plan, costs),
        )
        with progress(f"{len(samples)} samples on {board.title}") as step:
            try:
                outcome = run_job(job, request.output, resume=request.resume, force=request.force, on_progress=step)
            except KeyboardInterrupt:
                errors().print(f"interrupted; what was done is in {request.output}: go on with --resume")
                raise
    if request.json_output:
        print_json(outcome.summary)
    else:
        _show(outcome.summary, request.output)
    if outcome.summary["mismatches"]:
        raise MismatchError(
            f"{outcome.summary['mismatches']} of {outcome.summary['samples']} samples differ from the reference; "
            f"first: {outcome.summary['first_mismatch']}"
        )


def chosen_samples(samples: Samples, limit: int, seed: int | None) -> Samples:
    """The first ``limit`` samples, or as many chosen at random (in their own order); all where ``limit`` is 0."""
    if not limit or limit >= len(samples):
        return samples
    if seed is None:
        return samples.limit(limit)
    chosen = np.sort(np.random.default_rng(seed).choice(len(samples), limit, replace=False))
    inputs = {name: array[chosen] for name, array in samples.inputs.items()}
    return replace(samples, inputs=inputs, labels=None if samples.labels is None else samples.labels[chosen])


def _firmware(
    request: BenchRequest, board: Board, graph: Graph, stack: ExitStack
) -> tuple[Plan | None, Firmware | None]:
    """The plan and the firmware that is built; none where the request brings one, or the board has it."""
    from tinyopt.build import build
    from tinyopt.generate import generate
    from tinyopt.pipeline import plan_for

    if request.firmware is not None:
        if not request.firmware.is_file():
            raise DataError(f"there is no firmware at {request.firmware}")
        return None, None
    backend = planning_backend(request.kernels, request.cmsis_nn, board)
    costs = planning_costs(request.tuning, request.board, board, backend)
    with progress(f"building for {board.title}"):
        plan = plan_for(
            graph,
            board,
            optimise=request.optimise,
            objective=request.objective,
            costs=costs,
            backend=backend,
            arena_limit=request.arena_limit,
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinyopt-"))) / "project"
        return plan, build(generate(plan, folder, harness=True))


def _open(request: BenchRequest, board: Board, elf: Path | None) -> AbstractContextManager[Device]:
    from hil.opening import open_device

    return open_device(
        board,
        elf,
        port=request.port,
        flash=request.flash,
        programmer=request.programmer,
        serial_number=request.serial_number,
    )


def _meter_opener(address: str | None) -> Callable[[], Meter] | None:
    """Opens the meter; an address that cannot be is refused at once, before anything is built."""
    if address is None:
        return None
    from hil.meters import open_meter

    open_meter(address).close()
    return lambda: open_meter(address)


def _header(
    request: BenchRequest,
    board: Board,
    samples: Samples,
    firmware: Firmware | None,
    elf: Path | None,
    plan: Plan | None,
    emulated: bool,
) -> dict[str, Any]:
    """The first line of the results: everything that makes this run what it is."""
    from hil.bench import firmware_id, results_header

    sizes: dict[str, Any] = {}
    if firmware is not None and plan is not None:
        sizes = {
            "flash_bytes": firmware.flash_bytes,
            "ram_bytes": firmware.ram_bytes,
            "code_bytes": firmware.code_bytes,
            "weights_bytes": firmware.weights_bytes,
            "arena_bytes": plan.arena_bytes,
            "compiler": firmware.compiler,
        }
    return results_header(
        board=board.name,
        emulated=emulated,
        model={"name": request.model.name, "sha256": _file_digest(request.model)},
        firmware={
            "id": f"{firmware_id(firmware):016x}" if firmware is not None else "",
            "sha256": _file_digest(elf) if elf is not None else "",
            **sizes,
        },
        data={"source": request.data, "sha256": samples_digest(samples), "samples": len(samples)},
        options={"reset_each": request.reset_each, "save_outputs": request.save_outputs},
        seed=request.seed,
        tools=_tools(board, emulated),
        environment={"system": platform.system(), "machine": platform.machine()},
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def samples_digest(samples: Samples) -> str:
    """SHA-256 of all inputs and labels, in order."""
    digest = hashlib.sha256()
    for name, array in sorted(samples.inputs.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    if samples.labels is not None:
        digest.update(np.ascontiguousarray(samples.labels).tobytes())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _tools(board: Board, emulated: bool) -> dict[str, str]:
    tools = {"tinyopt": __version__, "python": platform.python_version(), "numpy": np.__version__}
    program = board.emulator.program if board.emulator is not None and emulated else "host"
    path = shutil.which(program)
    if path is not None and program != "host":
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
        tools[program] = done.stdout.partition("\n")[0].strip()
    return tools


def _layers(plan: Plan | None, costs: Sequence[Cost]) -> list[Any]:
    from tinyopt.pipeline import layer_reports
    from tinyopt.report.layers import layer_facts

    if plan is None:
        return [{"cycles": cost.cycles, "instructions": cost.instructions} for cost in costs]
    return list(layer_facts(layer_reports(plan, costs)))


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """A polite end from outside leaves through the same door as Ctrl-C: files whole, ports free, emulators stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show(summary: Mapping[str, Any], path: Path) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for label, value in summary_rows(summary):
        table.add_row(label, value)
    console().print(table)
    for note in summary["notes"]:
        console().print(f"[yellow]note[/yellow]: {note}")
    console().print(f"results in {path}", highlight=False)


def summary_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of every line of the summary."""
    rows = [
        ("samples", f"{summary['samples']:,}"),
        ("mismatches", f"{summary['mismatches']:,} (against the reference executor)"),
    ]
    if summary["accuracy"] is not None:
        rows.append(("accuracy", f"{summary['accuracy']:.2%} (± {summary['accuracy_noise']:.2%} standard error)"))
    spread = summary["latency"]
    if spread is not None:
        rows += [
            ("latency, median", f"{spread['median_us']:,.1f} microseconds ({summary['latency_source']})"),
            ("latency, p95 / max", f"{spread['p95_us']:,.1f} / {spread['max_us']:,.1f} microseconds"),
            ("jitter", f"{spread['jitter_us']:,.2f} microseconds"),
        ]
    if summary["cycles"] is not None:
        estimated = " (estimated)" if summary["emulated"] else ""
        rows.append(("cycles per inference", f"{summary['cycles']:,}{estimated}"))
    if summary["energy"] is not None:
        energy = summary["energy"]
        value = f"{energy['nj'] / 1000:,.2f} ± {energy['error_nj'] / 1000:,.2f} microjoules ({energy['source']})"
        rows.append(("energy per inference", value))
    rows.append(("RAM, arena", f"{summary['arena_bytes']:,} bytes"))
    if summary["stack_bytes"] is not None:
        rows.append(("RAM, stack high-water mark", f"{summary['stack_bytes']:,} bytes"))
    if summary["restarts"] or summary["repeated_requests"]:
        rows.append(("device restarts / repeats", f"{summary['restarts']:,} / {summary['repeated_requests']:,}"))
    return rows
