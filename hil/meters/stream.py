"""Meters that send samples over a serial line: a thread collects what arrives, and the driver makes a trace of it."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType

from hil.meters.trace import Trace
from hil.transports import Transport
from tinyopt.errors import DeviceError

READ_SECONDS = 0.1
LINE_LIMIT = 1 << 16


class StreamMeter(ABC):
    """A meter behind a transport. Between ``start`` and ``stop`` a thread hands every byte to ``_feed``.

    The drivers configure the meter in ``_begin``, ask it to end in ``_finish``, and give the trace in ``_trace``.
    """

    def __init__(self, name: str, transport: Transport, timeout: float = 5.0) -> None:
        self.name = name
        self._transport, self._timeout = transport, timeout
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._closed = False

    @abstractmethod
    def _begin(self) -> None:
        """Configure the meter and start its stream."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Take bytes of the stream; called from the thread."""

    @abstractmethod
    def _finish(self) -> None:
        """Ask the meter to end its stream, and read what still arrives; the thread has ended."""

    @abstractmethod
    def _trace(self) -> Trace:
        """What was recorded."""

    def start(self) -> None:
        """Begin to record.

        Raises:
            DeviceError: the meter does not answer, refuses, or already records.
        """
        if self._thread is not None:
            raise DeviceError(f"{self.name} already records")
        self._stopping.clear()
        self._failure = None
        self._begin()
        self._thread = threading.Thread(target=self._collect, name=f"meter {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> Trace:
        """End the recording; what was recorded.

        Raises:
            DeviceError: the meter failed meanwhile, lost samples, or sent nothing that makes sense.
        """
        if self._thread is None:
            raise DeviceError(f"{self.name} does not record")
        self._join()
        if self._failure is not None:
            raise self._failure
        self._finish()
        return self._trace()

    def close(self) -> None:
        """Release the meter. May be called again."""
        if not self._closed:
            self._closed = True
            self._join()
            # A meter that is gone or does not answer cannot be told.
            with contextlib.suppress(DeviceError):
                self._release()
            self._transport.close()

    @abstractmethod
    def _release(self) -> None:
        """Leave the meter as a person would like to find it."""

    def _join(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _collect(self) -> None:
        try:
            while not self._stopping.is_set():
                data = self._transport.read(READ_SECONDS)
                if data:
                    self._feed(data)
        except Exception as error:  # told to the caller of stop, in whose thread it belongs
            if isinstance(error, DeviceError):
                self._failure = DeviceError(f"{self.name} failed while it recorded: {error}")
            else:
                self._failure = error

    def _drain(self, quiet: float = 0.1, limit: float = 2.0) -> bytes:
        """Bytes that are still on their way, until the line is quiet."""
        data, deadline = b"", time.monotonic() + limit
        while time.monotonic() < deadline:
            more = self._transport.read(quiet)
            if not more:
                break
            data = (data + more)[-LINE_LIMIT:]
        return data

    def __enter__(self) -> StreamMeter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Lines:
    """Cuts a stream into lines; the beginning of one is kept until its end arrives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Lines that are complete, without line ends; empty ones left out."""
        *whole, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            self._rest = b""
        return [line.decode("ascii", "replace") for line in whole if line]
