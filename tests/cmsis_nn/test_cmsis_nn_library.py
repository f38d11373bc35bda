"""CMSIS-NN is found in a folder, a pack or a PlatformIO library; its declarations are checked, its files chosen.

These tests write a miniature of it; the real one is swept in ``test_cmsis_nn_on_cores``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tinyopt.board import load_board
from tinyopt.cmsis_nn import Library, buffer_size, open_library
from tinyopt.cmsis_nn.ctext import functions, includes, parameter_types, prototypes, structs, tables
from tinyopt.cmsis_nn.signatures import FUNCTIONS, STRUCTS
from tinyopt.errors import TinyoptError
from tinyopt.plan.cmsis_nn import cmsis_nn_backend

TYPES = "#include <stdint.h>\n" + "".join(
    f"/* {name} */ typedef struct {{ {'; '.join(fields)}; }} {name};\n" for name, fields in STRUCTS.items()
)
SOFTMAX = """
/* A comment with arm_max_pool_s8() in it. */
#include "arm_nnfunctions.h"
#include "Internal/more.h"
#define BODY { }
static int32_t helper(void) { return 1; }
void arm_softmax_s8(const int8_t *input, const int32_t num_rows, const int32_t row_size, const int32_t mult,
                    const int32_t shift, const int32_t diff_min, int8_t *output)
{
    if (helper()) { arm_other(input); }
}
"""
OTHER = "void arm_other(const int8_t *input) { (void)table[0]; }"
TABLE = "const int16_t table[4] = {1, 2, 3, 4};"
SIZES = """
int32_t arm_avgpool_s8_get_buffer_size(const int output_x, const int ch_src)
{
#if defined(ARM_MATH_MVEI)
    return inner(output_x);
#elif defined(ARM_MATH_DSP)
    return ch_src * (int32_t)sizeof(int32_t);
#else
    (void)output_x;
    return 0;
#endif
}
"""


def header(changed: str = "") -> str:
    lines = [f'/* $Revision:    V.99.1.0 */\n{"#include"} "arm_nn_types.h"', "void arm_other(const int8_t *input);"]
    for name, types in FUNCTIONS.items():
        names = ", ".join(f"{kind} p{number}" for number, kind in enumerate(types[1:] if name == changed else types))
        result = "void" if name == "arm_softmax_s8" else "int32_t"
        lines.append(f"{result}\n{name}({names});")
    return "\n".join(lines)


def write(folder: Path, changed: str = "", include: str = "Include", source: str = "Source") -> Path:
    files = {
        f"{include}/arm_nnfunctions.h": header(changed),
        f"{include}/arm_nnsupportfunctions.h": "",
        f"{include}/arm_nn_types.h": TYPES,
        f"{include}/Internal/more.h": "#define MORE 1\n",
        f"{source}/softmax.c": SOFTMAX,
        f"{source}/other.c": OTHER,
        f"{source}/table.c": TABLE,
        f"{source}/arm_avgpool_s8.c": SIZES.replace("inner(output_x)", "7 * output_x"),
        "Tests/softmax.c": "void arm_softmax_s8(void) {}",
        "LICENSE": "the licence",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_a_folder_holds_it(tmp_path: Path) -> None:
    library = open_library(write(tmp_path))
    assert library.title == "CMSIS-NN (arm_nnfunctions.h V.99.1.0)"
    assert library.include == "Include"
    assert library.has("arm_softmax_s8")
    assert not library.has("arm_max_pool_s8")


def test_a_function_brings_the_files_it_needs_and_the_licence(tmp_path: Path) -> None:
    assert list(open_library(write(tmp_path)).closure(["arm_softmax_s8"])) == [
        "Include/Internal/more.h",
        "Include/arm_nn_types.h",
        "Include/arm_nnfunctions.h",
        "LICENSE",
        "Source/other.c",
        "Source/softmax.c",
        "Source/table.c",
    ]


def test_a_function_whose_callee_is_missing_is_not_there(tmp_path: Path) -> None:
    (write(tmp_path) / "Source/other.c").unlink()
    assert not open_library(tmp_path).has("arm_softmax_s8")


def test_a_pack_holds_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "ARM.CMSIS-NN.9.9.9.pack", "w") as pack:
        for path in sorted(folder.rglob("*")):
            pack.write(path, path.relative_to(folder))
    assert open_library(tmp_path / "ARM.CMSIS-NN.9.9.9.pack").has("arm_softmax_s8")


def test_a_platformio_project_holds_it(tmp_path: Path) -> None:
    write(tmp_path / "lib" / "CMSIS-NN", include="src", source="src")
    (tmp_path / "lib" / "CMSIS-NN" / "library.json").write_text('{"name": "CMSIS-NN"}')
    library = open_library(tmp_path / "lib")
    assert library.include == "src"
    assert library.sources_of("arm_softmax_s8") == {"src/softmax.c", "src/other.c", "src/table.c"}


def test_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYOPT_CMSIS_NN", str(write(tmp_path)))
    assert open_library().origin == str(tmp_path)


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYOPT_CMSIS_NN", raising=False)
    with pytest.raises(TinyoptError, match="name its folder, CMSIS-Pack or PlatformIO library"):
        open_library()
    with pytest.raises(TinyoptError, match="does not exist"):
        open_library(tmp_path / "nowhere")
    with pytest.raises(TinyoptError, match=r"no arm_nnfunctions\.h"):
        open_library(tmp_path)
    (tmp_path / "broken.pack").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(TinyoptError, match="not a CMSIS-Pack"):
        open_library(tmp_path / "broken.pack")


def test_another_interface_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TinyoptError, match=r"(?s)other interfaces than tinyopt knows.*arm_max_pool_s8\(const cmsis"):
        open_library(write(tmp_path / "function", changed="arm_max_pool_s8"))
    types = write(tmp_path / "structure") / "Include/arm_nn_types.h"
    types.write_text(types.read_text().replace("int32_t n; int32_t h", "int32_t h; int32_t n"))
    with pytest.raises(TinyoptError, match="struct cmsis_nn_dims is"):
        open_library(tmp_path / "structure")


def test_compiler_headers_of_cmsis_core_may_lie_elsewhere(tmp_path: Path) -> None:
    library = write(tmp_path / "nn")
    more = library / "Include/Internal/more.h"
    more.write_text('#include "cmsis_compiler.h"\n')
    with pytest.raises(TinyoptError, match="needs the compiler headers of CMSIS-Core"):
        open_library(library)
    (tmp_path / "core").mkdir()
    (tmp_path / "core/cmsis_compiler.h").write_text('#include "cmsis_gcc.h"\n#include "cmsis_iccarm.h"\n')
    (tmp_path / "core/cmsis_gcc.h").write_text("")
    found = open_library(f"{library}:{tmp_path / 'core'}")
    assert {"Core/cmsis_compiler.h", "Core/cmsis_gcc.h"} <= set(found.closure(["arm_softmax_s8"]))
    assert found.include_dirs() == ("Include", "Core")
    with pytest.raises(TinyoptError, match="compiles for Arm cores only"):
        cmsis_nn_backend(found, load_board("rv32_virt"), only=True)


@pytest.fixture
def small(tmp_path: Path) -> Library:
    return open_library(write(tmp_path))


def test_buffer_sizes_are_those_of_the_target(small: Library) -> None:
    sizes = [buffer_size(small, core, "arm_avgpool_s8_get_buffer_size", (3, 10)) for core in ("c", "dsp", "mve")]
    assert sizes == [0, 40, 21]


def test_c_text_is_read() -> None:
    assert includes('/* #include "no.h" */\n#  include "yes.h"\n#include <stdint.h>\n') == ("yes.h",)
    assert parameter_types("const int8_t *input, int32_t size, bool") == ("const int8_t *", "int32_t", "bool")
    assert parameter_types("\n  void ") == ()
    assert prototypes("#define X(a) a;\nint32_t arm_a(\n  void);\nint b(int c);") == {"arm_a": ()}
    assert structs("typedef struct\n{ int32_t *a; /**< x; y */ bool b; } pair;") == {"pair": ("int32_t * a", "bool b")}
    assert [(f.name, f.is_static) for f in functions(SOFTMAX)] == [("helper", True), ("arm_softmax_s8", False)]
    assert tables(TABLE) == ("table",)
