"""The measuring run: a data set through a board."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hil.cycles import CORES, Counts, InferenceCounts, plugin_option, read_counts
from hil.emulators import start_emulator
from hil.protocol import BlockClient, DeviceInfo, FirmwareFault, RunReply
from hil.transports import open_console
from tinyopt.board import Board
from tinyopt.build import Firmware, function_at
from tinyopt.errors import DeviceError, ToolError

Array = npt.NDArray[Any]
Sample: TypeAlias = "Array | Sequence[Array] | Mapping[str, Array]"
"""An array for a model with one input, else one array per input in the model's order (a mapping: in its own order)."""
OutputType = tuple["np.dtype[Any]", tuple[int, ...]]


@dataclass(frozen=True)
class Traffic:
    """Bytes of data that loads read from a memory of the board, and that stores wrote to it."""

    memory: str
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True)
class Cost:
    """What an inference or a layer takes. None: the board cannot tell.

    ``instructions``: executed. ``cycles``: of the core; estimated on emulated boards. ``nanoseconds``: by the clock of
    the computer that the firmware runs on as a process. ``traffic``: bytes of data by memory, in the order of the
    board's file, memories that were not touched left out. Instructions that the core fetches are not data.
    ``wait_cycles``: those of ``cycles`` in which the core waits for slow memories; estimated. ``energy_nj``: cycles by
    the board's energy per cycle, in nanojoules; estimated, with the error that the board states.
    """

    instructions: int | None = None
    cycles: int | None = None
    nanoseconds: int | None = None
    traffic: tuple[Traffic, ...] | None = None
    wait_cycles: int | None = None
    energy_nj: float | None = None

    @property
    def bytes_read(self) -> int | None:
        """From all memories."""
        return None if self.traffic is None else sum(part.bytes_read for part in self.traffic)

    @property
    def bytes_written(self) -> int | None:
        """To all memories."""
        return None if self.traffic is None else sum(part.bytes_written for part in self.traffic)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was seen on the board.

    ``outputs``: per sample, one array per output. The costs are those of one inference, as it is shipped; those of
    ``layers`` come from one more inference with a hook around every layer.
    """

    outputs: tuple[tuple[Array, ...], ...]
    instructions: int | None
    """Median over the samples."""
    instructions_min: int | None
    instructions_max: int | None
    cycles: int | None
    """Of the first sample."""
    nanoseconds: int | None
    """Median over the samples; only of the host."""
    traffic: tuple[Traffic, ...] | None
    """Bytes of data by memory, of the first sample; None where the board cannot tell."""
    wait_cycles: int | None
    """Of the first sample: those of ``cycles`` that pass waiting for slow memories."""
    energy_nj: float | None
    """Of the first sample, in nanojoules; an estimate, see ``Cost``."""
    layers: tuple[Cost, ...]
    stack_bytes: int | None
    """High-water mark of one inference, below the caller of the model."""
    device: DeviceInfo
    seconds: float
    """Wall time of the whole run."""
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Cost:
        """One inference as it is shipped."""
        return Cost(self.instructions, self.cycles, self.nanoseconds, self.traffic, self.wait_cycles, self.energy_nj)


def measure(
    firmware: Firmware,
    board: Board,
    samples: Sequence[Sample],
    *,
    outputs: Sequence[OutputType] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    layers: bool = True,
    cycles: bool = True,
    reset_each: bool = False,
    port: str | None = None,
    timeout: float = 120.0,
) -> Measurement:
    """Run every sample on a board, in order, from the model's initial state.

    ``outputs``: element type and shape of the outputs (without it they are arrays of bytes). ``layers``: measure every
    layer, too. ``cycles``: estimate cycles with the cycle model, where the board is emulated and has one.
    ``reset_each``: start every sample from the initial state. ``port``: serial port of a board that is hardware.
    ``timeout``: seconds after which a device that says nothing is given up.

    Raises:
        DeviceError: the device is silent, crashes, or contradicts itself; samples that are not the model's.
        ToolError: the emulator is missing.
    """
    started = time.monotonic()
    data = [_to_bytes(sample) for sample in samples]
    if not data:
        raise DeviceError("there are no samples to run")
    with _connected(firmware, board, port, timeout) as client:
        info = client.info
        check_outputs(info, outputs)
        first, stack, profile = probe(client, data[0], layers=layers)
        replies = [_again(client, data[0], first)]
        for index, sample in enumerate(data):
            if index:
                if reset_each:
                    client.reset()
                replies.append(client.run(sample))
            if on_progress:
                on_progress(index + 1, len(data))
    exact: tuple[InferenceCounts, InferenceCounts] | None = None
    notes: tuple[str, ...] = ()
    emulated = board.is_emulated
    if cycles and emulated and port is None:
        exact, notes = with_cycle_model(firmware, board, data[0], first, timeout)
    unit = instruction_unit(board, info, emulated)
    counted = [reply.count for reply in replies]
    if exact and unit:
        counted = [unwrapped(count, exact[0].total.instructions / unit) for count in counted]
    median = statistics.median(counted)
    cost = exact_cost(board, exact[0].total) if exact else counted_cost(median, board, info, unit, emulated)
    return Measurement(
        outputs=tuple(_typed(reply, outputs) for reply in replies),
        instructions=_scaled(median, unit),
        instructions_min=_scaled(min(counted), unit),
        instructions_max=_scaled(max(counted), unit),
        cycles=cost.cycles,
        nanoseconds=cost.nanoseconds,
        traffic=cost.traffic,
        wait_cycles=cost.wait_cycles,
        energy_nj=cost.energy_nj,
        layers=layer_costs(board, info, profile, exact, emulated=emulated),
        stack_bytes=stack,
        device=info,
        seconds=time.monotonic() - started,
        notes=notes,
    )


def _to_bytes(sample: Sample) -> list[bytes]:
    if isinstance(sample, np.ndarray):
        return [sample.tobytes()]
    arrays = sample.values() if isinstance(sample, Mapping) else sample
    return [np.asarray(array).tobytes() for array in arrays]


@contextmanager
def _connected(
    firmware: Firmware | Path, board: Board, port: str | None, timeout: float, plugin: str | None = None
) -> Iterator[BlockClient]:
    """A client of the started board."""
    if board.emulator is not None and port is None:
        with start_emulator(board, elf_of(firmware), plugin=plugin) as emulator, named_faults(firmware):
            client = BlockClient(emulator.transport, timeout=timeout)
            client.wait_until_ready()
            client.hello()
            yield client
        return
    if port is None:
        raise DeviceError(f"board '{board.name}' is hardware: say which serial port it is on")
    transport = open_console(port, board.baud_rate)
    try:
        client = BlockClient(transport, timeout=timeout)
        with named_faults(firmware):
            client.find()
            yield client
    finally:
        transport.close()


def elf_of(firmware: Firmware | Path) -> Path:
    """The file of a firmware."""
    return firmware if isinstance(firmware, Path) else firmware.elf


@contextmanager
def named_faults(firmware: Firmware | Path | None) -> Iterator[None]:
    """Says in which function a firmware crashed."""
    try:
        yield
    except FirmwareFault as fault:
        if firmware is None or fault.pc is None or fault.where:
            raise
        where = function_at(elf_of(firmware), fault.pc)
        if where is None:
            raise
        raise FirmwareFault(fault.details, where) from None


def probe(
    client: BlockClient, sample: Sequence[bytes], *, layers: bool = True
) -> tuple[RunReply, int | None, tuple[int, ...]]:
    """The first inference, its stack, and the counter's steps per layer; the same sample several times over.

    Raises:
        DeviceError: outputs that are not the same every time.
    """
    client.reset()
    first = client.run(sample)
    stack = _again(client, sample, first, stack=True).stack
    if not layers:
        return first, stack, ()
    _again(client, sample, first, layers=True)
    return first, stack, client.layers()


def layer_costs(
    board: Board,
    info: DeviceInfo,
    profile: Sequence[int],
    exact: tuple[InferenceCounts, InferenceCounts] | None,
    *,
    emulated: bool,
) -> tuple[Cost, ...]:
    """Of every layer: as the cycle model has them, else as the device counted them."""
    if exact and len(exact[1].layers) == len(profile):
        return tuple(exact_cost(board, part) for part in exact[1].layers)
    unit = instruction_unit(board, info, emulated)
    return tuple(counted_cost(count, board, info, unit, emulated) for count in profile)


def check_outputs(info: DeviceInfo, outputs: Sequence[OutputType] | None) -> None:
    if outputs is None:
        return
    wanted = tuple(int(dtype.itemsize * np.prod(shape, dtype=np.int64)) for dtype, shape in outputs)
    if wanted != info.output_bytes:
        raise DeviceError(f"the firmware has outputs of {info.output_bytes} bytes, the model of {wanted}")


def _again(client: BlockClient, sample: Sequence[bytes], first: RunReply, **what: bool) -> RunReply:
    """The sample of the last run once more, from the initial state; the outputs must be the same."""
    client.reset()
    reply = client.run(None if client.info.keeps_input else sample, **what)
    if reply.outputs != first.outputs:
        raise DeviceError(
            "the device computes other outputs when it runs the same sample again: "
            "the model reads memory that it has not written"
        )
    return reply


def with_cycle_model(
    firmware: Firmware | Path, board: Board, sample: Sequence[bytes], first: RunReply, timeout: float
) -> tuple[tuple[InferenceCounts, InferenceCounts] | None, tuple[str, ...]]:
    """Counts of the first sample: as it is shipped, and with hooks around the layers."""
    emulator = board.emulator
    if emulator is None or not emulator.marks or board.core not in CORES:
        return None, ()
    with tempfile.TemporaryDirectory(prefix="tinyopt-cycles-") as folder:
        output = Path(folder) / "counts.jsonl"
        try:
            option = plugin_option(emulator.program, board.core, output, board.memories)
        except ToolError as error:
            return None, (f"no cycle estimate: {error}",)
        with _connected(firmware, board, None, timeout, option) as client:
            if client.run(sample).outputs != first.outputs:
                raise DeviceError("the device computes other outputs when it is started again")
            _again(client, sample, first, layers=True)
        counts = read_counts(output)
    if len(counts) != 2:
        raise DeviceError(f"the cycle model saw {len(counts)} inferences where 2 were run")
    return (counts[0], counts[1]), ()


def instruction_unit(board: Board, info: DeviceInfo, emulated: bool = True) -> float | None:
    """Instructions per step of the device's counter; None where it does not count them."""
    if info.counts_instructions:
        return 1.0
    if board.emulator is None or not emulated or board.emulator.program == "host":
        return None
    # The emulator's clock goes on by a fixed time per instruction, and the device counts a clock.
    return 1e9 / (info.counter_hz * 2.0**board.emulator.icount_shift)


