"""Every kernel of the catalogue, swept over shapes and parameters: generated, compiled with the address and
undefined-behaviour sanitizers, run, and compared with the executor. Integer kernels agree on every bit.

``TINYOPT_SWEEP`` sets the number of examples of each case (default 12).
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kernels import cases
from tinyopt.board import load_board
from tinyopt.build.host import REDZONE, HostBatch
from tinyopt.execute import Executor
from tinyopt.graph import DType, Graph, Tensor
from tinyopt.plan import Plan, make_plan
from tinyopt.plan.catalogue import all_kernels, candidates

EXAMPLES = int(os.environ.get("TINYOPT_SWEEP", "12"))
# Instruction sets whose kernels have a portable form of every intrinsic, so that they run on this computer.
PORTABLE = frozenset({"thumb2", "dsp", "fpu", "mve"})
BOARD = load_board("host").model_copy(update={"features": PORTABLE})


def _all_cases() -> dict[str, st.SearchStrategy[Graph]]:
    found: dict[str, st.SearchStrategy[Graph]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(cases.__path__)):
        for name, strategy in importlib.import_module(f"{cases.__name__}.{module}").CASES.items():
            assert name not in found, f"two cases are called {name}"
            found[name] = strategy
    return found


CASES = _all_cases()


@cache
def graphs(case: str) -> tuple[Graph, ...]:
    """The examples of a case, the same ones in every run: the first ones drawn, and later ones that reach kernels
    which those did not."""
    found: list[Graph] = []
    reached: set[str] = set()

    @settings(
        max_examples=6 * EXAMPLES,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES[case])
    def collect(graph: Graph) -> None:
        names = {kernel.name for operator in graph.operators for kernel in candidates(graph, operator, PORTABLE)}
        if len(found) < EXAMPLES or names - reached:
            found.append(graph)
            reached.update(names)

    collect()
    return tuple(found)


@cache
def plans(case: str) -> tuple[Plan, ...]:
    """One plan for every example and every kernel that can compute it; in place and not in turns."""
    found = []
    for number, graph in enumerate(graphs(case)):
        for operator in graph.operators:
            fit = candidates(graph, operator, PORTABLE)
            assert fit, f"no kernel computes {operator}"
            for kernel in fit:
                pins = {operator.name: kernel.name}
                found.append(make_plan(graph, BOARD, pins=pins, redzone=REDZONE, in_place=number % 2 == 0))
    return tuple(found)


def random_value(tensor: Tensor, seed: int) -> np.ndarray:
    """Random data over the whole range; every third time only the extremes."""
    random = np.random.default_rng(seed)
    if tensor.dtype is DType.FLOAT32:
        return (3 * random.normal(size=tensor.shape)).astype(np.float32)
    if tensor.dtype is DType.BOOL:
        return random.integers(0, 2, tensor.shape).astype(bool)
    low, high = tensor.dtype.limits
    if tensor.quantization is None and tensor.dtype in (DType.INT32, DType.INT64):
        low, high = -3, 12  # indices: some before the start, some past the end
    if seed % 3 == 2:
        return random.choice(np.array([low, high], tensor.dtype.numpy), tensor.shape)
    return random.integers(low, high, tensor.shape, dtype=tensor.dtype.numpy, endpoint=True)


def assert_agrees(name: str, got: np.ndarray, expected: np.ndarray, what: str) -> None:
    if expected.dtype == np.float32:
        finite = expected[np.isfinite(expected)]
        scale = float(np.abs(finite).max()) if finite.size else 0.0
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6 * scale + 1e-30, err_msg=f"{name}: {what}")
    else:
        np.testing.assert_array_equal(got, expected, err_msg=f"{name}: {what}")


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_kernels_of(case: str) -> None:
    with HostBatch(plans(case)) as batch:
        for index, plan in enumerate(batch.plans):
            executor = Executor(plan.source)
            what = f"{[call.kernel.name for call in plan.calls]} on\n{plan.source}"
            for seed in range(3):
                inputs = {
                    name: random_value(plan.source.tensors[name], 100 * index + 3 * position + seed)
                    for position, name in enumerate(plan.source.inputs)
                }
                with np.errstate(all="ignore"):
                    expected = executor(inputs)
                for name, got in batch.run(index, inputs).items():
                    assert_agrees(name, got, expected[name], what)


def test_every_portable_kernel_is_swept() -> None:
    swept = {call.kernel.name for case in CASES for plan in plans(case) for call in plan.calls}
    portable = {kernel.name for kernel in all_kernels() if kernel.requires <= PORTABLE}
    assert portable - swept == set()


def test_every_kernel_has_its_files() -> None:
    from tinyopt.generate.kernels import kernel_files

    for kernel in all_kernels():
        files = kernel_files([kernel])
        assert Path(kernel.family, kernel.source) in files
