"""The rows of ``benchmarks.stages``: how each model is made from the trained network or from other rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.datasets import Split
from benchmarks.stage_tasks import Task
from tinyopt.board import load_board
from tinyopt.bridge import dequantize_graph, to_graph, to_torch
from tinyopt.compress.distill import DistillSettings, distill
from tinyopt.compress.factorize import PredictedCycles
from tinyopt.compress.prune import (
    BlockPruning,
    GradualCubic,
    Iterative,
    NMPruning,
    OneShot,
    PruningConfig,
    Schedule,
    StructuredPruning,
    Target,
    UnstructuredPruning,
    prune,
)
from tinyopt.data import Samples
from tinyopt.graph import Graph, load_graph, save_graph
from tinyopt.optimise import optimise
from tinyopt.quantize import Int8, PostTraining, quantize, weight_format
from tinyopt.quantize.aware import QuantizationAware, train_aware
from tinyopt.train import TrainSettings, fit

WIDTHS = "Weights of fewer bits"
HALF = "Half the cycles by structured pruning"
ORDER = "Order of pruning and quantization"
SIZE = "One size, several ways"
TEACHER = "A small student, with and without a teacher"
ZEROS = "Zeros in the weights, as int8"
RECIPE = "Several stages for the least flash"
SECTIONS = (WIDTHS, HALF, ORDER, SIZE, TEACHER, ZEROS, RECIPE)

PLANNED_FOR = "emulated_l4r5zi"
CALIBRATION_SAMPLES = 256
STEPS = 3
"""Of iterative pruning."""


class Lab:
    """The models of one seed, made when asked for and kept in ``folder``."""

    def __init__(self, task: Task, seed: int, folder: Path) -> None:
        self.task, self.seed, self.folder = task, seed, folder
        self._data: Split | None = None
        self._rows = {row.key: row for row in rows_of(task)}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Split:
        """Training, validation and test data; read when asked for."""
        if self._data is None:
            self._data = self.task.read(self.seed)
        return self._data

    def graph(self, key: str) -> Graph:
        """The model of a row: from the folder, or made now."""
        path = self.folder / f"{key}.tinyopt"
        if not path.is_file():
            started = time.monotonic()
            made = self._rows[key].make(self)
            save_graph(made, path)
            print(f"seed {self.seed}  {key:28} made in {time.monotonic() - started:.0f} s", flush=True)
        return load_graph(path)

    # ---- verbs of the rows ------------------------------------------------------------------------------------------

    def settings(self, settings: TrainSettings, epochs: int | None = None) -> TrainSettings:
        """With this seed, and with other epochs where given."""
        return replace(settings, seed=self.seed, epochs=epochs or settings.epochs)

    def trained(self) -> Graph:
        """The network of the task, trained in one run or in several, each from the weights of the one before."""
        module = to_torch(self.task.network(self.seed, self.data))
        data = self.data
        for number, settings in enumerate(self.task.training, 1):
            folder = self.folder / "float" / str(number)
            fit(module, data.train, data.validation, self.settings(settings), augment=self.task.augment, folder=folder)
        return to_graph(module)

    def calibration(self, graph: Graph) -> Samples:
        """Training samples, spread over all of them."""
        inputs = self.data.train.inputs[0]
        return Samples.from_array(inputs[np.linspace(0, len(inputs) - 1, CALIBRATION_SAMPLES).astype(int)], graph)

    def post_training(self, graph: Graph, form: str = "int8") -> Graph:
        """Quantized without training."""
        config = PostTraining(weights=weight_format(form), edges=Int8(), overrides=self._overrides(form, graph))
        return quantize(graph, self.calibration(graph), config)

    def aware(self, graph: Graph, form: str, teacher: Graph | None = None, epochs: int | None = None) -> Graph:
        """Trained for integers, where the task has teachers taught by ``teacher`` or the float network itself."""
        settings = self.task.aware_settings(form, self.seed)
        return train_aware(
            graph,
            self.data.train,
            self.data.validation,
            QuantizationAware(weights=weight_format(form), overrides=self._overrides(form, graph)),
            replace(settings, epochs=epochs or settings.epochs),
            teacher=(teacher or graph) if self.task.taught else None,
            augment=self.task.augment,
            progress=False,
        ).graph

    def _overrides(self, form: str, graph: Graph) -> dict[str, Int8]:
        narrow = form in ("ternary", "binary")
        return dict(self.task.overrides) if narrow else {}  # type: ignore[arg-type]

    def pruned(self, graph: Graph, config: PruningConfig, schedule: Schedule) -> Graph:
        """Pruned, and trained as the schedule says."""
        return prune(graph, config, self.data.train, schedule=schedule, augment=self.task.augment)

    def tuning(self, share: float = 1.0) -> TrainSettings:
        """Training after pruning; ``share`` of its epochs."""
        return self.settings(self.task.tuning, max(round(share * self.task.tuning.epochs), 1))

    def taught(self, student: Graph, teacher: Graph, settings: TrainSettings, folder: str | None = None) -> Graph:
        """A student that learned from a teacher's softened scores. ``folder``: of its checkpoints, for long ones."""
        data = self.data
        chosen = DistillSettings(training=self.settings(settings))
        return distill(
            student,
            optimise(teacher),  # without its batch norms it answers in half the time
            data.train,
            chosen,
            validation=data.validation,
            augment=self.task.augment,
            folder=None if folder is None else self.folder / folder,
            progress=False,
        )


