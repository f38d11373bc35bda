"""Augmentations keep shapes, depend on nothing but their generator, and do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.train import Chain, HorizontalFlip, Noise, PadCrop, TimeShift
from tinyopt.train.augment import Augment

IMAGES = np.random.default_rng(0).standard_normal((20, 6, 5, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "augment", [HorizontalFlip(), PadCrop(2), TimeShift(3), Noise(0.5), Chain((HorizontalFlip(), PadCrop(1)))]
)
def test_the_generator_decides(augment: Augment) -> None:
    before = IMAGES.copy()
    first, second, other = (augment(IMAGES, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == IMAGES.shape and first.dtype == IMAGES.dtype
    assert np.array_equal(first, second) and not np.array_equal(first, other)
    assert np.array_equal(IMAGES, before)


def test_images_are_flipped_or_not() -> None:
    result = HorizontalFlip(0.3)(IMAGES, np.random.default_rng(0))
    flipped = np.array([np.array_equal(r, i[:, ::-1]) for r, i in zip(result, IMAGES)])
    same = np.array([np.array_equal(r, i) for r, i in zip(result, IMAGES)])
    assert (flipped ^ same).all() and flipped.any() and same.any()


def test_cropping_shifts_and_fills_with_zeros() -> None:
    result = PadCrop(2)(IMAGES, np.random.default_rng(0))
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for index, image in enumerate(result):
        windows = (padded[index, y : y + 6, x : x + 5] for y in range(5) for x in range(5))
        assert any(np.array_equal(image, window) for window in windows)


def test_signals_move_along_time() -> None:
    signal = np.broadcast_to(np.arange(1, 11, dtype=np.float32)[:, None], (50, 10, 2))
    result = TimeShift(3, fill=-1)(signal, np.random.default_rng(0))
    for sample in result[:, :, 0]:
        inside = sample[sample != -1]
        assert len(inside) >= 7 and (np.diff(inside) == 1).all()
    assert len({tuple(sample) for sample in result[:, :, 0]}) == 7


def test_noise_has_the_deviation_asked_for() -> None:
    noise = Noise(0.5)(np.zeros((100, 100), np.float32), np.random.default_rng(0))
    assert noise.std() == pytest.approx(0.5, rel=0.05) and abs(noise.mean()) < 0.02
