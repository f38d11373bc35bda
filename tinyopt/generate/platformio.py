"""A plan as a PlatformIO project: one environment for every framework of the board, and one that measures.

What PlatformIO's own platforms leave out is added here: the floating-point flags of STM32Cube and CMSIS builds, the
clocks and the console of boards that the HAL does not know, the CMake files of ESP-IDF and Zephyr.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml

from tinyopt.board import Board, Platformio
from tinyopt.generate.ctext import plain_text
from tinyopt.generate.folder import File
from tinyopt.generate.identity import firmware_identity
from tinyopt.generate.known_answers import SAMPLES, SEED, known_answers
from tinyopt.generate.measuring import harness_files, keeps_input
from tinyopt.generate.rendering import rendered
from tinyopt.generate.sources import Sources
from tinyopt.plan import Plan
from tinyopt.resources import resource

Option = tuple[str, "str | list[str]"]
_OPTIMISE = "-O2"
_TASK_STACK_BYTES = 16384
_PORTS: Mapping[str, tuple[str, ...]] = {
    "stm32cube": ("port/stm32cube/stm32cube.c", "port/hosted/stack.c", "port/hosted/heap_end.c"),
    "arduino": ("port/arduino/arduino.cpp", "port/hosted/measure.c"),
    "espidf": ("port/espidf/espidf.c", "port/hosted/measure.c", "port/hosted/stack.c"),
    "zephyr": ("port/zephyr/zephyr.c", "port/hosted/stack.c"),
    "cmsis": ("port/semihosting/semihosting.c", "port/hosted/stack.c", "port/hosted/heap_end.c"),
}
"""Sources of the measuring firmware's port to each framework."""
_OWN_MAIN = ("arduino", "espidf")
"""Frameworks whose main() is their own."""


@dataclass(frozen=True)
class Environment:
    """A section of ``platformio.ini``."""

    name: str
    note: str
    options: list[Option]