@dataclass(frozen=True)
class Row:
    """``key``: the name of its files. ``make``: the model, from the lab's others."""

    key: str
    title: str
    section: str
    make: Callable[[Lab], Graph]


def half_the_cycles(task: Task) -> StructuredPruning:
    """Channels leave until the plan predicts half the int8 network's cycles."""
    target = Target(PredictedCycles(load_board(PLANNED_FOR)), ratio=task.half)
    return replace(task.channels, amount=None, target=target)


def parameters(task: Task, at_most: int) -> StructuredPruning:
    """Channels leave until so many parameters are left."""
    return replace(task.fewest, amount=None, target=Target("parameters", at_most=at_most))


def one_shot(lab: Lab, config: PruningConfig, share: float = 1.0) -> Graph:
    return lab.pruned(lab.graph("float"), config, OneShot(lab.tuning(share)))


def iterative(lab: Lab, config: PruningConfig) -> Graph:
    return lab.pruned(lab.graph("float"), config, Iterative(STEPS, lab.tuning(1 / STEPS)))


def gradual(lab: Lab, config: UnstructuredPruning | BlockPruning) -> Graph:
    return lab.pruned(lab.graph("float"), config, GradualCubic(lab.tuning(lab.task.zeros), interval=20))


def widths(task: Task) -> list[Row]:
    rows = [Row("float", "float32", WIDTHS, lambda lab: lab.trained())]
    for form in ("int8", "int4", "ternary", "binary"):
        mixed = ", depthwise int8" if task.overrides and form in ("ternary", "binary") else ""
        rows += [
            Row(
                f"{form}-ptq",
                f"{form}{mixed}, after training",
                WIDTHS,
                lambda lab, form=form: lab.post_training(lab.graph("float"), form),  # type: ignore[misc]
            ),
            Row(
                f"{form}-qat",
                f"{form}{mixed}, by training",
                WIDTHS,
                lambda lab, form=form: lab.aware(lab.graph("float"), form),  # type: ignore[misc]
            ),
        ]
    return rows


def halves(task: Task) -> list[Row]:
    rows = [
        Row("half-once-float", "one-shot, float32", HALF, lambda lab: one_shot(lab, half_the_cycles(lab.task))),
        Row("half-once", "one-shot, int8", HALF, lambda lab: lab.post_training(lab.graph("half-once-float"))),
        Row("half-steps-float", f"{STEPS} steps, float32", HALF, lambda lab: iterative(lab, half_the_cycles(lab.task))),
        Row("half-steps", f"{STEPS} steps, int8", HALF, lambda lab: lab.post_training(lab.graph("half-steps-float"))),
    ]
    if task.teaching is not None:
        longer = task.teaching
        rows += [
            Row(
                "half-taught-float",
                "one-shot, then taught, float32",
                HALF,
                lambda lab: lab.taught(lab.graph("half-once-float"), lab.graph("float"), longer, "taught"),
            ),
            Row(
                "half-taught",
                "one-shot, then taught, int8",
                HALF,
                lambda lab: lab.post_training(lab.graph("half-taught-float")),
            ),
            Row(
                "half-again-float",
                "taught once more, float32",
                HALF,
                lambda lab: lab.taught(
                    lab.graph("half-taught-float"),
                    lab.graph("float"),
                    replace(longer, epochs=24, learning_rate=0.04),
                    "taught-again",
                ),
            ),
            Row(
                "half-again",
                "taught once more, int8",
                HALF,
                lambda lab: lab.post_training(lab.graph("half-again-float")),
            ),
        ]
    return rows


