"""What a host says to the measuring firmware: the block protocol, and the MLPerf Tiny commands."""

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
_HELLO = struct.Struct("<HHIIIIIII")
_VERSION = 1


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


def last_words(text: bytes | bytearray, limit: int = 400) -> str:
    """The end of what a device printed, for an error message."""
    shown = bytes(text[-limit:]).decode("ascii", "replace").strip()
    return f"the last it printed was: {shown!r}" if shown else "it has printed nothing"


class BlockClient:
    """Speaks the block protocol: one request at a time, each answered before the next.

    ``timeout``: seconds without a byte from the device after which it is given up.
    """

    RETRIES = 3

    def __init__(self, transport: Transport, *, timeout: float = 60.0) -> None:
        self._transport, self._timeout = transport, timeout
        self._decoder = Decoder()
        self._sequence = 0
        self._info: DeviceInfo | None = None

    def wait_until_ready(self) -> None:
        """Wait for the greeting of a device that was just started: before it, bytes may be lost.

        Raises:
            DeviceError: no greeting.
        """
        while b"m-ready" not in self._decoder.text:
            data = self._transport.read(self._timeout)
            if not data:
                raise DeviceError(self._silence(self._timeout))
            self._decoder.feed(data)
            self._raise_fault()

    def find(self) -> DeviceInfo:
        """Reach a device that may be in any state: just reset, or waiting for the rest of a frame of an earlier host.

        Raises:
            DeviceError: no answer after several attempts.
        """
        patience, padding = 0.5, 16
        while True:
            self._transport.write(bytes(padding), self._timeout)
            try:
                return self.hello(timeout=min(patience, self._timeout))
            except DeviceError:
                if patience >= self._timeout:
                    raise
                self._decoder.reset()
                patience, padding = patience * 4, min(padding * 16, 65536)

    def hello(self, *, timeout: float | None = None) -> DeviceInfo:
        """What the device is.

        Raises:
            DeviceError: no answer, or a firmware that speaks another version.
        """
        payload = self._request(frames.HELLO, b"", timeout=timeout)
        if len(payload) < _HELLO.size:
            raise DeviceError(f"the device's greeting is too short ({len(payload)} bytes)")
        version, state, hz, unit, arena, layers, keeps, inputs, outputs = _HELLO.unpack_from(payload)
        if version != _VERSION:
            raise DeviceError(
                f"the device speaks version {version} of the block protocol; this program needs {_VERSION}"
            )
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
        )
        return self._info

    @property
    def info(self) -> DeviceInfo:
        return self._info or self.hello()

    def run(self, inputs: Sequence[bytes] | None, *, layers: bool = False, stack: bool = False) -> RunReply:
        """One inference. ``inputs``: the bytes of every input; None repeats those of the run before (only where the
        device keeps them). ``layers``: time every layer (see ``layers()``). ``stack``: see how deep the stack gets.

        Raises:
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

    def reset(self) -> None:
        """Set the model's states to their initial values."""
        self._request(frames.RESET, b"")

    def layers(self) -> tuple[int, ...]:
        """Steps of the counter per layer, from the last run with ``layers``."""
        payload = self._request(frames.LAYERS, b"")
        if len(payload) % 4:
            raise DeviceError(f"the device's layer profile has {len(payload)} bytes")
        return struct.unpack(f"<{len(payload) // 4}I", payload)

    def _request(self, kind: int, payload: bytes, *, timeout: float | None = None) -> bytes:
        for _ in range(self.RETRIES):
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._transport.write(encode(Frame(kind, self._sequence, payload)), self._timeout)
            reply = self._await(kind, timeout or self._timeout)
            if reply.type == kind | frames.REPLY:
                return reply.payload
            reason = reply.payload[0] if reply.payload else 0
            # A damaged request was not carried out: it may be sent again.
            if reason != frames.BAD_CHECK:
                raise DeviceError(f"the device refuses: {frames.ERROR_TEXT.get(reason, f'reason {reason}')}")
        raise DeviceError(f"the line to the device is bad: {self.RETRIES} requests in a row arrived damaged")

    def _await(self, kind: int, timeout: float) -> Frame:
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            data = self._transport.read(max(0.0, left)) if left > 0 else b""
            if not data:
                raise DeviceError(self._silence(timeout))
            for frame in self._decoder.feed(data):
                if frame.type in (kind | frames.REPLY, frames.ERROR) and frame.sequence == self._sequence:
                    return frame
            self._raise_fault()
            deadline = time.monotonic() + timeout

    def _silence(self, timeout: float) -> str:
        if self._decoder.pending:
            pending = self._decoder.pending
            return f"the device stopped in the middle of an answer ({pending} bytes, then none for {timeout:g} s)"
        damaged = f" {self._decoder.damaged} answers were damaged;" if self._decoder.damaged else ""
        return f"the device has not answered for {timeout:g} s;{damaged} {last_words(self._decoder.text)}"

    def _raise_fault(self) -> None:
        match = re.search(rb"e-\[fault ([^\]]*)\]", bytes(self._decoder.text))
        if match:
            raise FirmwareFault(match[1].decode("ascii", "replace"))


