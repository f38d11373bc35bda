"""``tinyopt factorize``: layers as products of smaller ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

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
from tinyopt.errors import BudgetError, ModelError

if TYPE_CHECKING:
    from tinyopt.compress.factorize.config import Cost, LayerChoice, Rule


def factorize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float model.", show_default=False)],
    output: ModelOutput,
    method: Annotated[str, typer.Option("--method", help="auto, svd, spatial, tucker, cp or tensor_train.")] = "auto",
    energy: Annotated[
        Optional[float],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--energy", help="Share of the energy of each layer's weights to keep (0.95 if nothing is said)."),
    ] = None,
    parameters: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--parameters", help="Share of its parameters that the network may have."),
    ] = None,
    cycles: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--cycles", help="Share of its cycles that the network may take, as int8 on --board."),
    ] = None,
    board: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--board", "-b", help="Leave layers whose factors would take more cycles on this board."),
    ] = None,
    measured: Annotated[
        bool,
        typer.Option("--measured", help="Measure cycles on the (emulated) board instead of predicting them; slow."),
    ] = False,
    layer: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--layer",
            metavar="NAME=CHOICE",
            help="For one layer: leave, a method, ranks (8 or 8x4), or both (tucker:8x4). May be repeated.",
        ),
    ] = None,
    multiple_of: Annotated[int, typer.Option("--multiple-of", min=1, help="Round ranks up to multiples of this.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop where a layer that --layer names cannot do it.")
    ] = False,
    train: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--train", help="Fine-tune on this data with labels: .npz or .npy, or a folder."),
    ] = None,
    validation: ValidationOption = None,
    epochs: EpochsOption = 5,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 3e-4,
    seed: SeedOption = 0,
    folder: FolderOption = None,
    resume: ResumeOption = True,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Replace layers of a float model by products of smaller ones, and fine-tune.

    Give one of --energy, --parameters and --cycles. A budget that cannot be met leaves the best that was found, and
    exit code 11.
    """
    from tinyopt.cli.commands import load_model
    from tinyopt.cli.console import console, print_json, progress
    from tinyopt.cli.learning import accuracy, samples_for, show_facts, training_settings
    from tinyopt.compress.factorize import Factorization, explain
    from tinyopt.graph import save_graph

    cost = _cost(board, measured, cycles)
    choices = dict(_choice(text) for text in layer or ())
    rule = _rule(energy, parameters, cycles, cost)
    config = Factorization(method, rule, choices, multiple_of, cost, strict)  # type: ignore[arg-type]
    graph = load_model(model, input_layout=input_layout)
    samples, held_out = samples_for(train, graph), samples_for(validation, graph)
    with progress("factorizing") as step:
        result, report = explain(graph, config, seed=seed, on_progress=step)
    known = held_out or samples
    facts: dict[str, Any] = {
        "model": graph.name,
        "output": str(output),
        **asdict(report),
        "accuracy_before": accuracy(graph, known),
        "accuracy_factorized": accuracy(result, known),
    }
    if samples is not None:
        from tinyopt.bridge import to_graph, to_torch
        from tinyopt.train import fit

        module = to_torch(result)
        settings = training_settings(epochs, batch_size, learning_rate, seed)
        fit(module, samples, held_out, settings, folder=folder, resume=resume)
        result = to_graph(module)
        facts["accuracy_fine_tuned"] = accuracy(result, known)
    save_graph(result, output)
    if json_output:
        print_json(facts)
    else:
        console().print(report.table(), highlight=False, markup=False, crop=False, soft_wrap=True)
        show_facts({key: value for key, value in facts.items() if key.startswith(("accuracy", "output"))})
    if report.missed:
        raise BudgetError(f"{report.missed}; '{output}' is the best that was found")


def _cost(board: str | None, measured: bool, cycles: float | None) -> Cost | None:
    if board is None:
        if measured or cycles is not None:
            raise ModelError(f"{'--cycles' if cycles is not None else '--measured'} needs a board: give --board")
        return None
    from tinyopt.board import load_board
    from tinyopt.compress.factorize import MeasuredCycles, PredictedCycles

    return MeasuredCycles(load_board(board)) if measured else PredictedCycles(load_board(board))


def _rule(energy: float | None, parameters: float | None, cycles: float | None, cost: Cost | None) -> Rule:
    from tinyopt.compress.factorize import CostBudget, Energy, ParameterBudget

    if sum(value is not None for value in (energy, parameters, cycles)) > 1:
        raise ModelError("give only one of --energy, --parameters and --cycles")
    if parameters is not None:
        return ParameterBudget(parameters)
    if cycles is not None and cost is not None:
        return CostBudget(cycles, cost)
    return Energy(0.95 if energy is None else energy)


def _choice(text: str) -> tuple[str, LayerChoice | None]:
    """``NAME=leave``, ``NAME=svd``, ``NAME=8x4`` or ``NAME=tucker:8x4``; names may hold equals signs."""
    from tinyopt.compress.factorize import LayerChoice, Ranks

    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise ModelError(f"--layer '{text}' must be NAME=leave, NAME=METHOD, NAME=RANKS or NAME=METHOD:RANKS")
    if value == "leave":
        return name, None
    method, _, ranks = value.rpartition(":")
    if not ranks.replace("x", "").isdigit():
        method, ranks = value, ""
    try:
        rule = Ranks(tuple(int(part) for part in ranks.split("x"))) if ranks else None
    except ValueError:
        raise ModelError(f"--layer '{text}': '{ranks}' are no ranks; give 8 or 8x4") from None
    return name, LayerChoice(method or None, rule)  # type: ignore[arg-type]
