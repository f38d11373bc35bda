"""Each layer gets the narrowest weights that a budget asks for, where they hurt least."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.quantize.test_techniques import DATA, chain
from tinyopt.board import load_board
from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.execute.float import run_batch
from tinyopt.graph import Graph
from tinyopt.plan.layer_costs import board_costs
from tinyopt.quantize import (
    BiasCorrection,
    Budget,
    Int4,
    Int8,
    LayerCost,
    PostTraining,
    Ternary,
    choose_widths,
    quantize,
)

GRAPH = chain(uneven=False)
LABELS = run_batch(GRAPH, {"x": DATA})["y"].argmax(1)
LABELLED = Samples.from_array(DATA, GRAPH, labels=LABELS)
FORMATS = (Int8(), Int4(), Ternary())
BYTES_INT8 = 216 + 72 + 64 + 360 + 12 * (8 + 8 + 8 + 5)
"""Weights, and 12 bytes for each channel."""


def test_without_need_everything_stays_wide() -> None:
    widths = choose_widths(GRAPH, DATA, Budget(weight_bytes=BYTES_INT8), formats=FORMATS)
    assert widths.formats == dict.fromkeys("adpf", Int8())
    assert widths.weight_bytes == BYTES_INT8
    assert not widths.shortfall and "all limits are met" in str(widths)


@pytest.mark.parametrize("share", [0.85, 0.7, 0.6])
def test_a_budget_of_bytes_is_met_and_used(share: float) -> None:
    limit = share * BYTES_INT8
    widths = choose_widths(GRAPH, DATA, Budget(weight_bytes=limit), formats=FORMATS)
    assert not widths.shortfall
    assert 0.8 * limit < widths.weight_bytes <= limit
    assert len(set(widths.formats.values())) > 1
    quantized = quantize(GRAPH, DATA, PostTraining(overrides=widths.formats))
    for operator in quantized.operators:
        if operator.name in widths.formats:
            largest = np.abs(quantized.ins(operator)[1].value.astype(int)).max()
            assert largest <= {8.0: 127, 4.0: 8, 2.0: 1}[widths.formats[operator.name].bits]


def test_a_choice_beats_the_narrow_format_everywhere_at_more_precision_and_fewer_bytes_than_int8() -> None:
    config, formats = PostTraining(techniques=(BiasCorrection(),)), (Int8(), Int4())
    everywhere = choose_widths(GRAPH, DATA, Budget(weight_bytes=1.0), formats=formats, config=config)
    mixed = choose_widths(GRAPH, DATA, Budget(weight_bytes=0.8 * BYTES_INT8), formats=formats, config=config)
    assert mixed.sqnr_db > everywhere.sqnr_db + 1
    assert everywhere.weight_bytes < mixed.weight_bytes < BYTES_INT8


def test_a_budget_that_cannot_be_met_gives_the_narrowest_and_says_by_how_much_it_misses() -> None:
    widths = choose_widths(GRAPH, DATA, Budget(weight_bytes=100), formats=FORMATS)
    assert widths.formats == dict.fromkeys("adpf", Ternary())
    assert widths.shortfall == {"weight_bytes": widths.weight_bytes - 100}
    assert "not met: weight bytes by" in str(widths)


def test_a_limit_of_signal_to_noise_is_kept_with_as_few_bytes_as_possible() -> None:
    loose, strict = (choose_widths(GRAPH, DATA, Budget(sqnr_db=d), formats=FORMATS) for d in (12.0, 30.0))
    assert loose.sqnr_db >= 12 and strict.sqnr_db >= 30
    assert loose.weight_bytes < strict.weight_bytes <= BYTES_INT8
    none = choose_widths(GRAPH, DATA, Budget(sqnr_db=200.0), formats=FORMATS)
    assert none.formats == dict.fromkeys("adpf", Int8())
    assert none.shortfall["sqnr_db"] == pytest.approx(200 - none.sqnr_db)


def test_a_limit_of_accuracy_counts_labels_with_the_techniques_of_the_configuration() -> None:
    config = PostTraining(techniques=(BiasCorrection(),))
    widths = choose_widths(GRAPH, DATA, Budget(accuracy=0.9), data=LABELLED, formats=FORMATS, config=config)
    assert widths.accuracy is not None and widths.accuracy >= 0.9
    assert widths.weight_bytes < BYTES_INT8


def test_sensitivities_are_listed_for_every_layer_and_format() -> None:
    widths = choose_widths(GRAPH, DATA, Budget(sqnr_db=10.0), formats=FORMATS)
    assert {(s.layer, str(s.weight_format)) for s in widths.sensitivities} == {
        (layer, form) for layer in "adpf" for form in ("int8", "int4", "ternary")
    }
    for layer in "adpf":
        noises = [s.noise for s in widths.sensitivities if s.layer == layer]
        assert noises == sorted(noises)


def test_layers_with_an_override_keep_it() -> None:
    config = PostTraining(overrides={"d*": Int4()})
    widths = choose_widths(GRAPH, DATA, Budget(weight_bytes=0.7 * BYTES_INT8), formats=FORMATS, config=config)
    assert set(widths.formats) == set("apf")


def test_costs_of_a_board_decide_over_cycles() -> None:
    def costs(graph: Graph) -> Mapping[str, LayerCost]:
        """The depthwise layer alone becomes faster with fewer bits."""
        narrow = {
            o.name: np.abs(graph.ins(o)[1].value.astype(int)).max() <= 8 for o in graph.operators if o.name in "adpf"
        }
        return {name: LayerCost(100.0, 50.0 if name == "d" and narrow[name] else 100.0) for name in narrow}

    widths = choose_widths(GRAPH, DATA, Budget(cycles=360), formats=(Int8(), Int4()), costs=costs)
    assert widths.formats == {"a": Int8(), "d": Int4(), "p": Int8(), "f": Int8()}
    assert widths.cycles == 350


def test_costs_of_a_board_come_from_its_plan() -> None:
    costs = board_costs(load_board("mps2_an386"))(quantize(GRAPH, DATA))
    assert set("adpf") <= set(costs)
    assert all(costs[name].weight_bytes > 0 and costs[name].cycles > 0 for name in "adpf")


def test_what_a_budget_needs_is_asked_for() -> None:
    with pytest.raises(DataError, match="needs a limit"):
        Budget()
    with pytest.raises(DataError, match="between 0 and 1"):
        Budget(accuracy=90.0)
    with pytest.raises(DataError, match="labelled data"):
        choose_widths(GRAPH, DATA, Budget(accuracy=0.9))
    with pytest.raises(DataError, match="costs of a board"):
        choose_widths(GRAPH, DATA, Budget(cycles=1000))
    with pytest.raises(DataError, match="no formats"):
        choose_widths(GRAPH, DATA, Budget(sqnr_db=20), formats=())
