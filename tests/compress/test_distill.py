"""Distillation: the loss is what the papers say, teachers come in every form, and a student learns from one."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyopt.bridge import GraphModule, to_graph, to_torch
from tinyopt.compress.distill import (
    DistillationLoss,
    DistillSettings,
    Teacher,
    attention_loss,
    distill,
    distill_chain,
    distill_module,
    hint_loss,
    soft_loss,
)
from tinyopt.data import Samples
from tinyopt.errors import DataError, GraphError, ModelError, TrainingError
from tinyopt.graph import DType, Graph, GraphBuilder, ops, save_graph
from tinyopt.graph.ops import Padding
from tinyopt.graph.types import Array
from tinyopt.quantize import quantize
from tinyopt.train import Callback, EpochLog, Noise, Position, TrainSettings, evaluate, fit

FAST = TrainSettings(epochs=3, batch_size=32, learning_rate=0.01)


def images(count: int = 240, seed: int = 0, classes: int = 4) -> tuple[Array, Array]:
    """Noisy pictures of four patterns, float32 [count, 6, 6, 1]."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    patterns = np.random.default_rng(77).standard_normal((classes, 6, 6, 1))
    return (patterns[labels] + 1.2 * random.standard_normal((count, 6, 6, 1))).astype(np.float32), labels


def network(channels: int, *, classes: int = 4, stride: int = 1, softmax: bool = False, seed: int = 0) -> Graph:
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> str:
        values = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        return b.constant(name, values.astype(np.float32))

    b = GraphBuilder(f"net{channels}")
    x = b.input("x", (1, 6, 6, 1), DType.FLOAT32)
    convolution = ops.Conv2d((stride, stride), Padding(1, 1, 1, 1), activation=ops.RELU)
    y = b.add(convolution, [x, weights("w1", channels, 3, 3, 1), b.constant("b1", np.zeros(channels, np.float32))])
    y = b.add(ops.Reshape((1, b.tensor(y).size)), [y], output="flat")
    y = b.add(ops.FullyConnected(), [y, weights("w2", classes, b.tensor(y).size)], output="scores")
    b.output(b.add(ops.Softmax(), [y], output="probabilities") if softmax else y)
    return b.build()


@pytest.fixture(scope="module")
def teacher() -> Graph:
    module = to_torch(network(12, softmax=True, seed=1))
    fit(module, images(600, seed=5), settings=replace(FAST, epochs=8))
    return to_graph(module)


def accuracy(graph: Graph) -> float:
    return evaluate(graph, images(seed=9)).accuracy or 0.0


# ---- the loss --------------------------------------------------------------------------------------------------


def test_the_soft_loss_is_the_divergence_of_softened_probabilities() -> None:
    ours, theirs = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)), torch.randn(5, 7)
    p, q = torch.softmax(theirs / 3, 1), torch.softmax(ours / 3, 1)
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    assert float(soft_loss(ours, theirs, 3.0)) == pytest.approx(float(expected), rel=1e-5)
    assert float(soft_loss(theirs + 4, theirs, 2.0)) == pytest.approx(0, abs=1e-6)


