"""Strips: a run of operators on images, computed a few rows at a time, so that no whole image in between exists.

Each tensor between two operators shrinks to a rolling buffer: the rows that its readers still need and the new ones.
When new rows are due, the rows that are kept move to the front of the buffer and the producer writes behind them, so
nothing is computed twice (unlike patches, which recompute their overlap: MCUNetV2, Lin et al. 2021). The result is an
ordinary graph of slices, operators on few rows, and concatenations; in the arena the slices are views and the joined
rows are written in place, which leaves the copies of the kept rows as the only extra work besides more calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tinyopt.graph import Graph, Operator, Tensor, ops

Windowed = (ops.Conv2d, ops.DepthwiseConv2d, ops.MaxPool2d, ops.AveragePool2d)
_ROWS = 1  # the axis of the rows


@dataclass(frozen=True)
class Strips:
    """Which operators are computed in strips: a range of the graph's operators (``last`` included), and how many rows
    of the last one's output a strip has."""

    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Striped:
    """A graph in which some operators work in strips. ``sources``: operator of a strip → what it is part of."""

    graph: Graph
    sources: Mapping[str, str]


@dataclass(frozen=True)
class _Reach:
    """Output row ``r`` is computed from the input rows ``r * stride - before`` and up, ``reach`` of them."""

    stride: int = 1
    before: int = 0
    reach: int = 1

    def rows(self, start: int, end: int, height: int) -> tuple[int, int]:
        """The rows of an input of this height from which output rows ``start`` to ``end`` (excluded) are computed."""
        low, high = start * self.stride - self.before, (end - 1) * self.stride - self.before + self.reach
        return max(low, 0), min(high, height)


def _reach(graph: Graph, operator: Operator) -> _Reach | None:
    """How far an operator looks up and down; None when it cannot be computed row by row."""
    a, y = operator.attributes, graph.outs(operator)[0]
    images = [tensor for tensor in graph.ins(operator) if not tensor.is_constant]
    if len(operator.outputs) != 1 or not images or any(not _is_image(t) for t in (*images, y)):
        return None
    if isinstance(a, Windowed):
        if isinstance(a, (ops.Conv2d, ops.DepthwiseConv2d)):
            reach = (graph.ins(operator)[1].shape[1] - 1) * a.dilation[0] + 1
        else:
            reach = a.kernel[0]
        inside = len(images) == 1 and max(a.padding.top, a.padding.bottom) < reach
        return _Reach(a.stride[0], a.padding.top, reach) if inside else None
    if isinstance(a, (ops.Binary, ops.Unary, ops.Clip, ops.Prelu, ops.Quantize, ops.Dequantize)):
        same = all(tensor.shape[_ROWS] == y.shape[_ROWS] for tensor in images)
        constants = (t.shape for t in graph.ins(operator) if t.is_constant)
        return _Reach() if same and all(len(s) < 3 or s[-3] == 1 for s in constants) else None
    return None


