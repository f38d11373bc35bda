"""Generated C on this computer: compiled, run, and checked with the compiler's sanitizers.

``HostModel`` loads one model into this process. ``HostBatch`` builds many small ones into one program, with address and
undefined-behaviour checks and poisoned gaps between the buffers of an arena: the sweep test's way to run a kernel.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tinyopt.errors import DataError, DeviceError, ToolError
from tinyopt.generate.generator import model_library
from tinyopt.generate.sources import describe
from tinyopt.graph import Array
from tinyopt.plan import Plan
from tinyopt.resources import resource

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
_ADDRESSES = "-fsanitize=address"
REDZONE = 32
"""Bytes between buffers that a plan for ``HostBatch`` should have: ``make_plan(..., redzone=REDZONE)``."""

_JOBS = min(os.cpu_count() or 1, 4)
_SECONDS = 300


class HostModel:
    """A plan compiled for this computer and loaded into this process.

    The states keep their values from run to run. Raises ToolError when there is no C compiler or it fails.
    """

    def __init__(self, plan: Plan, *, optimise: str = "-O1") -> None:
        self.plan = plan
        self._names = dict(zip(plan.graph.outputs, plan.source.outputs))
        with tempfile.TemporaryDirectory(prefix="tinyopt-host-") as folder:
            library = Path(folder) / "model.so"
            objects = _model_objects(plan, Path(folder), (optimise, "-fPIC", *WARNINGS))
            _compiler_run([*objects, "-shared", "-Wl,-Bsymbolic", "-o", str(library), "-lm"])
            self._library = ctypes.CDLL(str(library))
        self._memory = np.zeros(plan.arena_bytes + 16, np.uint8)
        self._start = -self._memory.ctypes.data % 16
        self.reset()

    def reset(self) -> None:
        """Put every state back to its initial value."""
        if self.plan.graph.states:
            self._library.model_reset(ctypes.c_void_p(self._memory.ctypes.data + self._start))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference: arrays by input name in, arrays by output name out.

        Raises:
            DataError: when an input is missing or has the wrong shape or element type.
        """
        for name, data in _input_bytes(self.plan, inputs):
            self._view(name)[:] = np.frombuffer(data, np.uint8)
        self._library.model_run(ctypes.c_void_p(self._memory.ctypes.data + self._start))
        tensors = self.plan.graph.tensors
        return {
            self._names[name]: self._view(name).copy().view(tensors[name].dtype.numpy).reshape(tensors[name].shape)
            for name in self.plan.graph.outputs
        }

    def _view(self, name: str) -> Array:
        start = self._start + self.plan.offset(name)
        return self._memory[start : start + self.plan.graph.tensors[name].nbytes]