def test_the_factor_keeps_gradients_of_one_size_at_any_temperature() -> None:
    sizes = []
    for temperature in (5.0, 50.0):
        ours = torch.tensor([[0.5, -0.2, 0.1]], requires_grad=True)
        soft_loss(ours, torch.tensor([[0.1, 0.4, -0.3]]), temperature).backward()  # type: ignore[no-untyped-call]
        assert ours.grad is not None
        sizes.append(float(ours.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_hints_and_attention_compare_what_they_should() -> None:
    a = torch.randn(2, 4, 4, 3, generator=torch.Generator().manual_seed(1))
    assert float(hint_loss(a, a)) == 0 and float(hint_loss(torch.zeros_like(a), a)) == pytest.approx(1)
    assert float(attention_loss(a[..., [2, 0, 1]] * 3, a)) == pytest.approx(0, abs=1e-6)
    assert 0 < float(attention_loss(a, a.flip(1))) <= 2
    averaged = F.avg_pool2d(a.movedim(-1, 1), 2).movedim(1, -1)
    assert float(hint_loss(averaged, a)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_terms_add_up(teacher: Graph, alpha: float) -> None:
    module, master = to_torch(network(3, softmax=True)), to_torch(teacher)
    inputs, labels = images(20)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    loss = DistillationLoss(module, teacher, DistillSettings(temperature=2.0, alpha=alpha))
    soft = soft_loss(module.logits(x), master.logits(x), 2.0)
    hard = F.cross_entropy(module.logits(x), y)
    loss.requires_grad_(False)
    module.requires_grad_(False)
    expected = float((alpha * soft + (1 - alpha) * hard).detach())
    assert float(loss(module, (x,), y)) == pytest.approx(expected, rel=1e-5)
    known = DistillationLoss(module, teacher, loss.settings, known=master.logits(x).detach().flip(0))
    numbered = torch.stack([y, torch.arange(19, -1, -1)], 1)
    assert float(known(module, (x,), numbered)) == pytest.approx(float(loss(module, (x,), y)), rel=1e-5)
    assert float(loss.eval()(module, (x,), y)) == pytest.approx(float(hard.detach()), rel=1e-5)


def test_the_loss_serves_a_loop_of_ones_own(teacher: Graph) -> None:
    module = to_torch(network(3))
    first = module.graph.operators[0].outputs[0]
    settings = DistillSettings(hints=((first, teacher.operators[0].outputs[0]),), attention=((first, first),))
    loss = DistillationLoss(module, teacher, settings)
    assert [tuple(p.shape) for p in loss.parameters()] == [(12, 3), (12,)]
    optimiser = torch.optim.Adam([*module.parameters(), *loss.parameters()], 0.01)
    inputs, labels = images(64)
    values = []
    for _ in range(30):
        value = loss(module, (torch.from_numpy(inputs),), torch.from_numpy(labels))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.7 * values[0]


# ---- teachers --------------------------------------------------------------------------------------------------


class _Plain(nn.Module):
    def __init__(self, inner: GraphModule) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result = self.inner(x)
        assert isinstance(result, Tensor)
        return result


def test_a_teacher_is_a_graph_a_file_a_module_or_a_function(teacher: Graph, tmp_path: Path) -> None:
    save_graph(teacher, tmp_path / "teacher.tinyopt")
    master = to_torch(teacher)
    forms = [
        teacher,
        tmp_path / "teacher.tinyopt",
        str(tmp_path / "teacher.tinyopt"),
        master,
        _Plain(copy.deepcopy(master)),  # gives probabilities
        lambda x: master.logits(x).numpy(),
    ]
    x, y = (torch.from_numpy(part) for part in images(20))
    student = to_torch(network(2))
    values = [float(DistillationLoss(student, form)(student, (x,), y).detach()) for form in forms]  # type: ignore[arg-type]
    assert values == pytest.approx([values[0]] * len(forms), rel=1e-4)


def test_several_teachers_teach_the_mean_of_their_probabilities(teacher: Graph) -> None:
    other, inputs = network(5, seed=3), (torch.from_numpy(images(6)[0]),)
    scores, _ = Teacher([teacher, other])(inputs)
    single = [Teacher(one)(inputs)[0].softmax(1) for one in (teacher, other)]
    torch.testing.assert_close(scores.softmax(1), (single[0] + single[1]) / 2)
    with pytest.raises(DataError, match="at least one teacher"):
        Teacher([])
    with pytest.raises(DataError, match="gives 3 scores"):
        distill(network(4), [teacher, network(4, classes=3)], images(12))


def test_a_quantized_graph_teaches_as_the_float_network_it_stands_for(teacher: Graph) -> None:
    quantized = quantize(teacher, Samples({"x": images(32)[0][:, None]}))
    x, y = (torch.from_numpy(part) for part in images(20))
    student = to_torch(network(2))
    exact, near = (float(DistillationLoss(student, t)(student, (x,), y).detach()) for t in (teacher, quantized))
    assert near == pytest.approx(exact, rel=0.1) and near != exact


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (network(4, classes=5), "gives 5 scores for a sample, the student 'net2' 4"),
        (lambda x: x.reshape(len(x), -1)[:, :3], "gives 3 scores"),
        (lambda x: x @ torch.zeros(99, 99), "does not take inputs"),
    ],
)
def test_a_teacher_of_other_classes_or_inputs_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        distill(network(2), wrong, images())  # type: ignore[arg-type]


def test_a_teacher_of_another_input_shape_is_refused() -> None:
    b = GraphBuilder("wide")
    x = b.input("x", (1, 1, 6, 6), DType.FLOAT32)
    b.output(b.add(ops.Reshape((1, 36)), [x]))
    with pytest.raises(DataError, match=r"takes inputs \[1, 1, 6, 6\], the student 'net2' \[1, 6, 6, 1\].*nhwc"):
        distill(network(2), b.build(), images())


def test_pairs_that_do_not_match_are_refused(teacher: Graph) -> None:
    for pair, error, message in [
        (("nowhere", "flat"), GraphError, "no tensor 'nowhere'"),
        (("flat", "nowhere"), GraphError, "no tensor 'nowhere'"),
        (("w1", "flat"), GraphError, "'w1' of graph 'net2' is a constant"),
        (("flat", "conv2d"), DataError, "cannot be compared"),
    ]:
        with pytest.raises(error, match=message):
            distill(network(2), teacher, images(), DistillSettings(hints=(pair,)))
    with pytest.raises(DataError, match="no positions"):
        distill(network(2), teacher, images(), DistillSettings(attention=(("flat", "flat"),)))
    with pytest.raises(DataError, match="cannot be seen"):
        distill(network(2), lambda x: torch.zeros(len(x), 4), images(), DistillSettings(hints=(("flat", "flat"),)))


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"alpha": 1.5}, {"hint_weight": -1.0}, {"attention_weight": float("nan")}],
)
def test_settings_without_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="makes no sense"):
        DistillSettings(**change)  # type: ignore[arg-type]


