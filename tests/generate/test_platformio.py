"""PlatformIO projects: PlatformIO reads them as meant, sources compile for their core, the test has its answers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_generate import WARNINGS, plan_of_everything, small_plan

from tinyopt.board import board_names, load_board
from tinyopt.build.host import host_compiler
from tinyopt.generate import Project, generate
from tinyopt.generate.platformio import board_frameworks, stm32cube_boards
from tinyopt.plan import make_plan

pytest.importorskip("platformio", reason="PlatformIO is not installed")

STAND_INS = Path(__file__).parent / "stand_ins"
REPOSITORY = Path(__file__).resolve().parents[2]
HARDWARE = [name for name in board_names() if board_frameworks(load_board(name))]
BUILT = ["nucleo_l4r5zi", "nucleo_g0b1re", "disco_f746ng", "nucleo_h743zi", "nucleo_f446re", "esp32_c3", "pico2_riscv"]
"""Every framework, every kind of core and every clock of STM32 boards among them."""


def project_for(board: str, folder: Path, name: str = "model") -> Project:
    plan = make_plan(small_plan().source, load_board(board))
    return generate(plan, folder / "project", project="platformio", name=name)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """A project for every hardware board that PlatformIO knows."""
    return {board: project_for(board, tmp_path_factory.mktemp(board)) for board in HARDWARE}


def settings(project: Project) -> dict[str, dict[str, list[str]]]:
    """Environment → option → lines, as PlatformIO's own reader has them."""
    from platformio.project.config import ProjectConfig

    config = ProjectConfig(str(project.directory / "platformio.ini"))
    config.validate()
    assert not config.warnings
    assert config.default_envs() == [project.board.name]
    found = {}
    for name in config.envs():
        options = config.items(env=name, as_dict=True)
        found[name] = {key: value if isinstance(value, list) else [str(value)] for key, value in options.items()}
    return found


@pytest.mark.parametrize("board", HARDWARE)
def test_every_framework_has_an_environment_and_one_that_measures(board: str, projects: dict[str, Project]) -> None:
    project = projects[board]
    environments = settings(project)
    known = load_board(board)
    assert known.platformio is not None
    for index, framework in enumerate(board_frameworks(known)):
        name = board if index == 0 else f"{board}_{framework}"
        for which in (name, f"{name}_measure"):
            options = environments[which]
            assert options["platform"] == [known.platformio.platform]
            assert options["board"] == [known.platformio.board]
            assert options["framework"] == [framework]
            assert options["monitor_speed"] == [str(known.baud_rate)]
    assert len(environments) == 2 * len(board_frameworks(known)) + 1


@pytest.mark.parametrize("board", HARDWARE)
def test_what_the_environments_name_exists_and_nothing_else_is_there(board: str, projects: dict[str, Project]) -> None:
    project = projects[board]
    used = set()
    for options in settings(project).values():
        for item in " ".join(options.get("build_src_filter", [])).split():
            if item.startswith("+<"):
                path = (project.directory / "src" / item[2:-1]).resolve()
                assert path.exists(), item
                used |= {path} if path.is_file() else set(path.rglob("*.c*"))
        for flag in options.get("build_flags", []):
            if flag.startswith("-I"):
                assert (project.directory / flag[2:]).is_dir(), flag
    cmake = "".join(path.read_text() for path in project.directory.rglob("CMakeLists.txt"))
    for path in [*project.directory.glob("src/**/*.c*"), *project.directory.glob("measure/**/*.c*")]:
        named = re.search(rf"{path.parent.name}/(\*|{path.stem})\.", cmake)
        assert path in used or named or path.name == "board.h", f"{path} belongs to no environment"


def test_the_floating_point_unit_is_used_where_the_framework_leaves_it_out(projects: dict[str, Project]) -> None:
    project = projects["nucleo_l4r5zi"]
    environments = settings(project)
    for name, options in environments.items():
        assert ("extra_scripts" in options) == (options.get("framework", [""])[0] in ("stm32cube", "cmsis")), name
    assert '"-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"' in (project.directory / "core_flags.py").read_text()
    assert not (projects["nucleo_g0b1re"].directory / "core_flags.py").exists()


