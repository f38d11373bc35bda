"""Whole models in generated C on this computer: bit for bit the executor, states included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyopt.board import load_board
from tinyopt.build.host import REDZONE, HostBatch, HostModel, host_compiler
from tinyopt.errors import DataError, DeviceError, ToolError
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, GraphBuilder, Quantization, Tensor, ops
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.plan import make_plan

HOST = load_board("host")
DSP = HOST.model_copy(update={"features": frozenset({"dsp", "fpu", "thumb2"})})
OFFICIAL = ["kws_ref_model", "vww_96_int8", "pretrainedResnet_quant", "ad01_int8"]
Q = Quantization.per_tensor(0.05, 3)


def sample(tensor: Tensor, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if tensor.dtype is DType.FLOAT32:
        return random.normal(size=tensor.shape).astype(np.float32)
    low, high = tensor.dtype.limits
    if seed % 4 == 3:
        return random.choice(np.array([low, high], tensor.dtype.numpy), tensor.shape)
    return random.integers(low, high, tensor.shape, dtype=tensor.dtype.numpy, endpoint=True)


def samples(graph: Graph, count: int) -> list[dict[str, np.ndarray]]:
    return [{name: sample(graph.tensors[name], seed) for name in graph.inputs} for seed in range(count)]


def streaming_graph() -> Graph:
    """A running sum, a window of three and a value one step back: three states that are used in different ways."""
    builder = GraphBuilder("stream")
    x = builder.input("x", (1, 1, 8), DType.INT8, Q)
    total = builder.state("total", np.full((1, 1, 8), 3, np.int8), Q)
    window = builder.state("window", np.arange(24, dtype=np.int8).reshape(1, 3, 8), Q)
    before = builder.state("before", np.zeros((1, 1, 8), np.int8), Q)
    added = builder.add(ops.Binary(ops.BinaryKind.ADD), [total, x], name="added", quantization=Q)
    joined = builder.add(ops.Concat(1), [window, added], name="joined", quantization=Q)
    shifted = builder.add(ops.Slice((0, 1, 0), (1, 3, 8), (1, 1, 1)), [joined], name="shifted", quantization=Q)
    builder.assign("total", added)
    builder.assign("window", shifted)
    builder.assign("before", x)
    builder.output(joined)
    builder.output(before)
    return builder.build()


@pytest.mark.data
@pytest.mark.parametrize("board", [HOST, DSP], ids=["portable", "dsp"])
@pytest.mark.parametrize("exact_work", [False, True], ids=["as_imported", "optimised"])
@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_model_equals_the_executor(mlperf: Path, name: str, board, exact_work: bool) -> None:
    graph = load(mlperf / f"{name}.tflite")
    model = HostModel(make_plan(optimise(graph) if exact_work else graph, board), optimise="-O2")
    executor = Executor(graph)
    for inputs in samples(graph, 4):
        expected = executor(inputs)
        got = model.run(inputs)
        for output in graph.outputs:
            np.testing.assert_array_equal(got[output], expected[output])


@pytest.mark.data
@pytest.mark.parametrize("name", ["kws_ref_model_float32", "ad01_fp32", "pretrainedResnet", "vww_96_float"])
def test_an_official_float_model_is_close_to_the_executor(mlperf: Path, name: str) -> None:
    graph = load(mlperf / f"{name}.tflite")
    model = HostModel(make_plan(optimise(graph), HOST), optimise="-O2")
    executor = Executor(graph)
    for inputs in samples(graph, 3):
        expected = executor(inputs)
        got = model.run(inputs)
        for output in graph.outputs:
            scale = float(np.abs(expected[output]).max())
            np.testing.assert_allclose(got[output], expected[output], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_a_streaming_wake_word_model_equals_the_executor_step_by_step(name: str) -> None:
    package = pytest.importorskip("pymicro_wakeword")
    graph = load(Path(package.__file__).parent / "models" / f"{name}.tflite")
    model = HostModel(make_plan(optimise(graph), HOST))
    executor = Executor(graph)
    for round_ in range(2):
        for inputs in samples(graph, 25):
            expected = executor(inputs)
            got = model.run(inputs)
            for output in graph.outputs:
                np.testing.assert_array_equal(got[output], expected[output], err_msg=f"round {round_}")
        executor.reset()
        model.reset()


def test_states_start_from_their_initial_values_and_return_to_them() -> None:
    graph = streaming_graph()
    executor, model = Executor(graph), HostModel(make_plan(graph, HOST))
    with HostBatch([make_plan(graph, HOST, redzone=REDZONE, in_place=flag) for flag in (True, False)]) as batch:
        for round_ in range(2):
            for inputs in samples(graph, 6):
                expected = executor(inputs)
                for got in (model.run(inputs), batch.run(0, inputs), batch.run(1, inputs)):
                    for name in graph.outputs:
                        np.testing.assert_array_equal(got[name], expected[name], err_msg=f"round {round_}")
            executor.reset()
            model.reset()
            batch.reset(0)
            batch.reset(1)


def test_two_models_of_one_plan_do_not_share_their_states() -> None:
    graph = streaming_graph()
    plan = make_plan(graph, HOST)
    one, two = HostModel(plan), HostModel(plan)
    inputs = samples(graph, 1)[0]
    first = one.run(inputs)
    one.run(inputs)
    for name, value in two.run(inputs).items():
        np.testing.assert_array_equal(value, first[name])


def test_a_missing_or_misshapen_input_is_an_error_that_names_it() -> None:
    graph = streaming_graph()
    model = HostModel(make_plan(graph, HOST))
    with pytest.raises(DataError, match="input 'x'"):
        model.run({})
    with pytest.raises(DataError, match=r"int8\[1, 1, 8\], got int16"):
        model.run({"x": np.zeros((1, 1, 8), np.int16)})


def test_a_missing_compiler_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolError, match="apt-get install gcc"):
        host_compiler.__wrapped__()


def test_a_kernel_that_leaves_its_buffer_is_stopped() -> None:
    builder = GraphBuilder("wild")
    x = builder.input("x", (40,), DType.INT8, Q)
    builder.output(builder.add(ops.Clip(), [x], quantization=Q))
    plan = make_plan(builder.build(), HOST, redzone=REDZONE, in_place=False)
    parameters = plan.calls[0].parameters
    length = next(key for key, value in parameters.items() if value == 40)
    object.__setattr__(plan.calls[0], "parameters", {**parameters, length: 41})
    with HostBatch([plan]) as batch, pytest.raises(DeviceError, match="AddressSanitizer: use-after-poison"):
        batch.run(0, {"x": np.zeros(40, np.int8)})
