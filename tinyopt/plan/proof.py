"""The check of a finished arena: the run is played through, byte by byte, without regard to how the plan was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tinyopt.plan.arena import ALIGNMENT
from tinyopt.plan.lowering import Lowered


class Placed(Protocol):
    """What the check needs to know of a buffer."""

    @property
    def name(self) -> str: ...
    @property
    def tensors(self) -> tuple[str, ...]: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def first(self) -> int: ...


def conflicts(buffers: Sequence[Placed], arena_bytes: int, lowered: Lowered) -> list[str]:
    """What is wrong with a layout: buffers outside the arena, unaligned, or bytes that are overwritten before their
    last use. Empty when correct."""
    found = [
        f"'{buffer.name}' lies badly at {buffer.offset}"
        for buffer in buffers
        if buffer.offset < 0 or buffer.offset % ALIGNMENT or buffer.offset + buffer.size > arena_bytes
    ]
    return found or _Replay(buffers, arena_bytes, lowered).problems()


class _Replay:
    """An arena whose every byte knows which byte of which storage was written to it last."""

    def __init__(self, buffers: Sequence[Placed], arena_bytes: int, lowered: Lowered) -> None:
        self.lowered = lowered
        self.arena = np.full(arena_bytes, -1, np.int64)
        self.offsets: dict[str, int] = {}
        self.identities: dict[str, int] = {}
        self.scratch = {buffer.first: buffer for buffer in buffers if not buffer.tensors}
        base = 0
        for buffer in buffers:
            for tensor in buffer.tensors:
                self.offsets[tensor] = buffer.offset + lowered.starts[tensor]
                self.identities[tensor] = base + lowered.starts[tensor]
            base += buffer.size
        self.found: list[str] = []

    def problems(self) -> list[str]:
        graph = self.lowered.graph
        for name in graph.given:
            self._write(name)
        for name in graph.given:
            self._read(name, "at the start")
        for index, call in enumerate(self.lowered.calls):
            step = f"in call {index}"
            inputs = [(i, name) for i, name in enumerate(call.inputs) if name in self.offsets]
            for _, name in inputs:
                self._read(name, step)
            for o, output in enumerate(call.outputs):
                for i, name in inputs:
                    if self._meet(name, output) and not self._may_meet(index, i, o):
                        self.found.append(f"'{output}' lies over '{name}' {step}")
            if index in self.scratch:
                buffer = self.scratch[index]
                for name in (*(name for _, name in inputs), *call.outputs):
                    size = graph.tensors[name].nbytes
                    if self.offsets[name] < buffer.offset + buffer.size and buffer.offset < self.offsets[name] + size:
                        self.found.append(f"'{buffer.name}' and '{name}' overlap")
                self.arena[buffer.offset : buffer.offset + buffer.size] = -1
            for output in call.outputs:
                self._write(output)
            for output in call.outputs:
                self._read(output, f"after call {index}")
        for name in (*graph.outputs, *(state.read for state in graph.states)):
            self._read(name, "after the run")
        return self.found

    def _bytes(self, name: str) -> slice:
        return slice(self.offsets[name], self.offsets[name] + self.lowered.graph.tensors[name].nbytes)

    def _write(self, name: str) -> None:
        size = self.lowered.graph.tensors[name].nbytes
        self.arena[self._bytes(name)] = self.identities[name] + np.arange(size)

    def _read(self, name: str, when: str) -> None:
        size = self.lowered.graph.tensors[name].nbytes
        if not np.array_equal(self.arena[self._bytes(name)], self.identities[name] + np.arange(size)):
            self.found.append(f"'{name}' is overwritten or not there {when}")

    def _meet(self, one: str, two: str) -> bool:
        a, b = self._bytes(one), self._bytes(two)
        return bool(a.start < b.stop and b.start < a.stop)

    def _may_meet(self, index: int, source: int, target: int) -> bool:
        """Whether an output may lie where it does although it is over an input."""
        call = self.lowered.calls[index]
        distance = self.offsets[call.inputs[source]] - self.offsets[call.outputs[target]]
        if distance == 0 and (source, target) in call.in_place:
            return True
        lags = [lag for i, o, lag in call.overlaps if (i, o) == (source, target)]
        return bool(lags) and distance >= lags[0]
