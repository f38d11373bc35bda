"""What is known of processor cores: the compiler flags that select one, and the fastest that silicon runs it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Core:
    """A core that boards name.

    ``fastest_hz``: the highest clock that any product with it is known to have; ``features``: what every one of them
    has; ``optional``: what some have. Of Arm cores, ``cpu`` is GCC's name, ``single`` and ``double`` are its names of
    the floating-point units (Helium cores have them in ``cpu``).
    """

    name: str
    fastest_hz: int
    features: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    cpu: str = ""
    single: str = ""
    double: str = ""

    @property
    def has_helium(self) -> bool:
        return "mve" in self.optional


def _arm(name: str, mhz: int, always: str = "", optional: str = "", cpu: str = "", fpu: str = "", dp: str = "") -> Core:
    return Core(name, mhz * 10**6, frozenset(always.split()), frozenset(optional.split()), cpu or name, fpu, dp)


_HELIUM = "dsp fpu mve mve_fp"

CORES = {
    core.name: core
    for core in (
        _arm("cortex-m0", 144),
        _arm("cortex-m0plus", 200),
        _arm("cortex-m1", 200),
        _arm("cortex-m3", 200, "thumb2"),
        _arm("cortex-m4", 300, "thumb2 dsp", "fpu", fpu="fpv4-sp-d16"),
        _arm("cortex-m7", 1000, "thumb2 dsp", "fpu", fpu="fpv5-sp-d16", dp="fpv5-d16"),
        _arm("cortex-m23", 200),
        _arm("cortex-m33", 350, "thumb2", "dsp fpu", fpu="fpv5-sp-d16"),
        _arm("cortex-m35p", 350, "thumb2", "dsp fpu", fpu="fpv5-sp-d16"),
        # GCC 12 knows one Helium core; the others run what is compiled for it
        _arm("cortex-m52", 500, "thumb2", _HELIUM, cpu="cortex-m55"),
        _arm("cortex-m55", 1000, "thumb2", _HELIUM),
        _arm("cortex-m85", 1200, "thumb2", _HELIUM, cpu="cortex-m55"),
        Core("xtensa-lx6", 240 * 10**6),
        Core("xtensa-lx7", 240 * 10**6),
        Core("avr5", 20 * 10**6),
        Core("avr6", 20 * 10**6),
    )
}
"""By the name that board files use. The clocks leave room: they are there to find a zero too many."""

FEATURES = frozenset({"thumb2", "dsp", "fpu", "mve", "mve_fp", "avx2", "avx512_vnni", "avx_vnni"})
"""Features that kernels ask for."""


def arm_flags(core: Core, features: Iterable[str], *, double: bool = False) -> tuple[str, ...]:
    """The flags of GCC that select an Arm core with these of its features.

    ``double``: whether its floating-point unit computes in double precision too.
    """
    has = frozenset(features)
    flags = ("-mthumb", f"-mcpu={core.cpu}{_extensions(core, has)}")
    if core.has_helium:
        return (*flags, "-mfloat-abi=hard" if has & {"fpu", "mve"} else "-mfloat-abi=soft")
    if "fpu" in has:
        return (*flags, f"-mfpu={core.double if double and core.double else core.single}", "-mfloat-abi=hard")
    return (*flags, "-mfloat-abi=soft") if core.single else flags


def _extensions(core: Core, has: frozenset[str]) -> str:
    """What GCC takes such a core to have and this one lacks."""
    if core.has_helium:
        integer = "" if "mve" in has else "+nomve"
        if "fpu" not in has:
            return f"{integer}+nofp"
        return "+nomve.fp" if "mve" in has and "mve_fp" not in has else integer
    return "+nodsp" if "dsp" in core.optional and "dsp" not in has else ""
