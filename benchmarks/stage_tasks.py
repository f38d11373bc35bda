"""The two tasks of ``benchmarks.stages``: spoken digits and images, with how long each kind of training takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from benchmarks.datasets import Split, cifar10, spoken_digits
from benchmarks.networks import ds_cnn, resnet8
from benchmarks.training import DIGITS, FINE_TUNING, IMAGES, data_folder
from tinyopt.compress.prune import ActivationStatistics, StructuredPruning, Target, Taylor
from tinyopt.graph import Graph
from tinyopt.quantize import Int8, WeightFormat
from tinyopt.train import Chain, HorizontalFlip, Noise, PadCrop, TimeShift, TrainSettings
from tinyopt.train.augment import Augment

DEPTHWISE_INT8: Mapping[str, WeightFormat] = {"depthwise_*": Int8()}
"""Layers of nine weights a channel: a tenth of all weights and the most easily hurt."""
SPEAKERS = ("theo", "george", "jackson", "lucas", "nicolas", "yweweler")


@dataclass(frozen=True)
class Task:
    """What differs between the tasks. ``read`` and the networks take the seed.

    Epochs: ``aware`` by weight format, ``tuning`` after pruning (in all, whatever the schedule), ``distilling`` of
    small students. ``rates``: learning rate of training for integers, by format. ``overrides``: formats of layers for
    weights narrower than int4. ``taught``: training for integers has the float network as its teacher, else the labels
    alone (a fifth to a third less time). ``channels``: how structured pruning chooses them for ``half``, the share of
    the predicted cycles that it leaves, and ``fewest`` how for a number of parameters. ``teaching``: more training of
    the network with half the cycles, by the float network. ``zeros``: share of ``tuning`` that training of networks
    with zeros gets. ``least``: bytes of weights at which ways of getting there are compared.
    """

    name: str
    read: Callable[[int], Split]
    network: Callable[[int, Split], Graph]
    student: Callable[[int], Graph]
    training: tuple[TrainSettings, ...]
    augment: Augment
    tuning: TrainSettings
    distilling: TrainSettings
    aware: Mapping[str, int]
    rates: Mapping[str, float]
    overrides: Mapping[str, WeightFormat]
    channels: StructuredPruning
    fewest: StructuredPruning
    half: float
    least: int
    teaching: TrainSettings | None = None
    zeros: float = 1.0
    taught: bool = True

    def aware_settings(self, form: str, seed: int) -> TrainSettings:
        """Of training for integers."""
        return TrainSettings(
            epochs=self.aware[form],
            batch_size=self.tuning.batch_size,
            learning_rate=self.rates[form],
            warm_up_epochs=0.25,
            label_smoothing=self.training[-1].label_smoothing,
            mixed_precision=self.tuning.mixed_precision and form != "int8",  # whose steps are as fine
            restore_best=False,
            seed=seed,
        )


def digits() -> Task:
    """A DS-CNN (22 k weights, 2.66 M MACs) on spoken digits of known voices: 2,400 / 300 / 300 recordings."""
    tuning = replace(DIGITS, epochs=9, learning_rate=2e-3, warm_up_epochs=0.25, restore_best=False)
    return Task(
        name="digits",
        read=lambda seed: spoken_digits(data_folder()),
        network=lambda seed, data: ds_cnn(seed=seed),
        student=lambda seed: ds_cnn(channels=12, blocks=2, seed=seed),
        training=(DIGITS,),
        augment=Chain((TimeShift(8), Noise(0.2))),
        tuning=tuning,
        distilling=replace(DIGITS, epochs=20, learning_rate=1e-2),
        aware={"int8": 3, "int4": 4, "ternary": 8, "binary": 8},
        rates={"int8": 5e-4, "int4": 5e-4, "ternary": 1.5e-3, "binary": 1.5e-3},
        overrides=DEPTHWISE_INT8,
        channels=StructuredPruning(0.5, criterion=ActivationStatistics(), scope="layer", multiple=4),
        fewest=StructuredPruning(0.5, scope="layer", multiple=4),
        half=0.47,
        least=8_800,
    )


def voices() -> Task:
    """The same for a voice that training has not heard: seed n tests on speaker n, 500 recordings each."""

    def read(seed: int) -> Split:
        return spoken_digits(data_folder(), test_speaker=SPEAKERS[seed % len(SPEAKERS)])

    return replace(digits(), name="voices", read=read)


def pictures() -> Task:
    """A ResNet-8 of width 24 (174 k weights, 28 M MACs) on CIFAR-10: 45,000 / 5,000 / 10,000 images.

    Trained twice over, the second time from the weights of the first (warm restart, Loshchilov and Hutter 2017).
    """
    ranked = StructuredPruning(
        target=Target("parameters", ratio=0.5), criterion=Taylor(), compensate="linear", multiple=4, layer_limit=0.75
    )
    first = replace(IMAGES, epochs=28, optimiser="sgd", learning_rate=0.1, weight_decay=5e-4)
    tuning = replace(FINE_TUNING, epochs=18, learning_rate=0.05, warm_up_epochs=0.25, restore_best=False)
    return Task(
        name="images",
        read=lambda seed: cifar10(data_folder(), scale=1 / 255),
        network=lambda seed, data: resnet8(width=24, seed=seed),
        student=lambda seed: resnet8(width=8, seed=seed),
        training=(first, replace(first, epochs=45)),
        augment=Chain((HorizontalFlip(), PadCrop(4))),
        tuning=tuning,
        distilling=replace(tuning, epochs=8, learning_rate=0.1),
        aware={"int8": 1, "int4": 2, "ternary": 4, "binary": 3},
        rates={"int8": 1e-4, "int4": 3e-4, "ternary": 1e-3, "binary": 1e-3},
        overrides={},
        channels=replace(ranked, scope="trial"),
        fewest=ranked,
        half=0.49,
        least=29_000,
        teaching=replace(tuning, epochs=30, learning_rate=0.06),
        zeros=1 / 6,
        taught=False,
    )


TASKS: Mapping[str, Callable[[], Task]] = {"digits": digits, "voices": voices, "images": pictures}
