"""A plan in the form that a build system or an IDE wants: Arduino library, Zephyr module, ESP-IDF component, sources
for STM32CubeIDE, CMake presets.

Formats: Arduino library specification 1.5; Zephyr's documentation of modules; ESP-IDF's of its build system and
component manager; cmake-presets(7).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinyopt.generate.ctext import plain_text
from tinyopt.generate.flat import flatten
from tinyopt.generate.folder import File
from tinyopt.generate.platformio import unit_test_file
from tinyopt.generate.rendering import rendered
from tinyopt.generate.sources import Sources
from tinyopt.plan import Plan

Form = Callable[[Mapping[str, Any], Sequence[File]], list[File]]


def form_files(
    form: str, plan: Plan, model: Sources, library: Sequence[File], folders: Mapping[str, Any]
) -> list[File]:
    """All files of a form. ``folders``: ``sources`` and ``include_dirs`` of the library, relative to its folder."""
    facts = {
        "m": model,
        "plan": plan,
        "board": plan.board,
        "title": plain_text(plan.source.name),
        "symbol": f"TINYOPT_{model.prefix}",
        **folders,
    }
    return FORMS[form](facts, [file for file in library if not file.path.endswith("library.json")])


def _arduino(facts: Mapping[str, Any], library: Sequence[File]) -> list[File]:
    return [
        *(File(f"src/{file.path}", file.content) for file in flatten(library)),
        rendered("forms/library.properties.j2", "library.properties", facts),
        rendered("forms/README_arduino.md.j2", "README.md", facts),
        rendered("platformio/main_arduino.cpp.j2", "examples/run_model/run_model.ino", facts, starter=True),
    ]


def _zephyr(facts: Mapping[str, Any], library: Sequence[File]) -> list[File]:
    return [
        *library,
        rendered("forms/zephyr_module.yml.j2", "zephyr/module.yml", facts),
        rendered("forms/zephyr_CMakeLists.txt.j2", "zephyr/CMakeLists.txt", facts),
        rendered("forms/zephyr_Kconfig.j2", "zephyr/Kconfig", facts),
        rendered("forms/zephyr_sample_CMakeLists.txt.j2", "sample/CMakeLists.txt", facts),
        rendered("forms/zephyr_sample_prj.conf.j2", "sample/prj.conf", facts, starter=True),
        rendered("platformio/main_zephyr.c.j2", "sample/src/main.c", facts, starter=True),
        rendered("forms/README_zephyr.md.j2", "README.md", facts),
    ]


def _espidf(facts: Mapping[str, Any], library: Sequence[File]) -> list[File]:
    example = "examples/run_model"
    return [
        *library,
        rendered("forms/espidf_CMakeLists.txt.j2", "CMakeLists.txt", facts),
        rendered("forms/idf_component.yml.j2", "idf_component.yml", facts),
        rendered("forms/espidf_example_CMakeLists.txt.j2", f"{example}/CMakeLists.txt", facts),
        rendered("forms/espidf_example_main_CMakeLists.txt.j2", f"{example}/main/CMakeLists.txt", facts),
        rendered("platformio/main_espidf.c.j2", f"{example}/main/main.c", facts, starter=True),
        rendered("forms/README_espidf.md.j2", "README.md", facts),
    ]


def _stm32cube(facts: Mapping[str, Any], library: Sequence[File]) -> list[File]:
    files = [
        File(f"{'Inc' if file.path.endswith('.h') else 'Src'}/{file.path}", file.content) for file in flatten(library)
    ]
    return [*files, rendered("forms/README_stm32cube.md.j2", "README.md", facts)]


FORMS: Mapping[str, Form] = {"arduino": _arduino, "zephyr": _zephyr, "esp-idf": _espidf, "stm32cube": _stm32cube}


def cmake_extras(plan: Plan, model: Sources) -> list[File]:
    """What a CMake project has besides its list: presets, the test, and how to use them."""
    cross = bool(plan.board.toolchain.prefix) and plan.board.port != ""
    facts = {
        "m": model,
        "plan": plan,
        "title": plain_text(plan.source.name),
        "cross": cross,
    }
    return [
        File("CMakePresets.json", (json.dumps(_presets(plan, cross), indent=2) + "\n").encode()),
        rendered("forms/README_cmake.md.j2", "README.md", facts),
        unit_test_file(plan, model, "test/test_model.c"),
    ]


def _presets(plan: Plan, cross: bool) -> dict[str, Any]:
    configure = [{"name": "native", "displayName": "This computer", "binaryDir": "${sourceDir}/build/native"}]
    if cross:
        configure.append(
            {
                "name": plan.board.name,
                "displayName": plan.board.title,
                "binaryDir": f"${{sourceDir}}/build/{plan.board.name}",
                "toolchainFile": "${sourceDir}/toolchain.cmake",
            }
        )
    return {
        "version": 3,
        "configurePresets": [{**item, "generator": "Unix Makefiles"} for item in configure],
        "buildPresets": [{"name": item["name"], "configurePreset": item["name"]} for item in configure],
        "testPresets": [{"name": "native", "configurePreset": "native", "output": {"outputOnFailure": True}}],
    }
