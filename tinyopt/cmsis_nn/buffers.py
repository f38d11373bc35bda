"""Sizes of working buffers, from the library's own ``*_get_buffer_size`` functions.

These functions are plain arithmetic on shapes, so they run on this computer: their definitions are taken from the
library's files, as they are, into a small program in which the macro of the target's instruction set is set. The
headers are included before it is, so that they need no compiler of that target.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tinyopt.cmsis_nn import ctext
from tinyopt.cmsis_nn.library import Library
from tinyopt.errors import ToolError

_MACROS = {"c": "", "dsp": "#define ARM_MATH_DSP 1", "mve": "#define ARM_MATH_DSP 1\n#define ARM_MATH_MVEI 1"}
_SECONDS = 60

# Numbers of the command line, in order, go into the parameters of each function.
# (structures are initialised in the order of their fields)
_CALLS = {
    "arm_convolve_wrapper_s8_get_buffer_size": """
    cmsis_nn_conv_params p = {v[0], v[1], {v[2], v[3]}, {v[4], v[5]}, {v[6], v[7]}, {v[8], v[9]}};
    cmsis_nn_dims in = {v[10], v[11], v[12], v[13]}, f = {v[14], v[15], v[16], v[17]},
                  out = {v[18], v[19], v[20], v[21]};
    size = arm_convolve_wrapper_s8_get_buffer_size(&p, &in, &f, &out);""",
    "arm_depthwise_conv_wrapper_s8_get_buffer_size": """
    cmsis_nn_dw_conv_params p = {v[0], v[1], v[2], {v[3], v[4]}, {v[5], v[6]}, {v[7], v[8]}, {v[9], v[10]}};
    cmsis_nn_dims in = {v[11], v[12], v[13], v[14]}, f = {v[15], v[16], v[17], v[18]},
                  out = {v[19], v[20], v[21], v[22]};
    size = arm_depthwise_conv_wrapper_s8_get_buffer_size(&p, &in, &f, &out);""",
    "arm_fully_connected_s8_get_buffer_size": """
    cmsis_nn_dims f = {v[0], v[1], v[2], v[3]};
    size = arm_fully_connected_s8_get_buffer_size(&f);""",
    "arm_avgpool_s8_get_buffer_size": """
    size = arm_avgpool_s8_get_buffer_size(v[0], v[1]);""",
}


def buffer_size(library: Library, core: str, function: str, numbers: tuple[int, ...]) -> int:
    """Call one of the library's ``*_get_buffer_size`` functions; bytes.

    ``core``: the instruction set of the target, ``c``, ``dsp`` or ``mve``. ``numbers``: the fields of the function's
    structures in the order of their declaration (or its arguments).

    Raises:
        ToolError: there is no C compiler on this computer, or the functions do not compile or run.
    """
    return _size(_program(library, core), function, numbers)


@cache
def _size(program: Path, function: str, numbers: tuple[int, ...]) -> int:
    done = _run([str(program), function, *map(str, numbers)])
    try:
        size = int(done.stdout)
    except ValueError:
        size = -1
    if done.returncode or size < 0:
        raise ToolError(f"{function} of CMSIS-NN did not answer with a size: {done.stdout[:200]!r}")
    return size


@cache
def _program(library: Library, core: str) -> Path:
    compiler = next((found for name in (os.environ.get("CC", ""), "gcc", "cc", "clang") if (found := _which(name))), "")
    if not compiler:
        raise ToolError(
            "CMSIS-NN's buffer sizes are computed by its own functions, and there is no C compiler on this computer to "
            "build them; install one with `apt-get install gcc`, or set CC"
        )
    folder = Path(tempfile.mkdtemp(prefix="tinyopt-cmsis-nn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path, text in library.files.items():
        if path.endswith(".h"):
            _write(folder / path, text)
    for name, text in library.core.items():
        _write(folder / "Core" / name, text)
    main, program = folder / "sizes.c", folder / "sizes"
    _write(main, _main(library, core))
    folders = [f"-I{folder / name}" for name in library.include_dirs()]
    # The macros make the headers of releases before 5.0.0 do without an Arm compiler.
    macros = ["-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict"]
    command = [compiler, "-std=gnu99", "-O1", "-w", *macros, *folders, str(main), "-o", str(program)]
    done = _run(command)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        raise ToolError(f"the buffer size functions of {library.title} do not compile:\n" + "\n".join(lines[:6]))
    return program


def _main(library: Library, core: str) -> str:
    defined = {
        function.name: function
        for path in sorted(library.files)
        if path.endswith(".c")
        for function in ctext.functions(library.files[path])
        if "get_buffer_size" in function.name
    }
    roots = [name for name in _CALLS if name in defined and name in library.declared]
    needed: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in defined and name not in needed:
            needed.add(name)
            waiting += sorted(ctext.names(defined[name].text) & set(defined))
    # In the order of their files: what has no declaration in a header is defined there before it is used.
    ordered = [name for name in defined if name in needed]
    branches = [f'  if (strcmp(argv[1], "{name}") == 0) {{{_CALLS[name]}\n  }}' for name in roots]
    return "\n".join(
        [
            "#include <stdio.h>",
            "#include <stdlib.h>",
            "#include <string.h>",
            '#include "arm_nnfunctions.h"',
            '#include "arm_nnsupportfunctions.h"',
            _MACROS[core],
            *(defined[name].text for name in ordered),
            "int main(int argc, char **argv) {",
            "  int32_t v[32] = {0}, size = -1;",
            "  for (int i = 2; i < argc && i < 34; ++i) {",
            "    v[i - 2] = (int32_t)strtol(argv[i], NULL, 10);",
            "  }",
            *branches,
            '  printf("%ld\\n", (long)size);',
            "  return 0;",
            "}",
            "",
        ]
    )


def _which(name: str) -> str | None:
    return shutil.which(name) if name else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"cannot run {command[0]}: {error}") from None