# ---- training --------------------------------------------------------------------------------------------------


def test_a_student_learns_without_labels(teacher: Graph) -> None:
    x, _ = images(600, seed=5)
    student = network(2, stride=2)
    settings = DistillSettings(alpha=1.0, training=replace(FAST, epochs=10))
    trained = distill(student, teacher, Samples({"x": x}), settings)
    assert accuracy(trained) > max(0.8, accuracy(student) + 0.2) and accuracy(teacher) > 0.9
    with pytest.raises(DataError, match="alpha = 1"):
        distill(student, teacher, Samples({"x": x}))


@pytest.mark.parametrize("augmented", [False, True])
def test_the_same_seed_gives_the_same_student(teacher: Graph, augmented: bool) -> None:
    settings = DistillSettings(training=FAST, hints=(("flat", "flat"),) if augmented else ())
    trained = [
        distill(network(2), teacher, images(), settings, augment=Noise(0.1) if augmented else None) for _ in range(2)
    ]
    for name, tensor in trained[0].tensors.items():
        if tensor.is_constant:
            assert np.array_equal(tensor.value, trained[1].tensors[name].value)
    assert not np.array_equal(trained[0].tensors["w1"].value, network(2).tensors["w1"].value)


def test_the_teacher_is_run_once_for_every_sample_where_nothing_changes_them(teacher: Graph) -> None:
    master, seen = to_torch(teacher), list[int]()

    def counting(x: Tensor) -> Tensor:
        seen.append(len(x))
        return master.logits(x)

    distill(network(2), counting, images(100), DistillSettings(training=FAST))
    once = sum(size for size in seen if size > 1)
    seen.clear()
    distill(network(2), counting, images(100), DistillSettings(training=FAST), augment=Noise(0.1))
    assert once == 100 and sum(size for size in seen if size > 1) == 300


def test_hints_are_trained_and_leave_no_trace(teacher: Graph) -> None:
    student = to_torch(network(3))
    names = set(student.state_dict())
    settings = DistillSettings(hints=(("flat", "flat"),), training=FAST)
    result = distill_module(student, teacher, images(), settings, validation=images(seed=9))
    assert set(student.state_dict()) == names and len(result.history) == 3
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.best.validation_accuracy == evaluate(student, images(seed=9)).accuracy


