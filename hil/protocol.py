"""What a host says to the measuring firmware in the block protocol, so that nothing is lost and nothing done twice."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hil import frames
from hil.frames import Decoder, Frame, encode
from hil.transports import Transport
from tinyopt.errors import DeviceError

COUNTS_CLOCK, COUNTS_INSTRUCTIONS = 0, 1
STACK_UNKNOWN = 0xFFFFFFFF
_HELLO = struct.Struct("<HHIIIIIIIQ")
_VERSION = 2
_GREETING = b"m-init-done"


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself. Sizes in bytes; ``counter_hz``: rate of the counter that times inferences."""

    name: str
    has_state: bool
    counter_hz: int
    counts_instructions: bool
    arena_bytes: int
    layers: int
    keeps_input: bool
    """Whether inputs outlive a run (else they lie in the arena)."""
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    firmware_id: int = 0
    """64 bits that tell this firmware from others; 0: it does not say."""


@dataclass(frozen=True)
class RunReply:
    """One inference: ``count`` steps of the device's counter, ``stack`` bytes where asked for, the outputs."""

    count: int
    stack: int | None
    outputs: tuple[bytes, ...]


class FirmwareFault(DeviceError):
    """The firmware reported a fault of the core. ``pc``: address of the instruction; ``details``: core registers."""

    def __init__(self, details: str, where: str = "") -> None:
        self.details, self.where = details, where
        match = re.search(r"pc ([0-9a-f]{8})", details)
        self.pc = int(match[1], 16) if match else None
        super().__init__(f"the firmware crashed{f' in {where}' if where else ''}: exception {details}")


class DeviceRestarted(DeviceError):
    """The device was reset, or used by somebody else, since the session began: inputs and states in it are gone."""


class DeviceSilent(DeviceError):
    """The device does not answer."""


def last_words(text: bytes | bytearray, limit: int = 400) -> str:
    """The end of what a device printed, for an error message."""
    shown = bytes(text[-limit:]).decode("ascii", "replace").strip()
    return f"the last it printed was: {shown!r}" if shown else "it has printed nothing"


class _ReplyTime:
    """How long a reply may take before the request is sent again: as in RFC 6298, from the replies seen so far."""

    LEAST = 0.04

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def note(self, seconds: float) -> None:
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
            return
        self._deviation += (abs(seconds - self._mean) - self._deviation) / 4
        self._mean += (seconds - self._mean) / 8

    def patience(self, unknown: float) -> float:
        return unknown if self._mean is None else max(self.LEAST, 2 * self._mean + 4 * self._deviation)


