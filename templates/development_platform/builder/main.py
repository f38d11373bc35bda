"""Builds a program for an emulated board with the system's GCC; `upload` starts the emulator, `stop` ends it."""

import shlex
import shutil
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, Default, DefaultEnvironment

env = DefaultEnvironment()
build = env.BoardConfig().get("build")
prefix = build["prefix"]
is_native = not build["emulator"]
platform_folder = Path(env.PioPlatform().get_dir())
build_folder = Path(env.subst("$BUILD_DIR")).absolute()
program = build_folder / ("program" if is_native else "firmware.elf")
state_folder = Path(env.subst("$PROJECT_WORKSPACE_DIR"), "emulator", env.subst("$PIOENV"))


def require(name, packages):
    if shutil.which(name, path=env["ENV"].get("PATH")) is None:
        sys.stderr.write(f"Error: {name} is not installed; on Debian and Ubuntu: sudo apt-get install {packages}\n")
        env.Exit(1)


def emulator(action, *options):
    """The shell's command for emulator.py: the program, with its console on standard input and output."""
    command = [str(program)]
    if not is_native:
        command = [*build["emulator"], "-serial", "stdio", "-kernel", *command]
    words = [env.subst("$PYTHONEXE"), str(platform_folder / "emulator.py"), action, *options, "--", *command]
    return " ".join(map(shlex.quote, words))


def write_runner(target, source, env):
    """What `pio test` runs: the emulator, until the tests have said how they went."""
    runner = build_folder / "program"
    runner.write_text(f"#!/bin/sh\nexec {emulator('run', '--timeout', '300')}\n", encoding="utf-8")
    runner.chmod(0o755)


require(f"{prefix}gcc", build["packages"])
env.Replace(
    CC=f"{prefix}gcc",
    CXX=f"{prefix}g++",
    AS=f"{prefix}gcc",
    AR=f"{prefix}gcc-ar",
    RANLIB=f"{prefix}gcc-ranlib",
    OBJCOPY=f"{prefix}objcopy",
    SIZETOOL=f"{prefix}size",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPROGREGEXP=r"^(?:\.vectors|\.text|\.rodata|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
    PROGNAME=program.stem,
    PROGSUFFIX=program.suffix,
)
env.Append(
    ASFLAGS=build["core_flags"],
    CCFLAGS=[*build["core_flags"], "-O2", "-g", "-ffunction-sections", "-fdata-sections"],
    LINKFLAGS=[*build["core_flags"], "-Wl,--gc-sections"],
    CPPDEFINES=build["defines"],
    LIBS=["m"],
)
if not is_native:
    # The port is to an emulated board what a vendor's framework is to a real one.
    require(build["emulator"][0], build["emulator_packages"])
    env.Append(LINKFLAGS=["-nostartfiles"], CPPPATH=[str(platform_folder / name) for name in build["include"]])
    env.Replace(LDSCRIPT_PATH=str(platform_folder / build["linker_script"]))
    sources = ["-<*>", *(f"+<{name}>" for name in build["sources"])]
    env.BuildSources(str(build_folder / "framework"), str(platform_folder), src_filter=sources)

if "nobuild" in COMMAND_LINE_TARGETS:
    elf = str(program)
else:
    elf = env.BuildProgram()
    if not is_native:
        env.AddPostAction(elf, env.VerboseAction(write_runner, "Writing the command that runs it emulated"))

env.AlwaysBuild(env.Alias("nobuild", elf))
idle = str(env.GetProjectOption("custom_emulator_timeout", "1800"))
env.AddPlatformTarget(
    "upload",
    elf,
    env.VerboseAction(emulator("start", "--folder", str(state_folder), "--timeout", idle), "Starting the emulator"),
    title="Upload",
    description="Start the emulated board with this program",
)
env.AddPlatformTarget(
    "stop",
    None,
    env.VerboseAction(emulator("stop", "--folder", str(state_folder)), "Stopping the emulator"),
    title="Stop",
    description="Stop the emulated board",
)
Default([elf])
