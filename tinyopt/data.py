"""Data for calibration and for runs: read, checked and brought to the form of the model's inputs.

A model has one or more inputs; a sample is one array for each. Data of an input's own element type are used as they
are; real numbers for a quantized input are quantized with its parameters.
"""

from __future__ import annotations

import csv
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, TypeAlias

import numpy as np

from tinyopt.errors import DataError
from tinyopt.graph import Array, DType, Graph, Tensor, ops

MAXIMUM_BYTES = 2 << 30
"""Largest data set, uncompressed. A small file that claims to hold more is damaged or hostile."""

LABEL_NAMES = ("y", "labels", "label", "y_test", "targets", "target", "y_true", "test_labels")
INPUT_NAMES = ("x", "inputs", "input", "x_test", "data", "images", "samples", "features")
LABEL_FILE = "y_labels.csv"

Spec: TypeAlias = "str | Path | Samples | Iterable[Any]"


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples that fit a model.

    ``inputs``: input name → [samples, *shape of the input], in the input's element type. ``labels``: class numbers
    [samples], or None. ``source``: where they came from, for messages.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    source: str = "memory"

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        counts = {name: len(array) for name, array in self.inputs.items()}
        if len(set(counts.values())) != 1:
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise DataError(f"{self.source}: every input needs the same number of samples, got {listed or 'none'}")
        if len(self) == 0:
            raise DataError(f"{self.source} holds no samples")
        if self.labels is not None and self.labels.shape != (len(self),):
            raise DataError(f"{self.source}: {len(self)} samples but labels of shape {list(self.labels.shape)}")

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """One sample after the other: input name → array of exactly the input's shape."""
        for index in range(len(self)):
            yield {name: array[index] for name, array in self.inputs.items()}

    def limit(self, count: int) -> Samples:
        """The first ``count`` samples (all when there are fewer).

        Raises:
            DataError: when ``count`` is less than 1.
        """
        if count < 1:
            raise DataError(f"a limit of {count} samples leaves nothing; give at least 1")
        inputs = {name: array[:count] for name, array in self.inputs.items()}
        return replace(self, inputs=inputs, labels=None if self.labels is None else self.labels[:count])

    @staticmethod
    def from_array(array: Any, graph: Graph, *, labels: Any = None, source: str = "the array") -> Samples:
        """Samples of a model with one input: [samples, …], any shape that reshapes to the input.

        Raises:
            DataError: when shape, element type or values do not fit.
        """
        if len(graph.inputs) != 1:
            raise DataError(f"'{graph.name}' has {len(graph.inputs)} inputs; {_wanted(graph)}")
        return Samples.from_arrays({graph.inputs[0]: array}, graph, labels=labels, source=source)

    @staticmethod
    def from_arrays(
        arrays: Mapping[str, Any], graph: Graph, *, labels: Any = None, source: str = "the arrays"
    ) -> Samples:
        """Samples of a model with any number of inputs: input name → [samples, …].

        Raises:
            DataError: when an input is missing, or shape, element type or values do not fit.
        """
        missing = [name for name in graph.inputs if name not in arrays]
        if missing:
            raise DataError(f"{source} has no data for the input '{missing[0]}'; {_wanted(graph)}")
        inputs = {name: _converted(np.asarray(arrays[name]), graph.tensors[name], source) for name in graph.inputs}
        if not inputs:
            raise DataError(f"'{graph.name}' has no inputs to feed")
        return Samples(inputs, None if labels is None else _label_numbers(np.asarray(labels), source), source)


def load_samples(spec: Spec, graph: Graph) -> Samples:
    """Samples for a model.

    ``spec``: a path to an ``.npz`` or ``.npy`` file (samples along the first axis; an npz may hold labels under one
    of ``LABEL_NAMES``, and holds one array per input name when the model has several inputs); a folder in the MLPerf
    Tiny layout (``.bin`` files and ``y_labels.csv``); ``random:SEED:N`` (uniform over an integer input's range,
    standard normal for a float input); or an iterable of samples: arrays, mappings from input name to array, or
    (array, label) pairs.

    Raises:
        DataError: when the data cannot be read or do not fit; the message says what is wanted.
    """
    if isinstance(spec, Samples):
        return spec
    if isinstance(spec, str) and spec.startswith("random:"):
        return _random(spec, graph)
    if isinstance(spec, (str, Path)):
        return _from_path(Path(spec), graph)
    if isinstance(spec, np.ndarray):
        return Samples.from_array(spec, graph)
    if isinstance(spec, Mapping):
        return Samples.from_arrays(spec, graph)
    return _from_iterable(spec, graph)


