"""A device that keeps answering: it is reached again after whatever went wrong, and never for another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TypeVar

from hil.device import Device
from hil.protocol import BlockClient, DeviceInfo, DeviceRestarted, DeviceSilent, FirmwareFault, RunReply
from hil.runner import named_faults
from tinyopt.build import Firmware
from tinyopt.errors import DeviceError

T = TypeVar("T")


def firmware_id(firmware: Firmware) -> int:
    """The 64 bits by which a firmware names itself; 0 where it does not."""
    for define in firmware.project.defines:
        name, _, value = define.partition("=")
        if name == "TINYOPT_FIRMWARE_ID":
            return int(value.rstrip("ul"), 16)
    return 0


class WrongFirmwareError(DeviceError):
    """The board runs another firmware than the one that is to be measured."""


@dataclass(frozen=True)
class Expected:
    """What must be on the board. None: whatever it is. ``firmware_id``: 0 where it is not known."""

    input_bytes: tuple[int, ...] | None = None
    output_bytes: tuple[int, ...] | None = None
    firmware_id: int = 0


@dataclass(frozen=True)
class Recovery:
    """``attempts``: times that one request may be tried again after a fault of the device; ``patience``: seconds that
    a device may be away (unplugged) before it is given up."""

    attempts: int = 3
    patience: float = 20.0


class Session:
    """Runs inferences on a device, over restarts of it.

    ``starts_here``: the device starts when it is opened, and greets. ``on_event``: told what happened, for the record.
    ``restarts`` and ``repeats``: how often the device had to be reached again, and requests that had to be sent again.
    """

    def __init__(
        self,
        device: Device,
        expected: Expected,
        *,
        starts_here: bool,
        firmware: Firmware | Path | None = None,
        timeout: float = 60.0,
        recovery: Recovery | None = None,
        on_event: Callable[[str, str], None] = lambda name, reason: None,
    ) -> None:
        self.device, self._expected, self._firmware = device, expected, firmware
        self._timeout, self._recovery, self._on_event = timeout, recovery or Recovery(), on_event
        self._starts_here = starts_here
        self._repeats_before = 0
        self.restarts = 0
        self.client = self._connected(fresh=True)
        self._check(self.client.info)

    @property
    def info(self) -> DeviceInfo:
        return self.client.info

    @property
    def repeats(self) -> int:
        return self._repeats_before + self.client.repeats

    def run(
        self, inputs: Sequence[bytes], *, reset: bool = False, restore: Callable[[], None] | None = None
    ) -> RunReply:
        """One inference, tried again when the device fails. ``reset``: from the model's initial state. ``restore``:
        brings a restarted device to the state that it had.

        Raises:
            DeviceError: the device fails again and again, stays away, or turned out to be another.
        """

        def once() -> RunReply:
            if reset:
                self.client.reset()
            return self.client.run(inputs)

        return self.attempt(once, restore=restore)

    def attempt(self, action: Callable[[], T], *, restore: Callable[[], None] | None = None) -> T:
        """Do something with ``client``, again from its beginning when the device fails. ``restore``: see ``run``.

        Raises:
            DeviceError: the device fails again and again, stays away, or turned out to be another.
        """
        failures, lost = 0, False
        while True:
            try:
                with named_faults(self._firmware):
                    if lost and restore is not None:
                        restore()
                    lost = False
                    return action()
            except WrongFirmwareError:
                raise
            except DeviceError as error:
                failures += 1
                if failures > self._recovery.attempts:
                    raise
                self.recover(error)
                lost = True

    def recover(self, error: DeviceError) -> None:
        """Reach the device again after an error.

        Raises:
            DeviceError: it does not come back, or as another.
        """
        self.restarts += 1
        self._on_event("restart", str(error))
        self._repeats_before += self.client.repeats
        self.client.repeats = 0
        deadline = time.monotonic() + self._recovery.patience
        ways = self._ways_back(error)
        while True:
            try:
                next(ways)()
                self._check(self.client.info)
                return
            except WrongFirmwareError:
                raise
            except DeviceError as again:
                if time.monotonic() >= deadline:
                    raise DeviceError(f"{error}; the device did not come back: {again}") from None
                time.sleep(0.3)

    def _ways_back(self, error: DeviceError) -> Iterator[Callable[[], None]]:
        """What hangs or crashed is reset; a line that broke is opened again first."""

        def reset() -> None:
            self.device.restart()
            self.client = self._connected(fresh=False)

        def reconnect() -> None:
            self.device.reconnect()
            self.client = self._connected(fresh=False)

        def find() -> None:
            self.client.find(timeout=min(self._timeout, self._recovery.patience))

        if isinstance(error, DeviceRestarted):
            yield find
        broken = not isinstance(error, (DeviceSilent, FirmwareFault))
        yield from cycle((reconnect, reset) if broken else (reset, reconnect))

    def _connected(self, *, fresh: bool) -> BlockClient:
        # A restarted device is given less time: what makes it silent is already known to be wrong.
        patience = self._timeout if fresh else min(self._timeout, self._recovery.patience)
        client = BlockClient(self.device.transport, timeout=self._timeout)
        with named_faults(self._firmware):
            if self._starts_here:
                client.wait_until_ready(timeout=patience)
                client.hello(timeout=patience)
            else:
                client.find(timeout=patience)
        return client

    def _check(self, info: DeviceInfo) -> None:
        wanted = self._expected
        if wanted.input_bytes is not None and info.input_bytes != wanted.input_bytes:
            what = f"takes inputs of {info.input_bytes} bytes, this model of {wanted.input_bytes}"
        elif wanted.output_bytes is not None and info.output_bytes != wanted.output_bytes:
            what = f"has outputs of {info.output_bytes} bytes, this model of {wanted.output_bytes}"
        elif wanted.firmware_id and info.firmware_id and info.firmware_id != wanted.firmware_id:
            what = f"has the identity {info.firmware_id:016x}, the one that was built {wanted.firmware_id:016x}"
        else:
            return
        raise WrongFirmwareError(
            f"the wrong firmware is on {self.device.name}: it is '{info.name}' and {what}. "
            "Put the right one on it: run without --no-flash"
        )
