"""``tinyopt quantize``: a float model becomes integers after training."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tinyopt.cli.console import Step, console, print_json, progress, show_notes
from tinyopt.errors import BudgetError, DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinyopt.data import Samples
    from tinyopt.graph import Graph
    from tinyopt.quantize import CalibrationMethod, PostTraining, WeightFormat, Widths
    from tinyopt.quantize.technique import Technique

TECHNIQUES = ("equalise", "activation-aware", "adaround", "feedback", "bias", "bias-analytic")


def quantize(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A float model.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The quantized model (.tinyopt).")],
    calibration: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--calibration", "-c", help="Calibration data: .npz, .npy, a folder, or random:SEED:N."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How activation ranges are chosen: max, percentile, entropy or mse.")
    ] = "max",
    percentile: Annotated[float, typer.Option("--percentile", help="For --method percentile, in percent.")] = 99.99,
    activations: Annotated[
        str, typer.Option("--activations", help="int8, or int16: twice the RAM and hardly any rounding.")
    ] = "int8",
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Activations with zero point 0.")] = False,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="One weight scale per layer, not per channel.")
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="int8, int4, int4:GROUP, ternary, binary or clustered:VALUES; fp16: a float model with "
            "weights of half precision.",
        ),
    ] = "int8",
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic",
            help="int8 weights and float32 between layers; layers take the range of their input at run time. "
            "Needs no calibration.",
        ),
    ] = False,
    layer: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads this annotation on Python 3.10
        typer.Option(
            "--layer",
            help="NAME=FORMAT, the weights of one layer (NAME may have *); again for more. --dynamic takes float32.",
        ),
    ] = None,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="The first and the last layer take narrow --weights too.")
    ] = False,
    keep_binary: Annotated[
        bool, typer.Option("--keep-binary", help="Layers whose float weights are -a and a become binary.")
    ] = False,
    positive_zero: Annotated[
        bool,
        typer.Option("--zero-is-positive", help="Signs of the model give 1 for zero, so that layers behind read bits."),
    ] = False,
    technique: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--technique", "-t", help=f"{', '.join(TECHNIQUES)}; again for more, in this order."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of adaround, for each layer.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of adaround, feedback and activation-aware.")] = 0,
    max_bytes: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-bytes", min=1, help="Choose each layer's weights so that all take at most so much flash."),
    ] = None,
    max_cycles: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--max-cycles", min=1, help="… so that the layers take at most so many cycles on --board."),
    ] = None,
    min_accuracy: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--min-accuracy", help="… as narrow as this top-1 on --data allows, from 0 to 1."),
    ] = None,
    choices: Annotated[
        str, typer.Option("--choices", help="The formats that a budget chooses from, separated by commas.")
    ] = "int8,int4,ternary",
    board: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--board", "-b", help="Costs of layers are those of this board; else bits of weights count."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Use the first N samples; 0 uses all.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop where a layer or a technique would be left out, and say which.")
    ] = False,
    float_io: Annotated[bool, typer.Option("--float-io", help="Keep float32 inputs and outputs.")] = False,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--data", "-d", help="Compare float and integers on this data (accuracy where it has labels)."),
    ] = None,
    input_layout: Annotated[
        str, typer.Option("--input-layout", help="Layout of the image input of ONNX and PyTorch models: nchw or nhwc.")
    ] = "nchw",
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
    ] = False,
) -> None:
    """Quantize a float model after training: int8 activations, and weights of 8 bits or fewer.

    A budget that cannot be met leaves the best that was found, and exit code 11.
    """
    from tinyopt.cli.commands import _accuracy_loss, _samples, load_model
    from tinyopt.graph import DType, parameter_bytes, save_graph
    from tinyopt.importers.signs import zero_is_positive
    from tinyopt.quantize import Budget, Int8, PostTraining, weight_format
    from tinyopt.quantize import quantize as quantize_graph

    if dynamic:
        if technique or weights != "int8" or activations != "int8" or all_layers or float_io or calibration is not None:
            raise DataError(
                "--dynamic leaves float32 between layers and has int8 weights: it takes no calibration data, no "
                "techniques, no other weights or activations"
            )
        if (max_bytes, max_cycles, min_accuracy) != (None, None, None):
            raise DataError("--dynamic has int8 weights in every layer; it takes no budget")
        _dynamic(model, output, data, input_layout, json_output, layer or [], symmetric, not per_layer)
        return
    if weights == "fp16":
        if layer or technique or (max_bytes, max_cycles, min_accuracy) != (None, None, None):
            raise DataError(
                "--weights fp16 rounds every layer of a float model; it takes no layers, techniques or budget"
            )
        _halve(model, output, data, input_layout, json_output)
        return
    if calibration is None:
        raise DataError(
            "--calibration is missing: integers need samples of the input (--weights fp16 and --dynamic do not)"
        )
    if activations not in ("int8", "int16"):
        raise DataError(f"--activations must be int8 or int16, not '{activations}'")
    config = PostTraining(
        activations=DType(activations),
        calibration=_method(method, percentile),
        symmetric=symmetric,
        per_channel=not per_layer,
        weights=weight_format(weights),
        edges=None if all_layers else Int8(),
        overrides=_overrides(layer or []),
        techniques=_techniques(technique or [], steps, seed),
        float_io=float_io,
        strict=strict,
        keep_binary=keep_binary,
    )
    formats = [weight_format(name) for name in choices.split(",")]
    budget = None
    if (max_bytes, max_cycles, min_accuracy) != (None, None, None):
        budget = Budget(weight_bytes=max_bytes, cycles=max_cycles, accuracy=min_accuracy)
        if max_cycles is not None and board is None:
            raise DataError("--max-cycles needs --board: whose cycles?")
        if min_accuracy is not None and data is None:
            raise DataError("--min-accuracy needs --data with labels")
    graph = load_model(model, input_layout=input_layout)
    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; give the float model")
    if positive_zero:
        graph = zero_is_positive(graph)
    samples = _samples(calibration, graph, limit)
    facts: dict[str, Any] = {"model": graph.name, "output": str(output)}
    missed: str | None = None
    if budget is not None:
        widths = _chosen(graph, samples, budget, data, formats, config, board)
        config = _with_overrides(config, widths)
        facts |= _width_facts(widths)
        missed = widths.missed
    with progress(f"quantizing with {len(samples)} samples") as step, _Techniques() as techniques:
        result = quantize_graph(graph, samples, config, on_progress=step, on_technique=techniques)
    old = graph.metadata.get("notes", "").splitlines()
    show_notes("\n".join(note for note in result.metadata.get("notes", "").splitlines() if note not in old))
    save_graph(result, output)
    facts |= {
        "float_parameter_bytes": parameter_bytes(graph),
        "int8_parameter_bytes": parameter_bytes(result),
    }
    if data is not None:
        facts |= _accuracy_loss(graph, result, data)
    _show(facts, json_output)
    if missed is not None:
        raise BudgetError(f"the budget cannot be met; '{output}' is the best that was found, and misses {missed}")


def _show(facts: dict[str, Any], json_output: bool) -> None:
    if json_output:
        print_json(facts)
        return
    for key, value in facts.items():
        if not isinstance(value, dict):
            text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else value
            console().print(f"{key.replace('_', ' ')}: {text}", highlight=False, markup=False)
            continue
        console().print(f"{key}:")
        for name, inner in value.items():
            console().print(f"  {inner:12} {name}", highlight=False, markup=False)


def _halve(model: Path, output: Path, data: str | None, input_layout: str, json_output: bool) -> None:
    from tinyopt.cli.commands import _accuracy_loss, load_model
    from tinyopt.cli.learning import show_facts
    from tinyopt.graph import parameter_bytes, save_graph
    from tinyopt.plan.catalogue.half import is_half
    from tinyopt.quantize import half_weights

    graph = load_model(model, input_layout=input_layout)
    result = half_weights(graph)
    save_graph(result, output)
    halved = sum(tensor.nbytes // 2 for tensor in result.constants() if is_half(tensor))
    facts: dict[str, Any] = {
        "model": graph.name,
        "output": str(output),
        "float_parameter_bytes": parameter_bytes(graph),
        "half_parameter_bytes": parameter_bytes(result) - halved,
    }
    if data is not None:
        facts |= _accuracy_loss(graph, result, data)
    if json_output:
        print_json(facts)
    else:
        show_facts(facts)


def _dynamic(
    model: Path,
    output: Path,
    data: str | None,
    input_layout: str,
    json_output: bool,
    layers: list[str],
    symmetric: bool,
    per_channel: bool,
) -> None:
    from tinyopt.cli.commands import _accuracy_loss, load_model
    from tinyopt.graph import parameter_bytes, save_graph
    from tinyopt.quantize import DynamicRanges
    from tinyopt.quantize import quantize as quantize_graph

    kept = [item.rpartition("=") for item in layers]
    if any(form != "float32" for _, _, form in kept):
        raise DataError("--dynamic has int8 weights; --layer NAME=float32 leaves a layer in floating point")
    graph = load_model(model, input_layout=input_layout)
    config = DynamicRanges(per_channel, symmetric, float_layers=tuple(name for name, _, _ in kept))
    result = quantize_graph(graph, None, config)
    old = graph.metadata.get("notes", "").splitlines()
    show_notes("\n".join(note for note in result.metadata.get("notes", "").splitlines() if note not in old))
    save_graph(result, output)
    facts: dict[str, Any] = {
        "model": graph.name,
        "output": str(output),
        "float_parameter_bytes": parameter_bytes(graph),
        "int8_parameter_bytes": parameter_bytes(result),
    }
    if data is not None:
        facts |= _accuracy_loss(graph, result, data)
    _show(facts, json_output)


def _method(name: str, percentile: float) -> CalibrationMethod:
    from tinyopt.quantize import Entropy, MaxRange, MeanSquaredError, Percentile

    methods: dict[str, Callable[[], CalibrationMethod]] = {
        "max": MaxRange,
        "percentile": lambda: Percentile(percentile),
        "entropy": Entropy,
        "mse": MeanSquaredError,
    }
    if name not in methods:
        raise DataError(f"--method must be one of {', '.join(methods)}, not '{name}'")
    return methods[name]()


def _overrides(items: list[str]) -> dict[str, WeightFormat]:
    from tinyopt.quantize import weight_format

    result = {}
    for item in items:
        name, separator, form = item.rpartition("=")
        if not separator:
            raise DataError(f"--layer wants NAME=FORMAT, for example --layer conv1=int8, not '{item}'")
        result[name] = weight_format(form)
    return result


def _techniques(names: list[str], steps: int, seed: int) -> tuple[Technique, ...]:
    from tinyopt.quantize import ActivationAware, AdaRound, BiasCorrection, Equalise, ErrorFeedback

    known: dict[str, Callable[[], Technique]] = {
        "equalise": Equalise,
        "activation-aware": lambda: ActivationAware(seed=seed),
        "adaround": lambda: AdaRound(steps=steps, seed=seed),
        "feedback": lambda: ErrorFeedback(seed=seed),
        "bias": BiasCorrection,
        "bias-analytic": lambda: BiasCorrection("analytic"),
    }
    for name in names:
        if name not in known:
            raise DataError(f"--technique must be one of {', '.join(known)}, not '{name}'")
    return tuple(known[name]() for name in names)


class _Techniques:
    """One progress bar after the other, as techniques report."""

    def __init__(self) -> None:
        self._bars = ExitStack()
        self._name = ""
        self._step: Step = lambda done, total: None

    def __enter__(self) -> _Techniques:
        return self

    def __exit__(self, *details: object) -> None:
        self._bars.close()

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self._name:
            self._bars.close()
            self._name, self._step = name, self._bars.enter_context(progress(name))
        self._step(done, total)


def _chosen(
    graph: Graph,
    samples: Samples,
    budget: Any,
    data: str | None,
    formats: list[WeightFormat],
    config: PostTraining,
    board: str | None,
) -> Widths:
    from tinyopt.cli.commands import _samples
    from tinyopt.quantize import choose_widths

    costs = None
    if board is not None:
        from tinyopt.board import load_board
        from tinyopt.plan.layer_costs import board_costs

        costs = board_costs(load_board(board), objective="latency" if budget.cycles is not None else "flash")
    with _Techniques() as step:
        return choose_widths(
            graph,
            samples,
            budget,
            data=None if data is None else _samples(data, graph),
            formats=formats,
            config=config,
            costs=costs,
            on_progress=step,
        )


def _with_overrides(config: PostTraining, widths: Widths) -> PostTraining:
    from dataclasses import replace

    return replace(config, overrides={**widths.formats, **config.overrides})


def _width_facts(widths: Widths) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "weights": {layer: str(form) for layer, form in widths.formats.items()},
        "chosen_weight_bytes": round(widths.weight_bytes),
    }
    if widths.cycles:
        facts["predicted_layer_cycles"] = round(widths.cycles)
    if widths.shortfall:
        facts["shortfall"] = {name: f"{value:.6g}" for name, value in widths.shortfall.items()}
    return facts