class BlockClient:
    """Speaks the block protocol: one request at a time, each answered before the next.

    A request whose answer is late, or arrives damaged, is sent again; the device does not carry it out twice.
    ``timeout``: seconds without an answer after which a device is given up. ``repeats``: requests that were sent again
    since the start.
    """

    RETRIES = 40
    """Damaged requests or answers in a row after which the line is given up."""
    FIRST_PATIENCE = 2.0

    def __init__(self, transport: Transport, *, timeout: float = 60.0) -> None:
        self._transport, self._timeout = transport, timeout
        self._decoder = Decoder()
        self._sequence = 0
        self._info: DeviceInfo | None = None
        self._reply_times: dict[int, _ReplyTime] = {}
        self.repeats = 0

    def wait_until_ready(self, *, timeout: float | None = None) -> None:
        """Wait for the greeting of a device that was just started: before it, bytes may be lost.

        Raises:
            DeviceError: no greeting.
        """
        patience = self._timeout if timeout is None else timeout
        while b"m-ready" not in self._decoder.text:
            data = self._transport.read(patience)
            if not data:
                raise DeviceSilent(self._silence(patience))
            self._decoder.feed(data)
            self._raise_fault()

    def find(self, *, timeout: float | None = None) -> DeviceInfo:
        """Reach a device that may be in any state: just reset, or waiting for the rest of a frame of an earlier host.

        Raises:
            DeviceError: no answer after several attempts.
        """
        limit = self._timeout if timeout is None else timeout
        patience, padding = 0.5, 16
        while True:
            self._transport.write(bytes(padding), limit)
            try:
                return self.hello(timeout=min(patience, limit))
            except DeviceSilent:
                if patience >= limit:
                    raise
                self._decoder.reset()
                patience, padding = patience * 4, min(padding * 16, 65536)

    def hello(self, *, timeout: float | None = None) -> DeviceInfo:
        """Open a session, and what the device is.

        Raises:
            DeviceError: no answer, or a firmware that speaks another version.
        """
        payload = self._request(frames.HELLO, b"", timeout=timeout)
        if len(payload) >= 2 and struct.unpack_from("<H", payload)[0] != _VERSION:
            raise DeviceError(
                f"the device speaks version {struct.unpack_from('<H', payload)[0]} of the block protocol; this "
                f"program needs {_VERSION}: put the firmware on it again"
            )
        if len(payload) < _HELLO.size:
            raise DeviceError(f"the device's greeting is too short ({len(payload)} bytes)")
        _, state, hz, unit, arena, layers, keeps, inputs, outputs, identity = _HELLO.unpack_from(payload)
        sizes_end = _HELLO.size + 4 * (inputs + outputs)
        if len(payload) < sizes_end or not inputs or not outputs or not hz:
            raise DeviceError("the device's greeting makes no sense: it does not hold the sizes that it announces")
        sizes = struct.unpack_from(f"<{inputs + outputs}I", payload, _HELLO.size)
        self._info = DeviceInfo(
            name=payload[sizes_end:].decode("utf-8", "replace"),
            has_state=bool(state & 1),
            counter_hz=hz,
            counts_instructions=unit == COUNTS_INSTRUCTIONS,
            arena_bytes=arena,
            layers=layers,
            keeps_input=bool(keeps),
            input_bytes=sizes[:inputs],
            output_bytes=sizes[inputs:],
            firmware_id=identity,
        )
        self._decoder.max_payload = max(len(payload), 8 + sum(self._info.output_bytes), 4 * layers)
        self._decoder.text.clear()
        return self._info

    @property
    def info(self) -> DeviceInfo:
        return self._info or self.hello()

    def run(self, inputs: Sequence[bytes] | None, *, layers: bool = False, stack: bool = False) -> RunReply:
        """One inference. ``inputs``: the bytes of every input; None repeats those of the run before (only where the
        device keeps them). ``layers``: time every layer (see ``layers()``). ``stack``: see how deep the stack gets.

        Raises:
            DeviceRestarted: the session is gone.
            DeviceError: sizes that are not the model's, no answer, or a fault of the firmware.
        """
        if inputs is not None:
            sizes = tuple(len(data) for data in inputs)
            if sizes != self.info.input_bytes:
                raise DeviceError(f"the firmware takes inputs of {self.info.input_bytes} bytes, not {sizes}")
        flags = (frames.RUN_LAYERS if layers else 0) | (frames.RUN_STACK if stack else 0)
        payload = self._request(frames.RUN, bytes([flags]) + b"".join(inputs or ()))
        if len(payload) != 8 + sum(self.info.output_bytes):
            raise DeviceError(f"the device answered an inference with {len(payload)} bytes")
        count, used = struct.unpack_from("<II", payload)
        outputs, at = [], 8
        for size in self.info.output_bytes:
            outputs.append(payload[at : at + size])
            at += size
        return RunReply(count, None if used == STACK_UNKNOWN else used, tuple(outputs))

    def repeat(self, runs: int, *, seconds: float = 0.0) -> int:
        """Run the input of the last run ``runs`` times between two edges of the trigger. Steps of the counter, all
        runs together. ``seconds``: how long that will take, about.

        Raises:
            DeviceRestarted: the session is gone.
            DeviceError: no answer, or a fault of the firmware.
        """
        if not 0 < runs < 2**32:
            raise DeviceError(f"{runs} runs are asked for; it must be 1 to {2**32 - 1}")
        payload = self._request(frames.REPEAT, struct.pack("<I", runs), busy=seconds)
        if len(payload) != 8:
            raise DeviceError(f"the device answered {runs} inferences with {len(payload)} bytes")
        return int.from_bytes(payload, "little")

    def reset(self) -> None:
        """Set the model's states to their initial values."""
        self._request(frames.RESET, b"")

    def ping(self) -> None:
        """Nothing, there and back."""
        self._request(frames.PING, b"")

    def layers(self) -> tuple[int, ...]:
        """Steps of the counter per layer, from the last run with ``layers``."""
        payload = self._request(frames.LAYERS, b"")
        if len(payload) % 4:
            raise DeviceError(f"the device's layer profile has {len(payload)} bytes")
        return struct.unpack(f"<{len(payload) // 4}I", payload)

    def _request(self, kind: int, payload: bytes, *, timeout: float | None = None, busy: float = 0.0) -> bytes:
        limit = (self._timeout if timeout is None else timeout) + busy
        self._sequence = (self._sequence + 1) & 0xFFFF
        request = encode(Frame(kind, self._sequence, payload))
        times = self._reply_times.setdefault(kind, _ReplyTime())
        runs = kind in (frames.RUN, frames.REPEAT)
        patience = busy + times.patience(self.FIRST_PATIENCE if runs else self.FIRST_PATIENCE / 4)
        damaged = refused = attempts = 0
        started = time.monotonic()
        while True:
            sent = time.monotonic()
            # What the device takes for the beginning of a frame in the remains of a damaged one must not swallow the
            # beginning of this one, nor may a frame of which bytes were lost.
            padding = bytes(min(8 << attempts, 16 + len(request))) if attempts else b""
            self._transport.write(padding + request, self._timeout)
            attempts += 1
            reply = self._await(kind, min(patience, max(0.0, started + limit - sent)))
            if reply is not None and reply.type == kind | frames.REPLY:
                if attempts == 1:
                    times.note(time.monotonic() - sent)
                self.repeats += attempts - 1
                return reply.payload
            if reply is None:
                if time.monotonic() - started >= limit:
                    raise DeviceSilent(self._silence(limit))
                patience *= 2
                continue
            reason = reply.payload[0] if reply.payload else 0
            if reason == frames.BAD_CHECK or reply.sequence != self._sequence:
                damaged += 1
                if damaged >= self.RETRIES:
                    raise DeviceError(
                        f"the line to the device is bad: {damaged} requests or answers arrived damaged "
                        "(check the cable and the baud rate)"
                    )
                continue
            if reason == frames.NO_SESSION:
                raise DeviceRestarted("the device was reset, or somebody else used it")
            # A header can be damaged so that its check does not show it, but hardly twice in a row.
            refused += 1
            if refused > 1:
                raise DeviceError(f"the device refuses: {frames.ERROR_TEXT.get(reason, f'reason {reason}')}")

    def _await(self, kind: int, patience: float) -> Frame | None:
        """The answer; an error frame of our own making for one that arrived damaged; None for silence."""
        damaged = self._decoder.damaged
        limit = time.monotonic() + self._timeout + 10 * patience
        deadline = time.monotonic() + patience
        while True:
            left = min(deadline, limit) - time.monotonic()
            data = self._transport.read(left) if left > 0 else b""
            if not data:
                return None
            for frame in self._decoder.feed(data):
                if frame.type == frames.ERROR or (
                    frame.type == kind | frames.REPLY and frame.sequence == self._sequence
                ):
                    return frame
            self._raise_fault()
            if self._info is not None and kind != frames.HELLO and _GREETING in self._decoder.text:
                raise DeviceRestarted("the device was reset")
            if self._decoder.damaged > damaged:
                return Frame(frames.ERROR, self._sequence, bytes([frames.BAD_CHECK]))
            deadline = time.monotonic() + patience

    def _silence(self, timeout: float) -> str:
        if self._decoder.pending:
            pending = self._decoder.pending
            return f"the device stopped in the middle of an answer ({pending} bytes, then none for {timeout:g} s)"
        return f"the device has not answered for {timeout:g} s; {last_words(self._decoder.text)}"

    def _raise_fault(self) -> None:
        match = re.search(rb"e-\[fault ([^\]]*)\]", bytes(self._decoder.text))
        if match:
            raise FirmwareFault(match[1].decode("ascii", "replace"))
