"""``tune``: measure every kernel that could compute an operator of a model, on the board, inside the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinyopt.board import Board
from tinyopt.data import Samples, load_samples
from tinyopt.errors import BoardError, DeviceError, MismatchError
from tinyopt.execute import Executor
from tinyopt.graph import Array, Graph
from tinyopt.names import short_name
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.costs import signature
from tinyopt.plan.objective import Objective
from tinyopt.plan.option import constants_of
from tinyopt.report import compare
from tinyopt.tune.context import context_of, kernel_digest
from tinyopt.tune.costs import tuned_costs, usable_entries
from tinyopt.tune.rounds import rounds, split, targets
from tinyopt.tune.sizes import code_bytes
from tinyopt.tune.table import Entry, TuningTable, Unit, load_table, save_table

if TYPE_CHECKING:
    from hil import Measurement
    from tinyopt.build import Firmware
    from tinyopt.plan.cmsis_nn import Backend

Step = Callable[[int, int], None]
Measure = Callable[["Firmware", Samples], "Measurement"]
"""Runs samples through a firmware on the board (for hardware: after flashing it)."""

CLOCK_REPEATS = 5
"""Runs of which the least is taken where the board counts by a clock that others disturb."""


@dataclass(frozen=True)
class OperatorTuning:
    """An operator before and after tuning: its kernels, and what they take in the table's unit."""

    name: str
    kernel_before: str
    kernel_after: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class TuningResult:
    """``before`` and ``after``: an inference with the plan of the formulas and with that of the table, in ``unit``."""

    table: Path
    unit: Unit
    measured: int
    reused: int
    builds: int
    before: float
    after: float
    operators: tuple[OperatorTuning, ...]
    notes: tuple[str, ...]


def emulated(board: Board) -> Measure:
    """Measuring on the emulator that the board file names."""

    def run(firmware: Firmware, samples: Samples) -> Measurement:
        from hil import measure

        return measure(firmware, board, list(samples))

    return run


def tune(
    graph: Graph,
    board: Board,
    path: Path,
    *,
    objective: str | Objective = "latency",
    backend: Backend | None = None,
    resume: bool = False,
    seed: int = 0,
    measure: Measure | None = None,
    on_progress: Step | None = None,
) -> TuningResult:
    """Measure the kernels of a model and store them in the table at ``path``; then plan from it and measure that.

    ``graph``: as it is planned, that is, optimised. Every round builds the measuring firmware of the whole model with
    one kernel for every operator, so that each is measured where it will work. The table is saved after every round;
    with ``resume`` what it holds already is not measured again. ``backend``: kernels to measure beside those of the
    catalogue. ``seed``: of the random sample that is run.
    ``measure``: how a firmware is run; the default is the board's emulator.

    Raises:
        MismatchError: a kernel computes other outputs than the reference; it is not stored.
        DataError: the table is not usable, or cannot be written.
        TinyoptError: whatever else stands in the way: the planner, the compiler, the board.
    """
    goal = Objective.parse(objective)
    table = _current(path)
    more = backend.kernels if backend is not None else ()
    base = make_plan(graph, board, objective=goal, backend=backend)
    items = targets(base)
    known = frozenset((e.operator, e.kernel) for e in usable_entries(table, board, more)[1]) if resume else frozenset()
    samples = load_samples(f"random:{seed}:1", graph)
    bench = _Bench(graph, base, backend, path, measure or emulated(board), samples)
    pairs = {(item.signature, kernel) for item in items for kernel in item.kernels}
    report = on_progress or (lambda done, total: None)
    report(0, len(rounds(items, known)) + 2)
    before = bench.run(base, pairs - known)
    wanted = rounds(items, known | bench.seen)
    pinned = {name: item.chosen for item in items if len(item.kernels) > 1 for name in item.operators}
    for index, pins in enumerate(wanted):
        report(index + 1, len(wanted) + 2)
        bench.round(pinned, pins, pairs - known)
    report(len(wanted) + 1, len(wanted) + 2)
    table = _current(path)
    tuned = tuned_costs(table, board, path, more)
    plan = make_plan(graph, board, objective=goal, costs=tuned.costs, backend=backend)
    after = before if _kernels(plan) == _kernels(base) else bench.run(plan, frozenset())
    report(len(wanted) + 2, len(wanted) + 2)
    counts = {(e.operator, e.kernel): e.count for e in usable_entries(table, board, more)[1]}
    return TuningResult(
        path,
        bench.unit or "cycles",
        len(bench.seen - known),
        len(known & pairs),
        bench.builds,
        before,
        after,
        _operators(base, plan, counts),
        tuple(bench.notes),
    )


def _current(path: Path) -> TuningTable:
    """The table as it is on disk; an empty one where there is none yet."""
    return load_table(path) if path.is_file() else TuningTable()


def _kernels(plan: Plan) -> list[tuple[str, str]]:
    return [(call.operator.name, call.kernel.name) for call in plan.calls]


def _operators(base: Plan, plan: Plan, counts: Mapping[tuple[str, str], float]) -> tuple[OperatorTuning, ...]:
    old = {call.operator.name: call.kernel.name for call in base.calls}
    rows = []
    for call in plan.calls:
        key = signature(plan.graph, call.operator)
        name = call.operator.name
        before = old.get(name, call.kernel.name)
        rows.append(
            OperatorTuning(
                name, before, call.kernel.name, counts.get((key, before)), counts.get((key, call.kernel.name))
            )
        )
    return tuple(rows)


