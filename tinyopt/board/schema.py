"""The schema of board files: what a board is, how to build for it, and how to reach or emulate it."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_HERTZ = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def _size(value: Any) -> Any:
    """``"256K"`` → 262144; integers pass."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,15})\s*([kKmMgG]?)(?:i?B)?", value.strip())
        if not match:
            raise ValueError(f"'{value[:40]}' is not a size; write bytes, or a number with K, M or G")
        return int(match[1]) * _UNITS[match[2].lower()]
    return value


def _frequency(value: Any) -> Any:
    """``"120 MHz"`` → 120000000; integers pass."""
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,9})?)\s*([kKMG]?)Hz", value.strip())
        hertz = Decimal(match[1]) * _HERTZ[match[2].lower()] if match else Decimal("0.5")
        if hertz != int(hertz):
            raise ValueError(
                f"'{value[:40]}' is not a rate in whole hertz; write hertz, or a number with kHz, MHz or GHz"
            )
        return int(hertz)
    return value


Size = Annotated[int, BeforeValidator(_size), Field(ge=0, lt=2**64)]
Frequency = Annotated[int, BeforeValidator(_frequency), Field(gt=0, le=10**11)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cache(_Model):
    """A cache in front of a memory. ``size``: bytes; ``ways``: lines of a set (0: any line anywhere). The line that was
    unused longest is replaced."""

    size: Annotated[int, BeforeValidator(_size), Field(ge=4, le=1 << 20)]
    ways: int = Field(0, ge=0, le=64)


class Memory(_Model):
    """A contiguous memory, and the timing that the cycle model of emulated boards gives it.

    ``origin``: address; ``size``: bytes; ``wait_states``: clock cycles added to a read that goes to the memory, where
    one read gives a line of ``line_bytes``. ``prefetch``: fetching a line of instructions starts the read of the next.
    Caches keep lines: of instructions, of data, or shared by both; reads of data without a cache always go to the
    memory.
    """

    name: Name
    kind: Literal["flash", "ram"]
    origin: int = Field(ge=0, lt=2**64)
    size: Size
    wait_states: int = Field(0, ge=0, le=64)
    line_bytes: Literal[4, 8, 16, 32, 64, 128] = 4
    prefetch: bool = False
    instruction_cache: Cache | None = None
    data_cache: Cache | None = None
    shared_cache: Cache | None = None

    @model_validator(mode="after")
    def _check(self) -> Memory:
        if self.shared_cache and (self.instruction_cache or self.data_cache):
            raise ValueError("a shared_cache excludes instruction_cache and data_cache")
        for kept in (self.instruction_cache, self.data_cache, self.shared_cache):
            if kept and kept.size % (self.line_bytes * max(1, kept.ways)):
                raise ValueError(
                    f"{kept.size} bytes of cache are no whole number of sets of {self.line_bytes}-byte lines"
                )
        return self


class Energy(_Model):
    """Energy that the board takes per cycle of its core while it computes, in nanojoules, and the error of an estimate
    made with it, in percent (largest deviation of the published figures it comes from)."""

    nj_per_cycle: float = Field(gt=0, le=1000)
    error_percent: float = Field(ge=0, le=1000)
    source: str = Field(min_length=1)


class Toolchain(_Model):
    """``prefix`` of the GCC programs (``arm-none-eabi-``), and the flags that select the core and the C library.

    ``flags`` go to the compiler and to the linker.
    """

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = ""
    flags: tuple[Annotated[str, Field(pattern=r"^-[A-Za-z0-9._,=+/-]+$")], ...] = ()


class Emulator(_Model):
    """How the board is emulated. ``program``: an executable (``qemu-system-arm``), or ``host``: a native process.

    ``icount_shift``: QEMU's virtual clock advances ``2**icount_shift`` nanoseconds per instruction. Larger values make
    a timer of a few megahertz resolve single instructions. ``marks``: whether the firmware marks for the
    cycle model where an inference begins and ends.
    """

    program: Annotated[str, Field(pattern=r"^[a-z0-9._-]+$")]
    machine: Annotated[str, Field(pattern=r"^[A-Za-z0-9._,=-]*$")] = ""
    cpu: Annotated[str, Field(pattern=r"^[A-Za-z0-9._,=-]*$")] = ""
    options: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._,=+/-]+$")], ...] = ()
    icount_shift: int = Field(0, ge=0, le=10)
    marks: bool = True


class Platformio(_Model):
    """How PlatformIO knows the board. ``platform`` and ``board``: its ids; ``frameworks``: those that it
    offers, the usual one first; ``options``: further lines of the environment in ``platformio.ini``."""

    platform: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@:/+~^=-]+$")]
    board: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    frameworks: tuple[Literal["stm32cube", "arduino", "espidf", "zephyr", "cmsis"], ...] = Field(min_length=1)
    options: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")], str] = {}


