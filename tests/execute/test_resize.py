"""Image resizing."""

from __future__ import annotations

import numpy as np
import pytest

from tinyopt.execute.integer import integer_functions
from tinyopt.execute.integer.resize import float_taps, integer_taps, nearest_positions
from tinyopt.graph import Array, DType, Quantization, Tensor, infer_shapes, ops

BILINEAR, NEAREST = ops.ResizeMethod.BILINEAR, ops.ResizeMethod.NEAREST


def resize(attributes: ops.Resize2d, image: Array) -> Array:
    quantization = Quantization.per_tensor(0.1)
    x = Tensor("x", image.shape, DType.of(image), None, quantization)
    y = Tensor("y", infer_shapes(attributes, [image.shape])[0], x.dtype, None, quantization)
    return integer_functions()[ops.Resize2d](attributes, [image], [x], [y])[0]


def test_nearest_at_twice_the_size_repeats_every_pixel() -> None:
    image = np.arange(12, dtype=np.int16).reshape(1, 2, 3, 2)
    np.testing.assert_array_equal(resize(ops.Resize2d((4, 6)), image), image.repeat(2, 1).repeat(2, 2))


def test_bilinear_halfway_between_two_pixels_is_their_mean_with_ties_away_from_zero() -> None:
    image = np.array([1, 2, -1, -2], np.int8).reshape(1, 1, 2, 2)
    middle = resize(ops.Resize2d((1, 3), BILINEAR, align_corners=True), image)[0, 0, 1]
    np.testing.assert_array_equal(middle, [0, 0])
    image = np.array([1, -1, 2, -2], np.int8).reshape(1, 1, 2, 2)
    middle = resize(ops.Resize2d((1, 3), BILINEAR, align_corners=True), image)[0, 0, 1]
    np.testing.assert_array_equal(middle, [2, -2])


def test_extreme_pixels_do_not_overflow() -> None:
    for value in (-128, 127):
        image = np.full((1, 3, 5, 2), value, np.int8)
        assert (resize(ops.Resize2d((7, 9), BILINEAR, half_pixel_centers=True), image) == value).all()


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("half_pixel", [False, True])
def test_every_tap_lies_inside_the_image(corners: bool, half_pixel: bool) -> None:
    for size in (1, 2, 5, 96):
        for output in (1, 2, 3, 150, 400):
            rule = ops.Resize2d((output, output), BILINEAR, corners, half_pixel)
            for taps in (integer_taps(size, output, rule), float_taps(size, output, rule)):
                assert taps.lower.min() >= 0
                assert taps.upper.max() < size
                assert (taps.lower <= taps.upper).all()
            positions = nearest_positions(size, output, rule)
            assert positions.min() >= 0
            assert positions.max() < size