def unwrapped(count: int, near: float) -> int:
    """A 32-bit count with the turns of the counter that bring it closest to what it must be near."""
    turns = round((near - count) / 2**32)
    return count + max(0, turns) * 2**32


def _scaled(count: float, unit: float | None) -> int | None:
    return None if unit is None else round(count * unit)


def exact_cost(board: Board, counts: Counts) -> Cost:
    """A cost as the cycle model has it."""
    parts = (Traffic(m.name, *moved) for m, *moved in zip(board.memories, counts.bytes_read, counts.bytes_written))
    traffic = tuple(part for part in parts if part.bytes_read or part.bytes_written)
    energy = counts.cycles * board.energy.nj_per_cycle if board.energy else None
    return Cost(counts.instructions, counts.cycles, None, traffic, counts.wait_cycles, energy)


def counted_cost(count: float, board: Board, info: DeviceInfo, unit: float | None, emulated: bool) -> Cost:
    """What ``count`` steps of the device's counter are: instructions, or time; on hardware whose counter runs with the
    core, cycles too."""
    if unit is not None:
        return Cost(_scaled(count, unit))
    cycles = round(count) if not emulated and info.counter_hz == board.clock_hz else None
    energy = cycles * board.energy.nj_per_cycle if cycles is not None and board.energy else None
    return Cost(cycles=cycles, nanoseconds=round(count * 1e9 / info.counter_hz), energy_nj=energy)


def _typed(reply: RunReply, outputs: Sequence[OutputType] | None) -> tuple[Array, ...]:
    if outputs is None:
        return tuple(np.frombuffer(data, np.uint8) for data in reply.outputs)
    return tuple(
        np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        for data, (dtype, shape) in zip(reply.outputs, outputs)
    )
