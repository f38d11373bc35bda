"""What the model commands do: inspect, quantize, compile, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyopt.board import load_board
from tinyopt.cli.console import console, print_json, progress, show_notes
from tinyopt.cli.kernels import planning_backend, planning_costs
from tinyopt.errors import DataError, MismatchError, ModelError, TinyoptError
from tinyopt.graph import (
    DType,
    Graph,
    dump,
    graph_macs,
    operator_macs,
    operator_parameter_bytes,
    parameter_bytes,
    peak_activation_bytes,
)

if TYPE_CHECKING:
    from tinyopt.data import Samples
    from tinyopt.plan import Plan


def load_model(path: Path, *, input_layout: str = "nchw") -> Graph:
    """Import a model file and say on standard error what the importer has to tell."""
    from tinyopt.importers import load

    if input_layout not in ("nchw", "nhwc"):
        raise ModelError(f"--input-layout must be nchw or nhwc, not '{input_layout}'")
    graph = load(path, input_layout=input_layout)
    show_notes(graph.metadata.get("notes", ""))
    return graph


def _samples(spec: str, graph: Graph, limit: int = 0) -> Samples:
    from tinyopt.data import load_samples

    samples = load_samples(spec, graph)
    return samples.limit(limit) if limit else samples


def _quantized(graph: Graph, calibration: str | None, config: Any = None, limit: int = 0) -> Graph:
    """The graph as it goes on: quantized when calibration data are given."""
    if calibration is None:
        return graph
    from tinyopt.quantize import PostTraining, quantize

    if graph.is_quantized:
        raise ModelError(f"'{graph.name}' is quantized already; leave out --calibration")
    samples = _samples(calibration, graph, limit)
    with progress(f"quantizing with {len(samples)} samples") as step:
        result = quantize(graph, samples, config or PostTraining(), on_progress=step)
    old = graph.metadata.get("notes", "").splitlines()
    show_notes("\n".join(note for note in result.metadata.get("notes", "").splitlines() if note not in old))
    return result


def _tensor_facts(graph: Graph, name: str) -> dict[str, Any]:
    tensor = graph.tensors[name]
    facts: dict[str, Any] = {"name": name, "dtype": tensor.dtype.value, "shape": list(tensor.shape)}
    if tensor.quantization is not None and tensor.quantization.axis is None:
        facts |= {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return facts


def inspect_model(path: Path, *, json_output: bool, optimise: bool, input_layout: str) -> None:
    graph = load_model(path, input_layout=input_layout)
    if optimise:
        from tinyopt.optimise import optimise as optimise_graph

        graph = optimise_graph(graph)
    if not json_output:
        console().print(dump(graph), end="", highlight=False, markup=False, crop=False, soft_wrap=True)
        return
    print_json(
        {
            "model": graph.name,
            "source": graph.metadata.get("source"),
            "macs": graph_macs(graph),
            "parameter_bytes": parameter_bytes(graph),
            "peak_activation_bytes": peak_activation_bytes(graph),
            "inputs": [_tensor_facts(graph, name) for name in graph.inputs],
            "outputs": [_tensor_facts(graph, name) for name in graph.outputs],
            "states": [_tensor_facts(graph, state.read) for state in graph.states],
            "operators": [
                {
                    "name": operator.name,
                    "operator": operator.kind,
                    "attributes": operator.attributes.describe(),
                    "outputs": [_tensor_facts(graph, name) for name in operator.outputs],
                    "macs": operator_macs(graph, operator),
                    "parameter_bytes": operator_parameter_bytes(graph, operator),
                }
                for operator in graph.operators
            ],
        }
    )


def _accuracy_loss(graph: Graph, quantized: Graph, data: str) -> dict[str, Any]:
    """Float and int8 on the same samples: top-1 where there are labels, agreement and signal-to-noise everywhere."""
    from tinyopt.data import Samples
    from tinyopt.pipeline import reference_outputs
    from tinyopt.report import predictions, top1

    float_samples = _samples(data, graph)
    # The same real numbers for both: "random:" would draw others for integer inputs.
    integer_samples = Samples.from_arrays(
        float_samples.inputs, quantized, labels=float_samples.labels, source=float_samples.source
    )
    with progress(f"float model on {len(float_samples)} samples") as step:
        floats = [s[0] for s in reference_outputs(graph, float_samples, on_progress=step)]
    with progress(f"int8 model on {len(integer_samples)} samples") as step:
        integers = [s[0] for s in reference_outputs(quantized, integer_samples, on_progress=step)]
    float_tensor, tensor = graph.tensors[graph.outputs[0]], quantized.tensors[quantized.outputs[0]]
    real = np.stack([tensor.quantization.dequantize(o) if tensor.quantization else o for o in integers])
    wanted = np.stack(floats).reshape(real.shape)
    noise = float(np.square(real - wanted).sum())
    power = float(np.square(wanted).sum())
    facts: dict[str, Any] = {
        "samples": len(floats),
        "sqnr_db": round(10 * float(np.log10(power / noise)), 2) if noise > 0 and power > 0 else None,
        "agreement": float((predictions(floats, float_tensor) == predictions(integers, tensor)).mean()),
    }
    if float_samples.labels is not None and integer_samples.labels is not None:
        facts["float_top1"] = top1(floats, float_tensor, float_samples.labels)
        facts["int8_top1"] = top1(integers, tensor, integer_samples.labels)
    return facts


def _plan_facts(plan: Plan, output: Path) -> dict[str, Any]:
    from tinyopt.plan.sparsity import sparsity_note
    from tinyopt.plan.text import call_groups, strips_note

    return {
        "model": plan.graph.name,
        "board": plan.board.name,
        "project": str(output),
        "macs": graph_macs(plan.graph),
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound": plan.lower_bound,
        "weights_bytes": plan.weights_bytes,
        "objective": plan.objective,
        "predicted_cycles": round(plan.cycles),
        "tuning": plan.costs.source or None,
        "library": plan.backend.title if plan.backend else None,
        "strips": strips_note(plan),
        "sparsity": sparsity_note(plan),
        "layers": [
            {
                "name": plan.parts.get(call.operator.name, call.operator.name),
                "operator": call.operator.kind,
                "kernel": call.kernel.name,
                "predicted_cycles": round(sum(plan.calls[index].predicted_cycles for index in group), 1),
            }
            for group in call_groups(plan)
            for call in [plan.calls[group[0]]]
        ],
    }


def compile_model(
    path: Path,
    board_name: str,
    output: Path,
    *,
    project: str,
    calibration: str | None,
    name: str,
    objective: str,
    tuning: str,
    kernels: str,
    cmsis_nn: Path | None,
    arena_limit: int | None,
    force: bool,
    optimise: bool,
    input_layout: str,
    json_output: bool,
) -> None:
    from tinyopt.generate import generate
    from tinyopt.pipeline import plan_for

    board = load_board(board_name)
    if project == "auto":
        project = "platformio" if board.platformio and not board.is_emulated else "cmake"
    backend = planning_backend(kernels, cmsis_nn, board)
    costs = planning_costs(tuning, board_name, board, backend)
    graph = _quantized(load_model(path, input_layout=input_layout), calibration)
    with progress(f"planning for {board.title}"):
        plan = plan_for(
            graph, board, optimise=optimise, objective=objective, costs=costs, backend=backend, arena_limit=arena_limit
        )
    with progress(f"writing the {project} project"):
        generate(plan, output, name=name, project=project, force=force)
    if json_output:
        print_json(_plan_facts(plan, output))
        return
    from tinyopt.plan import call_table, memory_map

    console().print(call_table(plan), highlight=False, markup=False)
    console().print(memory_map(plan), highlight=False, markup=False)
    console().print(f"project written to {output}")


def run_model(
    path: Path,
    board_name: str,
    data: str,
    *,
    json_output: bool,
    limit: int,
    outputs: Path | None,
    project: Path | None,
    layers: Path | None,
    calibration: str | None,
    optimise: bool,
    objective: str,
    tuning: str,
    kernels: str,
    cmsis_nn: Path | None,
    arena_limit: int | None,
    input_layout: str,
) -> None:
    from tinyopt.pipeline import Progress, run_on_board
    from tinyopt.report import render, write_csv

    board = load_board(board_name)
    backend = planning_backend(kernels, cmsis_nn, board)
    costs = planning_costs(tuning, board_name, board, backend)
    graph = _quantized(load_model(path, input_layout=input_layout), calibration)
    samples = _samples(data, graph, limit)
    with progress(f"reference executor, {len(samples)} samples") as one, progress(f"{board.title}") as two:
        result = run_on_board(
            graph,
            board,
            samples,
            optimise=optimise,
            objective=objective,
            costs=costs,
            backend=backend,
            arena_limit=arena_limit,
            project=project,
            model_name=path.stem,
            steps=Progress(reference=one, device=two),
        )
    if outputs is not None:
        _write_outputs(outputs, result.outputs)
    if layers is not None:
        write_csv(result.report.layers, layers)
    if json_output:
        print_json(result.report.to_json())
    else:
        console().print(render(result.report))
        if project is not None:
            console().print(f"project written to {project}")
    if result.report.mismatches:
        raise MismatchError(
            f"{result.report.mismatches} of {result.report.samples} samples differ from the reference; "
            f"first: {result.report.first_mismatch}"
        )


def _write_outputs(path: Path, outputs: Any) -> None:
    """Device outputs as one array [samples, ...] (a single output) or [samples, elements] (several, joined)."""
    if all(len(sample) == 1 for sample in outputs):
        array = np.stack([sample[0] for sample in outputs])
    else:
        kinds = {DType.of(o) for sample in outputs for o in sample}
        if len(kinds) > 1:
            raise TinyoptError("--outputs needs outputs of one type; this model has several")
        array = np.stack([np.concatenate([o.reshape(-1) for o in sample]) for sample in outputs])
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