def order() -> list[Row]:
    """Both ways with the same training: before, between and after, and the same target."""

    def prune_then_quantize(lab: Lab) -> Graph:
        small = one_shot(lab, half_the_cycles(lab.task), lab.task.aware["int4"] / lab.task.tuning.epochs)
        return lab.aware(small, "int4", lab.graph("float"))

    def quantize_then_prune(lab: Lab) -> Graph:
        narrow = dequantize_graph(lab.graph("int4-qat"))
        small = lab.pruned(narrow, half_the_cycles(lab.task), OneShot())
        return lab.aware(small, "int4", lab.graph("float"))

    return [
        Row("prune-quantize", "pruned, then int4 by training", ORDER, prune_then_quantize),
        Row("quantize-prune", "int4 by training, then pruned", ORDER, quantize_then_prune),
    ]


def sizes(task: Task) -> list[Row]:
    """About the bytes of the binary network, by each way of getting there."""

    def pruned_to(count: int, form: str | None) -> Callable[[Lab], Graph]:
        def make(lab: Lab) -> Graph:
            small = iterative(lab, parameters(task, count))
            if form is None:
                return small
            return lab.aware(small, form, lab.graph("float"))

        return make

    rows = [
        Row("size-float", "pruned alone, float32", SIZE, pruned_to(round(0.31 * task.least), None)),
        Row("size-int8", "pruned, then int8", SIZE, pruned_to(round(0.78 * task.least), "int8")),
        Row("size-int4", "pruned, then int4", SIZE, pruned_to(round(1.45 * task.least), "int4")),
    ]
    rows.append(Row("size-binary", "quantized alone, binary", SIZE, lambda lab: lab.graph("binary-qat")))
    return rows


def students() -> list[Row]:
    def alone(lab: Lab) -> Graph:
        module = to_torch(lab.task.student(lab.seed))
        data = lab.data
        settings = lab.settings(lab.task.distilling)
        fit(module, data.train, data.validation, settings, augment=lab.task.augment, progress=False)
        return to_graph(module)

    def taught(lab: Lab) -> Graph:
        settings = replace(lab.task.distilling, label_smoothing=0.0)
        return lab.taught(lab.task.student(lab.seed), lab.graph("float"), settings)

    return [
        Row("student", "student from the labels, float32", TEACHER, alone),
        Row("student-taught", "student with a teacher, float32", TEACHER, taught),
        Row("student-int8", "from the labels, int8", TEACHER, lambda lab: lab.post_training(lab.graph("student"))),
        Row(
            "student-taught-int8",
            "with a teacher, int8",
            TEACHER,
            lambda lab: lab.post_training(lab.graph("student-taught")),
        ),
    ]


def zeros() -> list[Row]:
    rows = [
        Row(
            "zeros-2-4",
            "2 of 4",
            ZEROS,
            lambda lab: lab.post_training(one_shot(lab, NMPruning(2, 4), lab.task.zeros)),
        )
    ]
    for percent in (50, 75, 90):
        # All layers together, 90 % of the blocks would leave some layer with next to nothing.
        config = BlockPruning(percent / 100, scope="layer" if percent == 90 else "global")
        rows.append(
            Row(
                f"zeros-block-{percent}",
                f"blocks 1x4, {percent} %" + (" of each layer" if percent == 90 else ""),
                ZEROS,
                lambda lab, config=config: lab.post_training(gradual(lab, config)),  # type: ignore[misc]
            )
        )
    for percent in (50, 75, 90):
        amount = percent / 100
        rows.append(
            Row(
                f"zeros-single-{percent}",
                f"single weights, {percent} %",
                ZEROS,
                lambda lab, amount=amount: lab.post_training(  # type: ignore[misc]
                    gradual(lab, UnstructuredPruning(amount))
                ),
            )
        )
    return rows


def recipes(task: Task) -> list[Row]:
    """Pruned in steps, taught by the network before, then integers by training."""
    if task.name != "images":
        return [
            Row(
                "least-pruned",
                "pruned in steps, float32",
                RECIPE,
                lambda lab: iterative(lab, parameters(lab.task, 2_400)),
            ),
            Row(
                "least-taught",
                "then taught",
                RECIPE,
                lambda lab: lab.taught(lab.graph("least-pruned"), lab.graph("float"), lab.task.distilling),
            ),
            Row(
                "least-int8",
                "then int8 by training",
                RECIPE,
                lambda lab: lab.aware(lab.graph("least-taught"), "int8", lab.graph("float"), 6),
            ),
        ]
    return [
        Row(
            "least-pruned",
            "pruned, float32",
            RECIPE,
            lambda lab: one_shot(lab, parameters(lab.task, 112_000), 0.5),
        ),
        Row(
            "least-int4",
            "then int4 by training",
            RECIPE,
            lambda lab: lab.aware(lab.graph("least-pruned"), "int4", epochs=3),
        ),
    ]


def rows_of(task: Task) -> list[Row]:
    """All rows in the order of the tables."""
    return [*widths(task), *halves(task), *order(), *sizes(task), *students(), *zeros(), *recipes(task)]
