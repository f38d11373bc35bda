"""A data set through a board, sample by sample, into a results file."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.bench.energy import estimated_energy, measured_energy
from hil.bench.judge import Judge
from hil.bench.results import Results, ResultsWriter, check_same_run, read_results
from hil.bench.session import Expected, Recovery, Session
from hil.bench.statistics import accuracy_noise, latency
from hil.cycles import InferenceCounts
from hil.device import Device
from hil.meters import Meter
from hil.protocol import DeviceInfo
from hil.runner import Cost, exact_cost, instruction_unit, layer_costs, probe, unwrapped, with_cycle_model
from tinyopt.board import Board
from tinyopt.build import Firmware
from tinyopt.errors import DataError, DeviceError

Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Clock:
    """How steps of a device's counter become time.

    ``instructions``: per step, on emulated boards. ``cycles_per_instruction``: of the first sample, by the cycle model.
    ``first_count``: what the first sample must have counted, turns of the counter included; 0 where that is not known.
    """

    counter_hz: int
    clock_hz: int
    instructions: float | None = None
    cycles_per_instruction: float | None = None
    first_count: float = 0.0

    @property
    def source(self) -> str:
        """What the latencies are."""
        if self.instructions is None:
            return "device counter"
        if self.cycles_per_instruction is None:
            return "emulated: instructions at one a cycle"
        return "emulated: instructions, times the cycles per instruction of the cycle model"

    def microseconds(self, count: int, host_seconds: float) -> float:
        """Of one inference that the host waited ``host_seconds`` for."""
        if self.instructions is None:
            return unwrapped(count, host_seconds * self.counter_hz) / self.counter_hz * 1e6
        whole = unwrapped(count, self.first_count) if self.first_count else count
        return whole * self.instructions * (self.cycles_per_instruction or 1.0) / self.clock_hz * 1e6


@dataclass(frozen=True)
class Job:
    """What a run is made of.

    ``header``: the fixed facts of the run, without those that the device tells. ``elf``: the firmware as it runs;
    None: whatever is on the board. ``emulated``: the board is an emulator;
    ``starts_here``: this run starts it, so that it greets (None: where it is emulated).
    """

    board: Board
    judge: Judge
    header: Mapping[str, Any]
    open_device: Callable[[], AbstractContextManager[Device]]
    firmware: Firmware | Path | None
    firmware_id: int = 0
    emulated: bool = True
    starts_here: bool | None = None
    reset_each: bool = False
    timeout: float = 60.0
    recovery: Recovery = field(default_factory=Recovery)
    open_meter: Callable[[], Meter] | None = None
    save_outputs: bool = False
    describe_layers: Callable[[Sequence[Cost]], list[Any]] = lambda layers: []
    """Plain data of every layer for the summary."""


@dataclass(frozen=True)
class Outcome:
    """``summary``: the last line of the file; ``layers``: costs of every layer, as far as the board can tell."""

    summary: Mapping[str, Any]
    layers: tuple[Cost, ...]


def run_job(
    job: Job, path: Path, *, resume: bool = False, force: bool = False, on_progress: Step = lambda done, total: None
) -> Outcome:
    """Run what is not yet in the results file, and write the summary.

    Raises:
        DataError: the file belongs to another run, or cannot be written.
        DeviceError: the device failed for good; the file holds what was done before.
    """
    old = _old_results(path, job.header, resume=resume, force=force)
    with ResultsWriter(path, keep=_kept_bytes(old)) as writer:
        if old is None:
            writer.write(job.header)
        with job.open_device() as device:
            session = Session(
                device,
                _expected(job),
                starts_here=job.emulated if job.starts_here is None else job.starts_here,
                firmware=job.firmware,
                timeout=job.timeout,
                recovery=job.recovery,
                on_event=lambda name, reason: writer.write({"kind": "event", "event": name, "reason": reason}),
            )
            return _run(job, session, writer, list(old.samples) if old else [], on_progress)


def _old_results(path: Path, header: Mapping[str, Any], *, resume: bool, force: bool) -> Results | None:
    if force or not path.exists() or path.stat().st_size == 0:
        return None
    if not resume:
        raise DataError(f"{path} exists: go on with --resume, or start anew with --force")
    old = read_results(path)
    check_same_run(old.header, header, path)
    return old


def _kept_bytes(old: Results | None) -> int:
    """A summary is written anew: it counts what is added."""
    if old is None:
        return 0
    content = old.path.read_bytes()[: old.whole_bytes]
    if old.summary is not None:
        content = content[: content.rstrip(b"\n").rfind(b"\n") + 1]
    return len(content)


def _expected(job: Job) -> Expected:
    inputs = tuple(len(data) for data in job.judge.inputs(0))
    outputs = tuple(int(dtype.itemsize) * _size(shape) for dtype, shape in job.judge.types)
    return Expected(inputs, outputs, job.firmware_id)


def _size(shape: Sequence[int]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _run(
    job: Job, session: Session, writer: ResultsWriter, done: list[Mapping[str, Any]], on_progress: Step
) -> Outcome:
    started = time.monotonic()
    first_inputs = job.judge.inputs(0)
    first, stack, profile = session.attempt(lambda: probe(session.client, first_inputs))
    exact: tuple[InferenceCounts, InferenceCounts] | None = None
    notes: tuple[str, ...] = ()
    if job.emulated and job.firmware is not None:
        exact, notes = with_cycle_model(job.firmware, job.board, first_inputs, first, job.timeout)
    clock = _clock(job, session.info, exact)
    _stream(job, session, writer, done, clock, on_progress)
    layers = layer_costs(job.board, session.info, profile, exact, emulated=job.emulated)
    cost = exact_cost(job.board, exact[0].total) if exact else Cost()
    energy = estimated_energy(job.board, cost.cycles, _cycles(job, session.info, done))
    if job.open_meter is not None:
        with job.open_meter() as meter:
            energy = session.attempt(lambda: measured_energy(meter, session.client, first_inputs, _seconds(done)))
    summary = {
        "kind": "summary",
        **summarise(done),
        "latency_source": clock.source,
        "emulated": job.emulated,
        "instructions": cost.instructions,
        "cycles": cost.cycles if cost.cycles is not None else _cycles(job, session.info, done),
        "energy": energy,
        "stack_bytes": stack,
        "arena_bytes": session.info.arena_bytes,
        "firmware_id": f"{session.info.firmware_id:016x}",
        "restarts": session.restarts,
        "repeated_requests": session.repeats,
        "seconds": round(time.monotonic() - started, 3),
        "layers": job.describe_layers(layers),
        "notes": list(notes),
    }
    writer.write(summary)
    return Outcome(summary, layers)


def _clock(job: Job, info: DeviceInfo, exact: tuple[InferenceCounts, InferenceCounts] | None) -> Clock:
    unit = instruction_unit(job.board, info, job.emulated)
    if unit is None:
        return Clock(info.counter_hz, job.board.clock_hz)
    if exact is None:
        return Clock(info.counter_hz, job.board.clock_hz, unit)
    total = exact[0].total
    ratio = total.cycles / total.instructions if total.cycles and total.instructions else None
    return Clock(info.counter_hz, job.board.clock_hz, unit, ratio, total.instructions / unit)


def _stream(
    job: Job,
    session: Session,
    writer: ResultsWriter,
    done: list[Mapping[str, Any]],
    clock: Clock,
    on_progress: Step,
) -> None:
    """Every sample that is not done yet, each once, in order."""
    total = len(job.judge)

    def restore() -> None:
        """Bring the model's states to where they were before the sample that comes next."""
        if not job.judge.has_state:
            return
        session.client.reset()
        for index, line in enumerate(done):
            reply = session.client.run(job.judge.inputs(index))
            if _digest(reply.outputs) != line["crc32"]:
                raise DeviceError(f"the device computes other outputs for sample {index} when it runs it again")

    if session.client.info.has_state:
        session.client.reset()
    restore()
    for index in range(len(done), total):
        repeats, begun = session.repeats, time.monotonic()
        reply = session.run(job.judge.inputs(index), reset=job.reset_each, restore=restore)
        waited = time.monotonic() - begun
        verdict = job.judge(index, reply.outputs)
        line: dict[str, Any] = {
            "kind": "sample",
            "index": index,
            "prediction": verdict.prediction,
            "label": verdict.label,
            "latency_us": round(clock.microseconds(reply.count, waited), 3),
            "count": reply.count,
            "crc32": _digest(reply.outputs),
            "mismatch": verdict.mismatch,
        }
        if session.repeats > repeats:
            line["repeats"] = session.repeats - repeats
        if job.save_outputs:
            line["outputs"] = [data.hex() for data in reply.outputs]
        writer.write(line)
        done.append(line)
        on_progress(index + 1, total)


