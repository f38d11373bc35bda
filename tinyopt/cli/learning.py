"""Options that commands with training have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from tinyopt.data import Samples
    from tinyopt.graph import Graph
    from tinyopt.train import TrainSettings

ModelOutput = Annotated[Path, typer.Option("--output", "-o", help="The new model (.tinyopt).")]
ValidationOption = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this annotation on Python 3.10
    typer.Option(
        "--validation", "-v", help="Data with labels that are not trained on; the best epoch on them is kept."
    ),
]
EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Times that training sees all samples.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Samples for one step of training.")]
LearningRateOption = Annotated[float, typer.Option("--learning-rate", help="The largest learning rate.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of everything that is random.")]
FolderOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--folder", help="For checkpoints and the log: an interrupted run goes on from there."),
]
ResumeOption = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on from the checkpoint in the folder.")]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--input-layout", help="Layout of the image input of ONNX and PyTorch models: nchw (as in the model) or nhwc."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")]


def training_settings(epochs: int, batch_size: int, learning_rate: float, seed: int) -> TrainSettings:
    """The trainer's settings from the options."""
    from tinyopt.train import TrainSettings

    return TrainSettings(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)


def samples_for(spec: str | None, graph: Graph) -> Samples | None:
    """Data that an option names."""
    from tinyopt.data import load_samples

    return None if spec is None else load_samples(spec, graph)


def accuracy(graph: Graph, samples: Samples | None) -> float | None:
    """Share of the samples that a float graph recognises; None without labels."""
    from tinyopt.train import evaluate

    if samples is None or samples.labels is None:
        return None
    return evaluate(graph, samples).accuracy


def show_facts(facts: dict[str, Any]) -> None:
    """A line for every fact that is known."""
    from tinyopt.cli.console import console

    for key, value in facts.items():
        if value is None or isinstance(value, (list, dict)):
            continue
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)
        console().print(f"{key.replace('_', ' ')}: {text}", highlight=False, markup=False)