class _Stop(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch_end(self, position: Position, log: EpochLog) -> None:
        if position.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("hints", [(), (("flat", "flat"),)])
def test_an_interrupted_distillation_goes_on_to_the_same_student(
    teacher: Graph, tmp_path: Path, hints: tuple[tuple[str, str], ...]
) -> None:
    settings = DistillSettings(hints=hints, training=replace(FAST, epochs=4))
    whole = distill(network(3), teacher, images(), settings)
    with pytest.raises(KeyboardInterrupt):
        distill(network(3), teacher, images(), settings, folder=tmp_path, callbacks=[_Stop(1)])
    resumed = distill(network(3), teacher, images(), settings, folder=tmp_path, callbacks=[_Stop(99)])
    for name in ("w1", "b1", "w2"):
        assert np.array_equal(whole.tensors[name].value, resumed.tensors[name].value)


class _Mask(nn.Module):
    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep)

    def forward(self, value: Tensor) -> Tensor:
        return value * self.keep  # type: ignore[operator]


def test_a_pruned_network_learns_from_what_it_was(teacher: Graph) -> None:
    module = to_torch(teacher)
    weights = module.constant("w2").detach()
    threshold = weights.abs().flatten().kthvalue(int(0.95 * weights.numel())).values
    module.parametrize("w2", _Mask((weights.abs() > threshold).float()))
    before = evaluate(module, images(seed=9)).accuracy
    distill_module(module, None, images(600, seed=5), DistillSettings(training=replace(FAST, epochs=6)))
    after = evaluate(module, images(seed=9)).accuracy
    assert before is not None and after is not None and after > before
    assert (to_graph(module).tensors["w2"].value == 0).mean() > 0.94
    for wrong in (None, module):
        with pytest.raises(TrainingError, match="its own teacher"):
            distill_module(to_torch(teacher) if wrong is None else module, wrong, images())


def test_a_chain_ends_with_the_smallest(teacher: Graph, tmp_path: Path) -> None:
    students = [network(6, softmax=True), network(2, stride=2)]
    trained = distill_chain(
        teacher, students, images(600, seed=5), DistillSettings(training=replace(FAST, epochs=6)), folder=tmp_path
    )
    assert [graph.name for graph in trained] == ["net6", "net2"]
    assert all(accuracy(graph) > 0.75 for graph in trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    with pytest.raises(DataError, match="at least one"):
        distill_chain(teacher, [], images())


def test_a_network_that_is_no_classifier_learns_the_values(teacher: Graph) -> None:
    x, _ = images(200)
    values = evaluate_scores(teacher, x)
    settings = DistillSettings(alpha=0.5, training=replace(FAST, epochs=20))
    student = network(8)
    trained = distill(student, lambda inputs: to_torch(teacher).logits(inputs), (x, values), settings)
    error = [float(np.square(evaluate_scores(graph, x) - values).mean()) for graph in (student, trained)]
    assert error[1] < 0.3 * error[0]


def evaluate_scores(graph: Graph, x: Array) -> Array:
    with torch.no_grad():
        return to_torch(graph).logits(torch.from_numpy(x)).numpy()


def test_labels_saved_as_real_numbers_are_class_numbers(teacher: Graph) -> None:
    x, y = images(100)
    settings = DistillSettings(training=FAST)
    one, other = (distill(network(2), teacher, (x, labels), settings) for labels in (y, y.astype(np.float32)))
    assert np.array_equal(one.tensors["w1"].value, other.tensors["w1"].value)


def test_wrong_data_are_refused_before_training(teacher: Graph) -> None:
    x, y = images(40)
    for data, message in [((x[:, :5], y), "x"), ((x, y + 2), "label 4"), ((x, y[:-1]), "40 samples but 39")]:
        with pytest.raises(DataError, match=message):
            distill(network(2), teacher, data)
    with pytest.raises(ModelError, match="quantized"):
        distill(quantize(network(2), "random:0:2"), teacher, (x, y))
