"""What a recipe may say, read off the frozen configuration dataclasses by themselves.

``config_type`` gives a pydantic type that turns plain data (of YAML or TOML) into an instance of a dataclass. A field
that may hold one of several classes (a protocol such as ``CalibrationMethod``, a union, a base class) is written as a
name (``calibration: entropy``) or as a mapping with ``type`` (``calibration: {type: percentile, percent: 99.9}``).
Which classes there are follows from the public names of the package that the protocol is in: a new technique appears
here as soon as its package exports it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    StrictBool,
    StrictStr,
    Tag,
    ValidationInfo,
    create_model,
)

from tinyopt.errors import TinyoptError
from tinyopt.graph import Graph
from tinyopt.recipe.board_cost import BoardCycles

Number = Annotated[float, Strict(), Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Whole = Annotated[int, Strict(), Field(gt=-(1 << 31), lt=1 << 31)]
"""No configuration has a use for larger numbers, and what computes with them would overflow."""
_SCALARS: dict[Any, Any] = {int: Whole, float: Number, bool: StrictBool, str: StrictStr, type(None): None}
_LONGEST = 10_000
"""Entries of a list or mapping."""


def spoken_name(kind: type) -> str:
    """``MaxRange`` → ``max_range``, ``Int4`` → ``int4``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__).lower()


@cache
def config_type(kind: Any) -> Any:
    """The pydantic type of a dataclass, or of whatever a type hint allows.

    A field named ``seed`` that is not given takes the seed of the validation context, where there is one. Fields that
    plain data cannot express (functions, graphs) keep their defaults.

    Raises:
        TypeError: when plain data cannot express the hint.
    """
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Path or origin is typing.Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return StrictStr if kind is Path else kind
    if origin is Annotated:
        return config_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _union(arguments)
    if origin is collections.abc.Callable and arguments == ([Graph], float):
        return Annotated[typing.Literal["cycles"], AfterValidator(lambda _: BoardCycles())]
    if origin is tuple:
        if arguments[-1:] == (Ellipsis,):
            return _many(config_type(arguments[0]))
        return tuple[tuple(config_type(a) for a in arguments)]  # type: ignore[misc]
    if origin in (Sequence, list) and arguments:
        return _many(config_type(arguments[0]))
    if origin in (Mapping, dict) and len(arguments) == 2:
        mapping: Any = dict.__class_getitem__((config_type(arguments[0]), config_type(arguments[1])))
        return Annotated[mapping, Field(max_length=_LONGEST)]
    if isinstance(kind, type) and _is_family(kind):
        return _choice(implementations(kind))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _one(kind)
    raise TypeError(f"a recipe cannot express {kind}")


def _many(item: Any) -> Any:
    items: Any = tuple.__class_getitem__((item, ...))
    return Annotated[items, Field(max_length=_LONGEST)]


def _union(arguments: tuple[Any, ...]) -> Any:
    """Scalars as they are; classes by name."""
    classes: list[type] = []
    others: list[Any] = []
    for argument in arguments:
        if isinstance(argument, type) and (_is_family(argument) or dataclasses.is_dataclass(argument)):
            classes += implementations(argument)
        else:
            try:
                others.append(config_type(argument))
            except TypeError:  # what plain data cannot express is no choice
                continue
    if not classes and all(other is None for other in others):
        raise TypeError(f"a recipe cannot express {arguments}")
    if classes:
        unique = tuple(dict.fromkeys(classes))
        # A base class and what is derived from it, or one class that may also be left out.
        others.insert(0, _one(unique[0]) if len(unique) == 1 else _choice(unique))
    return typing.Union[tuple(others)] if len(others) > 1 else others[0]  # noqa: UP007 - built at run time


# ---- one class ----


@cache
def _one(kind: type) -> Any:
    fields: dict[str, Any] = {}
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        try:
            hint = config_type(hints[field.name])
        except TypeError:
            if required:
                raise
            continue
        fields[field.name] = (hint, ... if required else None)
    model = create_model(
        kind.__name__, __config__=ConfigDict(extra="forbid", frozen=True, protected_namespaces=()), **fields
    )
    seeded = "seed" in fields and hints["seed"] is int

    def build(values: Any, info: ValidationInfo) -> Any:
        given = {name: getattr(values, name) for name in values.model_fields_set}
        context = info.context or {}
        if seeded and "seed" not in given and "seed" in context:
            given["seed"] = context["seed"]
        try:
            return kind(**given)
        except (TinyoptError, ValueError) as error:
            raise ValueError(str(error)) from None

    return Annotated[model, BeforeValidator(_without_type(kind)), AfterValidator(build)]


