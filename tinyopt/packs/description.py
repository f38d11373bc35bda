"""What a pack description says of devices: properties are inherited from family to variant, the lower level first.

Rules: Open-CMSIS-Pack specification, /package/devices.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tinyopt.errors import BoardError
from tinyopt.packs.xml import Element, parse_xml

_LEVELS = ("family", "subFamily", "device", "variant")
_NAMES = {"family": "Dfamily", "subFamily": "DsubFamily", "device": "Dname", "variant": "Dvariant"}


@dataclass(frozen=True)
class Processor:
    """``name``: Pname, empty where a device has one processor; the rest as in the specification (``core``: Dcore …).
    ``clock_hz``: the highest; 0 where it is not said."""

    name: str
    core: str
    fpu: str
    dsp: str
    mve: str
    endian: str
    clock_hz: int


@dataclass(frozen=True)
class PackMemory:
    """``access``: letters of rwxpsnc; ``processor``: Pname of the one that sees it, empty for all; ``alias``: the
    memory whose bytes these are at another address."""

    name: str
    access: str
    start: int
    size: int
    default: bool
    startup: bool
    processor: str
    alias: str

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Algorithm:
    """A program that writes flash. ``file``: path in the pack; it covers ``size`` bytes from ``start``."""

    file: str
    start: int
    size: int
    default: bool
    style: str
    processor: str


@dataclass(frozen=True)
class Device:
    """A device with everything that it inherits. ``pack``: the pack's identity; ``svd``: files that describe its
    registers, by Pname."""

    name: str
    vendor: str
    family: str
    pack: str
    processors: tuple[Processor, ...]
    memories: tuple[PackMemory, ...]
    algorithms: tuple[Algorithm, ...]
    svd: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Description:
    """A pack. ``chains``: a device's name → its elements from the family down."""

    origin: str
    vendor: str
    name: str
    version: str
    chains: Mapping[str, tuple[Element, ...]]

    @property
    def identity(self) -> str:
        return f"{self.vendor}::{self.name}@{self.version}" if self.version else f"{self.vendor}::{self.name}"

    @cached_property
    def _by_lower_name(self) -> dict[str, str]:
        return {name.lower(): name for name in self.chains}

    def device(self, name: str) -> Device:
        """A device by its name; upper and lower case are the same, and a beginning that only one has is enough.

        Raises:
            BoardError: there is none (with the nearest), several begin so, or its description is wrong.
        """
        return _device(self, self._find(name))

    def _find(self, name: str) -> str:
        wanted = name.lower()
        if wanted in self._by_lower_name:
            return self._by_lower_name[wanted]
        begin = [full for lower, full in self._by_lower_name.items() if wanted and lower.startswith(wanted)]
        if len(begin) == 1:
            return begin[0]
        if begin:
            raise BoardError(f"several devices in {self.origin} begin with '{name}': {_listed(begin)}; name one")
        near = difflib.get_close_matches(wanted, self._by_lower_name, n=4, cutoff=0.5)
        hint = (
            f"did you mean {_listed(self._by_lower_name[item] for item in near)}?"
            if near
            else (f"it has {_listed(self.chains)}" if self.chains else "it describes no devices")
        )
        raise BoardError(f"there is no device '{name}' in {self.origin}; {hint}")


def read_description(data: bytes, origin: str) -> Description:
    """A pack description from its XML. ``origin``: what it is called in messages.

    Raises:
        BoardError: it is no pack description.
    """
    root = parse_xml(data, origin)
    if root.tag != "package":
        raise BoardError(f"{origin} is no pack description: its root is <{root.tag[:40]}>, not <package>")
    chains: dict[str, tuple[Element, ...]] = {}
    for group in root.all("devices"):
        for chain in _chains(group, ()):
            chains.setdefault(_name(chain[-1]), chain)
    return Description(
        origin, root.text_of("vendor") or "unknown", root.text_of("name") or "unknown", _version(root), chains
    )


def _version(root: Element) -> str:
    releases = root.first("releases")
    latest = releases.first("release") if releases is not None else None
    return latest.attributes.get("version", "").strip() if latest is not None else ""


def _chains(parent: Element, above: tuple[Element, ...]) -> Iterator[tuple[Element, ...]]:
    """Every device and variant with the elements around it."""
    for element in parent.all(*_LEVELS):
        chain = (*above, element)
        if element.tag in ("device", "variant") and _name(element):
            yield chain
        if len(chain) <= len(_LEVELS):
            yield from _chains(element, chain)


