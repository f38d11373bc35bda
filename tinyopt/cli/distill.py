"""``tinyopt distill``: a small network learns from a large one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from tinyopt.cli.learning import (
    BatchSizeOption,
    EpochsOption,
    FolderOption,
    JsonOption,
    LayoutOption,
    LearningRateOption,
    ModelOutput,
    ResumeOption,
    SeedOption,
    ValidationOption,
)
from tinyopt.errors import TrainingError

Pairs = tuple[tuple[str, str], ...]


def distill(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="A float model, trained or not.", show_default=False)
    ],
    teacher: Annotated[
        Path, typer.Argument(metavar="TEACHER", help="A trained model of the same task.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option("--data", "-d", help="Training data: .npz or .npy, or a folder. With --alpha 1, labels may lack."),
    ],
    output: ModelOutput,
    validation: ValidationOption = None,
    assistant: Annotated[
        Optional[list[Path]],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--assistant", help="A model between the two: it learns first and then teaches. May be repeated."),
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Softens the scores of both.")] = 4.0,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Weight of the teacher; the labels have the rest to 1.")
    ] = 0.9,
    hint: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--hint", metavar="OURS=THEIRS", help="Activations that should be equal. May be repeated."),
    ] = None,
    hint_weight: Annotated[float, typer.Option("--hint-weight", help="Weight of each hint.")] = 1.0,
    attention: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--attention", metavar="OURS=THEIRS", help="Activations that should be large in the same places."),
    ] = None,
    attention_weight: Annotated[float, typer.Option("--attention-weight", help="Weight of each such pair.")] = 1.0,
    epochs: EpochsOption = 20,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 1e-3,
    seed: SeedOption = 0,
    folder: FolderOption = None,
    resume: ResumeOption = True,
    input_layout: LayoutOption = "nchw",
    teacher_layout: Annotated[
        str, typer.Option("--teacher-layout", help="The same for the teacher, where the two files differ.")
    ] = "",
    json_output: JsonOption = False,
) -> None:
    """Train a small network on the scores of a large one (knowledge distillation)."""
    from tinyopt.cli.commands import load_model
    from tinyopt.cli.console import print_json
    from tinyopt.cli.learning import accuracy, samples_for, show_facts, training_settings
    from tinyopt.compress.distill import DistillSettings, distill_chain
    from tinyopt.graph import graph_macs, save_graph

    settings = DistillSettings(
        temperature,
        alpha,
        _pairs("--hint", hint),
        hint_weight,
        _pairs("--attention", attention),
        attention_weight,
        training_settings(epochs, batch_size, learning_rate, seed),
    )
    students = [load_model(path, input_layout=input_layout) for path in (*(assistant or ()), student)]
    master = load_model(teacher, input_layout=teacher_layout or input_layout)
    samples, held_out = samples_for(data, students[-1]), samples_for(validation, students[-1])
    assert samples is not None
    trained = distill_chain(master, students, samples, settings, validation=held_out, folder=folder, resume=resume)
    save_graph(trained[-1], output)
    known = held_out or samples
    facts: dict[str, Any] = {
        "student": students[-1].name,
        "teacher": master.name,
        "output": str(output),
        "student_macs": graph_macs(students[-1]),
        "teacher_macs": graph_macs(master),
        "samples": len(known),
        "accuracy_of": "validation data" if held_out is not None else "training data",
        "teacher_accuracy": None if master.is_quantized else accuracy(master, known),
        "assistant_accuracies": [accuracy(graph, known) for graph in trained[:-1]],
        "student_accuracy_before": accuracy(students[-1], known),
        "student_accuracy": accuracy(trained[-1], known),
    }
    if json_output:
        print_json(facts)
    else:
        show_facts(facts)


def _pairs(option: str, texts: list[str] | None) -> Pairs:
    result = []
    for text in texts or ():
        ours, equals, theirs = text.partition("=")
        if not equals or not ours or not theirs:
            raise TrainingError(
                f"{option} '{text}' must be OURS=THEIRS: a tensor of the student and one of the teacher"
            )
        result.append((ours, theirs))
    return tuple(result)