class Programmer(_Model):
    """A way to put firmware on the board. ``target``: what the tool calls the board or its chip (pyOCD's target,
    OpenOCD's configuration file, esptool's chip, avrdude's part, the UF2 drive's label, the DFU device's ids)."""

    tool: Literal["platformio", "pyocd", "openocd", "st-flash", "esptool", "dfu-util", "uf2", "avrdude"]
    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:/+-]*$")] = ""
    options: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:/+=@-]+$")], ...] = ()


class UsbId(_Model):
    """How the board, or the debug probe on it, shows up on USB. ``product``: text that its product string contains,
    where several boards share the numbers."""

    vid: int = Field(ge=0, le=0xFFFF)
    pid: int = Field(ge=0, le=0xFFFF)
    product: str = ""


class Board(_Model):
    """A board, real or emulated. The first memory of kind flash holds the code, the first ram the data."""

    name: Name
    aliases: tuple[Name, ...] = ()
    """Other names that find it, such as PlatformIO's; a hyphen counts as an underscore."""
    title: str = Field(min_length=1, max_length=120)
    core: Annotated[str, Field(pattern=r"^[a-z0-9.+_-]+$")]
    features: frozenset[Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")]] = frozenset()
    """Instruction-set features that kernels may require: ``thumb2``, ``dsp``, ``fpu``, ``mve``, ``mve_fp`` …"""
    clock_hz: Frequency
    reset_clock_hz: Frequency | None = None
    """Rate of the core until a firmware sets up the clocks, where that is another: bare-metal firmware runs at it."""
    memories: tuple[Memory, ...] = Field(min_length=1, max_length=32)
    toolchain: Toolchain = Toolchain()
    constants_in_ram: bool = False
    """Whether the start-up code copies constants to the RAM, because the core cannot read the flash as data."""
    port: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,47})?$")] = ""
    """Folder of ``firmware/port/`` with the console and the counter. Empty: there is no bare-metal firmware for this
    board, and PlatformIO builds everything."""
    startup: Name | None = None
    """Folder of ``firmware/port/`` with the startup code of the core; none where an operating system does that."""
    vectors: Name | None = None
    """Memory that the core takes its vector table from at reset, where that is not the flash."""
    stack_bytes: Size = 0
    """Least stack that a link must leave free; whatever RAM is left over is stack as well."""
    console_base: int | None = Field(None, ge=0, lt=2**32)
    """Address of the console's serial port, for ports that serve several machines."""
    console_interrupt: int | None = Field(None, ge=0, lt=1024)
    """Number of the interrupt line that a received byte raises, for ports that serve several machines."""
    counter_base: int | None = Field(None, ge=0, lt=2**32)
    """Address of the device with the free-running counter, for ports that serve several machines."""
    counter_hz: Frequency | None = None
    """Rate of the port's counter where it is not the core's clock."""
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    """Name of the microcontroller in CMSIS-Packs (``STM32L4R5ZITx``)."""
    platformio: Platformio | None = None
    programmers: tuple[Programmer, ...] = ()
    """Ways to flash it, the preferred one first."""
    usb: tuple[UsbId, ...] = ()
    baud_rate: int = Field(115200, ge=300, le=10_000_000)
    """Of the serial console."""
    emulator: Emulator | None = None
    energy: Energy | None = None
    """None: no figure is known, and no energy is estimated."""
    source: str = Field(min_length=1)
    """Where these facts are from."""

    @model_validator(mode="after")
    def _check(self) -> Board:
        if not any(m.kind == "ram" for m in self.memories):
            raise ValueError("a board needs a memory of kind ram")
        spans = sorted((m.origin, m.origin + m.size, m.name) for m in self.memories)
        for (_, end, first), (start, _, second) in pairwise(spans):
            if start < end:
                raise ValueError(f"memories '{first}' and '{second}' overlap")
        names = [m.name for m in self.memories]
        if len(set(names)) != len(names):
            raise ValueError("two memories have the same name")
        if self.vectors is not None and self.vectors not in names:
            raise ValueError(f"vectors names the memory '{self.vectors}', which the board does not have")
        if not self.port and self.platformio is None:
            raise ValueError("a board needs a port, or platformio where only a framework runs on it")
        return self

    @property
    def flash(self) -> Memory:
        """Where code and constants go (a board without flash runs from its first ram)."""
        return next((m for m in self.memories if m.kind == "flash"), self.memories[0])

    @property
    def ram(self) -> Memory:
        return next(m for m in self.memories if m.kind == "ram")

    @property
    def is_bare_metal(self) -> bool:
        """Whether tinyopt's own start-up code and console run on it, without a vendor's framework."""
        return bool(self.port)

    @property
    def is_emulated(self) -> bool:
        return self.emulator is not None
