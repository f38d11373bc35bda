"""Small models on emulated boards, as jobs of the bench."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hil.bench import Job, Judge, Recovery
from hil.device import Device
from hil.opening import open_device
from tests.support import blob_task
from tests.support.lstm import lstm_s8
from tinyopt.board import load_board
from tinyopt.build import Firmware, build
from tinyopt.data import Samples, load_samples
from tinyopt.generate import generate
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.pipeline import plan_for

_folder = tempfile.TemporaryDirectory(prefix="tinyopt-test-")


@functools.cache
def blob_graph() -> Graph:
    """A quantized dense layer that tells which quarter of a 6x6 image is bright: 36 bytes in, 4 out, no states."""
    weights = np.zeros((blob_task.CLASSES, 6, 6), np.int8)
    for label in range(blob_task.CLASSES):
        row, column = divmod(label, 2)
        weights[label, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = 100
    builder = GraphBuilder("blobs")
    x = builder.input("image", (1, 6, 6, 1), DType.INT8, Quantization.per_tensor(0.02, -20))
    x = builder.add(ops.Reshape((1, 36)), (x,), quantization=Quantization.per_tensor(0.02, -20))
    operands = (
        x,
        builder.constant("w", weights.reshape(-1, 36), Quantization.per_tensor(0.01, 0)),
        builder.constant("b", np.zeros(blob_task.CLASSES, np.int32), Quantization.per_tensor(0.0002, 0)),
    )
    builder.output(builder.add(ops.FullyConnected(), operands, quantization=Quantization.per_tensor(0.1, 3)))
    return builder.build()


@functools.cache
def graph_of(kind: str) -> Graph:
    """``blobs``: without states; ``lstm``: with states that go from sample to sample."""
    return blob_graph() if kind == "blobs" else lstm_s8(3, keep=True)


@functools.cache
def firmware_of(kind: str, board_name: str) -> Firmware:
    """Built once for all tests; the folder goes when the interpreter does."""
    plan = plan_for(graph_of(kind), load_board(board_name))
    return build(generate(plan, Path(_folder.name) / f"{kind}-{board_name}", harness=True))


def samples_of(kind: str, count: int) -> Samples:
    graph = graph_of(kind)
    if kind == "lstm":
        return load_samples(f"random:1:{count}", graph)
    images, labels = blob_task.samples(count, 2)
    return Samples.from_array(images, graph, labels=labels)


def job(
    count: int,
    *,
    kind: str = "blobs",
    board_name: str = "host",
    device: AbstractContextManager[Device] | None = None,
    emulated: bool = True,
    **more: Any,
) -> Job:
    """``device``: instead of the emulator of the board; one that does not greet."""
    board, firmware = load_board(board_name), firmware_of(kind, board_name)
    samples = samples_of(kind, count)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in samples.inputs.values())).hexdigest()
    identity = next(d.partition("=")[2] for d in firmware.project.defines if d.startswith("TINYOPT_FIRMWARE_ID="))
    header = {
        "kind": "header",
        "format": "tinyopt-results",
        "version": 1,
        "board": board_name,
        "emulated": emulated,
        "model": {"name": kind, "sha256": kind},
        "firmware": {"id": identity, "code_bytes": firmware.code_bytes, "weights_bytes": firmware.weights_bytes},
        "data": {"source": "test", "sha256": digest, "samples": count},
        "options": {},
        "seed": None,
    }
    options: dict[str, Any] = {"timeout": 10.0, "recovery": Recovery(patience=5.0), **more}
    return Job(
        board=board,
        judge=Judge(graph_of(kind), samples),
        header=header,
        open_device=lambda: device if device is not None else open_device(board, firmware),
        firmware=firmware.elf,
        firmware_id=int(identity.rstrip("ul"), 16),
        emulated=emulated and device is None,
        **options,
    )


@contextmanager
def closing(device: Device) -> Any:
    """A device as ``open_device`` gives it."""
    try:
        yield device
    finally:
        device.close()
