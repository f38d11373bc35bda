"""Forms for other build systems: complete, compiled for their core, and never outside their folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from test_generate import HOST, WARNINGS, Q, plan_of_everything, small_plan

from tinyopt.board import load_board
from tinyopt.build.host import host_compiler
from tinyopt.generate import Project, generate
from tinyopt.generate.ctext import plain_text
from tinyopt.generate.flat import flatten
from tinyopt.generate.folder import File
from tinyopt.generate.forms import FORMS
from tinyopt.graph import DType, GraphBuilder, ops
from tinyopt.plan import make_plan

STAND_INS = Path(__file__).parent / "stand_ins"
HOSTILE = '../../evil\n"; rm -rf /\n# [x](y) <b> {{ 7 * 7 }} ${HOME} $(id) `id` : - |\tname=other\x00*/'


def compiles(project: Project, compiler: str, sources: list[Path], *flags: str) -> None:
    includes = [f"-I{project.directory / folder}" for folder in project.include_dirs]
    command = [compiler, *flags, *includes, "-fsyntax-only", *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", FORMS)
def test_the_sources_of_every_form_compile(form: str, tmp_path: Path) -> None:
    project = generate(plan_of_everything(), tmp_path / "project", project=form)
    assert project.sources and all(path.is_file() for path in project.paths())
    compiles(project, host_compiler(), list(project.paths()), *WARNINGS)


def test_an_arduino_library_has_one_folder_and_an_example(tmp_path: Path) -> None:
    project = generate(plan_of_everything(), tmp_path / "project", project="arduino", name="kws")
    files = {str(path.relative_to(project.directory)) for path in project.directory.rglob("*") if path.is_file()}
    assert {"library.properties", "README.md", "examples/run_model/run_model.ino", "src/kws.h", "src/kws.c"} <= files
    assert not [name for name in files if name.startswith("src/") and name.count("/") > 1]
    lines = (project.directory / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(properties) and all(properties.values())
    sketch = project.directory / "examples" / "run_model" / "run_model.ino"
    flags = ["-x", "c++", "-std=gnu++11", "-Wall", "-Wextra", "-Werror", f"-I{STAND_INS / 'arduino'}"]
    if shutil.which("g++"):
        compiles(project, "g++", [sketch], *flags)


def listed(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip().endswith(".c")}


def test_a_zephyr_module_lists_its_sources_behind_an_option(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project", project="zephyr", name="kws")
    module = yaml.safe_load((project.directory / "zephyr" / "module.yml").read_text())
    assert module == {"name": "kws", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    cmake = (project.directory / "zephyr" / "CMakeLists.txt").read_text()
    assert listed(cmake) == {f"${{folder}}/{source.path}" for source in project.sources}
    assert "config TINYOPT_KWS\n" in (project.directory / "zephyr" / "Kconfig").read_text()
    assert "CONFIG_TINYOPT_KWS=y" in (project.directory / "sample" / "prj.conf").read_text()
    main = project.directory / "sample" / "src" / "main.c"
    compiles(project, host_compiler(), [main], "-std=gnu99", "-Wall", "-Werror", f"-I{STAND_INS / 'zephyr'}")


def test_an_esp_idf_component_lists_its_sources(tmp_path: Path) -> None:
    project = generate(small_plan(), tmp_path / "project", project="esp-idf")
    manifest = yaml.safe_load((project.directory / "idf_component.yml").read_text())
    assert manifest["version"] == "1.0.0" and manifest["dependencies"]["idf"] == ">=5.0"
    assert listed((project.directory / "CMakeLists.txt").read_text()) == {source.path for source in project.sources}
    main = project.directory / "examples" / "run_model" / "main" / "main.c"
    compiles(project, host_compiler(), [main], "-std=gnu99", "-Wall", "-Werror", f"-I{STAND_INS / 'espidf'}")


def test_sources_for_stm32cubeide_are_two_folders_that_compile_for_the_core(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    plan = plan_of_everything("nucleo_l4r5zi")
    project = generate(plan, tmp_path / "project", project="stm32cube")
    assert {path.parent for path in project.paths()} == {project.directory / "Src"}
    assert project.include_dirs == ("Inc",)
    flags = [*plan.board.toolchain.flags, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2"]
    compiles(project, "arm-none-eabi-gcc", list(project.paths()), *flags)
    assert "1. " in (project.directory / "README.md").read_text()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_presets_build_and_test_here_and_build_for_the_board(tmp_path: Path) -> None:
    project = generate(make_plan(small_plan().source, load_board("nucleo_l4r5zi")), tmp_path / "project")
    presets = json.loads((project.directory / "CMakePresets.json").read_text())
    names = [preset["name"] for preset in presets["configurePresets"]]
    assert names == ["native", "nucleo_l4r5zi"]
    commands = [
        ["cmake", "--preset", "native"],
        ["cmake", "--build", "--preset", "native"],
        ["ctest", "--preset", "native"],
    ]
    if shutil.which("arm-none-eabi-gcc"):
        commands += [["cmake", "--preset", names[1]], ["cmake", "--build", "--preset", names[1]]]
    for command in commands:
        done = subprocess.run(command, cwd=project.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("form", [*FORMS, "cmake", "platformio"])
def test_a_hostile_name_stays_in_the_folder_and_in_its_place(form: str, tmp_path: Path) -> None:
    builder = GraphBuilder(HOSTILE)
    x = builder.input(HOSTILE, (1, 8), DType.INT8, Q)
    builder.output(builder.add(ops.Clip(), [x], quantization=Q, name=HOSTILE))
    project = generate(make_plan(builder.build(), HOST), tmp_path / "a" / "project", project=form)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["project"]
    compiles(project, host_compiler(), list(project.paths()), *WARNINGS)
    for path in project.directory.rglob("*"):
        if path.suffix in (".md", ".properties", ".yml", ".ini", ".txt") or path.name == "Kconfig":
            text = path.read_text()
            assert "rm -rf /" not in "".join(line for line in text.splitlines() if not line.startswith("#")), path
            assert "\x00" not in text and "[x]" not in text and "\tname" not in text, path
        if path.suffix == ".yml":
            assert yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    "text, plain", [("kws 1.0", "kws 1.0"), (HOSTILE[:16], "evil_ rm"), ("\n", "model"), ("../..", "model")]
)
def test_plain_text_keeps_words(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_flat_names_follow_their_includes() -> None:
    files = [
        File("src/model.c", b'#include "one.h"\n#include "table.h"\n'),
        File("kernels/one/one.h", b'#include "pixels.h"\n'),
        File("kernels/one/pixels.h", b"\n"),
        File("kernels/two/pixels.h", b"\n"),
        File("kernels/two/ref.c", b'#include "pixels.h"\n#include <stdint.h>\n'),
        File("kernels/common/table.h", b"\n"),
        File("kernels/cmsis-nn/Include/Internal/compiler.h", b"\n"),
        File("kernels/cmsis-nn/Source/f.c", b'#include "Internal/compiler.h"\n'),
        File("library.json", b"{}"),
    ]
    flat = {file.path: file.content.decode() for file in flatten(files)}
    assert set(flat) == {
        "model.c", "one.h", "one_pixels.h", "two_pixels.h", "two_ref.c", "table.h", "compiler.h", "f.c",
    }  # fmt: skip
    assert flat["one.h"] == '#include "one_pixels.h"\n'
    assert flat["two_ref.c"] == '#include "two_pixels.h"\n#include <stdint.h>\n'
    assert flat["model.c"] == '#include "one.h"\n#include "table.h"\n'
    assert flat["f.c"] == '#include "compiler.h"\n'
