"""``tinyopt qat``: quantization-aware training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from tinyopt.cli.console import print_json, show_notes
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
    show_facts,
)
from tinyopt.errors import DataError


def qat(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A float .tflite, .onnx, .pt2 or .tinyopt file.", show_default=False),
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Training data with labels: .npz or a folder.")],
    output: ModelOutput,
    validation: ValidationOption = None,
    test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--test", help="Compare the float and the trained integer model on this data at the end."),
    ] = None,
    weights: Annotated[
        str,
        typer.Option("--weights", help="int8, int4, int4:GROUP, ternary, binary or clustered:VALUES."),
    ] = "int8",
    edges: Annotated[
        str, typer.Option("--edges", help="The same for the first and the last layer, where it is wider.")
    ] = "int8",
    layer: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--layer", help="LAYER=FORMAT for one layer, or a pattern with *; may be repeated."),
    ] = None,
    signs: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--signs", help="LAYER, or a pattern with *, that reads signs and has binary weights; again for more."
        ),
    ] = None,
    ranges: Annotated[
        str,
        typer.Option("--ranges", help="Ranges of activations: step (learned), clipping, observed or calibrated."),
    ] = "step",
    teacher: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--teacher", help="A float model to learn from as well; 'self': MODEL before quantization."),
    ] = None,
    epochs: EpochsOption = 10,
    batch_size: BatchSizeOption = 32,
    learning_rate: LearningRateOption = 5e-4,
    label_smoothing: Annotated[float, typer.Option("--label-smoothing", min=0.0)] = 0.0,
    freeze_batch_norm: Annotated[
        float,
        typer.Option(
            "--freeze-batch-norm", help="Keep batch-norm statistics after this share of the epochs; 1: never."
        ),
    ] = 0.75,
    freeze_ranges: Annotated[
        float, typer.Option("--freeze-ranges", help="Keep all ranges and scales after this share of the epochs.")
    ] = 1.0,
    fold_first: Annotated[bool, typer.Option("--fold-first", help="Fold batch norms before training.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop where a layer would stay in float32.")] = False,
    float_io: Annotated[bool, typer.Option("--float-io", help="Keep float32 inputs and outputs.")] = False,
    folder: FolderOption = None,
    resume: ResumeOption = True,
    seed: SeedOption = 0,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Train a float model with the roundings of its integers, and write it quantized (int8, or narrower weights)."""
    from tinyopt.cli.commands import _accuracy_loss, load_model
    from tinyopt.data import load_samples
    from tinyopt.graph import parameter_bytes, save_graph
    from tinyopt.quantize import weight_format
    from tinyopt.quantize.aware import QuantizationAware, train_aware
    from tinyopt.train import TrainSettings

    config = QuantizationAware(
        weights=weight_format(weights),
        edges=weight_format(edges),
        overrides=dict(_layer_format(text) for text in layer or []),
        signs=tuple(signs or ()),
        activations=_ranges(ranges),
        train_batch_norm=not fold_first,
        freeze_batch_norm=freeze_batch_norm,
        freeze_ranges=freeze_ranges,
        float_io=float_io,
        strict=strict,
    )
    settings = TrainSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
        warm_up_epochs=min(0.5, epochs / 4),
        seed=seed,
    )
    graph = load_model(model, input_layout=input_layout)
    known = graph if teacher == "self" else None
    if teacher is not None and known is None:
        known = load_model(Path(teacher), input_layout=input_layout)
    result = train_aware(
        graph,
        load_samples(data, graph),
        None if validation is None else load_samples(validation, graph),
        config,
        settings,
        teacher=known,
        folder=folder,
        resume=resume,
    )
    save_graph(result.graph, output)
    show_notes("\n".join(result.module.intent.notes))
    best = result.training.best
    facts: dict[str, Any] = {
        "model": graph.name,
        "output": str(output),
        "epochs": len(result.training.history),
        "best_epoch": result.training.best_epoch,
        "validation_top1": best.validation_accuracy,
        "float_parameter_bytes": parameter_bytes(graph),
        "weight_bytes": math.ceil(
            sum(
                result.module.constant(name).numel() * quantizer.form.bits / 8
                for name, quantizer in result.module.weight_quantizers().items()
            )
        ),
    }
    if test is not None:
        facts |= _accuracy_loss(graph, result.graph, test)
    if json_output:
        print_json(facts)
        return
    show_facts(facts)


def _layer_format(text: str) -> tuple[str, Any]:
    from tinyopt.quantize import weight_format

    name, separator, form = text.rpartition("=")
    if not separator or not name:
        raise DataError(f"--layer wants LAYER=FORMAT, for example 'conv_*=int4', not '{text}'")
    return name, weight_format(form)


def _ranges(name: str) -> Any:
    from tinyopt.quantize.aware import Calibrated, LearnedClipping, LearnedStep, Observed

    known = {"step": LearnedStep, "clipping": LearnedClipping, "observed": Observed, "calibrated": Calibrated}
    if name not in known:
        raise DataError(f"--ranges must be one of {', '.join(known)}, not '{name}'")
    return known[name]()