class HostBatch:
    """Many plans in one program that runs under the address and undefined-behaviour sanitizers.

    A context manager: the program ends with it. Plans made with ``redzone=REDZONE`` have gaps between their buffers;
    reading or writing there stops the program.

    Raises:
        ToolError: when there is no C compiler or it fails.
    """

    def __init__(self, plans: Sequence[Plan], *, optimise: str = "-O1") -> None:
        self.plans = tuple(plans)
        self._folder = Path(tempfile.mkdtemp(prefix="tinyopt-batch-"))
        try:
            program = self._build(optimise)
            self._log = (self._folder / "stderr").open("w+b")
            self._process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"},
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _build(self, optimise: str) -> Path:
        flags = (optimise, *WARNINGS, *SANITIZERS)
        source, kernels = self._folder / "src", self._folder / "kernels"
        source.mkdir()
        objects: dict[str, Path] = {}
        vendor: dict[str, Path] = {}
        system: set[str] = set()
        models = []
        for index, plan in enumerate(self.plans):
            model = describe(plan, f"m{index}")
            library = model_library(model)
            for file in library.files:
                path = self._folder / file.path
                if file.path.startswith("src/") or not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.content)
            objects.update({s.path: self._folder / s.path for s in library.sources if s.role == "kernel"})
            vendor.update({s.path: self._folder / s.path for s in library.sources if s.role == "vendor"})
            system.update(library.system_include_dirs)
            models.append(
                {
                    "name": model.name,
                    "prefix": model.prefix,
                    "layers": len(model.layers),
                    "sources": [Path(s.path).name for s in library.sources if s.role in ("model", "weights")],
                    "buffers": [(b.offset, b.size) for b in plan.buffers],
                }
            )
        environment = Environment(
            loader=FileSystemLoader(resource("templates")),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        main = source / "batch.c"
        main.write_text(environment.get_template("host_batch.c.j2").render(models=models), encoding="utf-8")
        folders = {kernels / "common", *(header.parent for header in kernels.glob("*/*.h"))}
        includes = [f"-I{folder}" for folder in sorted(folders)]
        includes += _system(self._folder, sorted(system))
        built = _kernel_objects(objects, includes, flags) + _vendor_objects(vendor, includes, (optimise, _ADDRESSES))
        # The model files are data and calls: optimising them costs time and finds nothing.
        batch = self._folder / "batch.o"
        _compiler_run(
            ["-O0", *WARNINGS, "-fsanitize=address", *includes, f"-I{source}", "-c", str(main), "-o", str(batch)]
        )
        program = self._folder / "batch"
        _compiler_run([str(batch), *map(str, built), *SANITIZERS, "-o", str(program), "-lm"])
        return program

    def __enter__(self) -> HostBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program and remove its files."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def reset(self, index: int) -> None:
        """Put the states of plan ``index`` back to their initial values."""
        self._exchange(struct.pack("=II", index, 1), 0)

    def run(self, index: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference of plan ``index``.

        Raises:
            DataError: when an input is missing or has the wrong shape or element type.
            DeviceError: when a sanitizer stopped the program; the message is its report.
        """
        plan = self.plans[index]
        tensors = [plan.graph.tensors[name] for name in plan.graph.outputs]
        request = struct.pack("=II", index, 0) + b"".join(data for _, data in _input_bytes(plan, inputs))
        reply = self._exchange(request, sum(tensor.nbytes for tensor in tensors))
        outputs, position = {}, 0
        for name, tensor in zip(plan.source.outputs, tensors):
            data = np.frombuffer(reply, np.uint8, tensor.nbytes, position)
            outputs[name] = data.view(tensor.dtype.numpy).reshape(tensor.shape)
            position += tensor.nbytes
        return outputs

    def _exchange(self, request: bytes, size: int) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            reply = self._process.stdout.read(size)
        except BrokenPipeError:
            reply = b""
        if len(reply) != size or (size == 0 and self._process.poll() is not None):
            self._process.wait(timeout=10)
            self._log.seek(0)
            report = self._log.read(6000).decode("utf-8", "replace")
            raise DeviceError(f"the generated program stopped with code {self._process.returncode}:\n{report}")
        return reply


def _input_bytes(plan: Plan, inputs: Mapping[str, Array]) -> list[tuple[str, bytes]]:
    found = []
    for name in plan.graph.inputs:
        tensor = plan.graph.tensors[name]
        if name not in inputs:
            raise DataError(f"the model needs an input '{name}' ({tensor.dtype.value}{list(tensor.shape)})")
        array = np.asarray(inputs[name])
        if tuple(array.shape) != tensor.shape or array.dtype != tensor.dtype.numpy:
            raise DataError(
                f"input '{name}' must be {tensor.dtype.value}{list(tensor.shape)}, got {array.dtype}{list(array.shape)}"
            )
        found.append((name, array.tobytes()))
    return found


def _model_objects(plan: Plan, folder: Path, flags: tuple[str, ...]) -> list[str]:
    """Compile a model and its kernels; the kernels' objects are kept for the next model of this process."""
    library = model_library(describe(plan, "model"))
    for file in library.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    includes = [f"-I{folder / name}" for name in library.include_dirs]
    includes += _system(folder, library.system_include_dirs)
    kernels = {s.path: folder / s.path for s in library.sources if s.role == "kernel"}
    vendor = {s.path: folder / s.path for s in library.sources if s.role == "vendor"}
    objects = [str(path) for path in _kernel_objects(kernels, includes, flags)]
    objects += [str(path) for path in _vendor_objects(vendor, includes, tuple(f for f in flags if f not in WARNINGS))]
    for source in library.sources:
        if source.role in ("model", "weights"):
            target = folder / f"{Path(source.path).stem}.o"
            _compiler_run([*flags, *includes, "-c", str(folder / source.path), "-o", str(target)])
            objects.append(str(target))
    return objects


def _system(folder: Path, include_dirs: Sequence[str]) -> list[str]:
    return [flag for name in include_dirs for flag in ("-isystem", str(folder / name))]


def _vendor_objects(sources: Mapping[str, Path], includes: Sequence[str], flags: tuple[str, ...]) -> list[Path]:
    """Objects of a library's sources, whose warnings and undefined behaviour are its makers'."""
    return _kernel_objects(sources, includes, ("-std=c99", "-w", *flags))


def _kernel_objects(sources: Mapping[str, Path], includes: Sequence[str], flags: tuple[str, ...]) -> list[Path]:
    """Objects of kernel sources (path in the project → file), compiled once per process and set of flags."""
    keys = {
        name: hashlib.sha256("\0".join((name, *flags, _digest(path))).encode()).hexdigest()
        for name, path in sources.items()
    }
    targets = {name: _cache_folder() / f"{key}.o" for name, key in keys.items()}

    def compile_one(name: str) -> None:
        partial = targets[name].with_suffix(f".{os.getpid()}.part")
        _compiler_run([*flags, *includes, "-c", str(sources[name]), "-o", str(partial)])
        partial.replace(targets[name])

    missing = [name for name, target in targets.items() if not target.exists()]
    with ThreadPoolExecutor(_JOBS) as pool:
        list(pool.map(compile_one, missing))
    return [targets[name] for name in sources]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _cache_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tinyopt-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def host_compiler() -> str:
    """Path of the C compiler: what ``CC`` names, else ``gcc``, ``cc`` or ``clang``.

    Raises:
        ToolError: when there is none.
    """
    for name in (os.environ.get("CC", ""), "gcc", "cc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise ToolError("there is no C compiler on this computer; install one with `apt-get install gcc`, or set CC")


def _compiler_run(arguments: Sequence[str]) -> None:
    command = [host_compiler(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise ToolError(f"the C compiler took longer than {_SECONDS} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise ToolError(f"the C compiler failed:\n{' '.join(command)}\n{done.stderr[:6000]}")
