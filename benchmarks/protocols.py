"""How fast the two languages of the measuring firmware are, and ten thousand inferences without one lost or doubled.

    python -m benchmarks.protocols speed [BOARD ...]
    python -m benchmarks.protocols endurance [BOARD] [--samples 10000] [--damaged 0.01]

The tables are those of docs/measuring.md.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hil.bench import Job, Judge, read_results, run_job
from hil.device import Device
from hil.emulators import start_emulator
from hil.opening import open_device
from hil.protocol import BlockClient
from hil.text_protocol import TextClient
from tests.support.faulty_line import FaultyLine, faulty_device
from tinyopt.board import Board, load_board
from tinyopt.build import Firmware, build
from tinyopt.data import Samples, load_samples
from tinyopt.generate import generate
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.pipeline import plan_for

BOARDS = ("host", "microbit", "mps2_an386", "mps3_an547", "rv32_virt")
SECONDS = 3.0
"""Of every measurement."""


def little(inputs: int) -> Graph:
    """A dense layer of ten outputs behind average pooling: nearly all of its time is the transfer of its input."""
    random = np.random.default_rng(0)
    scale = Quantization.per_tensor(0.02, 0)
    builder = GraphBuilder(f"little{inputs}")
    x = builder.input("x", (1, inputs // 32, 32, 1), DType.INT8, scale)
    if inputs > 256:
        x = builder.add(
            ops.AveragePool2d(kernel=(inputs // 256, 4), stride=(inputs // 256, 4)), (x,), quantization=scale
        )
        inputs = 64
    x = builder.add(ops.Reshape((1, inputs)), (x,), quantization=scale)
    weights = random.integers(-127, 128, (10, inputs)).astype(np.int8)
    bias = random.integers(-1000, 1000, 10).astype(np.int32)
    operands = (
        x,
        builder.constant("w", weights, Quantization.per_tensor(0.01, 0)),
        builder.constant("b", bias, Quantization.per_tensor(0.02 * 0.01, 0)),
    )
    builder.output(builder.add(ops.FullyConnected(), operands, quantization=Quantization.per_tensor(0.1, 0)))
    return builder.build()


def firmware_for(graph: Graph, board: Board, folder: Path) -> Firmware:
    return build(generate(plan_for(graph, board), folder / f"{graph.name}-{board.name}", harness=True))


def speed(boards: list[str]) -> None:
    """Round trips and bytes per second of both protocols."""
    print("| board | blocks, round trips/s | blocks, bytes/s in | text, inferences/s | text, input bytes/s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in boards:
            board = load_board(name)
            small = firmware_for(little(64), board, Path(folder))
            large = firmware_for(little(8192), board, Path(folder))
            trips = _rate(board, small, _block_run(64))
            bulk = _rate(board, large, _block_run(8192)) * 8192
            text = _rate(board, small, _text_run(64))
            digits = _rate(board, large, _text_run(8192)) * 8192
            print(f"| `{name}` | {trips:,.0f} | {bulk:,.0f} | {text:,.0f} | {digits:,.0f} |", flush=True)


def _rate(board: Board, firmware: Firmware, prepare: Any) -> float:
    with start_emulator(board, firmware.elf) as emulator:
        once = prepare(emulator.transport)
        once()
        count, started = 0, time.monotonic()
        while time.monotonic() - started < SECONDS:
            once()
            count += 1
        return count / (time.monotonic() - started)


def _block_run(size: int) -> Any:
    def prepare(transport: Any) -> Any:
        client = BlockClient(transport, timeout=60)
        client.wait_until_ready()
        client.hello()
        return lambda: client.run([bytes(size)])

    return prepare


def _text_run(size: int) -> Any:
    def prepare(transport: Any) -> Any:
        client = TextClient(transport)
        client.wait_until_ready()

        def once() -> None:
            client.load(bytes(size))
            client.infer(1, 0)

        return once

    return prepare


def endurance(name: str, count: int, damaged: float) -> None:
    """Many samples in one run, each once and in order, on a line that damages bytes."""
    board, graph = load_board(name), little(64)
    samples = load_samples(f"random:1:{count}", graph)
    with tempfile.TemporaryDirectory() as folder:
        firmware = firmware_for(graph, board, Path(folder))
        path = Path(folder) / "results.jsonl"
        lines: list[FaultyLine] = []

        @contextmanager
        def opened() -> Iterator[Device]:
            if not damaged:
                with open_device(board, firmware) as device:
                    yield device
                return

            def line(transport: Any, times: int) -> FaultyLine:
                lines.append(FaultyLine(transport, seed=times, damaged=damaged))
                return lines[-1]

            device = faulty_device(board, firmware.elf, line)
            try:
                yield device
            finally:
                device.close()

        job = Job(
            board=board,
            judge=Judge(graph, samples),
            header=_header(name, samples),
            open_device=opened,
            firmware=firmware.elf,
            emulated=not damaged,
        )
        started = time.monotonic()
        summary = run_job(job, path).summary
        seconds = time.monotonic() - started
        results = read_results(path)
    indices = [line["index"] for line in results.samples]
    assert indices == list(range(count)), "samples are missing or doubled"
    assert summary["mismatches"] == 0, summary["first_mismatch"]
    print(
        f"{name}: {count:,} samples, each once and in order, no mismatch; {seconds:.0f} s, {count / seconds:.0f} a "
        f"second; {sum(line.faults for line in lines):,} bytes damaged, {summary['repeated_requests']:,} requests "
        f"repeated, {summary['restarts']} restarts"
    )


def _header(name: str, samples: Samples) -> dict[str, Any]:
    digest = hashlib.sha256(b"".join(array.tobytes() for array in samples.inputs.values())).hexdigest()
    data = {"sha256": digest, "samples": len(samples)}
    return {"kind": "header", "format": "tinyopt-results", "version": 1, "board": name, "data": data}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("boards", nargs="*", default=list(BOARDS))
    long = commands.add_parser("endurance")
    long.add_argument("board", nargs="?", default="mps2_an386")
    long.add_argument("--samples", type=int, default=10_000)
    long.add_argument("--damaged", type=float, default=0.0)
    arguments = parser.parse_args()
    if arguments.command == "speed":
        speed(arguments.boards)
    else:
        endurance(arguments.board, arguments.samples, arguments.damaged)


if __name__ == "__main__":
    main()