def _name(element: Element) -> str:
    return element.attributes.get(_NAMES[element.tag], "").strip()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _device(pack: Description, name: str) -> Device:
    chain = pack.chains[name]
    where = f"device '{name}' in {pack.origin}"
    vendor = next((e.attributes["Dvendor"] for e in reversed(chain) if "Dvendor" in e.attributes), pack.vendor)
    return Device(
        name=name,
        vendor=vendor.partition(":")[0],
        family=next((_name(e) for e in chain if e.tag == "family"), ""),
        pack=pack.identity,
        processors=_processors(chain, where),
        memories=_memories(chain, where),
        algorithms=_algorithms(chain, where),
        svd=_svd(chain),
    )


def _processors(chain: Sequence[Element], where: str) -> tuple[Processor, ...]:
    """Attributes add up from level to level, and the lower level has the last word; an element without a Pname holds
    for all processors."""
    shared: dict[str, str] = {}
    named: dict[str, dict[str, str]] = {}
    for level in chain:
        for element in level.all("processor"):
            attributes = {key: value.strip() for key, value in element.attributes.items()}
            name = attributes.pop("Pname", "")
            if name:
                named.setdefault(name, dict(shared)).update(attributes)
            else:
                shared.update(attributes)
                for own in named.values():
                    own.update(attributes)
    if not named and not shared:
        raise BoardError(f"{where} has no processor")
    return tuple(_processor(name, own, where) for name, own in (named or {"": shared}).items())


def _processor(name: str, attributes: Mapping[str, str], where: str) -> Processor:
    clock = attributes.get("Dclock", "")
    return Processor(
        name=name,
        core=attributes.get("Dcore", ""),
        fpu=attributes.get("Dfpu", ""),
        dsp=attributes.get("Ddsp", ""),
        mve=attributes.get("Dmve", ""),
        endian=attributes.get("Dendian", ""),
        clock_hz=_number(clock, "Dclock", where) if clock else 0,
    )


def _memories(chain: Sequence[Element], where: str) -> tuple[PackMemory, ...]:
    """A memory of the same name (before version 1.4: id) extends or replaces that of the level above."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for level in chain:
        for element in level.all("memory"):
            attributes = element.attributes
            name = (attributes.get("name") or attributes.get("id") or "").strip()
            if not name:
                raise BoardError(f"{where}: a memory has neither name nor id (line {element.line})")
            found.setdefault((attributes.get("Pname", "").strip(), name), {}).update(attributes)
    memories = []
    for (processor, name), attributes in found.items():
        what = f"{where}, memory '{name[:40]}'"
        is_rom = name.startswith(("IROM", "ROM")) and "access" not in attributes
        memories.append(
            PackMemory(
                name=name,
                access=attributes.get("access", "rx" if is_rom else "rwx").strip().lower(),
                start=_needed(attributes, "start", what),
                size=_needed(attributes, "size", what),
                default=_flag(attributes, "default"),
                startup=_flag(attributes, "startup"),
                processor=processor,
                alias=attributes.get("alias", "").strip(),
            )
        )
    return tuple(memories)


def _algorithms(chain: Sequence[Element], where: str) -> tuple[Algorithm, ...]:
    """Of algorithms for the same bytes in the same style, that of the lower level counts."""
    found: dict[tuple[int, int, str, str], Algorithm] = {}
    for level in chain:
        for element in level.all("algorithm"):
            attributes = element.attributes
            what = f"{where}, algorithm '{attributes.get('name', '')[:60]}'"
            start, size = _needed(attributes, "start", what), _needed(attributes, "size", what)
            style, processor = attributes.get("style", "Keil"), attributes.get("Pname", "").strip()
            found[start, size, style, processor] = Algorithm(
                file=attributes.get("name", "").strip().replace("\\", "/"),
                start=start,
                size=size,
                default=_flag(attributes, "default"),
                style=style,
                processor=processor,
            )
    return tuple(found.values())


def _svd(chain: Sequence[Element]) -> dict[str, str]:
    found: dict[str, str] = {}
    for level in chain:
        for element in level.all("debug"):
            if element.attributes.get("svd"):
                found[element.attributes.get("Pname", "").strip()] = element.attributes["svd"].replace("\\", "/")
    return found


def _needed(attributes: Mapping[str, str], key: str, where: str) -> int:
    if key not in attributes:
        raise BoardError(f"{where} does not say '{key}'")
    return _number(attributes[key], key, where)


def _number(text: str, key: str, where: str) -> int:
    """A NonNegativeInteger of the specification: decimal, 0x… or 0b…"""
    text = text.strip().lower()
    base = 16 if text.startswith("0x") else 2 if text.startswith("0b") else 10
    try:
        value = int(text, base) if len(text) <= 66 and "_" not in text else -1
    except ValueError:
        value = -1
    if not 0 <= value < 2**64:
        raise BoardError(f'{where}: {key}="{text[:40]}" is no number')
    return value


def _flag(attributes: Mapping[str, str], key: str) -> bool:
    return attributes.get(key, "").strip().lower() in ("1", "true")