def _digest(outputs: Sequence[bytes]) -> str:
    return f"{zlib.crc32(b''.join(outputs)):08x}"


def summarise(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the lines of samples come to."""
    labelled = [line for line in samples if line["label"] is not None]
    right = sum(line["prediction"] == line["label"] for line in labelled)
    wrong = [line for line in samples if line["mismatch"]]
    accuracy = right / len(labelled) if labelled else None
    spread = latency([line["latency_us"] for line in samples])
    return {
        "samples": len(samples),
        "accuracy": accuracy,
        "accuracy_noise": None if accuracy is None else round(accuracy_noise(accuracy, len(labelled)), 6),
        "mismatches": len(wrong),
        "first_mismatch": f"sample {wrong[0]['index']}, {wrong[0]['mismatch']}" if wrong else None,
        "latency": spread.to_json() if spread else None,
    }


def _seconds(done: Sequence[Mapping[str, Any]]) -> float:
    """Of one inference, about."""
    spread = latency([line["latency_us"] for line in done])
    return spread.median_us / 1e6 if spread else 0.0


def _cycles(job: Job, info: DeviceInfo, done: Sequence[Mapping[str, Any]]) -> int | None:
    """Median, on hardware whose counter runs with the core."""
    if job.emulated or info.counter_hz != job.board.clock_hz:
        return None
    return round(_seconds(done) * job.board.clock_hz)