def _without_type(kind: type) -> Callable[[Any], Any]:
    """``name`` and ``{type: name, …}`` as the fields of the class; nothing at all as no fields."""

    def read(value: Any) -> Any:
        if value is None or (isinstance(value, str) and _key(value) in _names_of(kind)):
            return {}
        if isinstance(value, Mapping) and isinstance(value.get("type"), str) and _key(value["type"]) in _names_of(kind):
            return {name: item for name, item in value.items() if name != "type"}
        return value

    return read


def _key(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


@cache
def _names_of(kind: type) -> frozenset[str]:
    """What a class may be called: its name, and the name without its last word (``Pruning`` of all prunings)."""
    words = spoken_name(kind).split("_")
    return frozenset({_key(kind.__name__), "".join(words[:-1]) or _key(kind.__name__)})


# ---- one of several classes ----


def _is_family(kind: type) -> bool:
    """Whether a class stands for several: a protocol, an abstract class, or a plain base of public dataclasses."""
    if getattr(kind, "_is_protocol", False) or inspect.isabstract(kind):
        return True
    exported = set() if dataclasses.is_dataclass(kind) else set(_public(kind.__module__))
    return any(issubclass(c, kind) for c in exported)


@cache
def implementations(kind: type) -> tuple[type, ...]:
    """The public dataclasses that a hint allows, sorted by name.

    Looked for in the package of the hint, and in those around it until some are found.
    """
    if not _is_family(kind):
        return (kind,)
    protocol = bool(getattr(kind, "_is_protocol", False))
    parts = kind.__module__.split(".")
    for length in range(len(parts), 1, -1):
        found = [
            c
            for c in _exported(".".join(parts[:length]))
            if (_satisfies(c, kind) if protocol else issubclass(c, kind)) and not inspect.isabstract(c)
        ]
        if found and (length < len(parts) or not protocol):
            return tuple(sorted(set(found), key=spoken_name))
    raise TypeError(f"no public class is a {kind.__name__}")


@cache
def _public(module: str) -> tuple[type, ...]:
    """Public dataclasses of the packages of tinyopt around a module, nearest first."""
    parts = module.split(".") if module.startswith("tinyopt.") else []
    result: list[type] = []
    for length in range(len(parts), 1, -1):
        result += _exported(".".join(parts[:length]))
    return tuple(dict.fromkeys(result))


@cache
def _exported(module: str) -> tuple[type, ...]:
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None) or [n for n in vars(loaded) if not n.startswith("_")]
    values = (getattr(loaded, name) for name in names)
    return tuple(v for v in values if isinstance(v, type) and dataclasses.is_dataclass(v))


def _satisfies(candidate: type, protocol: type) -> bool:
    wanted: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False):
            names = {*vars(base), *vars(base).get("__annotations__", {})}
            wanted |= {n for n in names if not n.startswith("_") or n == "__call__"}
    fields = {field.name for field in dataclasses.fields(candidate)}
    return bool(wanted) and all(hasattr(candidate, name) or name in fields for name in wanted)


def _choice(kinds: Iterable[type]) -> Any:
    """A union of classes, told apart by ``type``."""
    members = tuple(kinds)
    if len(members) == 1:
        return _one(members[0])
    by_name: dict[str, type] = {}
    shared = len({spoken_name(k).split("_")[-1] for k in members}) == 1
    for kind in members:
        by_name[_key(kind.__name__)] = kind
        if shared:
            by_name["".join(spoken_name(kind).split("_")[:-1])] = kind
    listed = ", ".join(spoken_name(kind) for kind in members)

    def tag(value: Any) -> str | None:
        if isinstance(value, members):
            return type(value).__name__
        name = value.get("type") if isinstance(value, Mapping) else value
        chosen = by_name.get(_key(name)) if isinstance(name, str) else None
        return None if chosen is None else chosen.__name__

    options = tuple(Annotated[_one(kind), Tag(kind.__name__)] for kind in members)
    return Annotated[
        typing.Union[options],  # noqa: UP007 - built at run time
        Discriminator(
            tag,
            custom_error_type="unknown_type",
            custom_error_message=f"give one of these, by name or as a mapping with 'type': {listed}",
        ),
    ]


def field_names(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass that a recipe may give; for a union, the names of its classes."""
    arguments = typing.get_args(kind)
    if arguments:
        return tuple(spoken_name(c) for a in arguments if isinstance(a, type) for c in implementations(a))
    hints = typing.get_type_hints(kind)
    return tuple(f.name for f in dataclasses.fields(kind) if f.init and _expressible(hints[f.name]))


def _expressible(hint: Any) -> bool:
    try:
        config_type(hint)
    except TypeError:
        return False
    return True


# ---- the way back ----


def plain(value: Any) -> Any:
    """A configuration as plain data that JSON can hold: equal configurations give equal data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": spoken_name(type(value)), **fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in sorted(value.items())}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (frozenset, set)):
        return sorted(plain(item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    return getattr(value, "__qualname__", type(value).__qualname__)
