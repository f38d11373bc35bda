"""From a plan to the facts that the source templates print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tinyopt.generate import ctext
from tinyopt.graph import State, Tensor, operator_macs
from tinyopt.plan import Plan
from tinyopt.plan.kernel import Call, Constant, Value
from tinyopt.plan.lowering import kernels_of
from tinyopt.plan.plan import constant_key, initial_value
from tinyopt.version import __version__

NameOf = Callable[[Constant], str]


@dataclass(frozen=True)
class Table:
    """A constant array. ``rows``: lines of its initialiser."""

    name: str
    c_type: str
    size: int
    align: int
    comment: str
    rows: list[str] = field(repr=False)
    weights: bool


@dataclass(frozen=True)
class Layer:
    """A call: ``fields`` are the lines of its parameter struct (none: it uses the equal one of an earlier call),
    ``lines`` the statements."""

    index: int
    comment: str
    struct: str
    variable: str
    fields: list[str]
    lines: list[str]


@dataclass(frozen=True)
class Port:
    """An input or output of the model."""

    index: int
    comment: str
    c_type: str
    elements: int
    nbytes: int
    offset: int
    scale: str | None
    zero_point: int | None
    address: str
    """C expression of its address, from ``arena``."""


@dataclass(frozen=True)
class Sources:
    """Everything that the templates of ``model.c``, ``model.h`` and the tables need."""

    name: str
    prefix: str
    title: str
    label: str
    version: str
    board: str
    plan: Plan
    inputs: list[Port]
    outputs: list[Port]
    layers: list[Layer]
    weights: list[Table]
    tables: list[Table]
    families: list[str]
    reset: list[str]
    destroyed: list[int]
    uses_math: bool

    @property
    def has_constants(self) -> bool:
        return bool(self.weights or self.tables)


def describe(plan: Plan, name: str) -> Sources:
    """Name the constants and layers of a plan and write out their C text."""
    ctext.check_name(name)
    names, comments = _constant_names(plan, name)

    def name_of(constant: Constant) -> str:
        return names[constant_key(constant)]

    tables = [
        Table(
            name_of(constant),
            constant.c_type,
            constant.data.size,
            constant.align if constant.align > constant.data.itemsize else 0,
            comments[constant_key(constant)],
            ctext.rows(constant.data),
            constant.weights,
        )
        for constant in plan.constants
    ]
    layers = _layers(plan, name_of)
    text = "".join(line for layer in layers for line in layer.fields)
    return Sources(
        name=name,
        prefix=name.upper(),
        title=ctext.comment_text(plan.source.name),
        label=ctext.string_literal(plan.source.name),
        version=__version__,
        board=ctext.comment_text(f"{plan.board.name} ({plan.board.title})"),
        plan=plan,
        inputs=[_port(plan, index, n, "") for index, n in enumerate(plan.graph.inputs)],
        outputs=[_port(plan, index, n, "const ") for index, n in enumerate(plan.graph.outputs)],
        layers=layers,
        weights=[table for table in tables if table.weights],
        tables=[table for table in tables if not table.weights],
        families=sorted({kernel.family for kernel in kernels_of(plan.calls)}),
        reset=[line for state in plan.graph.states for line in _reset(plan, state, name_of)],
        destroyed=[index for index, n in enumerate(plan.graph.inputs) if plan.destroys(n)],
        uses_math="INFINITY" in text or "NAN" in text,
    )


def _constant_names(plan: Plan, name: str) -> tuple[dict[tuple[str, bytes], str], dict[tuple[str, bytes], str]]:
    """Name and comment of every constant, by what it is first used for."""
    names: dict[tuple[str, bytes], str] = {}
    comments: dict[tuple[str, bytes], str] = {}

    def add(constant: Constant, use: str) -> None:
        key = constant_key(constant)
        if key in names:
            return
        stem, number = use, 1
        while use in names.values():
            number += 1
            use = f"{stem}_{number}"
        names[key] = use
        source = f', from "{ctext.comment_text(constant.source, 60)}"' if constant.source else ""
        comments[key] = f"{constant.nbytes:,} {'byte' if constant.nbytes == 1 else 'bytes'}{source}"

    for index, call in enumerate(plan.calls):
        for path, constant in _paths(call.parameters):
            add(constant, f"{name}_layer_{index}_{path}")
        for position, tensor in enumerate(call.inputs):
            if plan.graph.tensors[tensor].is_constant:
                add(Constant(plan.graph.tensors[tensor].value, source=tensor), f"{name}_layer_{index}_input_{position}")
    for index, state in enumerate(plan.graph.states):
        value = initial_value(state)
        if isinstance(value, Constant):
            add(value, f"{name}_state_{index}_initial")
    return names, comments


def _paths(value: Value, path: str = "") -> list[tuple[str, Constant]]:
    if isinstance(value, Constant):
        return [(path, value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, tuple) else ()
    return [found for key, item in items for found in _paths(item, f"{path}_{key}".lstrip("_"))]


def _c_shape(tensor: Tensor) -> str:
    return tensor.dtype.value + "".join(f"[{extent}]" for extent in tensor.shape)


def _layers(plan: Plan, name_of: NameOf) -> list[Layer]:
    """The calls. Strips of one operator have equal parameters, which are stored once."""
    layers: list[Layer] = []
    first: dict[tuple[str, tuple[str, ...]], str] = {}
    for index, call in enumerate(plan.calls):
        fields = ctext.initialiser(call.parameters, name_of) or ["    0,"]
        variable = first.setdefault((call.kernel.struct, tuple(fields)), f"layer_{index}")
        layers.append(_layer(plan, index, call, fields if variable == f"layer_{index}" else [], variable, name_of))
    return layers


def _layer(plan: Plan, index: int, call: Call, fields: list[str], variable: str, name_of: NameOf) -> Layer:
    graph, kernel = plan.graph, call.kernel
    operands = [_operand(plan, name, name_of) for name in (*call.inputs, *call.outputs)]
    lines = []
    if kernel.pointer_arrays:
        count = len(call.inputs)
        notes = [ctext.comment_text(name, 60) for name in (*call.inputs, *call.outputs)]
        lines += ctext.pointer_array(f"const void *const inputs_{index}[]", operands[:count], notes[:count])
        lines += ctext.pointer_array(f"void *const outputs_{index}[]", operands[count:], notes[count:])
        operands = [f"inputs_{index}", f"outputs_{index}"]
    if kernel.uses_scratch:
        scratch = plan.scratch_offset(index)
        operands.append("NULL" if scratch is None else f"at(arena, {scratch})")
    lines += ctext.call(kernel.function, [f"&{variable}", *operands])
    first = next((graph.tensors[n] for n in call.inputs), None) or graph.ins(call.operator)[0]
    macs = operator_macs(graph, call.operator)
    facts = f"{_c_shape(first)} -> {', '.join(_c_shape(graph.tensors[n]) for n in call.outputs[:2])}"
    comment = f"Layer {index}: {call.operator.kind}, {ctext.comment_text(facts, 70)}" + (
        f", {macs:,} MACs" if macs else ""
    )
    label = ctext.comment_text(call.operator.name, 96)
    if not fields:
        lines.insert(0, f"  /* {label} */")
    return Layer(index, f'{comment}.\n * "{label}"', kernel.struct, variable, fields, lines)


def _operand(plan: Plan, name: str, name_of: NameOf) -> str:
    tensor = plan.graph.tensors[name]
    if tensor.is_constant:
        return name_of(Constant(tensor.value))
    return f"at(arena, {plan.offset(name)})"


def _port(plan: Plan, index: int, name: str, const: str) -> Port:
    tensor = plan.graph.tensors[name]
    original = (plan.source.outputs if const else plan.source.inputs)[index]
    quantized = tensor.quantization is not None and tensor.quantization.axis is None
    meaning = ", real = SCALE * (value - ZERO_POINT)" if quantized else ""
    offset = plan.offset(name)
    place = f"(({const}uint8_t *)arena + {offset})" if offset else "arena"
    c_type = tensor.dtype.c_type
    if place != "arena" and tensor.dtype.itemsize > 1:
        # Through void: the arena's alignment makes up for the byte pointer's.
        place = f"({const}void *){place}"
    address = f"({const}{c_type} *){place}"
    return Port(
        index,
        f'"{ctext.comment_text(original, 48)}": {_c_shape(tensor)}{meaning}',
        c_type,
        tensor.size,
        tensor.nbytes,
        offset,
        ctext.float_literal(tensor.scale) if quantized else None,
        tensor.zero_point if quantized else None,
        address,
    )


def _reset(plan: Plan, state: State, name_of: NameOf) -> list[str]:
    place = f"at(arena, {plan.offset(state.read)})"
    value = initial_value(state)
    size = int(state.initial.nbytes)
    if isinstance(value, Constant):
        return ctext.call("memcpy", [place, name_of(value), str(size)])
    return ctext.call("memset", [place, str(value), str(size)])