def _is_image(tensor: Tensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[0] == 1


def reaches(graph: Graph) -> list[bool]:
    """For each operator, whether it can be part of a strip."""
    return [_reach(graph, operator) is not None for operator in graph.operators]


def region_source(graph: Graph, first: int, last: int) -> str | None:
    """The one tensor that a run of operators is computed from; None when strips of it are not possible."""
    region = graph.operators[first : last + 1]
    inside = {name for operator in region for name in operator.outputs}
    given = {
        name
        for operator in region
        for name in operator.inputs
        if name not in inside and not graph.tensors[name].is_constant
    }
    if len(given) != 1:
        return None
    output = region[-1].outputs[0]
    members = {operator.name for operator in region}
    for name in inside - {output}:
        readers = graph.consumers.get(name, ())
        if not readers or name in graph.kept or any(reader.name not in members for reader in readers):
            return None
    return next(iter(given)) if output not in {n for o in region for n in o.inputs} else None


def striped(graph: Graph, strips: Strips) -> Striped:
    """The graph with one run of operators in strips; every value is the same as before.

    The run must have one source and one result (``region_source``) and consist of operators that ``reaches`` allows.
    """
    return _Writer(graph, strips).run()


def strips_bytes(graph: Graph, strips: Strips) -> int:
    """Roughly the most bytes that exist at once while the strips are computed, scratch memory left out."""
    region = graph.operators[strips.first : strips.last + 1]
    source, result = region_source(graph, strips.first, strips.last), region[-1].outputs[0]
    assert source is not None
    schedule = _Schedule(graph, region)
    height = graph.tensors[result].shape[_ROWS]
    largest: dict[str, int] = {}
    ends = 0
    for start in range(0, height, strips.rows):
        low = schedule.kept_from(source)
        needed = schedule.needed(min(start + strips.rows, height))
        for name in needed:
            if name != result and needed[name] > schedule.done[name]:
                rows = needed[name] - min(schedule.kept_from(name), schedule.done[name])
                largest[name] = max(largest.get(name, 0), rows * graph.tensors[name].nbytes // schedule.height(name))
        left = (schedule.height(source) - low) * graph.tensors[source].nbytes // schedule.height(source)
        ends = max(ends, left + needed[result] * graph.tensors[result].nbytes // height)
        schedule.done.update(needed)
    return sum(largest.values()) + ends


class _Schedule:
    """How many rows of each tensor of a run exist, and how many are needed for more rows of its result."""

    def __init__(self, graph: Graph, region: tuple[Operator, ...]) -> None:
        found = {operator.name: _reach(graph, operator) for operator in region}
        assert None not in found.values(), "these operators cannot be computed in strips"
        self.graph, self.region = graph, region
        self.reach = {name: reach for name, reach in found.items() if reach is not None}
        self.done = {operator.outputs[0]: 0 for operator in region}

    def height(self, name: str) -> int:
        return self.graph.tensors[name].shape[_ROWS]

    def images(self, operator: Operator) -> list[str]:
        """The inputs that are not constant, each once."""
        return [name for name in dict.fromkeys(operator.inputs) if not self.graph.tensors[name].is_constant]

    def rows(self, operator: Operator, name: str, start: int, end: int) -> tuple[int, int]:
        """The rows of the input ``name`` from which an operator computes its rows ``start`` to ``end`` (excluded)."""
        return self.reach[operator.name].rows(start, end, self.height(name))

    def needed(self, rows: int) -> dict[str, int]:
        """How many rows of each tensor must have been computed for so many rows of the result."""
        needed = dict.fromkeys(self.done, 0)
        needed[self.region[-1].outputs[0]] = rows
        for operator in reversed(self.region):
            for name in self.images(operator):
                if name in needed:
                    _, high = self.rows(operator, name, 0, needed[operator.outputs[0]])
                    needed[name] = max(needed[name], high)
        return needed

    def kept_from(self, name: str) -> int:
        """The first row that a reader in the run still needs."""
        readers = [operator for operator in self.region if name in operator.inputs]
        unfinished = [o for o in readers if self.done[o.outputs[0]] < self.height(o.outputs[0])]
        starts = ((operator, self.done[operator.outputs[0]]) for operator in unfinished)
        return min((self.rows(operator, name, at, at + 1)[0] for operator, at in starts), default=self.height(name))


@dataclass
class _Rows:
    """A piece of an image that exists: rows ``low`` to ``high`` (excluded), in the tensor ``name``."""

    name: str
    low: int
    high: int


class _Writer:
    def __init__(self, graph: Graph, strips: Strips) -> None:
        self.graph, self.strips = graph, strips
        self.region = graph.operators[strips.first : strips.last + 1]
        source = region_source(graph, strips.first, strips.last)
        assert source is not None, "these operators cannot be computed in strips"
        self.schedule = _Schedule(graph, self.region)
        self.done = self.schedule.done
        self.result = self.region[-1].outputs[0]
        self.operators: list[Operator] = []
        self.tensors: dict[str, Tensor] = {}
        self.sources: dict[str, str] = {}
        self.buffers = {source: _Rows(source, 0, graph.tensors[source].shape[_ROWS])}
        self.pieces: list[str] = []

    def run(self) -> Striped:
        height = self.graph.tensors[self.result].shape[_ROWS]
        for number, start in enumerate(range(0, height, self.strips.rows)):
            needed = self.schedule.needed(min(start + self.strips.rows, height))
            for operator in self.region:
                name = operator.outputs[0]
                if needed[name] > self.done[name]:
                    self._compute(operator, needed[name], number)
        joined = Operator(
            self._operator_name(f"{self.result} rows"), ops.Concat(_ROWS), tuple(self.pieces), (self.result,)
        )
        before = self.graph.operators[: self.strips.first]
        after = self.graph.operators[self.strips.last + 1 :]
        graph = self.graph.with_operators((*before, *self.operators, joined, *after), self.tensors.values())
        return Striped(graph, self.sources)

    def _compute(self, operator: Operator, end: int, number: int) -> None:
        """The next rows of an operator's output, and the buffer that holds them for its readers."""
        name, start = operator.outputs[0], self.done[operator.outputs[0]]
        kept = self._kept_rows(name, number) if name != self.result else None
        reach, attributes, inputs = self.schedule.reach[operator.name], operator.attributes, {}
        for image in self.schedule.images(operator):
            low, high = self.schedule.rows(operator, image, start, end)
            inputs[image] = self._rows(image, low, high)
            if isinstance(attributes, Windowed):
                top = low - (start * reach.stride - reach.before)
                bottom = (end - 1) * reach.stride - reach.before + reach.reach - high
                attributes = replace(attributes, padding=replace(attributes.padding, top=top, bottom=bottom))
        piece = self._tensor(name, f"{name} strip {number}", end - start)
        self._add(
            f"{operator.name} strip {number}", attributes, [inputs.get(n, n) for n in operator.inputs], piece, operator
        )
        self.done[name] = end
        if name == self.result:
            self.pieces.append(piece)
        elif kept is None:
            self.buffers[name] = _Rows(piece, start, end)
        else:
            buffer = self._tensor(name, f"{name} rows {number}", end - kept.low)
            self._add(f"{name} rows {number}", ops.Concat(_ROWS), [kept.name, piece], buffer, operator)
            self.buffers[name] = _Rows(buffer, kept.low, end)

    def _kept_rows(self, name: str, number: int) -> _Rows | None:
        """A copy of the rows that readers still need of what is there already."""
        if name not in self.buffers:
            return None
        low = min(self.schedule.kept_from(name), self.done[name])
        high = self.buffers[name].high
        if low == high:
            return None
        view = self._rows(name, low, high)
        copy = self._tensor(name, f"{name} kept {number}", high - low)
        writer = self.graph.producers[name]
        self._add(copy, ops.Reshape(self.tensors[copy].shape), [view], copy, writer)
        return _Rows(copy, low, high)

    def _rows(self, name: str, low: int, high: int) -> str:
        """The tensor that is these rows of an image."""
        buffer = self.buffers[name]
        if (buffer.low, buffer.high) == (low, high):
            return buffer.name
        shape = self.graph.tensors[name].shape
        view = self._tensor(name, f"{name} {low} to {high - 1}", high - low)
        begin, size = (0, low - buffer.low, 0, 0), (1, high - low, *shape[2:])
        self._add(view, ops.Slice(begin, size, (1, 1, 1, 1)), [buffer.name], view, None)
        return view

    def _tensor(self, like: str, stem: str, rows: int) -> str:
        name = self.graph.fresh_name(stem, self.tensors)
        tensor = self.graph.tensors[like]
        shape = (1, rows, *tensor.shape[2:])
        self.tensors[name] = Tensor(name, shape, tensor.dtype, None, tensor.quantization)
        return name

    def _operator_name(self, stem: str) -> str:
        taken = {operator.name for operator in self.graph.operators} | {operator.name for operator in self.operators}
        name, number = stem, 1
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        return name

    def _add(
        self, stem: str, attributes: ops.Attributes, inputs: list[str], output: str, source: Operator | None
    ) -> None:
        name = self._operator_name(stem)
        self.operators.append(Operator(name, attributes, tuple(inputs), (output,)))
        if source is not None:
            self.sources[name] = source.name