def compiled(project: Project, framework: str, paths: list[Path], *flags: str) -> None:
    board = project.board
    includes = [*project.directory.glob("lib/*/*/*"), *project.directory.glob("lib/*/src")]
    includes += [project.directory / "measure" / name for name in ("harness", "port", "port/hosted", "port/cortex_m")]
    includes += [project.directory / "src" / framework, STAND_INS / framework]
    command = [*board.toolchain.flags, *(f"-I{path}" for path in includes if path.is_dir()), "-O1", *flags]
    command += ["-DTINYOPT_BAUD_RATE=115200", "-DTINYOPT_CLOCK_HZ=1000000u", "-DTINYOPT_COUNTER_HZ=1000000u"]
    command += ["-DTINYOPT_KEEP_INPUT=1", "-DTINYOPT_FIRMWARE_ID=1ull"]
    for suffix, language in ((".c", ["gcc", "-std=gnu99"]), (".cpp", ["g++", "-std=gnu++11"])):
        chosen = [str(path) for path in paths if path.suffix == suffix]
        call = [board.toolchain.prefix + language[0], language[1], "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
        if chosen:
            done = subprocess.run([*call, *command, *chosen], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("board", BUILT)
def test_programs_and_ports_compile_for_the_core(board: str, projects: dict[str, Project]) -> None:
    project = projects[board]
    if shutil.which(f"{project.board.toolchain.prefix}gcc") is None:
        pytest.skip(f"{project.board.toolchain.prefix}gcc is not installed")
    folder = project.directory
    for framework in board_frameworks(project.board):
        port = "semihosting" if framework == "cmsis" else framework
        programs, ports = list(folder.glob(f"src/{framework}/*.c*")), list(folder.glob(f"measure/port/{port}/*.c*"))
        assert programs and ports
        flags = ["-DESP_PLATFORM"] if board.startswith("esp32") else []
        hosted = list(folder.glob("measure/port/hosted/*.c"))
        compiled(project, framework, [*programs, *ports, *hosted], *flags)
        compiled(project, framework, ports, *flags, "-DTINYOPT_TIMESTAMP_PIN=5", "-DTINYOPT_TIMESTAMP_PORT=A")


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="clang-format is not installed")
def test_programs_are_formatted(projects: dict[str, Project]) -> None:
    files: list[Path] = []
    for board in (*stm32cube_boards(), "esp32_c3"):
        folder = projects[board].directory
        files += [*folder.glob("src/**/*.[ch]*"), *folder.glob("test/**/*.c")]
    style = f"--style=file:{REPOSITORY / '.clang-format'}"
    done = subprocess.run(["clang-format", style, "--dry-run", "-Werror", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_platformio_reads_the_manifest_of_the_library(projects: dict[str, Project]) -> None:
    from platformio.package.manifest.parser import ManifestParserFactory
    from platformio.package.manifest.schema import ManifestSchema

    path = projects["nucleo_l4r5zi"].directory / "lib" / "model" / "library.json"
    manifest = ManifestSchema().load_manifest(ManifestParserFactory.new_from_file(str(path)).as_dict())
    assert manifest["name"] == "model" and manifest["frameworks"] == ["*"]


def run_test(project: Project, target: Path) -> subprocess.CompletedProcess[str]:
    command = [host_compiler(), *WARNINGS, "-Wno-conversion"]
    command += [f"-I{project.directory / folder}" for folder in project.include_dirs]
    source = project.directory / "test" / "test_model" / "test_model.c"
    command += [*map(str, project.paths()), str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return subprocess.run([target], capture_output=True, text=True)


@pytest.mark.parametrize("make", [small_plan, plan_of_everything])
def test_the_test_knows_the_answers(make, tmp_path: Path) -> None:
    project = generate(make(), tmp_path / "project", project="platformio")
    done = run_test(project, tmp_path / "program")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [*(f"sample_{i}:PASS" for i in range(3)), "3 Tests 0 Failures 0 Ignored"]


def test_the_test_sees_a_wrong_weight(tmp_path: Path) -> None:
    project = generate(plan_of_everything(), tmp_path / "project", project="platformio")
    (weights,) = project.directory.glob("lib/model/src/model_weights.c")
    weights.write_text(re.sub(r"(?m)^( +)-?\d+,", r"\g<1>7,", weights.read_text()))
    done = run_test(project, tmp_path / "program")
    assert done.returncode == 1 and ":FAIL:" in done.stdout


def test_a_model_with_another_name_is_a_program_without_measuring(tmp_path: Path) -> None:
    project = project_for("nucleo_l4r5zi", tmp_path, name="kws")
    assert not (project.directory / "measure").exists()
    assert not any(name.endswith("_measure") for name in settings(project))
    assert '#include "kws.h"' in (project.directory / "src" / "stm32cube" / "main.c").read_text()


def test_a_board_that_platformio_does_not_know_gets_a_native_environment(tmp_path: Path) -> None:
    project = project_for("nrf5340_dk", tmp_path)
    ini = (project.directory / "platformio.ini").read_text()
    assert "[env:native]" in ini and ini.count("[env:") == 1
    assert "PlatformIO does not know this board" in (project.directory / "README.md").read_text()


def test_edited_programs_and_settings_stay(tmp_path: Path) -> None:
    project = project_for("nucleo_l4r5zi", tmp_path)
    for name in ("platformio.ini", "src/arduino/main.cpp", "src/stm32cube/board.c", "zephyr/prj.conf"):
        path = project.directory / name
        path.write_text(path.read_text() + "# mine\n")
    project_for("nucleo_l4r5zi", tmp_path)
    for name in ("platformio.ini", "src/arduino/main.cpp", "src/stm32cube/board.c", "zephyr/prj.conf"):
        assert (project.directory / name).read_text().endswith("# mine\n")
