"""A technique that does not apply to a layer says which and why, and goes on; or stops there, where that is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tinyopt.cli.app import app
from tinyopt.compress.distill import DistillSettings, distill
from tinyopt.compress.factorize import Factorization, LayerChoice, Ranks, factorize
from tinyopt.compress.prune import NMPruning, PruningConfig, StructuredPruning, prune
from tinyopt.errors import ModelError, NotApplicableError, TinyoptError
from tinyopt.graph import DType, Graph, GraphBuilder, ops, save_graph
from tinyopt.quantize import AdaRound, Clustered, Equalise, ErrorFeedback, PostTraining, quantize
from tinyopt.quantize.aware import QuantizationAware, convert_trained, prepare
from tinyopt.recipe import make_recipe, run_recipe

RELU = ops.Clamp(0.0, None)


def network() -> Graph:
    """A convolution, a depthwise one, a layer norm, and a dense layer."""
    random = np.random.default_rng(0)
    b = GraphBuilder("mixed")

    def weights(name: str, *shape: int) -> str:
        return b.constant(name, random.normal(0, 0.5, shape).astype(np.float32))

    x = b.input("x", (1, 6, 6, 2), DType.FLOAT32)
    x = b.add(ops.Conv2d(activation=RELU), [x, weights("w", 8, 3, 3, 2), weights("b", 8)], name="conv")
    x = b.add(ops.DepthwiseConv2d(activation=RELU), [x, weights("d", 1, 3, 3, 8), weights("e", 8)], name="depthwise")
    x = b.add(ops.Reduce(ops.ReduceKind.MEAN, (1, 2)), [x], name="pool")
    x = b.add(ops.LayerNorm(), [x, weights("scale", 8), weights("shift", 8)], name="norm")
    x = b.add(ops.FullyConnected(RELU), [x, weights("u", 10, 8), weights("f", 10)], name="hidden")
    b.output(b.add(ops.FullyConnected(), [x, weights("v", 3, 10), weights("c", 3)], name="scores"))
    return b.build()


GRAPH = network()
SAMPLES = {"x": np.random.default_rng(1).standard_normal((24, 6, 6, 2)).astype(np.float32)}


def data() -> Any:
    from tinyopt.data import Samples

    return Samples.from_array(SAMPLES["x"], GRAPH, labels=np.arange(24) % 3)


def _pruned(config: PruningConfig) -> Callable[[bool], Graph]:
    return lambda strict: prune(GRAPH, config, strict=strict)


def _quantized(**fields: Any) -> Callable[[bool], Graph]:
    return lambda strict: quantize(GRAPH, data(), PostTraining(strict=strict, **fields))


def _trained(**fields: Any) -> Callable[[bool], Graph]:
    return lambda strict: convert_trained(prepare(GRAPH, data(), QuantizationAware(strict=strict, **fields)))


TECHNIQUES: dict[str, tuple[Callable[[bool], Graph], str]] = {
    "a pattern on a depthwise layer": (
        _pruned(NMPruning(2, 4)),
        "'depthwise' (DepthwiseConv2d) has too few weights per output channel for 2:4",
    ),
    "channels that reach the output": (_pruned(StructuredPruning(amount=0.3)), "'scores' keeps its channels: "),
    "16 bits in a layer norm": (
        _quantized(activations=DType.INT16),
        "'norm' (LayerNorm) stays in float32: it has no int16 form",
    ),
    "rounding that is learned, of clusters": (
        _quantized(weights=Clustered(4), edges=None, techniques=(AdaRound(steps=2),)),
        "left 'conv' as it is: ",
    ),
    "equalisation over a layer norm": (_quantized(techniques=(Equalise(),)), "equalisation passes over 'depthwise'"),
}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_layer_that_is_left_is_named_with_the_reason_or_is_an_error(name: str) -> None:
    technique, text = TECHNIQUES[name]
    assert text in technique(False).metadata["notes"]
    with pytest.raises(NotApplicableError, match="does not apply to every layer") as caught:
        technique(True)
    assert text in str(caught.value) and any(text in reason for reason in caught.value.reasons)


def test_where_everything_applies_strict_changes_nothing(tmp_path: Path) -> None:
    def same(technique: Callable[[bool], Graph]) -> bool:
        for strict in (True, False):
            save_graph(technique(strict), tmp_path / f"{strict}.tinyopt")
        return (tmp_path / "True.tinyopt").read_bytes() == (tmp_path / "False.tinyopt").read_bytes()

    assert same(_pruned(NMPruning(2, 4, skip=("depthwise",))))
    assert same(_pruned(StructuredPruning(amount=0.3, skip=("conv", "depthwise", "scores"))))
    assert same(_quantized(techniques=(ErrorFeedback(),)))
    assert same(_trained())


def test_a_factorization_that_is_asked_for_by_name_and_cannot_be() -> None:
    config = Factorization(layers={"depthwise": LayerChoice("svd", Ranks((2,)))})
    assert factorize(GRAPH, config).operators
    with pytest.raises(ModelError, match=r"'depthwise' cannot be factorized: .*depthwise"):
        factorize(GRAPH, Factorization(layers=config.layers, strict=True))


@pytest.mark.parametrize(
    ("hints", "text"),
    [
        ((("conv", "nothing"),), "no tensor 'nothing'"),
        ((("pool", "conv"),), "cannot be compared"),
        ((("w", "w"),), "is a constant, not an activation"),
    ],
)
def test_hints_that_name_what_cannot_be_matched_are_refused_before_training(hints: Any, text: str) -> None:
    with pytest.raises(TinyoptError, match=text):
        distill(GRAPH, GRAPH, data(), DistillSettings(hints=hints))


def test_on_the_command_line_and_in_recipes(tmp_path: Path) -> None:
    save_graph(GRAPH, tmp_path / "net.tinyopt")
    np.savez(tmp_path / "data.npz", x=SAMPLES["x"], y=np.arange(24) % 3)
    out = tmp_path / "out.tinyopt"
    model = [str(tmp_path / "net.tinyopt"), "-o", str(out)]
    for command in (
        ["prune", *model, "--pattern", "2:4"],
        ["quantize", *model, "-c", "random:0:8", "--activations", "int16"],
    ):
        done = CliRunner().invoke(app, [*command, "--strict"])
        assert isinstance(done.exception, NotApplicableError) and not out.exists()
        assert CliRunner().invoke(app, command).exit_code == 0
        out.unlink()

    def recipe(stage: Any) -> Any:
        document = {"model": "net.tinyopt", "board": "emulated_l4r5zi", "measure": "plan", "stages": [stage]}
        return make_recipe({**document, "data": {"train": "data.npz"}}, folder=tmp_path)

    for number, stage in enumerate(
        ({"prune": {"pruning": "nm", "strict": True}}, {"quantize": {"activations": "int16", "strict": True}})
    ):
        with pytest.raises(NotApplicableError, match=r"stage 1, '(prune|quantize)': .*\n.*'(depthwise|norm)'"):
            run_recipe(recipe(stage), tmp_path / str(number))
