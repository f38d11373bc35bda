"""Plans of real models: as small as their calls allow, and within what the boards have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyopt.board import load_board
from tinyopt.errors import BoardError
from tinyopt.importers import load
from tinyopt.optimise import optimise
from tinyopt.plan import call_table, make_plan

OFFICIAL = ["kws_ref_model", "vww_96_int8", "pretrainedResnet_quant", "ad01_int8"]


@pytest.mark.data
@pytest.mark.parametrize("board", ["mps2_an385", "mps2_an386"])
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_arena_of_an_official_model_meets_the_lower_bound(mlperf: Path, name: str, board: str) -> None:
    graph = load(mlperf / f"{name}.tflite")
    for objective in ("latency", "flash"):
        plan = make_plan(optimise(graph), load_board(board), objective=objective)
        # The bound counts every output that may follow its input at a distance; for visual wake words no order of
        # buffers in memory lets all of them do so at once.
        assert plan.arena_bytes <= (1.25 if name == "vww_96_int8" else 1.0) * plan.lower_bound


ARENAS = {"kws_ref_model": 12_000, "vww_96_int8": 50_000, "pretrainedResnet_quant": 36_000, "ad01_int8": 1_600}


@pytest.mark.data
@pytest.mark.parametrize("name", OFFICIAL)
def test_the_arena_of_an_official_model_on_the_m4_stays_within_its_goal(mlperf: Path, name: str) -> None:
    plan = make_plan(optimise(load(mlperf / f"{name}.tflite")), load_board("mps2_an386"))
    assert plan.arena_bytes <= ARENAS[name]


SMALLEST = {"vww_96_int8": (27_648, 29_000), "pretrainedResnet_quant": (3_072, 22_000)}


@pytest.mark.data
@pytest.mark.parametrize("name", SMALLEST)
def test_strips_of_rows_save_memory_and_cost_next_to_nothing(mlperf: Path, name: str) -> None:
    graph, board = optimise(load(mlperf / f"{name}.tflite")), load_board("mps2_an386")
    fast, small = make_plan(graph, board), make_plan(graph, board, objective="ram")
    at_least, at_most = SMALLEST[name]
    assert at_least <= small.arena_bytes <= at_most < 0.65 * fast.arena_bytes
    assert small.arena_bytes <= 1.25 * small.lower_bound
    assert small.cycles <= 1.03 * fast.cycles
    assert small.strips and not fast.strips
    assert "no product is computed twice" in call_table(small)


@pytest.mark.data
def test_a_model_that_does_not_fit_whole_is_computed_in_strips(mlperf: Path) -> None:
    graph, board = optimise(load(mlperf / "vww_96_int8.tflite")), load_board("mps2_an386")
    plan = make_plan(graph, board, arena_limit=40_000)
    assert plan.arena_bytes <= 40_000 and plan.strips
    with pytest.raises(BoardError, match="the limit is 20,000"):
        make_plan(graph, board, arena_limit=20_000)


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_a_wake_word_model_meets_the_lower_bound_and_copies_no_state(name: str) -> None:
    package = pytest.importorskip("pymicro_wakeword")
    graph = load(Path(package.__file__).parent / "models" / f"{name}.tflite")
    plan = make_plan(optimise(graph), load_board("mps2_an386"))
    assert plan.arena_bytes == plan.lower_bound
    assert plan.graph is not None and len(plan.graph.operators) == len(optimise(graph).operators)


@pytest.mark.data
def test_visual_wake_words_does_not_fit_a_microbit(mlperf: Path) -> None:
    with pytest.raises(BoardError, match="bytes too many"):
        make_plan(load(mlperf / "vww_96_int8.tflite"), load_board("microbit"))
