"""How a plan uses CMSIS-NN: wherever it fits, where it is cheapest, or not at all; and what a project holds then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmsis_nn.places import library, need_tools, place
from tinyopt.board import load_board
from tinyopt.build import build
from tinyopt.cli.kernels import planning_backend
from tinyopt.errors import TinyoptError
from tinyopt.generate import generate
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, ops
from tinyopt.plan import call_table, make_plan
from tinyopt.plan.cmsis_nn import cmsis_nn_backend

BOARD = load_board("mps2_an386")


def network() -> Graph:
    """A convolution, which every CMSIS-NN has, and a logistic function, which none has for int8."""
    random = np.random.default_rng(1)
    quantized = Quantization.per_tensor(0.05, 3)
    builder = GraphBuilder("network")
    x = builder.input("x", (1, 6, 6, 4), DType.INT8, quantized)
    values = random.integers(-127, 128, (8, 3, 3, 4)).astype(np.int8)
    weights = builder.constant("weights", values, Quantization.per_tensor(0.01))
    y = builder.add(ops.Conv2d(), [x, weights], name="Conv2d", output="y", quantization=quantized)
    probability = Quantization.per_tensor(1 / 256, -128)
    z = builder.add(ops.Unary(ops.UnaryKind.LOGISTIC), [y], name="Logistic", output="z", quantization=probability)
    builder.output(z)
    return builder.build()


def test_it_is_used_wherever_it_fits() -> None:
    plan = make_plan(network(), BOARD, backend=cmsis_nn_backend(library(), BOARD, only=True))
    assert [call.kernel.name for call in plan.calls] == ["conv2d_s8_cmsis_nn", "lut_s8_ref"]
    assert "1 of 2 layers by CMSIS-NN" in call_table(plan)
    assert "tinyopt's own kernels: Logistic (lut_s8_ref)" in call_table(plan)


def test_the_cheapest_of_both_is_used() -> None:
    graph = network()
    native = make_plan(graph, BOARD)
    best = make_plan(graph, BOARD, backend=cmsis_nn_backend(library(), BOARD, only=False))
    only = make_plan(graph, BOARD, backend=cmsis_nn_backend(library(), BOARD, only=True))
    assert best.cycles <= min(native.cycles, only.cycles)


def test_a_pin_overrules_it() -> None:
    backend = cmsis_nn_backend(library(), BOARD, only=True)
    plan = make_plan(network(), BOARD, backend=backend, pins={"Conv2d": "conv2d_s8_ref"})
    assert [call.kernel.library for call in plan.calls] == [None, None]


def test_its_buffer_is_in_the_arena() -> None:
    plan = make_plan(network(), BOARD, backend=cmsis_nn_backend(library(), BOARD, only=True))
    call = plan.calls[0]
    assert call.scratch == call.parameters["scratch_bytes"] == 2 * 2 * 3 * 3 * 4  # two columns of int16


def test_a_project_holds_its_files_as_they_are(tmp_path: Path) -> None:
    found = library()
    plan = make_plan(network(), BOARD, backend=cmsis_nn_backend(found, BOARD, only=True))
    project = generate(plan, tmp_path / "project", project="library")
    folder = tmp_path / "project" / "kernels" / "cmsis-nn"
    wrapper = "Source/ConvolutionFunctions/arm_convolve_wrapper_s8.c"
    assert (folder / wrapper).read_text() == found.files[wrapper]
    assert [path for path in folder.iterdir() if path.name.startswith("LICENSE")]
    assert not list(folder.rglob("*softmax*.c"))
    vendor = [source.path for source in project.sources if source.role == "vendor"]
    assert f"kernels/cmsis-nn/{wrapper}" in vendor
    assert "kernels/cmsis-nn/Include" in (tmp_path / "project" / "CMakeLists.txt").read_text()


def test_a_project_builds_for_its_board(tmp_path: Path) -> None:
    need_tools("arm-none-eabi-gcc", "gcc")
    plan = make_plan(network(), BOARD, backend=cmsis_nn_backend(library(), BOARD, only=True))
    firmware = build(generate(plan, tmp_path / "project", harness=True))
    native = build(generate(make_plan(network(), BOARD), tmp_path / "native", harness=True))
    assert firmware.code_bytes > 500
    assert firmware.weights_bytes >= native.weights_bytes - 64


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYOPT_CMSIS_NN", raising=False)
    assert planning_backend("native", None, BOARD) is None
    with pytest.raises(TinyoptError, match="must be one of native, cmsis-nn, best"):
        planning_backend("fastest", None, BOARD)
    with pytest.raises(TinyoptError, match="has no effect with --kernels native"):
        planning_backend("native", Path("cmsis-nn"), BOARD)
    with pytest.raises(TinyoptError, match="CMSIS-NN is not part of tinyopt"):
        planning_backend("best", None, BOARD)
    where = place()
    if where is not None:
        backend = planning_backend("best", Path(where), BOARD)
        assert backend is not None and not backend.only
