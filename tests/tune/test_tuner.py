"""Tuning: every kernel is measured once, interruptions lose nothing, wrong kernels are found, plans follow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.build import Firmware
from tinyopt.cli.kernels import planning_costs
from tinyopt.cli.tune import measure_hardware
from tinyopt.data import Samples
from tinyopt.errors import BoardError, DataError, DeviceError, MismatchError, ToolError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, save_graph
from tinyopt.graph.ops import Conv2d, Padding
from tinyopt.plan import make_plan
from tinyopt.plan.catalogue import candidates
from tinyopt.tune import load_table, tune
from tinyopt.tune.rounds import Target, rounds, split

HOST = load_board("host")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
needs_arm = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="arm-none-eabi-gcc or qemu-system-arm is not installed",
)


def network(layers: int = 2, channels: int = 8) -> Graph:
    """Convolutions of which all but the first cost the same."""
    random = np.random.default_rng(0)
    builder = GraphBuilder("network")
    q = Quantization.per_tensor(0.05, 3)
    x = builder.input("x", (1, 6, 6, 4), DType.INT8, q)
    for index in range(layers):
        depth = builder.tensor(x).shape[3]
        data = random.integers(-127, 128, (channels, 3, 3, depth)).astype(np.int8)
        w = builder.constant(f"w{index}", data, Quantization.per_tensor(0.02))
        x = builder.add(Conv2d(padding=Padding(1, 1, 1, 1)), [x, w], name=f"conv{index}", quantization=q)
    builder.output(x)
    return builder.build()


class Pretended:
    """Measures without running: every kernel takes what ``cycles`` says."""

    def __init__(self, graph: Graph, cycles: Callable[[str, int], float], unit: str = "cycles") -> None:
        self.graph, self.cycles, self.unit = graph, cycles, unit
        self.runs: list[list[str]] = []
        self.wrong: str | None = None
        self.stop_after: int | None = None

    def __call__(self, firmware: Firmware, samples: Samples) -> Any:
        if self.stop_after is not None and len(self.runs) >= self.stop_after:
            raise KeyboardInterrupt
        source = (firmware.project.directory / "src" / "model.c").read_text()
        kernels = re.findall(r"^  tinyopt_(\w+)\(&", source, re.MULTILINE)
        self.runs.append(kernels)
        counts = [round(self.cycles(kernel, index)) for index, kernel in enumerate(kernels)]
        values = Executor(self.graph)(next(iter(samples)))
        outputs = [values[name] for name in self.graph.outputs]
        if self.wrong in kernels:
            outputs = [output + 1 for output in outputs]
        nothing: dict[str, int | None] = {"cycles": None, "instructions": None, "nanoseconds": None}
        layers = [SimpleNamespace(**(nothing | {self.unit: count})) for count in counts]
        raw = tuple(np.ascontiguousarray(output).view(np.uint8).reshape(-1) for output in outputs)
        return SimpleNamespace(outputs=(raw,), layers=layers, **(nothing | {self.unit: sum(counts)}))


def ordered(names: Sequence[str]) -> Mapping[str, int]:
    return {name: 1000 + 10 * rank for rank, name in enumerate(names)}


def host_kernels(graph: Graph, operator: int = 0) -> list[str]:
    return [kernel.name for kernel in candidates(graph, graph.operators[operator], HOST.features)]


def test_operators_that_cost_the_same_share_the_rounds() -> None:
    items = (Target("a", ("a0", "a1", "a2"), ("x", "y", "z", "w"), "x"), Target("b", ("b0",), ("x", "y"), "x"))
    assert rounds(items) == (
        {"a0": "x", "a1": "y", "a2": "z", "b0": "x"},
        {"a0": "w", "a1": "w", "a2": "w", "b0": "y"},
    )
    assert rounds(items, {("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("b", "y")}) == (
        {"a0": "w", "a1": "w", "a2": "w"},
    )
    assert rounds((Target("c", ("c0",), ("only",), "only"),)) == ({},)
    assert split({"a": "x", "b": "y", "c": "z"}) == ({"a": "x"}, {"b": "y", "c": "z"})


@needs_gcc
def test_every_kernel_is_measured_and_the_plan_follows_the_measurements(tmp_path: Path) -> None:
    graph = network()
    names = host_kernels(graph)
    assert len(names) > 1
    # The formulas' last choice is the fastest here.
    device = Pretended(graph, lambda kernel, index: ordered(names[::-1])[kernel] + index)
    path = tmp_path / "table.json"
    result = tune(graph, HOST, path, measure=device)
    table = load_table(path)
    assert {(e.operator, e.kernel) for e in table.entries} == {
        (operator, name) for operator in {e.operator for e in table.entries} for name in names
    }
    assert result.measured == len(table.entries) == 2 * len(names)
    assert result.builds == len(device.runs) == len(names) + 1
    assert device.runs[-1] == [names[-1]] * 2
    assert result.after < result.before and result.unit == "cycles"
    assert [row.kernel_after for row in result.operators] == [names[-1]] * 2
    assert all(e.code_bytes > 100 and e.constant_bytes > 0 for e in table.entries)


@needs_gcc
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    graph = network()
    path = tmp_path / "table.json"
    best_first = ordered(host_kernels(graph))  # as the formulas have it, so that the plan stays as it is
    device = Pretended(graph, lambda kernel, index: best_first[kernel])
    device.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        tune(graph, HOST, path, measure=device)
    first = load_table(path)
    assert len(first.entries) == 2
    device.stop_after = None
    device.runs.clear()
    result = tune(graph, HOST, path, measure=device, resume=True)
    assert (result.reused, result.measured) == (2, 2 * len(host_kernels(graph)) - 2)
    assert set(first.entries) <= set(load_table(path).entries)
    again = tune(graph, HOST, path, measure=device, resume=True)
    assert (again.measured, again.reused, again.builds) == (0, 2 * len(host_kernels(graph)), 1)


@needs_gcc
def test_a_kernel_that_computes_wrong_outputs_is_named_and_not_stored(tmp_path: Path) -> None:
    graph = network()
    names = host_kernels(graph)
    device = Pretended(graph, lambda kernel, index: 1000)
    device.wrong = names[-1]
    with pytest.raises(MismatchError, match=f"kernel '{names[-1]}' computes wrong outputs on 'conv0'"):
        tune(graph, HOST, tmp_path / "table.json", measure=device)
    assert names[-1] not in {entry.kernel for entry in load_table(tmp_path / "table.json").entries}


@needs_gcc
def test_time_is_the_least_of_several_runs(tmp_path: Path) -> None:
    graph = network(1)
    calls: list[int] = []

    def noisy(kernel: str, index: int) -> float:
        calls.append(0)
        return 1000 + 100 * (7 * len(calls) % 5)

    result = tune(graph, HOST, tmp_path / "t.json", measure=Pretended(graph, noisy, "nanoseconds"))
    assert result.unit == "nanoseconds"
    assert {entry.count for entry in load_table(tmp_path / "t.json").entries} == {1000.0}


@needs_gcc
def test_a_board_that_counts_nothing_or_other_layers_is_an_error(tmp_path: Path) -> None:
    graph = network(1)
    silent = Pretended(graph, lambda kernel, index: 1, "cycles")
    silent.unit = "joules"
    with pytest.raises(DeviceError, match="counts neither"):
        tune(graph, HOST, tmp_path / "t.json", measure=silent)
    good = Pretended(graph, lambda kernel, index: 1)
    with pytest.raises(DeviceError, match="reported 0 layers of 1"):
        tune(
            graph,
            HOST,
            tmp_path / "t.json",
            measure=lambda f, s: SimpleNamespace(**(vars(good(f, s)) | {"layers": []})),
        )


@needs_gcc
def test_a_kernel_that_does_not_fit_the_board_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = network()
    names = host_kernels(graph)

    def cramped(*arguments: Any, **options: Any) -> Any:
        if (options.get("pins") or {}).get("conv1") == names[-1]:
            raise BoardError("the model does not fit\n  100 bytes too many")
        return make_plan(*arguments, **options)

    monkeypatch.setattr("tinyopt.tune.tuner.make_plan", cramped)
    result = tune(graph, HOST, tmp_path / "t.json", measure=Pretended(graph, lambda kernel, index: 1000))
    assert result.measured == 2 * len(names) - 1
    assert result.notes == (f"'{names[-1]}' was not measured on 'conv1': 100 bytes too many",)


def test_a_broken_table_stops_before_anything_is_built(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text("{")
    with pytest.raises(DataError, match=re.escape(str(path))):
        tune(network(), HOST, path, measure=lambda f, s: pytest.fail("built"))
    assert path.read_text() == "{"


def cli(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "tinyopt", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )


@needs_arm
def test_the_command_line_tunes_on_an_emulated_board_and_plans_from_the_table(tmp_path: Path) -> None:
    model = tmp_path / "network.tinyopt"
    save_graph(network(), model)
    home = {"XDG_DATA_HOME": str(tmp_path / "home")}
    board = ("-b", "mps2_an386")
    result = cli("tune", str(model), *board, "--json", environment=home)
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    path = tmp_path / "home" / "tinyopt" / "tuning" / "mps2_an386.json"
    assert facts["table"] == str(path) and facts["unit"] == "cycles" and facts["measured"] >= 4
    # The last run uses every choice; calls and returns are not part of a layer.
    assert facts["after"] <= facts["before"] * 1.005
    assert facts["after"] == pytest.approx(sum(row["after"] for row in facts["operators"]), rel=0.01)

    ran = cli("run", str(model), *board, "-d", "random:0:1", "--json", environment=home)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert f"kernels chosen by the measurements of {path}" in report["notes"]
    for layer in report["layers"]:
        assert layer["predicted_cycles"] == pytest.approx(layer["cycles"], rel=0.01)

    path.write_text("{}")
    broken = cli("compile", str(model), *board, "-o", str(tmp_path / "p"), environment=home)
    assert broken.returncode == DataError.exit_code
    assert str(path) in broken.stderr.replace("\n", "") and "Traceback" not in broken.stderr


def test_a_table_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("no.json")):
        planning_costs(str(tmp_path / "no.json"), "host", HOST, None)
    assert planning_costs("none", "host", HOST, None) is None
    assert planning_costs("auto", str(tmp_path / "host.yaml"), HOST, None) is None


def test_hardware_needs_a_port_and_a_way_to_flash() -> None:
    assert measure_hardware(HOST, None, None) is None
    with pytest.raises(DeviceError, match="--flash"):
        measure_hardware(HOST, "/dev/null", None)
    with pytest.raises(DeviceError, match="--flash"):
        measure_hardware(HOST, "/dev/null", "openocd without the file")
    with pytest.raises(DeviceError, match="--port"):
        measure_hardware(HOST, None, "true {elf}")
    with pytest.raises(DeviceError, match="is hardware"):
        measure_hardware(HOST.model_copy(update={"emulator": None}), None, None)
    for command, says in (("false {elf}", "the flash command failed"), ("no-such-program {elf}", "cannot run")):
        run = measure_hardware(HOST, "/dev/null", command)
        assert run is not None
        with pytest.raises(ToolError, match=says):
            run(SimpleNamespace(elf=Path("x.elf")), ())  # type: ignore[arg-type]
