"""Weight formats: which integers the weights become, and with which scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyopt.errors import DataError
from tinyopt.graph import Array
from tinyopt.quantize import Binary, Clustered, Int4, Int8, Ternary, UniformFormat, WeightFormat, weight_format

FORMATS = [
    Int8(),
    Int8(search=True),
    Int4(),
    Int4(search=False),
    Int4(group=4),
    Ternary(),
    Ternary(threshold=0.7),
    Binary(),
    Clustered(16),
    Clustered(4),
    Clustered(2, keep_zero=False),
]


def weights(seed: int, channels: int, count: int, scale: float) -> Array:
    random = np.random.default_rng(seed)
    rows = random.normal(0, scale, (channels, count)) * random.uniform(0.1, 1.0, (channels, 1))
    rows[random.random(channels) < 0.2] = 0.0
    return rows


def error(form: WeightFormat, rows: Array) -> float:
    integers, scales = form.integers(rows)
    return float(np.square(integers * scales[:, None] - rows).sum())


@pytest.mark.parametrize("form", FORMATS, ids=repr)
@given(
    seed=st.integers(0, 1000),
    channels=st.integers(1, 9),
    count=st.integers(1, 40),
    scale=st.sampled_from([1e-25, 0.05, 1e6]),
)
def test_every_format_gives_int8_and_positive_float32_scales(
    form: WeightFormat, seed: int, channels: int, count: int, scale: float
) -> None:
    rows = weights(seed, channels, count, scale)
    integers, scales = form.integers(rows)
    assert integers.dtype == np.int8 and integers.shape == rows.shape
    assert scales.shape == (channels,) and (scales > 0).all()
    assert np.array_equal(scales, scales.astype(np.float32))
    assert np.abs(integers.astype(int)).max(initial=0) <= 127
    assert not integers[~rows.any(1)].any(), "channels of zeros stay zero"
    assert (np.sign(integers) * rows >= 0).all() or isinstance(form, Clustered)
    if scale > 1e-20:
        assert error(form, rows) <= np.square(rows).sum() * (1.0 + 1e-9)


@pytest.mark.parametrize("form", FORMATS, ids=repr)
def test_scales_can_be_raised(form: WeightFormat) -> None:
    rows = weights(1, 6, 30, 0.1)
    least = np.full(6, 0.5)
    integers, scales = form.integers(rows, least)
    assert (scales >= 0.5).all()
    assert integers.dtype == np.int8


def test_int4_uses_sixteen_values_at_most_and_its_search_lowers_the_error() -> None:
    rows = weights(2, 8, 200, 0.1)
    integers, _ = Int4().integers(rows)
    assert integers.min() >= -8 and integers.max() <= 7
    assert error(Int4(), rows) < error(Int4(search=False), rows)
    assert error(Int8(search=True), rows) <= error(Int8(), rows)


def test_a_group_of_int4_weights_is_a_multiple_of_int4_values() -> None:
    rows = weights(3, 8, 50, 0.1)
    rows[:, ::7] *= 6  # what groups are for
    form = Int4(group=8)
    integers, scales = form.integers(rows)
    steps, same = form.steps(rows)
    assert np.array_equal(scales, same)
    assert np.array_equal(integers % steps.astype(int), np.zeros_like(integers))
    assert np.abs(integers / steps).max() <= 8
    assert steps.min() >= 1 and steps.max() <= 15
    for start in range(0, 50, 8):
        assert (np.ptp(steps[:, start : start + 8], axis=1) == 0).all()
    assert error(form, rows) < error(Int4(), rows)


def test_ternary_weights_without_a_threshold_have_the_least_error() -> None:
    rows = weights(4, 8, 100, 0.1)
    integers, scales = Ternary().integers(rows)
    assert set(np.unique(integers)) == {-1, 0, 1}
    assert error(Ternary(), rows) <= min(error(Ternary(threshold=t), rows) for t in (0.3, 0.5, 0.7, 0.9))
    kept = np.abs(rows) * np.abs(integers)
    counts = np.maximum(np.abs(integers).sum(1), 1)
    alive = rows.any(1)
    assert np.allclose(scales[alive], (kept.sum(1) / counts)[alive], rtol=1e-6)


def test_the_ternary_threshold_of_the_paper() -> None:
    rows = np.array([[1.0, -0.1, 0.2, -0.9, 0.55]])  # the mean magnitude is 0.55, so the threshold is 0.385
    integers, scales = Ternary(threshold=0.7).integers(rows)
    assert integers.tolist() == [[1, 0, 0, -1, 1]]
    assert scales[0] == pytest.approx((1.0 + 0.9 + 0.55) / 3)


def test_binary_weights_are_signs_times_the_mean_magnitude() -> None:
    integers, scales = Binary().integers(np.array([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    assert integers.tolist() == [[1, -1, 1], [0, 0, 0]]
    assert scales[0] == 1.0


def test_a_codebook_has_as_many_values_as_asked_for_and_keeps_zero() -> None:
    rows = weights(5, 8, 200, 0.1)
    rows[np.abs(rows) < 0.02] = 0.0
    for count in (2, 4, 16):
        integers, _ = Clustered(count).integers(rows)
        assert len(np.unique(integers)) <= count
        assert not integers[rows == 0].any()
    assert error(Clustered(16), rows) < error(Clustered(4), rows)
    assert error(Clustered(16), rows) < error(Int4(search=False), rows)


def test_formats_by_name() -> None:
    for form in (Int8(), Int4(), Int4(group=32), Ternary(), Binary(), Clustered(4)):
        assert weight_format(str(form)) == form
    assert [weight_format(n).bits for n in ("int8", "int4", "ternary", "binary", "clustered:16")] == [8, 4, 2, 1, 4]
    for wrong in ("int5", "int4:x", "ternary:3", "", "int4:1", "clustered:1"):
        with pytest.raises(DataError):
            weight_format(wrong)


def test_which_formats_have_equal_steps() -> None:
    assert all(isinstance(f, UniformFormat) for f in (Int8(), Int4(), Int4(group=4), Ternary()))
    assert not any(isinstance(f, UniformFormat) for f in (Binary(), Clustered()))
    with pytest.raises(DataError, match="threshold"):
        Ternary(threshold=2.0)
