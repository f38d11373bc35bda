"""An analysis tells where a model's cycles and bytes go, what its layers bear, and what pays on the board."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from support import blob_task
from tinyopt import load_board, save_graph
from tinyopt.analyse import (
    Analysis,
    Channels,
    Factorized,
    Predicted,
    Quantized,
    Sensitivity,
    Sparse,
    Trial,
    accuracy_of,
    analyse,
    profile,
    real_outputs,
    render,
    sqnr_db,
    suggest,
)
from tinyopt.analyse.trials import weighted
from tinyopt.bridge import to_graph, to_torch
from tinyopt.cli.app import app
from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.graph import DType, Graph, GraphBuilder, ops
from tinyopt.quantize import Binary, Int4, Int8, Ternary, quantize
from tinyopt.train import TrainSettings, fit

BOARD = load_board("emulated_l4r5zi")


@pytest.fixture(scope="module")
def trained() -> Graph:
    module = to_torch(blob_task.network(channels=16))
    fit(module, blob_task.samples(200, 1), settings=TrainSettings(epochs=4, batch_size=16, learning_rate=1e-2))
    return to_graph(module)


def data(graph: Graph, *, labels: bool = True, count: int = 80) -> Samples:
    x, y = blob_task.samples(count, 2)
    return Samples.from_array(x, graph, labels=y if labels else None)


@pytest.fixture(scope="module")
def whole(trained: Graph) -> Analysis:
    return analyse(trained, BOARD, data(trained), Sensitivity(run=False, objective="flash"))


def test_the_profile_accounts_for_every_cycle(whole: Analysis) -> None:
    assert whole.profile is not None and not whole.profile.measured
    layers = {layer.name: layer for layer in whole.profile.layers}
    assert {"first", "second", "last"} <= set(layers)
    assert sum(layer.cycles for layer in layers.values()) == pytest.approx(whole.profile.cycles)
    assert max(layer.live_bytes for layer in layers.values()) <= whole.profile.arena_bytes
    assert layers["last"].flash_bytes >= 4 * 9 * 16
    assert (whole.profile.energy_uj or 0) > 0


def test_bytes_that_are_shared_in_place_count_once() -> None:
    b = GraphBuilder("in_place")
    x = b.input("x", (1, 8, 8, 16), DType.FLOAT32)
    for index in range(3):
        values = np.random.default_rng(index).standard_normal((1, 3, 3, 16)).astype(np.float32)
        attributes = ops.DepthwiseConv2d(padding=ops.Padding(1, 1, 1, 1))
        x = b.add(attributes, (x, b.constant(f"w{index}", values)), name=f"layer{index}")
    b.output(x)
    graph = b.build()
    found = profile(quantize(graph, "random:0:4"), BOARD, run=False)
    assert max(layer.live_bytes for layer in found.layers) <= found.arena_bytes


def test_every_technique_is_tried_on_every_layer(whole: Analysis) -> None:
    techniques = {trial.technique for trial in whole.trials}
    assert len(whole.trials) == 3 * len(techniques) and len(techniques) == len(Sensitivity().techniques)
    for trial in whole.trials:
        assert (trial.reason is None) == (trial.accuracy is not None)
    by = {(trial.layer, trial.technique): trial for trial in whole.trials}
    assert "outputs of the network" in (by["last", "prune 50% of the channels"].reason or "")


def test_coarser_weights_make_more_noise(whole: Analysis) -> None:
    by = {(trial.layer, trial.technique): trial for trial in whole.trials}
    for layer in ("first", "second", "last"):
        names = ("weights int8", "weights int4", "weights ternary", "weights binary")
        noise = [by[layer, name].sqnr_db or 0 for name in names]
        assert noise == sorted(noise, reverse=True) and noise[0] > 30
        shares = [by[layer, f"prune {share}% of the weights"].sqnr_db or 0 for share in (25, 50, 75)]
        assert shares == sorted(shares, reverse=True)


def test_int8_is_what_is_compared_with(whole: Analysis) -> None:
    for trial in whole.trials:
        if trial.technique == "weights int8":
            assert trial.saved_cycles == 0 and trial.saved_flash == 0


def test_channels_that_leave_save_cycles_of_their_layer_and_of_the_next(whole: Analysis) -> None:
    saved = [t.saved_cycles or 0 for t in whole.trials if t.layer == "second" and t.family == "channels"]
    assert saved == sorted(saved) and saved[0] > 0


def test_suggestions_are_harmless_and_sorted_by_gain(whole: Analysis) -> None:
    assert whole.suggestions
    gains = [item.gain for item in whole.suggestions]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0
    for item in whole.suggestions:
        assert (item.trial.accuracy_loss or 0) <= Sensitivity().tolerance
    assert len({(s.trial.layer, s.trial.family) for s in whole.suggestions}) == len(whole.suggestions)


def test_the_ranking_follows_what_is_worth_more() -> None:
    base = Predicted(cycles=1000.0, flash_bytes=1000, arena_bytes=100)
    fast = Trial("a", "fast", "channels", 0.9, 0.0, 30.0, saved_cycles=300, saved_flash=0)
    small = Trial("a", "small", "quantize", 0.9, 0.0, 30.0, saved_cycles=0, saved_flash=300)
    harmful = Trial("b", "harmful", "sparse", 0.5, 0.4, 3.0, saved_cycles=900, saved_flash=900)
    refused = Trial("b", "refused", "factorize", reason="no rank pays")
    trials = [small, harmful, fast, refused]
    assert [s.trial for s in suggest(trials, base, Sensitivity(flash=0.5))] == [fast, small]
    assert [s.trial for s in suggest(trials, base, Sensitivity(latency=0.5))] == [small, fast]
    assert suggest(trials, base, Sensitivity(tolerance=0.5))[0].trial is harmful
    assert suggest(trials, None, Sensitivity()) == ()


def test_without_labels_noise_decides(trained: Graph) -> None:
    techniques = (Quantized(Int4()), Quantized(Ternary()), Channels(0.5))
    config = Sensitivity(techniques, run=False, objective="flash", least_sqnr_db=18.0)
    found = analyse(trained, BOARD, data(trained, labels=False), config)
    assert found.accuracy is None
    assert all(t.accuracy is None and (t.reason or t.sqnr_db is not None) for t in found.trials)
    assert all((s.trial.sqnr_db or 0) >= 18.0 for s in found.suggestions)


def test_an_interrupted_analysis_goes_on_and_finds_the_same(trained: Graph, tmp_path: Path) -> None:
    config = Sensitivity((Quantized(Int4()), Sparse(0.5)), run=False)
    cache = tmp_path / "cache.json"

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse(trained, BOARD, data(trained), config, cache=cache, on_progress=interrupt)
    kept = json.loads(cache.read_text())["analyses"]
    assert [len(trials) for trials in kept.values()] == [3]
    again = analyse(trained, BOARD, data(trained), config, cache=cache)
    assert again == analyse(trained, BOARD, data(trained), config)
    # Other data are another analysis, beside the first.
    analyse(trained, BOARD, data(trained, count=40), config, cache=cache)
    assert len(json.loads(cache.read_text())["analyses"]) == 2


def test_what_is_no_cache_is_left_alone(trained: Graph, tmp_path: Path) -> None:
    for content in ("{", "[]", '{"format": "other"}', "\x00"):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(DataError, match="no cache of an analysis"):
            analyse(trained, BOARD, data(trained), Sensitivity((Sparse(0.5),), run=False), cache=tmp_path / "c.json")
        assert (tmp_path / "c.json").read_text() == content


def test_a_quantized_model_is_analysed_as_the_float_network_it_stands_for(trained: Graph) -> None:
    config = Sensitivity((Quantized(Int8()),), run=False)
    found = analyse(quantize(trained, data(trained)), BOARD, data(trained), config)
    assert {trial.layer for trial in found.trials} == {"first", "second", "last"}
    assert any("is quantized" in note for note in found.notes)
    assert found.accuracy is not None and found.accuracy > 0.9


def test_trials_change_only_their_layer(trained: Graph) -> None:
    for operator in weighted(trained):
        for technique in (Quantized(Binary()), Sparse(0.5), Channels(0.25)):
            changed = technique.applied(trained, operator)
            if isinstance(changed, str):
                continue
            touched = {
                name
                for name, t in changed.tensors.items()
                if t.is_constant and not np.array_equal(t.value, trained.tensors[name].value)
            }
            assert touched and touched <= set(operator.inputs)


def test_a_factorization_that_does_not_pay_says_why(trained: Graph) -> None:
    first = weighted(trained)[0]
    assert "no rank" in str(Factorized(0.999).applied(trained, first))


def test_accuracy_and_noise_of_known_outputs(trained: Graph) -> None:
    outputs = np.array([[0.1, 0.9, 0.0, 0.0], [0.7, 0.1, 0.1, 0.1]])
    assert accuracy_of(outputs, np.array([1, 1]), trained) == 0.5
    assert accuracy_of(outputs, None, trained) is None
    assert sqnr_db(outputs, outputs) == np.inf
    assert sqnr_db(outputs, outputs * 0.9) == pytest.approx(20.0)
    found = real_outputs(trained, data(trained, count=70))
    assert found.shape == (70, 4)


def test_the_tables_and_the_json_hold_what_was_found(whole: Analysis) -> None:
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(render(whole))
    text = console.export_text()
    assert "where cycles and bytes go" in text and "suggestions, by predicted gain" in text
    facts = json.loads(json.dumps(whole.to_json(), allow_nan=False))
    assert len(facts["trials"]) == len(whole.trials) and facts["suggestions"][0]["text"]


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"samples": 0}, {"tolerance": 2.0}, {"latency": 0.0, "flash": 0.0}, {"least_sqnr_db": float("nan")}):
        with pytest.raises(DataError):
            Sensitivity(**wrong)  # type: ignore[arg-type]


def test_on_the_command_line(trained: Graph, tmp_path: Path) -> None:
    save_graph(trained, tmp_path / "net.tinyopt")
    x, y = blob_task.samples(30, 2)
    np.savez(tmp_path / "test.npz", x=x, y=y)
    arguments = ["analyse", str(tmp_path / "net.tinyopt"), "-b", "mps2_an386", "-d", str(tmp_path / "test.npz")]
    done = CliRunner().invoke(app, [*arguments, "--json", "--samples", "20"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["samples"] == 20 and facts["profile"]["measured"] is True
