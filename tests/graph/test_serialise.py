"""A graph survives its file, and a damaged file is one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.errors import ModelError
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, dump, load_graph, ops, save_graph


def example_graph() -> Graph:
    builder = GraphBuilder("example")
    x = builder.input("x", (1, 6, 6, 2), DType.INT8, Quantization.per_tensor(0.5, 3))
    weights = np.arange(-18, 18, dtype=np.int8).reshape(2, 3, 3, 2)
    w = builder.constant("w", weights, Quantization.per_channel([0.1, 0.2], 0))
    b = builder.constant("b", np.array([5, -7], np.int32))
    y = builder.add(
        ops.Conv2d(padding=ops.Padding(1, 0, 1, 0), activation=ops.RELU6),
        [x, w, b],
        quantization=Quantization.per_tensor(0.25, -1),
    )
    state = builder.state("memory", np.zeros((1, 5, 5, 2), np.int8), Quantization.per_tensor(0.25, -1))
    total = builder.add(ops.Binary(ops.BinaryKind.ADD), [y, state], quantization=Quantization.per_tensor(0.25, -1))
    builder.assign("memory", total)
    builder.output(total)
    builder.note("made by hand")
    return builder.build()


def test_a_graph_survives_its_file(tmp_path: Path) -> None:
    graph = example_graph()
    save_graph(graph, tmp_path / "g.tinyopt")
    again = load_graph(tmp_path / "g.tinyopt")
    assert dump(again) == dump(graph)
    assert again.operators == graph.operators
    for name, tensor in graph.tensors.items():
        other = again.tensors[name]
        assert (other.shape, other.dtype, other.quantization) == (tensor.shape, tensor.dtype, tensor.quantization)
        assert tensor.data is None or np.array_equal(tensor.data, other.value)


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_graph(example_graph(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@given(cut=st.integers(0, 2500), flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=4))
def test_a_damaged_file_is_one_clear_error(tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "g.tinyopt"
    save_graph(example_graph(), path)
    data = bytearray(path.read_bytes())
    for position, value in flips:
        data[position % len(data)] ^= value
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        load_graph(path)
    except ModelError as error:
        assert "g.tinyopt" in str(error)
