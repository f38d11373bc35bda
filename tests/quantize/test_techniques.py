"""Techniques that make post-training quantization lose less."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.test_post_training import small_network
from tests.quantize.test_quantize_recurrent import layer
from tinyopt.data import Samples
from tinyopt.errors import DataError
from tinyopt.execute import Executor
from tinyopt.execute.float import run_batch
from tinyopt.graph import Array, DType, Graph, GraphBuilder, ops
from tinyopt.optimise import optimise
from tinyopt.quantize import (
    ActivationAware,
    AdaRound,
    BiasCorrection,
    Binary,
    Clustered,
    Entropy,
    Equalise,
    ErrorFeedback,
    Int4,
    Int8,
    MeanSquaredError,
    PostTraining,
    Ternary,
    WeightFormat,
    compare_tensors,
    quantize,
    simulate,
)
from tinyopt.quantize.technique import Setting

FAST = AdaRound(steps=150, learning_rate=0.06, batch=256, positions=1024)


def floats(*shape: int, scale: float = 1.0, seed: int = 3) -> Array:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def chain(*, uneven: bool = True, groups: int = 1) -> Graph:
    """Convolution, depthwise, pointwise, pooling, flattening, dense; the channels differ a hundredfold."""
    b = GraphBuilder("chain")
    x = b.input("x", (1, 8, 8, 3), DType.FLOAT32)
    spread = 10 ** np.random.default_rng(0).uniform(-1, 1, 8) if uneven else np.ones(8)
    w = (floats(8, 3, 3, 3, scale=0.3, seed=1) * spread[:, None, None, None]).astype(np.float32)
    y = b.add(
        ops.Conv2d(activation=ops.RELU),
        [x, b.constant("w", w), b.constant("b", floats(8, scale=0.1, seed=6))],
        name="a",
    )
    w = (floats(1, 3, 3, 8, scale=0.4, seed=2) / spread).astype(np.float32)
    depthwise = ops.DepthwiseConv2d(padding=ops.Padding(1, 1, 1, 1), activation=ops.RELU)
    y = b.add(depthwise, [y, b.constant("w", w), b.constant("b", floats(8))], name="d")
    w = floats(8, 1, 1, 8 // groups, scale=0.4, seed=7)
    y = b.add(
        ops.Conv2d(activation=ops.RELU, groups=groups), [y, b.constant("w", w), b.constant("b", floats(8))], name="p"
    )
    y = b.add(ops.MaxPool2d((2, 2), (2, 2)), [y])
    y = b.add(ops.Reshape((1, 72)), [y])
    w = floats(5, 72, scale=0.3, seed=8)
    b.output(b.add(ops.FullyConnected(), [y, b.constant("w", w), b.constant("b", floats(5))], output="y", name="f"))
    return b.build()


def images() -> Array:
    """Neighbouring pixels and the colours are alike, as in pictures."""
    coarse = floats(80, 2, 2, 1, seed=4).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + 0.3 * floats(80, 8, 8, 3, seed=5) + 0.5).astype(np.float32)


DATA = images()


def noise(graph: Graph, config: PostTraining) -> float:
    """Noise power at the output in units of its power."""
    samples = Samples.from_array(DATA, graph)
    wanted = run_batch(graph, {"x": DATA})["y"]
    got = simulate(quantize(graph, samples, config), samples)["y"]
    return float(np.square(got - wanted).sum() / np.square(wanted).sum())


def test_the_fast_simulation_equals_the_integer_executor_but_for_single_steps() -> None:
    graph = chain()
    quantized = quantize(graph, DATA)
    samples = Samples.from_array(DATA[:20], graph)
    fast = simulate(quantized, samples)["y"]
    executor = Executor(quantized)
    x, y = (quantized.tensors[name].quantization for name in "xy")
    assert x is not None and y is not None
    exact = [y.dequantize(executor({"x": x.quantize(sample["x"], DType.INT8)})["y"])[0] for sample in samples]
    steps = np.abs(fast - np.stack(exact)) / y.scale
    assert steps.max() < 2.5
    assert (steps < 0.5).mean() > 0.5


def test_streaming_graphs_are_simulated_step_by_step() -> None:
    graph = streaming()
    quantized = quantize(graph, floats(20, 1, 4))
    samples = Samples.from_array(floats(6, 1, 4), graph)
    assert simulate(quantized, samples)["y"].shape == (6, 3)


def streaming() -> Graph:
    b = GraphBuilder("stream")
    x = b.input("x", (1, 1, 4), DType.FLOAT32)
    past = b.state("past", np.zeros((1, 3, 4), np.float32))
    window = b.add(ops.Concat(1), [past, x])
    b.assign("past", b.add(ops.Slice((0, 1, 0), (1, 3, 4), (1, 1, 1)), [window]))
    w = b.constant("w", floats(3, 16))
    y = b.add(ops.FullyConnected(), [b.add(ops.Reshape((1, 16)), [window]), w, b.constant("b", floats(3))], output="y")
    b.output(y)
    return b.build()


@pytest.mark.parametrize("technique", [Equalise(), ActivationAware()], ids=repr)
@pytest.mark.parametrize("groups", [1, 4])
def test_moved_factors_do_not_change_the_float_network(technique: Equalise | ActivationAware, groups: int) -> None:
    graph = optimise(chain(groups=groups))
    weights = {"a": Int4(), "d": Int4(), "p": Int4(), "f": Int4()}
    setting = Setting(graph, Samples.from_array(DATA, graph), weights, True, lambda *_: None)
    changed = technique.prepare(setting)
    before, after = (run_batch(g, {"x": DATA})["y"] for g in (graph, changed.graph))
    assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
    assert [o.name for o in changed.graph.operators] == [o.name for o in graph.operators]
    pairs = [
        (old, new)
        for a, b in zip(graph.operators, changed.graph.operators)
        for old, new in zip(graph.ins(a), changed.graph.ins(b))
        if old.is_constant
    ]
    assert sum(not np.array_equal(old.value, new.value) for old, new in pairs) >= 5
    assert len(changed.notes) == 1 and "'f'" in changed.notes[0]


def test_equalised_layers_have_channels_of_like_ranges_on_both_sides() -> None:
    graph = optimise(chain())
    setting = Setting(graph, Samples.from_array(DATA, graph), {}, True, lambda *_: None)
    changed = Equalise(largest_factor=1e6).prepare(setting).graph
    first, second = (o for o in changed.operators if o.name in ("a", "d"))
    out = np.abs(changed.ins(first)[1].value).max((1, 2, 3))
    into = np.abs(changed.ins(second)[1].value).max((0, 1, 2))
    assert np.allclose(out, into, rtol=0.02)


def test_equalisation_rescues_one_scale_per_layer() -> None:
    plain, equal = (PostTraining(per_channel=False, techniques=t) for t in ((), (Equalise(largest_factor=100),)))
    assert noise(chain(), equal) < 0.5 * noise(chain(), plain)


def test_layers_whose_result_is_read_twice_or_clipped_are_passed_over() -> None:
    quantized = quantize(small_network(), DATA, PostTraining(techniques=(Equalise(),)))
    notes = quantized.metadata["notes"].splitlines()
    assert any("read by 2 operators" in note for note in notes)
    assert all(note.startswith("equalisation passes over") for note in notes)


def test_activation_aware_scaling_serves_channels_of_large_activations() -> None:
    plain, aware = (PostTraining(weights=Int4(), edges=None, techniques=t) for t in ((), (ActivationAware(),)))
    assert noise(chain(), aware) < noise(chain(), plain)


@pytest.mark.parametrize("method", ["empirical", "analytic"])
def test_bias_correction_gives_channels_their_means_back(method: str) -> None:
    graph = chain(uneven=False)
    samples = Samples.from_array(DATA, graph)
    wanted = run_batch(graph, {"x": DATA})["y"].mean(0)
    shifts = []
    for techniques in ((), (BiasCorrection(method),)):
        config = PostTraining(weights=Ternary(), techniques=techniques)
        shifts.append(np.abs(simulate(quantize(graph, samples, config), samples)["y"].mean(0) - wanted).max())
    assert shifts[1] < 0.9 * shifts[0]
    assert method == "analytic" or shifts[1] < 0.05 * np.abs(wanted).max() + 0.05


@pytest.mark.parametrize("form", [Int4(), Int4(group=4), Ternary()], ids=str)
def test_adaround_lowers_the_noise(form: Int4 | Ternary) -> None:
    graph = chain(uneven=False)
    corrected, learned = (
        PostTraining(weights=form, edges=None, techniques=t) for t in ((BiasCorrection(),), (FAST, BiasCorrection()))
    )
    assert noise(graph, learned) < 0.8 * noise(graph, corrected)


def test_adaround_moves_weights_by_one_step_and_keeps_every_format() -> None:
    graph = chain(uneven=False)
    seen: list[tuple[str, int, int]] = []
    plain = quantize(graph, DATA, PostTraining(weights=Int4(), edges=None))
    config = PostTraining(weights=Int4(), edges=None, techniques=(FAST,))
    learned = quantize(graph, DATA, config, on_technique=lambda *step: seen.append(step))
    again = quantize(graph, DATA, config)
    assert seen[-1] == ("AdaRound", 4, 4)
    changes = 0
    for tensor in plain.constants():
        other = learned.tensors[tensor.name]
        assert other.quantization == tensor.quantization and other.dtype == tensor.dtype
        assert np.array_equal(other.value, again.tensors[tensor.name].value), "the seed decides"
        difference = np.abs(other.value.astype(int) - tensor.value.astype(int))
        assert difference.max() <= 1
        changes += int(difference.sum())
    assert changes > 20


@pytest.mark.parametrize("form", [Int4(), Int4(group=4), Ternary(), Clustered(4)], ids=str)
@pytest.mark.parametrize("per_channel", [True, False])
def test_error_feedback_lowers_the_noise(form: WeightFormat, per_channel: bool) -> None:
    graph = chain(uneven=False)
    plain, better = (
        PostTraining(weights=form, edges=None, per_channel=per_channel, techniques=t) for t in ((), (ErrorFeedback(),))
    )
    assert noise(graph, better) < 0.7 * noise(graph, plain)


@pytest.mark.parametrize("form", [Int4(), Int4(group=4), Ternary(), Binary(), Clustered(4)], ids=str)
def test_error_feedback_keeps_every_format(form: WeightFormat) -> None:
    graph = chain(groups=2)
    configs = [
        PostTraining(weights=form, edges=None, techniques=t) for t in ((), (ErrorFeedback(),), (ErrorFeedback(),))
    ]
    plain, better, again = (quantize(graph, DATA, config) for config in configs)
    for tensor in plain.constants():
        other = better.tensors[tensor.name]
        assert other.quantization == tensor.quantization
        assert np.array_equal(other.value, again.tensors[tensor.name].value)
        if tensor.dtype is DType.INT8:
            assert len(np.unique(other.value)) <= {"int4": 16, "int4:4": 121, "ternary": 3, "binary": 2}.get(
                str(form), 4
            )
            assert not isinstance(form, Clustered) or set(np.unique(other.value)) <= set(np.unique(tensor.value))


def test_techniques_run_together_layer_by_layer() -> None:
    graph = chain(uneven=False)
    seen: list[tuple[str, int, int]] = []
    config = PostTraining(weights=Ternary(), edges=None, techniques=(ErrorFeedback(), BiasCorrection()))
    quantize(graph, DATA, config, on_technique=lambda *step: seen.append(step))
    assert seen == [("error feedback, bias correction", n, 4) for n in range(1, 5)]


def test_formats_without_equal_steps_are_named_and_left() -> None:
    graph = chain()
    config = PostTraining(weights=Clustered(4), techniques=(FAST,))
    quantized = quantize(graph, DATA, config)
    assert "AdaRound left 'd' as it is: the values of clustered:4 are not equal steps" in quantized.metadata["notes"]
    assert np.array_equal(
        quantized.tensors[quantized.operators[1].inputs[1]].value,
        (bare := quantize(graph, DATA, PostTraining(weights=Clustered(4)))).tensors[bare.operators[1].inputs[1]].value,
    )


def test_streaming_networks_are_left_and_named() -> None:
    graph = streaming()
    config = PostTraining(techniques=(Equalise(), ActivationAware(), FAST, BiasCorrection()))
    notes = quantize(graph, floats(20, 1, 4), config).metadata["notes"]
    for name in ("activation-aware scaling", "AdaRound, bias correction"):
        assert f"{name} left 'stream' as it is: its samples depend on each other through states" in notes


def test_the_first_and_last_layer_stay_int8_unless_asked_otherwise() -> None:
    def largest(config: PostTraining) -> list[int]:
        q = quantize(chain(), DATA, config)
        layers = {o.name: o for o in q.operators}
        return [int(np.abs(q.ins(layers[name])[1].value.astype(int)).max()) for name in "adpf"]

    wide = largest(PostTraining(weights=Int4()))
    assert wide[0] == wide[3] == 127 and max(wide[1:3]) <= 8
    assert max(largest(PostTraining(weights=Int4(), edges=None))) <= 8
    assert largest(PostTraining(overrides={"p": Ternary()}))[2] == 1
    assert largest(PostTraining(overrides={"*": Ternary(), "p": Int8()})) == [1, 1, 127, 1]
    with pytest.raises(DataError, match="no quantized layer of 'chain' is called 'q'; its layers are: a, d, p, f"):
        largest(PostTraining(overrides={"q": Int4()}))


def test_recurrent_layers_take_narrow_weights_too() -> None:
    graph = layer(ops.Lstm(), 10, streaming=False)
    config = PostTraining(weights=Int4(), edges=None, techniques=(BiasCorrection(),))
    q = quantize(graph, floats(20, 1, 10, 8), config)
    lstm = next(o for o in q.operators if o.kind == "Lstm")
    for tensor in q.ins(lstm)[1:3]:
        assert 7 <= np.abs(tensor.value.astype(int)).max() <= 8
    assert "it does not handle Lstm" in q.metadata["notes"]


def test_symmetric_activations_have_zero_points_of_zero() -> None:
    q = quantize(chain(), DATA, PostTraining(symmetric=True))
    assert {t.zero_point for t in q.tensors.values() if not t.is_constant} == {0}
    assert noise(chain(), PostTraining(symmetric=True)) < 0.01


@pytest.mark.parametrize("method", [MeanSquaredError(), Entropy()], ids=repr)
def test_networks_quantize_with_every_method(method: MeanSquaredError | Entropy) -> None:
    assert noise(chain(), PostTraining(calibration=method)) < 0.03


def test_quantized_graphs_of_all_techniques_stay_exact_graphs() -> None:
    graph = small_network()
    config = PostTraining(
        weights=Int4(), techniques=(Equalise(), ActivationAware(), AdaRound(steps=10), BiasCorrection())
    )
    quantized = quantize(graph, DATA, config)
    assert {e.tensor for e in compare_tensors(graph, quantized, DATA[:4])} >= {"probabilities", "logits"}


def test_settings_that_make_no_sense_are_refused() -> None:
    for make in (
        lambda: BiasCorrection("exact"),
        lambda: AdaRound(steps=0),
        lambda: AdaRound(warm_up=1.0),
        lambda: Equalise(rounds=0),
        lambda: ErrorFeedback(damping=0.0),
        lambda: ActivationAware(powers=1),
        lambda: PostTraining(techniques=(3,)),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError):
            make()
