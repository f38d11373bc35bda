"""Generated projects: they compile without a warning, read as if written by hand, and appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.build.host import WARNINGS, host_compiler
from tinyopt.errors import TinyoptError
from tinyopt.generate import Project, generate
from tinyopt.graph import DType, GraphBuilder, Quantization, ops
from tinyopt.plan import Plan, make_plan

HOST = load_board("host")
Q = Quantization.per_tensor(0.05, 3)
REPOSITORY = Path(__file__).resolve().parents[2]


def plan_of_everything(board: str = "host") -> Plan:
    """int8 and float32, weights and tables, several inputs and outputs, a state, a shared constant, a long concat."""
    builder = GraphBuilder('odd */ name "quoted" \\')
    random = np.random.default_rng(0)
    x = builder.input("serving/default*/x", (1, 4, 4, 3), DType.INT8, Q)
    scale = builder.input("y", (1, 8), DType.FLOAT32)
    weights = builder.constant(
        "w", random.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8), Quantization.per_channel(np.full(8, 0.01), 0)
    )
    conv = builder.add(ops.Conv2d(padding=ops.Padding(1, 1, 1, 1)), [x, weights], name="conv", quantization=Q)
    pooled = builder.add(ops.AveragePool2d((4, 4)), [conv], name="pool", quantization=Q)
    flat = builder.add(ops.Reshape((1, 8)), [pooled], name="flat", quantization=Q)
    memory = builder.state("memory", np.arange(8, dtype=np.int8).reshape(1, 8), Q)
    zeros = builder.state("zeros", np.zeros((1, 8), np.int8), Q)
    joined = builder.add(ops.Concat(1), [flat, memory, zeros] * 6, name="joined", quantization=Q)
    builder.assign("memory", flat)
    builder.assign("zeros", memory)
    real = builder.add(ops.Dequantize(), [flat], name="real", dtype=DType.FLOAT32)
    product = builder.add(ops.Binary(ops.BinaryKind.MUL), [real, scale], name="product")
    for name in (joined, product):
        builder.output(name)
    return make_plan(builder.build(), load_board(board))


def small_plan() -> Plan:
    builder = GraphBuilder("small")
    x = builder.input("x", (1, 8), DType.INT8, Q)
    builder.output(builder.add(ops.Clip(), [x], quantization=Q))
    return make_plan(builder.build(), HOST)


def compile_project(project: Project, target: Path, *flags: str) -> None:
    command = [host_compiler(), *WARNINGS, *flags]
    command += [f"-I{project.directory / folder}" for folder in project.include_dirs]
    command += [*map(str, project.paths()), str(project.directory / "src" / "main.c"), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_project_compiles_without_warnings_and_runs(tmp_path: Path) -> None:
    project = generate(plan_of_everything(), tmp_path / "project")
    compile_project(project, tmp_path / "program", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 18 * 8 + 8


def test_another_name_gives_other_identifiers(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project", name="kws")
    header = (project.directory / "src" / "kws.h").read_text()
    assert "#define KWS_ARENA_BYTES 16" in header and "void kws_run(void *arena);" in header
    assert "model" not in header.replace("of the model", "").replace("The model keeps", "").lower()
    compile_project(project, tmp_path / "program")


def test_the_header_tells_all_there_is_to_know(tmp_path: Path) -> None:
    plan = plan_of_everything()
    project = generate(plan, tmp_path / "project")
    header = (project.directory / "src" / "model.h").read_text()
    for line in (
        f"#define MODEL_ARENA_BYTES {plan.arena_bytes}",
        f"#define MODEL_LAYER_COUNT {len(plan.calls)}",
        "#define MODEL_HAS_STATE 1",
        "#define MODEL_INPUT_COUNT 2",
        "#define MODEL_INPUT_BYTES 80",
        "#define MODEL_OUTPUT_COUNT 2",
        "#define MODEL_OUTPUT_BYTES 176",
        "#define MODEL_INPUT_0_ELEMENTS 48",
        "#define MODEL_INPUT_0_SCALE 0.05f",
        "#define MODEL_INPUT_0_ZERO_POINT (3)",
        "static inline int8_t *model_input_0(void *arena) {",
        "static inline float *model_input_1(void *arena) {",
        "static inline const float *model_output_1(const void *arena) {",
        "void model_reset(void *arena);",
    ):
        assert line in header.splitlines(), line
    assert "MODEL_INPUT_1_SCALE" not in header


def test_only_kernels_that_are_called_are_copied(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project")
    kernels = {path.parent.name for path in project.directory.glob("kernels/*/*.c")}
    assert kernels == {"clip_s8"} | ({"common"} & kernels)
    assert {s.path for s in project.sources} == {
        str(path.relative_to(project.directory))
        for folder in ("src", "kernels")
        for path in (project.directory / folder).rglob("*.c")
        if path.name != "main.c"
    }


def test_equal_constants_are_written_once(tmp_path: Path) -> None:
    builder = GraphBuilder("twins")
    x = builder.input("x", (1, 16), DType.INT8, Q)
    data = np.random.default_rng(1).integers(-127, 128, (16, 16)).astype(np.int8)
    for name in ("one", "two"):
        weights = builder.constant(f"{name}_weights", data, Quantization.per_tensor(0.02))
        x = builder.add(ops.FullyConnected(), [x, weights], name=name, quantization=Q)
    builder.output(x)
    project = generate(make_plan(builder.build(), HOST), tmp_path / "project")
    text = (project.directory / "src" / "model_weights.c").read_text()
    assert text.count("[256] =") == 1
    model = (project.directory / "src" / "model.c").read_text()
    # Both layers have the same parameters too: one struct, used twice.
    assert model.count("model_layer_0_weights") == 1 and model.count("(&layer_0, ") == 2


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="clang-format is not installed")
@pytest.mark.parametrize("make", [plan_of_everything, small_plan])
def test_generated_files_are_formatted(make, tmp_path: Path) -> None:
    project = generate(make(), tmp_path / "project")
    files = sorted(path for path in (project.directory / "src").iterdir() if path.name != "main.c")
    style = f"--style=file:{REPOSITORY / '.clang-format'}"
    done = subprocess.run(["clang-format", style, "--dry-run", "-Werror", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("board", ["mps2_m0", "mps2_an386", "mps3_an547", "rv32_virt"])
def test_the_model_compiles_without_warnings_for_the_board(board: str, tmp_path: Path) -> None:
    plan = plan_of_everything(board)
    compiler = f"{plan.board.toolchain.prefix}gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    project = generate(plan, tmp_path / "project", project="library")
    for source in project.paths():
        command = [compiler, *plan.board.toolchain.flags, *WARNINGS, "-O2", "-c", "-o", os.devnull, str(source)]
        command += [f"-I{project.directory / folder}" for folder in project.include_dirs]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_header_can_be_used_from_cpp(tmp_path: Path) -> None:
    project = generate(plan_of_everything(), tmp_path / "project")
    user = tmp_path / "user.cpp"
    user.write_text('#include "model.h"\nint main() { return model_input_0(0) == model_input(0, 0) ? 0 : 1; }\n')
    command = ["g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{project.directory / 'src'}", str(user)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_the_cmake_project_builds(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project", project="cmake")
    build = tmp_path / "build"
    for command in (["cmake", "-S", project.directory, "-B", build], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([build / "model_example"], capture_output=True).returncode == 0


def test_the_platformio_project_is_a_program_and_a_library(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project", project="platformio", name="kws")
    files = {str(path.relative_to(project.directory)) for path in project.directory.rglob("*") if path.is_file()}
    assert {"platformio.ini", "src/main.c", "lib/kws/library.json", "lib/kws/src/kws.c"} <= files
    manifest = json.loads((project.directory / "lib" / "kws" / "library.json").read_text())
    assert manifest["name"] == "kws" and "-Ikernels/common" in manifest["build"]["flags"]
    assert all(source.path.startswith("lib/kws/") for source in project.sources)
    compile_project(project, tmp_path / "program")


def test_the_measuring_firmware_brings_harness_port_and_linker_script(tmp_path: Path) -> None:
    project = generate(plan_of_everything("mps2_an386"), tmp_path / "project", harness=True)
    assert {source.role for source in project.sources} == {"model", "weights", "kernel", "harness", "port"}
    assert project.linker_script is not None and (project.directory / project.linker_script).is_file()
    assert not (project.directory / "src" / "main.c").exists()
    assert all(path.is_file() for path in project.paths())
    assert all((project.directory / folder).is_dir() for folder in project.include_dirs)


def test_an_unknown_kind_of_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TinyoptError, match="cmake, platformio, library"):
        generate(small_plan(), tmp_path / "project", project="bazel")
    assert list(tmp_path.iterdir()) == []


def test_generation_is_deterministic(tmp_path: Path) -> None:
    one, two = (generate(plan_of_everything(), tmp_path / name) for name in ("one", "two"))
    files = sorted(path.relative_to(one.directory) for path in one.directory.rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (one.directory / file).read_bytes() == (two.directory / file).read_bytes()


def test_a_measuring_firmware_has_one_identity_in_every_kind_of_project(tmp_path: Path) -> None:
    plan = plan_of_everything("mps2_an386")
    project = generate(plan, tmp_path / "cmake", harness=True)
    identity = next(define for define in project.defines if define.startswith("TINYOPT_FIRMWARE_ID="))
    generate(plan, tmp_path / "platformio", project="platformio")
    assert f"-D{identity}\n" in (tmp_path / "platformio" / "platformio.ini").read_text()
    other = generate(plan_of_everything("mps2_an385"), tmp_path / "other", harness=True)
    assert identity not in other.defines
