"""Opening a ``.pt2`` file without running what a stranger put into it.

``torch.export.load`` unpickles weights and constants, passes shape expressions to ``sympify``, executes guard strings,
and makes Python source of the names in the file. So the archive is checked first and copied without those parts: only
plain tensors, operators of the ``aten`` namespace, identifiers and simple shape symbols go through.
"""

from __future__ import annotations

import io
import json
import keyword
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from tinyopt.errors import ModelError, Unsupported, UnsupportedOperatorsError
from tinyopt.importers.files import read_bytes
from tinyopt.importers.pytorch.export import first_line

_TARGET = re.compile(r"torch\.ops\.aten\.[a-z0-9_]+\.[A-Za-z0-9_]+")
_SCALAR_TARGETS = {
    f"_operator.{name}"
    for name in (
        "add",
        "sub",
        "mul",
        "floordiv",
        "truediv",
        "mod",
        "neg",
        "getitem",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    )
}
_FORBIDDEN_TARGETS = {"torch.ops.aten.from_file.default"}
_SYMBOLS = {"Symbol", "positive", "nonnegative", "integer", "True", "False", "Max", "Min", "Mod", "FloorDiv", "Integer"}
_EXPRESSION = re.compile(r"[A-Za-z0-9_ ,()=*+\-/']{1,300}")
_TEXT = re.compile(r"[A-Za-z0-9_.,:+\-> ]{0,400}")
"""Text that stays harmless when the reader writes it into Python source: no quotes, brackets or line breaks."""
_TREE_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_MAXIMUM_BYTES = 1 << 30


def load_archive(path: str | Path) -> ExportedProgram:
    """The program of a file written by ``torch.export.save`` (PyTorch 2.8 or newer).

    Raises:
        ModelError: when the file is damaged, of an older format, or holds anything but plain tensors and operators.
    """
    return load_bytes(read_bytes(path), str(path))


def load_bytes(data: bytes, name: str) -> ExportedProgram:
    """The program in the bytes of a ``.pt2`` file; ``name`` is used in messages. Raises as ``load_archive``."""
    try:
        with _quiet():
            return torch.export.load(io.BytesIO(_checked_copy(data, name)))
    except ModelError:
        raise
    except Exception as error:
        # The reader is a large body of code that was not written for damaged files: whatever it raises means that.
        raise ModelError(f"{name} is not a readable PyTorch export (.pt2): {first_line(error)}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracebacks that the reader logs before it raises; the error itself reaches the user."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _checked_copy(data: bytes, name: str) -> bytes:
    """The archive with only the parts that are data."""
    try:
        source = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        raise ModelError(f"{name} is not a PyTorch export (.pt2): the file is damaged or truncated") from None
    if sum(info.file_size for info in source.infolist()) > _MAXIMUM_BYTES:
        raise ModelError(f"{name} unpacks to more than {_MAXIMUM_BYTES >> 20} MiB; the file is damaged")
    files = {info.filename: info for info in source.infolist()}
    if not any("/models/" in filename for filename in files):
        raise ModelError(
            f"{name} holds no exported program. Write it with torch.export.save of PyTorch 2.8 or newer; "
            "a state dict or a pickled module is not enough (and is unsafe to open)."
        )
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as target:
        for filename in files:
            content = source.read(filename)
            if "/models/" in filename:
                content = _checked_program(content, name)
            elif filename.endswith("_config.json"):
                _check_payloads(content, name)
            elif "/sample_inputs/" in filename:
                torch.load(io.BytesIO(content), weights_only=True)  # raises for anything but tensors and containers
            elif "/data/" in filename and filename.endswith(".pt"):
                raise ModelError(f"{name} stores '{filename}' as a pickle; save it again with a newer PyTorch")
            elif "/extra/" in filename:
                continue
            target.writestr(filename, content)
    return output.getvalue()


def _check_payloads(content: bytes, name: str) -> None:
    """Weights and constants must be raw bytes, not pickles or custom objects."""
    for key, payload in json.loads(content)["config"].items():
        file = str(payload["path_name"])
        if not re.fullmatch(r"[A-Za-z0-9_.]{1,400}", key):
            raise ModelError(f"{name} stores a tensor under the name {key[:60]!r}")
        if payload["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", file):
            raise ModelError(
                f"{name} stores '{key}' as a Python object, which is unsafe to open. Export the model with plain "
                "(contiguous, dense) tensors, or pass the nn.Module itself."
            )


def _checked_program(content: bytes, name: str) -> bytes:
    program = json.loads(content)
    program["guards_code"] = []
    graph = program["graph_module"]["graph"]
    unknown = []
    for node in graph["nodes"]:
        target = str(node["target"])
        node["metadata"] = {}
        if (not _TARGET.fullmatch(target) and target not in _SCALAR_TARGETS) or target in _FORBIDDEN_TARGETS:
            unknown.append(
                Unsupported(target, str(node.get("name", "")), "only operators of the aten namespace are read")
            )
    if unknown:
        raise UnsupportedOperatorsError(name, f"PyTorch {program.get('torch_version', '?')}", unknown)
    if graph.get("custom_obj_values"):
        raise ModelError(f"{name} holds custom objects, which are unsafe to open")
    for entry in program["graph_module"]["module_call_graph"]:
        signature = entry.get("signature")
        if signature:
            for key in ("in_spec", "out_spec"):
                _check_tree(json.loads(signature[key]), name)
    _check_text(program, name)
    return json.dumps(program).encode()


def _check_tree(spec: Any, name: str) -> None:
    """The nesting of inputs and outputs uses plain containers only."""
    if isinstance(spec, list):
        for item in spec:
            _check_tree(item, name)
    elif isinstance(spec, dict):
        if spec.get("type") not in _TREE_TYPES:
            raise ModelError(f"{name} returns or takes a '{spec.get('type')}'; use tuples, lists or dicts of tensors")
        _check_text(json.loads(spec.get("context") or "null"), name)  # the keys of a dict
        _check_tree(spec.get("children_spec", []), name)


def _check_text(root: Any, name: str) -> None:
    """Every name and text of the program. The reader makes Python source of names and evaluates shape expressions, so
    names must be identifiers, other text must be plain, and expressions may hold arithmetic on symbols only."""
    pending = [("", root)]
    while pending:
        key, item = pending.pop()
        if isinstance(item, list):
            pending += [(key, element) for element in item]
        elif isinstance(item, dict):
            for inner, value in item.items():
                pending += [("", inner), (inner, value)]
        elif key in ("in_spec", "out_spec"):
            continue  # checked as a tree
        elif key == "expr_str":
            _check_expression(str(item), name)
        elif key in ("name", "forward_arg_names") and item not in (None, ""):
            if not isinstance(item, str) or not item.isidentifier() or keyword.iskeyword(item):
                raise ModelError(f"{name} has a value of the name {str(item)[:60]!r}, which is no identifier")
        elif isinstance(item, str) and not _TEXT.fullmatch(item):
            raise ModelError(f"{name} holds text where a name belongs: {item[:60]!r}")


def _check_expression(text: str, name: str) -> None:
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text)
    simple = _EXPRESSION.fullmatch(text) and "**" not in text
    if not simple or any(word not in _SYMBOLS and not re.fullmatch(r"[su]\d{1,9}", word) for word in words):
        raise ModelError(f"{name} has a shape expression that tinyopt does not evaluate: {text[:80]}")
