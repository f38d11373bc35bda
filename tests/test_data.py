"""Data from every source arrive as samples that fit the model, or as one clear error."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.data import Samples, load_samples
from tinyopt.errors import DataError
from tinyopt.graph import Array, DType, Graph, GraphBuilder, Quantization, ops

QUANTIZATION = Quantization.per_tensor(0.5, -3)


def int8_graph(shape: tuple[int, ...] = (1, 4, 3, 2)) -> Graph:
    b = GraphBuilder("int8")
    b.output(b.add(ops.Clip(), [b.input("image", shape, DType.INT8, QUANTIZATION)], quantization=QUANTIZATION))
    return b.build()


def float_graph(shape: tuple[int, ...] = (1, 4, 3, 2)) -> Graph:
    b = GraphBuilder("float")
    b.output(b.add(ops.Clip(), [b.input("image", shape, DType.FLOAT32)]))
    return b.build()


def two_inputs() -> Graph:
    b = GraphBuilder("two")
    first, second = b.input("a", (1, 3), DType.FLOAT32), b.input("b", (1, 3), DType.FLOAT32)
    b.output(b.add(ops.Binary(ops.BinaryKind.ADD), [first, second]))
    return b.build()


def arrays(samples: Samples) -> Array:
    return np.stack([next(iter(sample.values())) for sample in samples])


def test_data_of_the_inputs_own_type_are_used_as_they_are() -> None:
    data = np.arange(-24, 24, dtype=np.int8).reshape(2, 24)
    samples = load_samples(data, int8_graph())
    assert len(samples) == 2
    assert np.array_equal(arrays(samples), data.reshape(2, 1, 4, 3, 2))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_real_numbers_are_quantized_for_a_quantized_input(kind: type) -> None:
    samples = load_samples(np.full((1, 4, 3, 2), 2.0, kind), int8_graph())
    assert (arrays(samples) == 2.0 / 0.5 - 3).all()


def test_an_npz_holds_samples_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_test=np.zeros((5, 4, 3, 2), np.float32), y_test=np.eye(7)[:5])
    samples = load_samples(str(tmp_path / "d.npz"), float_graph())
    assert samples.labels is not None and samples.labels.tolist() == [0, 1, 2, 3, 4]
    first = samples.limit(2)
    assert len(first) == 2 and first.labels is not None and first.labels.tolist() == [0, 1]
    assert next(iter(first))["image"].shape == (1, 4, 3, 2)


def test_a_compressed_npz_in_fortran_order_reads_as_numpy_reads_it(tmp_path: Path) -> None:
    data = np.random.default_rng(0).standard_normal((6, 24)).astype(np.float32)
    np.savez_compressed(tmp_path / "d.npz", whatever=np.asfortranarray(data), labels=np.arange(6)[:, None])
    samples = load_samples(tmp_path / "d.npz", float_graph())
    assert np.array_equal(arrays(samples).reshape(6, 24), data)


def test_a_model_of_two_inputs_takes_one_array_per_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.zeros((2, 3), np.float32), b=np.ones((2, 3), np.float32), y=[1, 0])
    samples = load_samples(tmp_path / "d.npz", two_inputs())
    assert [float(s["b"][0, 0]) for s in samples] == [1.0, 1.0]
    np.savez(tmp_path / "e.npz", a=np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="has no array 'b'"):
        load_samples(tmp_path / "e.npz", two_inputs())


def test_a_folder_in_the_mlperf_tiny_layout(tmp_path: Path) -> None:
    rows = []
    for index in range(3):
        name = f"tst_{index}.bin"
        (tmp_path / name).write_bytes(np.full(24, index - 1, np.int8).tobytes())
        rows.append(f"{name},12,{index + 4}")
    (tmp_path / "y_labels.csv").write_text("\n".join(rows) + "\n")
    samples = load_samples(tmp_path, int8_graph())
    assert samples.labels is not None and samples.labels.tolist() == [4, 5, 6]
    assert [int(s["image"][0, 0, 0, 0]) for s in samples] == [-1, 0, 1]


def test_float_files_of_a_folder_are_quantized(tmp_path: Path) -> None:
    (tmp_path / "only.bin").write_bytes(np.full(24, 1.0, "<f4").tobytes())
    samples = load_samples(tmp_path, int8_graph())
    assert samples.labels is None and (arrays(samples) == -1).all()


def test_random_data_depend_on_the_seed_alone() -> None:
    graph = int8_graph()
    one, two, other = (arrays(load_samples(spec, graph)) for spec in ("random:1:40", "random:1:40", "random:2:40"))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert one.min() == -128 and one.max() == 127


def test_random_indices_stay_inside_the_table() -> None:
    b = GraphBuilder("embedding")
    index = b.input("index", (1, 4), DType.INT32)
    table = b.constant("table", np.zeros((5, 2), np.float32))
    b.output(b.add(ops.Gather(), [table, index]))
    values = arrays(load_samples("random:0:50", b.build()))
    assert values.min() == 0 and values.max() == 4


def test_an_iterable_gives_arrays_pairs_or_mappings() -> None:
    def pairs() -> Iterator[tuple[Array, int]]:
        for label in range(3):
            yield np.full((4, 3, 2), label, np.float32), label

    samples = load_samples(pairs(), float_graph())
    assert samples.labels is not None and samples.labels.tolist() == [0, 1, 2]
    both = load_samples([{"a": np.zeros(3, np.float32), "b": np.ones(3, np.float32)}], two_inputs())
    assert next(iter(both))["b"].shape == (1, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 5), np.float32), r"needs \[samples, 4, 3, 2\]"),
        (np.zeros((0, 24), np.float32), "holds no samples"),
        (np.full((2, 24), np.nan, np.float32), "NaN"),
        (np.full((2, 24), 1e300), "NaN or infinite"),
        (np.zeros((2, 2, 4, 3), np.float32), "another order"),
        (np.zeros((2, 24), np.uint8), "convert them with the scaling"),
        (np.array([["a"] * 24]), "save numbers"),
        (np.float32(1.0), "do not fit"),
    ],
)
def test_data_that_do_not_fit_are_explained(data: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Samples.from_array(data, float_graph())


def test_integers_of_another_type_for_a_quantized_input_are_ambiguous() -> None:
    with pytest.raises(DataError, match="could mean two things"):
        load_samples(np.zeros((2, 24), np.uint8), int8_graph())


@pytest.mark.parametrize("spec", ["random:1", "random:a:3", "random:1:0", "random:-1:3", "random:1:99999999999"])
def test_a_wrong_random_specification_is_explained(spec: str) -> None:
    with pytest.raises(DataError, match="random"):
        load_samples(spec, int8_graph())


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        load_samples(tmp_path / "d.npy", float_graph())


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((2, 24), np.float32))
    content = (tmp_path / "d.npy").read_bytes()
    (tmp_path / "e.npy").write_bytes(content.replace(b"(2, 24), }      ", b"(2999999, 24), }"))
    with pytest.raises(DataError, match="claims 287,999,904 bytes"):
        load_samples(tmp_path / "e.npy", float_graph())


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyopt.data.MAXIMUM_BYTES", 1000)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((100, 24), np.float32))
    with pytest.raises(DataError, match="unpacks to"):
        load_samples(tmp_path / "bomb.npz", float_graph())


@pytest.mark.parametrize("spec", ["nowhere.npz", "nowhere"])
def test_a_missing_path_is_named(spec: str) -> None:
    with pytest.raises(DataError, match="nowhere"):
        load_samples(spec, int8_graph())


def test_a_label_file_cannot_leave_its_folder(tmp_path: Path) -> None:
    (tmp_path / "y_labels.csv").write_text("../secret.bin,2,1\n")
    with pytest.raises(DataError, match="not a file name"):
        load_samples(tmp_path, int8_graph())


@pytest.mark.parametrize("row", ["a.bin", "a.bin,2,x", "a.bin,2"])
def test_a_damaged_label_file_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    (tmp_path / "y_labels.csv").write_text(row)
    with pytest.raises(DataError, match="line 1"):
        load_samples(tmp_path, int8_graph())


def test_a_file_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\0" * 23)
    with pytest.raises(DataError, match="23 bytes; the model needs 24"):
        load_samples(tmp_path, int8_graph())


@given(data=st.data())
def test_a_damaged_file_gives_an_error_or_samples(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    np.savez(folder / "d.npz", x=np.ones((3, 24), np.float32), y=np.arange(3))
    content = bytearray((folder / "d.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "e.npz").write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        assert len(load_samples(folder / "e.npz", float_graph())) >= 1
    except DataError as error:
        assert str(error)


def test_a_stored_array_longer_than_its_entry_is_damaged(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 24), np.float32))
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", (tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="x"):
        load_samples(tmp_path / "d.npz", float_graph())
