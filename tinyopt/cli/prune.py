"""``tinyopt prune``: zeros in patterns, or fewer channels, neurons and layers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tinyopt.cli.learning import (
    BatchSizeOption,
    FolderOption,
    JsonOption,
    LayoutOption,
    LearningRateOption,
    ModelOutput,
    SeedOption,
    ValidationOption,
)
from tinyopt.errors import BudgetError, TinyoptError

if TYPE_CHECKING:
    from tinyopt.compress.prune import Criterion, PruningConfig, PruningReport, Schedule, Target
    from tinyopt.train import TrainSettings


def prune(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float model.", show_default=False)],
    output: ModelOutput,
    amount: Annotated[
        Optional[float],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option("--amount", help="Share of weights (or of channels) that leave; 0.5 if nothing is said."),
    ] = None,
    structured: Annotated[
        bool, typer.Option("--structured", help="Remove whole channels and neurons: a smaller network, not zeros.")
    ] = False,
    unit: Annotated[
        str, typer.Option("--unit", help="With --structured: all, channels, neurons, or layers that can be passed by.")
    ] = "all",
    pattern: Annotated[
        str, typer.Option("--pattern", help="Of the zeros: single, n:m (2:4), or blocks of channels x weights (1x4).")
    ] = "single",
    criterion: Annotated[
        str,
        typer.Option("--criterion", help="l1, l2, taylor (labelled --data), activations, nonzero (--data), or random."),
    ] = "l2",
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="global: the least important anywhere; layer: of each. With --structured and a target, also: cost "
            "(least importance for what it saves), trial (least loss on --data for what it saves).",
        ),
    ] = "global",
    normalise: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--normalise", help="With --structured: scores of a layer by their mean, l2 norm, or none."),
    ] = None,
    macs: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--macs", help="With --structured: share of its multiply-accumulates that may stay."),
    ] = None,
    parameters: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--parameters", help="With --structured: share of its parameters that may stay."),
    ] = None,
    cycles: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--cycles", help="With --structured: share of its cycles that may stay, as int8 on --board."),
    ] = None,
    board: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--board", "-b", help="The board for --cycles."),
    ] = None,
    multiple: Annotated[
        int, typer.Option("--multiple", min=1, help="With --structured: keep multiples of so many channels.")
    ] = 1,
    compensate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--compensate",
            help="With --structured: what leaves goes on, by --data: its mean into biases, or linear: predicted from "
            "what stays, into weights.",
        ),
    ] = None,
    layer_limit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--layer-limit", help="No layer loses more than this share."),
    ] = None,
    skip: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--skip",
            metavar="LAYER",
            help="Leave this layer, or layers of this kind, e.g. DepthwiseConv2d (* and ? allowed). May be repeated.",
        ),
    ] = None,
    only: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--only", metavar="LAYER", help="As --skip, but leave all other layers. Without --structured."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop where the pruning does not apply to a layer that is not skipped.")
    ] = False,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--data", "-d", help="For criteria and training: .npz, .npy, a folder, or random:SEED:N."),
    ] = None,
    validation: ValidationOption = None,
    schedule: Annotated[
        str, typer.Option("--schedule", help="one-shot, iterative, gradual (while training), or lottery (rewinding).")
    ] = "one-shot",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of an iterative schedule, or rounds of a lottery.")] = 3,
    epochs: Annotated[
        int, typer.Option("--epochs", min=0, help="Training after each step (or in all, gradual); 0: none.")
    ] = 0,
    regrow: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--regrow", help="With --schedule gradual: let weights grow again, by gradient or random."),
    ] = None,
    rewind_step: Annotated[
        int, typer.Option("--rewind-step", min=0, help="With --schedule lottery: the step whose weights come back.")
    ] = 0,
    batch_norms: Annotated[
        bool,
        typer.Option(
            "--batch-norms", help="Put batch norms back behind the layers first, by --data: imported models have none."
        ),
    ] = False,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 1e-3,
    seed: SeedOption = 0,
    folder: FolderOption = None,
    input_layout: LayoutOption = "nchw",
    json_output: JsonOption = False,
) -> None:
    """Prune a float model: zeros in its weights, or a smaller network; with training between where data are given.

    A target that cannot be met leaves the best that was found, and exit code 11.
    """
    from tinyopt.cli.commands import load_model
    from tinyopt.cli.console import console, print_json, progress, show_notes
    from tinyopt.cli.learning import accuracy, samples_for, show_facts
    from tinyopt.compress.prune import StructuredPruning, missed_target, pruning_report
    from tinyopt.compress.prune import prune as prune_graph
    from tinyopt.graph import save_graph

    if not structured:
        for option, value in (("--macs", macs), ("--parameters", parameters), ("--cycles", cycles)):
            if value is not None:
                raise TinyoptError(f"{option} needs --structured: zeros change neither work nor storage by themselves")
    target = _target(macs, parameters, cycles, board)
    if target is not None and amount is not None:
        raise TinyoptError("give --amount or a target, not both")
    chosen = _criterion(criterion, seed)
    config = _config(structured, unit, pattern, amount, target, chosen, scope, multiple, layer_limit, tuple(skip or ()))
    if isinstance(config, StructuredPruning):
        config = replace(config, compensate=_compensation(compensate), normalise=_normalisation(normalise))
        if only:
            raise TinyoptError("--only is for zeros in weights; with --structured, name the other layers by --skip")
    else:
        config = replace(config, layers=tuple(only or ()))
        for option, given in (("--compensate", compensate), ("--normalise", normalise)):
            if given is not None:
                raise TinyoptError(f"{option} needs --structured")
    plan = _schedule(schedule, steps, epochs, regrow, rewind_step, _settings(epochs, batch_size, learning_rate, seed))
    graph = load_model(model, input_layout=input_layout)
    samples, held_out = samples_for(data, graph), samples_for(validation, graph)
    if batch_norms:
        from tinyopt.train import insert_batch_norms

        if samples is None:
            raise TinyoptError("--batch-norms takes its statistics from data: give --data")
        graph = insert_batch_norms(graph, samples)
    with progress("pruning") as step:
        result = prune_graph(
            graph,
            config,
            samples,
            schedule=plan,
            validation=held_out,
            folder=folder,
            strict=strict,
            on_progress=step,
        )
    save_graph(result, output)
    report = pruning_report(graph, result)
    known = held_out or samples
    facts: dict[str, Any] = {
        "model": graph.name,
        "output": str(output),
        "accuracy_before": accuracy(graph, known),
        "accuracy": accuracy(result, known),
    }
    missed = None if target is None else missed_target(graph, result, target)
    if json_output:
        print_json({**facts, **report.to_json(), "missed": missed})
    else:
        console().print(_table(report), highlight=False, markup=False, crop=False, soft_wrap=True)
        show_facts({key: value for key, value in facts.items() if key != "model"})
        show_notes("\n".join(report.notes))
    if missed is not None:
        raise BudgetError(f"{missed}; '{output}' is the best that was found")


def _criterion(name: str, seed: int) -> Criterion:
    from tinyopt.compress.prune import L1, L2, ActivationStatistics, Random, Taylor

    known: dict[str, Criterion] = {
        "l1": L1(),
        "l2": L2(),
        "taylor": Taylor(),
        "activations": ActivationStatistics(),
        "nonzero": ActivationStatistics("nonzero"),
        "random": Random(seed),
    }
    if name not in known:
        raise TinyoptError(f"--criterion must be one of {', '.join(known)}, not '{name}'")
    return known[name]


def _compensation(name: str | None) -> Any:
    if name not in (None, "mean", "linear"):
        raise TinyoptError(f"--compensate is mean or linear, not '{name}'")
    return name or False


def _normalisation(name: str | None) -> Any:
    if name not in (None, "mean", "l2", "none"):
        raise TinyoptError(f"--normalise is mean, l2 or none, not '{name}'")
    return name


def _target(macs: float | None, parameters: float | None, cycles: float | None, board: str | None) -> Target | None:
    from tinyopt.compress.prune import Target

    if sum(value is not None for value in (macs, parameters, cycles)) > 1:
        raise TinyoptError("give only one of --macs, --parameters and --cycles")
    if macs is not None:
        return Target("macs", ratio=macs)
    if parameters is not None:
        return Target("parameters", ratio=parameters)
    if cycles is None:
        return None
    if board is None:
        raise TinyoptError("--cycles needs a board: give --board")
    from tinyopt.board import load_board
    from tinyopt.compress.factorize import PredictedCycles

    return Target(PredictedCycles(load_board(board)), ratio=cycles)


def _config(
    structured: bool,
    unit: str,
    pattern: str,
    amount: float | None,
    target: Target | None,
    criterion: Criterion,
    scope: Any,
    multiple: int,
    layer_limit: float | None,
    skip: tuple[str, ...],
) -> PruningConfig:
    from tinyopt.compress.prune import BlockPruning, NMPruning, StructuredPruning, UnstructuredPruning

    share = 0.5 if amount is None and target is None else amount
    if structured:
        kind: Any = unit
        limit = 0.9 if layer_limit is None else layer_limit
        return StructuredPruning(share, target, kind, criterion, scope, multiple, 1, limit, skip)
    limit = 0.99 if layer_limit is None else layer_limit
    share = 0.5 if share is None else share
    if pattern == "single":
        return UnstructuredPruning(share, scope, criterion, limit, skip)
    found = re.fullmatch(r"(\d+)([:x])(\d+)", pattern)
    if found is None:
        raise TinyoptError(f"--pattern must be single, n:m such as 2:4, or a block such as 1x4, not '{pattern}'")
    first, second = int(found[1]), int(found[3])
    if found[2] == "x":
        return BlockPruning(share, (first, second), scope, criterion, limit, skip)
    if amount is not None:
        raise TinyoptError(f"the pattern {pattern} says how much leaves; leave out --amount")
    return NMPruning(first, second, criterion, skip)


def _settings(epochs: int, batch_size: int, learning_rate: float, seed: int) -> TrainSettings | None:
    from tinyopt.train import TrainSettings

    if epochs == 0:
        return None
    return TrainSettings(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)


def _schedule(
    name: str, steps: int, epochs: int, regrow: Any, rewind_step: int, settings: TrainSettings | None
) -> Schedule:
    from tinyopt.compress.prune import GradualCubic, Iterative, LotteryTicket, OneShot

    if regrow is not None and name != "gradual":
        raise TinyoptError("--regrow needs --schedule gradual")
    if name == "one-shot":
        return OneShot(settings)
    if name == "iterative":
        return Iterative(steps, settings)
    if name not in ("gradual", "lottery"):
        raise TinyoptError(f"--schedule must be one-shot, iterative, gradual or lottery, not '{name}'")
    if settings is None:
        raise TinyoptError(f"--schedule {name} trains: give --epochs and labelled --data")
    return GradualCubic(settings, regrow=regrow) if name == "gradual" else LotteryTicket(settings, steps, rewind_step)


def _table(report: PruningReport) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    for heading in ("weights", "zeros", "parameters", "MACs"):
        table.add_column(heading, justify="right")
    for layer in report.layers:
        shape = "gone" if not layer.shape else "x".join(map(str, layer.shape))
        if layer.shape and layer.shape != layer.shape_before:
            shape = f"{'x'.join(map(str, layer.shape_before))} → {shape}"
        table.add_row(
            layer.name,
            shape,
            f"{layer.sparsity:.1%}",
            _change(layer.parameters_before, layer.parameters),
            _change(layer.macs_before, layer.macs),
        )
    table.add_row(
        "all",
        "",
        f"{report.sparsity:.1%}",
        _change(report.parameters_before, report.parameters),
        _change(report.macs_before, report.macs),
    )
    return table


def _change(before: int, after: int) -> str:
    return f"{after:,}" if before == after else f"{before:,} → {after:,}"