@cache
def stm32cube_boards() -> Mapping[str, Mapping[str, Any]]:
    """What is known of boards under the STM32Cube HAL, by PlatformIO's name."""
    path = resource("templates") / "platformio" / "stm32cube.yaml"
    facts: Mapping[str, Mapping[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return facts


def board_frameworks(board: Board) -> tuple[str, ...]:
    """The frameworks that a project for this board can have, the usual one first."""
    if board.is_emulated or board.platformio is None:
        return ()
    names = board.platformio.frameworks
    return tuple(name for name in names if name != "stm32cube" or board.platformio.board in stm32cube_boards())


def platformio_files(plan: Plan, model: Sources, library: Sequence[File], include_dirs: Sequence[str]) -> list[File]:
    """The files of the project around the library ``lib/<name>`` (``library``, with its header folders)."""
    board = plan.board
    frameworks = board_frameworks(board)
    measured = model.name == "model"
    facts: dict[str, Any] = {"m": model, "plan": plan, "board": board, "frameworks": frameworks}
    files = [rendered("main.c.j2", "src/native/main.c" if frameworks else "src/main.c", facts, starter=True)]
    for framework in frameworks:
        files += _framework_files(framework, {**facts, "stack_bytes": _TASK_STACK_BYTES})
    has_fpu_script = _fpu_flags(board) and bool({"stm32cube", "cmsis"} & set(frameworks))
    if has_fpu_script:
        files.append(rendered("platformio/core_flags.py.j2", "core_flags.py", {"flags": _fpu_flags(board)}))
    if measured:
        files += _measuring_files(board, frameworks)
    environments = _environments(board, frameworks, measured)
    has_measure = any(environment.name.endswith("_measure") for environment in environments)
    identity = firmware_identity(board, library, f"lib/{model.name}/")
    facts |= {
        "title": plain_text(plan.source.name),
        "environments": environments,
        "has_measure": has_measure,
        "measure_flags": _measure_flags(board, frameworks, identity, include_dirs) if has_measure else [],
        "commands": _commands(board, environments),
        "notes": _notes(board, model, frameworks),
    }
    files += [
        rendered("platformio/platformio.ini.j2", "platformio.ini", facts, starter=True),
        rendered("platformio/README.md.j2", "README.md", facts),
        rendered("platformio/gitignore.j2", ".gitignore", facts),
        rendered("platformio/test_custom_runner.py.j2", "test/test_custom_runner.py", facts),
        unit_test_file(plan, model, "test/test_model/test_model.c"),
    ]
    return files


def unit_test_file(plan: Plan, model: Sources, path: str) -> File:
    """A program that runs the model on known inputs and says which outputs are right."""
    inputs, answers = known_answers(plan.source)
    notes = [
        f"Of output {answer.index}, which is large, every {answer.stride}. element is compared."
        for answer in answers
        if answer.stride > 1
    ]
    draws = any(item.draw for item in inputs)
    facts = {"m": model, "inputs": inputs, "tables": answers, "samples": SAMPLES, "seed": SEED, "draws": draws}
    return rendered("platformio/test_model.c.j2", path, {**facts, "stride_notes": notes})


def _framework_files(framework: str, facts: Mapping[str, Any]) -> list[File]:
    suffix = "cpp" if framework == "arduino" else "c"
    template = f"platformio/main_{framework}.{suffix}.j2"
    files = [rendered(template, f"src/{framework}/main.{suffix}", facts, starter=True)]
    if framework == "stm32cube":
        known = stm32cube_boards()[facts["board"].platformio.board]
        more = {**facts, "facts": known, "family": known["clock"][:2]}
        for name in ("board.c", "board.h"):
            files.append(rendered(f"platformio/stm32cube_{name}.j2", f"src/stm32cube/{name}", more, starter=True))
    elif framework == "zephyr":
        files.append(rendered("platformio/zephyr_CMakeLists.txt.j2", "zephyr/CMakeLists.txt", facts, starter=True))
        files.append(rendered("platformio/prj.conf.j2", "zephyr/prj.conf", facts, starter=True))
    elif framework == "espidf":
        files.append(rendered("platformio/espidf_CMakeLists.txt.j2", "CMakeLists.txt", facts, starter=True))
        files.append(rendered("platformio/espidf_src_CMakeLists.txt.j2", "src/CMakeLists.txt", facts, starter=True))
        files.append(rendered("platformio/sdkconfig.defaults.j2", "sdkconfig.defaults", facts, starter=True))
    return files


def _fpu_flags(board: Board) -> list[str]:
    return [flag for flag in board.toolchain.flags if flag.startswith(("-mfpu=", "-mfloat-abi="))]


def _headers(board: Board) -> list[str]:
    names = ["port/port.h", "port/hosted/stack.h"]
    has_cycles = board.platformio is not None and board.platformio.platform != "espressif32"
    return [*names, "port/cortex_m/cycles.h"] if has_cycles else names


def _measuring_files(board: Board, frameworks: Sequence[str]) -> list[File]:
    """The measuring firmware below ``measure/``; on an emulated board the platform brings the port."""
    if not frameworks and not _is_machine(board):
        return []
    paths = [item.path.as_posix() for item in harness_files()]
    if frameworks:
        paths += dict.fromkeys([*_headers(board), *(path for name in frameworks for path in _PORTS[name])])
    root = resource("firmware")
    return [File(f"measure/{path}", (root / path).read_bytes()) for path in paths]


def _environments(board: Board, frameworks: Sequence[str], measured: bool) -> list[Environment]:
    found: list[Environment] = []
    native: list[Option] = [("platform", "native"), ("build_flags", f"-std=c99 {_OPTIMISE} -Wall -Wextra -lm")]
    if frameworks:
        assert board.platformio is not None
        for index, framework in enumerate(frameworks):
            name = board.name if index == 0 else f"{board.name}_{framework}"
            found.append(_hardware(board, board.platformio, framework, name))
            if measured:
                found.append(_measuring(board, name, framework))
        native.append(("build_src_filter", "-<*> +<native/>"))
    elif _is_machine(board):
        options: list[Option] = [("platform", "tinyopt"), ("board", board.name)]
        options.append(("monitor_port", f".pio/emulator/{board.name}/console"))
        found.append(Environment(board.name, "Needs `tinyopt platformio install`, once.", options))
        if measured:
            found.append(_measuring(board, board.name, ""))
        native = [("platform", "tinyopt"), ("board", "host")]
    return [*found, Environment("native", "This computer, for the test.", native)]


def _is_machine(board: Board) -> bool:
    """Whether the board is emulated, and not a process of this computer."""
    return board.emulator is not None and board.emulator.program != "host"


def _hardware(board: Board, names: Platformio, framework: str, name: str) -> Environment:
    options: list[Option] = [("platform", names.platform), ("board", names.board), ("framework", framework)]
    options.append(("monitor_speed", str(board.baud_rate)))
    options += [("build_unflags", "-Os"), ("build_flags", _OPTIMISE)]
    if framework not in ("espidf", "zephyr"):
        options.append(("build_src_filter", f"-<*> +<{framework}/>"))
    if framework in ("stm32cube", "cmsis") and _fpu_flags(board):
        options.append(("extra_scripts", "core_flags.py"))
    options.append(("test_ignore", "test_model"))
    mine = dict(options)
    return Environment(
        name,
        "",
        [
            *((key, names.options.get(key, value)) for key, value in options),
            *((key, value) for key, value in names.options.items() if key not in mine),
        ],
    )


def _measuring(board: Board, name: str, framework: str) -> Environment:
    """The environment of the measuring firmware beside that with the name ``name``."""
    options: list[Option] = [("extends", f"env:{name}")]
    flags = ["${measure.build_flags}"]
    if framework in ("espidf", "zephyr"):
        key = "board_build.cmake_extra_args" if framework == "espidf" else "board_build.zephyr.cmake_extra_args"
        options.append((key, "-DMEASURE=1"))
    else:
        parts = ["-<*>", "+<../measure/harness/>"]
        parts += ["-<../measure/harness/main.c>"] if framework in _OWN_MAIN else []
        parts += [f"+<../measure/{path}>" for path in _PORTS.get(framework, ())]
        if framework == "stm32cube":
            parts.append("+<stm32cube/board.c>")
            flags.append("-Isrc/stm32cube")
        if framework == "cmsis":
            flags.append(f"-DTINYOPT_COUNTER_HZ={board.reset_clock_hz or board.clock_hz}u")
        options.append(("build_src_filter", parts))
    if not framework:
        options.append(("monitor_port", f".pio/emulator/{name}_measure/console"))
    return Environment(f"{name}_measure", "", [*options, ("build_flags", flags)])


def _measure_flags(board: Board, frameworks: Sequence[str], identity: int, include_dirs: Sequence[str]) -> list[str]:
    """Flags of every measuring firmware; an emulated board's platform brings those of its port."""
    folders = ["measure/harness"]
    defines = []
    if frameworks:
        folders += dict.fromkeys(str(PurePosixPath("measure", path).parent) for path in _headers(board))
        defines = [
            _OPTIMISE,
            f"-DTINYOPT_KEEP_INPUT={int(keeps_input(board))}",
            f"-DTINYOPT_BAUD_RATE={board.baud_rate}",
            f"-DTINYOPT_CLOCK_HZ={board.clock_hz}u",
        ]
    return [
        *defines,
        f"-DTINYOPT_FIRMWARE_ID=0x{identity:016x}ull",
        *(f"-I{folder}" for folder in [*folders, *include_dirs]),
    ]


def _commands(board: Board, environments: Sequence[Environment]) -> list[str]:
    lines = [("pio run", "build")]
    if len(environments) > 1:
        lines = [("pio run -t upload", "build and start it on the board"), ("pio device monitor", "see what it says")]
    if environments[0].options[0] == ("platform", "tinyopt"):
        lines.insert(0, ("tinyopt platformio install", "once: the emulated boards as boards of PlatformIO"))
        lines.append(("pio run -t stop", "end the emulator"))
        lines.append((f"pio test -e {board.name}", "the test, on the emulated board"))
    lines.append(("pio test -e native", "the test, on this computer"))
    for environment in environments[1:-1]:
        if environment.name == f"{board.name}_measure":
            lines.append((f"pio run -e {environment.name} -t upload", "the measuring firmware"))
        elif not environment.name.endswith("_measure"):
            framework = dict(environment.options)["framework"]
            lines.append((f"pio run -e {environment.name}", f"the same with the framework {framework}"))
    width = max(len(command) for command, _ in lines)
    return [f"{command:<{width}}  # {what}" for command, what in lines]


def _notes(board: Board, model: Sources, frameworks: Sequence[str]) -> list[str]:
    notes = []
    if frameworks and model.name == "model":
        notes.append(
            f"Flash the measuring firmware, then `tinyopt hil run MODEL -b {board.name} --port PORT -d DATA` sends it "
            "a data set and compares every output with the reference."
        )
    if "cmsis" in frameworks and model.name == "model":
        notes.append(
            "The framework cmsis brings no driver: its measuring firmware talks by semihosting, through the debug "
            "probe, and runs at the clock that the chip has after reset."
        )
    if not frameworks and not board.is_emulated:
        notes.append(
            "PlatformIO does not know this board. Add an environment with its platform, board and framework, or copy "
            f"`lib/{model.name}` into the `lib` folder of a project that you have."
        )
    return notes