class _Bench:
    """Builds plans, runs them, and puts what was measured into the table."""

    def __init__(
        self,
        graph: Graph,
        base: Plan,
        backend: Backend | None,
        path: Path,
        measure: Measure,
        samples: Samples,
    ) -> None:
        self.graph, self.base, self.board, self.backend = graph, base.graph, base.board, backend
        self.path, self.measure, self.samples = path, measure, samples
        self.reference = _reference(graph, samples)
        self.seen: set[tuple[str, str]] = set()
        self.unit: Unit | None = None
        self.builds = 0
        self.notes: list[str] = []

    def round(self, pinned: Mapping[str, str], pins: Mapping[str, str], wanted: Iterable[tuple[str, str]]) -> None:
        """Measure with these kernels; where the model does not fit the board with all of them, with a part at a time.

        A part at a time is also how a kernel that computes wrong outputs is found.
        """
        try:
            # The operators of the base plan, strips and all, stay as they are.
            plan = make_plan(self.base, self.board, pins={**pinned, **pins}, backend=self.backend)
            self.run(plan, wanted)
        except (BoardError, MismatchError) as error:
            if len(pins) > 1:
                for half in split(pins):
                    self.round(pinned, half, wanted)
                if not isinstance(error, MismatchError):
                    return
                raise
            ((name, kernel),) = pins.items() or (("", ""),)
            if isinstance(error, MismatchError):
                raise MismatchError(
                    f"the kernel '{kernel}' computes wrong outputs on '{short_name(name)}' ({self.board.name}): "
                    f"{error}. Please report it; until then keep it out of your plans: it was not stored"
                ) from None
            reason = str(error).splitlines()[-1].strip()
            self.notes.append(f"'{kernel}' was not measured on '{short_name(name)}': {reason}")

    def run(self, plan: Plan, wanted: Iterable[tuple[str, str]]) -> float:
        """Build and run a plan, store what it says about ``wanted`` pairs, and return the whole inference."""
        from tinyopt.build import build
        from tinyopt.generate import generate

        with tempfile.TemporaryDirectory(prefix="tinyopt-tune-") as folder:
            firmware = build(generate(plan, Path(folder) / "project", harness=True))
            measurement = self.measure(firmware, self.samples)
            self.builds += 1
            unit, counts, total = _counts(measurement, len(plan.calls))
            if unit == "nanoseconds":
                for _ in range(CLOCK_REPEATS - 1):
                    _, again, once = _counts(self.measure(firmware, self.samples), len(plan.calls))
                    counts, total = [min(pair) for pair in zip(counts, again)], min(total, once)
            sizes = code_bytes(plan, firmware)
        self._check(plan, measurement)
        self.unit = unit
        self._store(plan, counts, sizes, firmware.compiler, unit, frozenset(wanted))
        return total

    def _check(self, plan: Plan, measurement: Measurement) -> None:
        typed = [
            [
                array.view(plan.graph.tensors[n].dtype.numpy).reshape(plan.graph.tensors[n].shape)
                for n, array in zip(plan.graph.outputs, sample)
            ]
            for sample in measurement.outputs
        ]
        result = compare(self.graph, typed, self.reference)
        if result.mismatches:
            raise MismatchError(str(result.first_mismatch))

    def _store(
        self,
        plan: Plan,
        counts: Sequence[float],
        sizes: Mapping[str, int],
        compiler: str,
        unit: Unit,
        wanted: frozenset[tuple[str, str]],
    ) -> None:
        grouped: dict[tuple[str, str], list[int]] = {}
        for index, call in enumerate(plan.calls):
            key = (signature(plan.graph, call.operator), call.kernel.name)
            if key in wanted and key not in self.seen:
                grouped.setdefault(key, []).append(index)
        entries = []
        for (operator, kernel), indices in grouped.items():
            call = plan.calls[indices[0]]
            count = sum(counts[index] for index in indices) / len(indices)
            entries.append(
                Entry(
                    operator=operator,
                    kernel=kernel,
                    source=kernel_digest(call.kernel),
                    context=0,
                    count=max(count, 1.0),
                    predicted=call.kernel.cost(plan.graph, call.operator),
                    code_bytes=sizes[kernel],
                    constant_bytes=sum(constant.nbytes for constant in constants_of(call.parameters)),
                    scratch_bytes=call.scratch,
                )
            )
        self.seen.update(grouped)
        if entries:
            # Another run may have added to the file in the meantime.
            table = _current(self.path).with_entries(context_of(self.board, compiler, unit), entries)
            save_table(table, self.path)


def _counts(measurement: Measurement, calls: int) -> tuple[Unit, list[float], float]:
    """Unit, what every layer took, and what the whole inference took: cycles, else instructions, else nanoseconds."""
    if len(measurement.layers) != calls:
        raise DeviceError(f"the board reported {len(measurement.layers)} layers of {calls}")
    units: tuple[Unit, ...] = ("cycles", "instructions", "nanoseconds")
    for unit in units:
        values = [getattr(layer, unit) for layer in measurement.layers]
        total = getattr(measurement, unit)
        if total is not None and all(value is not None for value in values):
            return unit, [float(value) for value in values], float(total)
    raise DeviceError("the board counts neither cycles nor instructions nor time: there is nothing to tune by")


def _reference(graph: Graph, samples: Samples) -> list[list[Array]]:
    values = [Executor(graph)(sample) for sample in samples]
    return [[sample[name] for name in graph.outputs] for sample in values]