def _wanted(graph: Graph) -> str:
    parts = []
    for name in graph.inputs:
        t = graph.tensors[name]
        parts.append(f"'{name}': {t.dtype.value}[samples, {', '.join(map(str, _sample_shape(t)))}]")
    named = "an .npz with one array per input, " if len(parts) > 1 else ""
    return f"wanted: {named}{', '.join(parts)}"


def _sample_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape without the batch of one in front."""
    return tensor.shape[1:] if len(tensor.shape) > 1 and tensor.shape[0] == 1 else tensor.shape


# ---- checking and converting ----------------------------------------------------------------------------------


def _converted(array: Array, tensor: Tensor, source: str) -> Array:
    """[samples, …] in the shape and element type of an input."""
    wanted = f"[samples, {', '.join(map(str, _sample_shape(tensor)))}]"
    where = f"{source}, input '{tensor.name}'"
    if array.ndim == 0 or array.size != len(array) * tensor.size:
        raise DataError(
            f"{where}: data of shape {list(array.shape)} do not fit; the model needs {wanted} "
            f"({tensor.size} values per sample)"
        )
    ours, theirs = ([d for d in shape if d != 1] for shape in (_sample_shape(tensor), array.shape[1:]))
    if ours != theirs and sorted(ours) == sorted(theirs):
        raise DataError(
            f"{where}: data of shape {list(array.shape)} have their axes in another order than {wanted}; "
            "transpose them (the graph keeps images as height, width, channels)"
        )
    return _typed(array.reshape(len(array), *tensor.shape), tensor, where)


def _typed(array: Array, tensor: Tensor, where: str) -> Array:
    wanted = tensor.dtype
    if array.dtype.kind == "f":
        _check_finite(array, where)
        if wanted is DType.FLOAT32:
            with np.errstate(over="ignore"):
                result: Array = array.astype(np.float32)
            _check_finite(result, where)
            return result
        if tensor.quantization is not None:
            return np.ascontiguousarray(tensor.quantization.quantize(array.astype(np.float32), wanted))
        raise DataError(f"{where}: the model needs {wanted.value} numbers (indices), not {array.dtype}")
    if array.dtype == wanted.numpy:
        return np.ascontiguousarray(array)
    if array.dtype.kind in "iub" and wanted.is_integer and tensor.quantization is None:
        low, high = wanted.limits
        if array.min() < low or array.max() > high:
            raise DataError(f"{where}: values {array.min()} to {array.max()} do not fit {wanted.value}")
        return np.ascontiguousarray(array.astype(wanted.numpy))
    if array.dtype.kind not in "iub":
        raise DataError(f"{where}: elements of type {array.dtype} cannot be used; save numbers")
    if tensor.quantization is not None:
        raise DataError(
            f"{where}: {array.dtype} data for an {wanted.value} input could mean two things; save {wanted.value} for "
            "values that are quantized already, or float32 for real values, which are quantized for you"
        )
    raise DataError(
        f"{where}: the model takes float32 and the data are {array.dtype}; convert them with the scaling that the "
        "model was trained with (for images often x / 255) and save float32"
    )


def _check_finite(array: Array, where: str) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        index = int(np.argmax(~finite.reshape(len(array), -1).all(1)))
        which = f"sample {index} holds" if len(array) > 1 else "there are"
        raise DataError(f"{where}: {which} NaN or infinite values; clean the data first")


def _label_numbers(labels: Array, source: str) -> Array:
    """Class numbers int64 [samples] from numbers, a column of numbers, or one-hot rows."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iufb":
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise DataError(f"{source}: labels of shape {list(labels.shape)} are not one-hot; save class numbers")
        labels = labels.argmax(1)
    if labels.ndim != 1 or labels.dtype.kind not in "iufb" or (labels != np.floor(labels)).any():
        raise DataError(f"{source}: labels must be whole class numbers [samples], got {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


# ---- sources --------------------------------------------------------------------------------------------------


def _random(spec: str, graph: Graph) -> Samples:
    fields = spec.split(":")
    if len(fields) != 3 or not all(f.isascii() and f.isdigit() for f in fields[1:]) or int(fields[2]) < 1:
        raise DataError(f"'{spec}' is not random data; write random:SEED:N, for example random:1:100")
    seed, count = int(fields[1]), int(fields[2])
    if count * sum(graph.tensors[name].nbytes for name in graph.inputs) > MAXIMUM_BYTES:
        raise DataError(f"'{spec}' is more than {MAXIMUM_BYTES >> 20} MiB of data; ask for fewer samples")
    generator = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name in graph.inputs:
        tensor = graph.tensors[name]
        shape = (count, *tensor.shape)
        if tensor.dtype is DType.FLOAT32:
            arrays[name] = generator.standard_normal(shape).astype(np.float32)
        else:
            low, high = _integer_range(graph, tensor)
            arrays[name] = generator.integers(low, high, shape, endpoint=True).astype(tensor.dtype.numpy)
    return Samples(arrays, None, spec)


def _integer_range(graph: Graph, tensor: Tensor) -> tuple[int, int]:
    """What random values of an input may be: its whole range, or valid indices when a Gather reads it."""
    if tensor.dtype is DType.BOOL:
        return 0, 1
    if tensor.quantization is not None:
        return tensor.dtype.limits
    extents = [
        graph.tensors[operator.inputs[0]].shape[operator.attributes.axis]
        for operator in graph.consumers.get(tensor.name, ())
        if isinstance(operator.attributes, ops.Gather) and operator.inputs[1] == tensor.name
    ]
    return 0, min(extents, default=128) - 1


def _from_path(path: Path, graph: Graph) -> Samples:
    try:
        if path.is_dir():
            return _from_folder(path, graph)
        if not path.is_file():
            raise DataError(f"there is no data at '{path}'; give an .npz, an .npy, a folder, or random:SEED:N")
        if path.suffix == ".npz":
            return _from_npz(path, graph)
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                array = _read_array(stream, path.stat().st_size, str(path))
            return Samples.from_array(array, graph, source=str(path))
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from None
    raise DataError(f"'{path}' is no data file; give an .npz, an .npy, a folder with .bin files, or random:SEED:N")


_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise on bytes that are not what they claim to be."""


def _read_array(stream: IO[bytes], size: int, where: str) -> Array:
    """One array in numpy's format from ``size`` bytes; the header is believed only as far as the bytes reach."""
    try:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = reader(stream)
        if dtype.hasobject:
            raise DataError(f"{where} holds Python objects, which are not loaded; save plain numbers")
        count = math.prod(shape)
        if count * dtype.itemsize > min(size, MAXIMUM_BYTES):
            raise DataError(f"{where} claims {count * dtype.itemsize:,} bytes but the file has {size:,}")
        content = stream.read(count * dtype.itemsize)
        if len(content) != count * dtype.itemsize:
            raise DataError(f"{where} ends before its data are complete")
        flat = np.frombuffer(content, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except _DAMAGE:
        raise DataError(
            f"{where} is damaged or not in numpy's format; save it again with numpy.save or savez"
        ) from None


def _from_npz(path: Path, graph: Graph) -> Samples:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            total = sum(info.file_size for info in entries.values())
            if total > MAXIMUM_BYTES:
                raise DataError(f"'{path}' unpacks to {total:,} bytes; the limit is {MAXIMUM_BYTES:,}")
            labels_name, names = _chosen(tuple(entries), graph, path)
            arrays = {}
            for name in {*names.values(), *([labels_name] if labels_name else [])}:
                with archive.open(entries[name]) as stream:
                    arrays[name] = _read_array(stream, entries[name].file_size, f"'{name}' in {path}")
    except (*_DAMAGE, NotImplementedError, RuntimeError) as error:
        raise DataError(f"'{path}' is damaged or not an .npz file ({error})") from None
    inputs = {name: arrays[key] for name, key in names.items()}
    labels = arrays[labels_name] if labels_name else None
    return Samples.from_arrays(inputs, graph, labels=labels, source=str(path))


def _chosen(keys: Sequence[str], graph: Graph, path: Path) -> tuple[str | None, dict[str, str]]:
    """The name of the labels, and for each input of the model the name of its array."""
    taken = [key for key in keys if key in graph.inputs]
    rest = [key for key in keys if key not in taken]
    labels = next((name for name in LABEL_NAMES if name in rest), None)
    if len(graph.inputs) > 1:
        missing = [name for name in graph.inputs if name not in keys]
        if missing:
            raise DataError(f"'{path}' has no array '{missing[0]}' (it has {', '.join(keys)}); {_wanted(graph)}")
        return labels, {name: name for name in graph.inputs}
    if not graph.inputs:
        raise DataError(f"'{graph.name}' has no inputs to feed")
    candidates = [key for key in rest if key != labels]
    known = [name for name in INPUT_NAMES if name in candidates]
    choice = taken or known[:1] or (candidates if len(candidates) == 1 else [])
    if not choice:
        have = ", ".join(keys) or "nothing"
        raise DataError(f"'{path}' has {have}; name the samples '{graph.inputs[0]}' or 'x' and the labels 'y'")
    return labels, {graph.inputs[0]: choice[0]}


def _from_folder(path: Path, graph: Graph) -> Samples:
    """The MLPerf Tiny layout: one ``.bin`` of raw little-endian elements per sample, rows NAME,CLASSES,LABEL."""
    if len(graph.inputs) != 1:
        raise DataError(f"a folder of .bin files feeds one input; '{graph.name}' has {len(graph.inputs)}")
    tensor = graph.tensors[graph.inputs[0]]
    names, labels = _listed(path)
    first = path / names[0]
    if not first.is_file():
        raise DataError(f"{path / LABEL_FILE} lists '{names[0]}', which is not there")
    size = first.stat().st_size
    if size == tensor.nbytes:
        kind = tensor.dtype.numpy
    elif size == tensor.size * 4 and tensor.quantization is not None:
        kind = np.dtype(np.float32)
    else:
        raise DataError(
            f"'{first}' has {size:,} bytes; the model needs {tensor.nbytes:,} "
            f"({tensor.dtype.value}{list(tensor.shape)})"
            + (f", or {tensor.size * 4:,} of float32" if tensor.quantization is not None else "")
        )
    if size * len(names) > MAXIMUM_BYTES:
        raise DataError(f"'{path}' holds more than {MAXIMUM_BYTES >> 20} MiB; use fewer files")
    array = np.empty((len(names), tensor.size), kind)
    for index, name in enumerate(names):
        file = path / name
        if not file.is_file():
            raise DataError(f"{path / LABEL_FILE} lists '{name}', which is not there")
        if file.stat().st_size != size:
            raise DataError(f"'{file}' has {file.stat().st_size:,} bytes, the files before it {size:,}")
        array[index] = np.frombuffer(file.read_bytes(), kind.newbyteorder("<"))
    return Samples.from_array(array, graph, labels=labels, source=str(path))


def _listed(path: Path) -> tuple[list[str], Array | None]:
    """File names and labels of a folder."""
    table = path / LABEL_FILE
    if not table.is_file():
        names = sorted(file.name for file in path.glob("*.bin"))
        if not names:
            raise DataError(f"'{path}' holds neither {LABEL_FILE} nor .bin files")
        return names, None
    names, labels = [], []
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.reader(stream), 1):
                if not row or not row[0].strip():
                    continue
                name = row[0].strip()
                if len(row) < 3 or not row[2].strip().isdigit():
                    raise DataError(f"{table}, line {number}: wanted NAME,CLASSES,LABEL, got '{','.join(row)[:80]}'")
                if Path(name).name != name:
                    raise DataError(f"{table}, line {number}: '{name[:80]}' is not a file name in this folder")
                names.append(name)
                labels.append(int(row[2]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read: {error}") from None
    if not names:
        raise DataError(f"{table} lists no files")
    return names, np.array(labels, np.int64)


def _from_iterable(items: Iterable[Any], graph: Graph) -> Samples:
    source = "the iterable"
    columns: dict[str, list[Array]] = {name: [] for name in graph.inputs}
    labels: list[int] = []
    total = 0
    for index, item in enumerate(items):
        sample = item
        if isinstance(item, tuple) and len(item) == 2 and np.ndim(item[1]) == 0 and len(graph.inputs) == 1:
            sample = item[0]
            labels.append(int(item[1]))
        if not isinstance(sample, Mapping):
            if len(graph.inputs) != 1:
                raise DataError(f"sample {index} must be a mapping from input name to array; {_wanted(graph)}")
            sample = {graph.inputs[0]: sample}
        for name, column in columns.items():
            if name not in sample:
                raise DataError(f"sample {index} has no '{name}'; {_wanted(graph)}")
            array = np.asarray(sample[name])
            converted = _converted(array[np.newaxis], graph.tensors[name], f"sample {index}")[0]
            column.append(converted)
            total += converted.nbytes
        if total > MAXIMUM_BYTES:
            raise DataError(f"the iterable gives more than {MAXIMUM_BYTES >> 20} MiB; pass fewer samples")
    if not any(columns.values()):
        raise DataError("the iterable gave no samples")
    if labels and len(labels) != len(next(iter(columns.values()))):
        raise DataError("some samples of the iterable have a label and some have none")
    arrays = {name: np.stack(column) for name, column in columns.items()}
    return Samples(arrays, np.array(labels, np.int64) if labels else None, source)