@dataclass(frozen=True)
class TextInference:
    """``results``: real values of the first output; ``microseconds``: by the device's clock, all inferences."""

    results: tuple[float, ...]
    microseconds: int


class TextClient:
    """Speaks the MLPerf Tiny commands: ``name``, ``profile``, ``timestamp``, ``db``, ``infer``, ``results``."""

    HEX_BYTES = 32
    """Input bytes per ``db`` command, as many as the official runner sends."""
    _TEXT_LIMIT = 1 << 20

    def __init__(self, transport: Transport, *, timeout: float = 60.0) -> None:
        self._transport, self._timeout = transport, timeout
        self._received = b""

    def wait_until_ready(self) -> list[str]:
        """The lines up to ``m-ready``: the greeting of a device that has just started."""
        return self._read_lines()

    def command(self, text: str) -> list[str]:
        """Send one command; the lines of its reply without the ``m-ready`` at the end.

        Raises:
            DeviceError: no answer, or an error message of the device.
        """
        self._transport.write(f"{text}%".encode("ascii"), self._timeout)
        lines = self._read_lines()
        errors = [line for line in lines if line.startswith("e-")]
        if errors:
            raise DeviceError(f"the device refuses '{text[:40]}': {errors[0]}")
        return lines

    def name(self) -> str:
        """The vendor's name."""
        return self._value(self.command("name"), r"m-name-dut-\[(.*)\]")

    def model(self) -> str:
        """The model's name."""
        return self._value(self.command("profile"), r"m-model-\[(.*)\]")

    def timestamp(self) -> int:
        """Microseconds by the device's clock."""
        return int(self._value(self.command("timestamp"), r"m-lap-us-(\d+)"))

    def load(self, data: bytes) -> None:
        """Load an input: all inputs of the model, one after the other."""
        self.command(f"db load {len(data)}")
        lines: list[str] = []
        for at in range(0, len(data), self.HEX_BYTES):
            lines = self.command(f"db {data[at : at + self.HEX_BYTES].hex()}")
        if "m-load-done" not in lines:
            raise DeviceError(f"the device took {len(data)} bytes and waits for more")

    def infer(self, runs: int = 1, warmups: int = 0) -> TextInference:
        """Run the loaded input."""
        lines = self.command(f"infer {runs} {warmups}")
        laps = [int(line.removeprefix("m-lap-us-")) for line in lines if re.fullmatch(r"m-lap-us-\d+", line)]
        if len(laps) != 2:
            raise DeviceError(f"the device gave {len(laps)} time stamps for an inference, not 2")
        return TextInference(self._results(lines), (laps[1] - laps[0]) & 0xFFFFFFFF)

    def results(self) -> tuple[float, ...]:
        """Real values of the first output of the last inference."""
        return self._results(self.command("results"))

    def _results(self, lines: Sequence[str]) -> tuple[float, ...]:
        text = self._value(lines, r"m-results-\[(.*)\]")
        try:
            return tuple(float(value) for value in text.split(","))
        except ValueError:
            raise DeviceError(f"the device's results are no numbers: {text[:80]}") from None

    @staticmethod
    def _value(lines: Sequence[str], pattern: str) -> str:
        for line in lines:
            match = re.fullmatch(pattern, line)
            if match:
                return match[1]
        raise DeviceError(f"the device answered {lines!r:.200}, not {pattern}")

    def _read_lines(self) -> list[str]:
        lines: list[str] = []
        while True:
            while b"\n" in self._received:
                raw, self._received = self._received.split(b"\n", 1)
                line = raw.decode("ascii", "replace").strip()
                if line == "m-ready":
                    return lines
                if line.startswith("e-[fault "):
                    raise FirmwareFault(line[len("e-[fault ") : -1])
                if line:
                    lines.append(line)
            data = self._transport.read(self._timeout)
            if not data or len(self._received) > self._TEXT_LIMIT:
                seen = "\n".join(lines).encode() + self._received
                raise DeviceError(f"the device has not answered for {self._timeout:g} s; {last_words(seen)}")
            self._received += data
