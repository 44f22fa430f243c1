"""Barriers of curves known in closed form, and the coverage of their bootstrap intervals."""

import numpy as np
import pytest

from transferscope.measures.barrier import barrier, barrier_of, entezari, frankle

ALPHAS = np.linspace(0, 1, 101)


def test_a_parabola_between_equal_ends():
    curve = 0.2 + 4 * 0.5 * ALPHAS * (1 - ALPHAS)
    assert frankle(ALPHAS, curve) == pytest.approx(0.5) and entezari(ALPHAS, curve) == pytest.approx(0.5)


def test_a_straight_slope_has_only_a_frankle_barrier():
    curve = 0.1 + 0.3 * ALPHAS
    assert frankle(ALPHAS, curve) == pytest.approx(0.15)
    assert entezari(ALPHAS, curve) == pytest.approx(0, abs=1e-15)


def test_entezari_is_the_supremum_of_the_difference_not_the_difference_at_the_peak():
    alphas, curve = [0, 0.25, 0.75, 1], [0.0, 0.5, 0.6, 0.6]
    at_peak = 0.6 - 0.75 * 0.6
    assert entezari(alphas, curve) == pytest.approx(0.5 - 0.25 * 0.6) and entezari(alphas, curve) > at_peak


def test_a_better_middle_is_no_barrier():
    curve = 0.3 - ALPHAS * (1 - ALPHAS)
    assert frankle(ALPHAS, curve) == 0 == entezari(ALPHAS, curve)


def test_a_level_line_has_no_barrier_whatever_its_height():
    """Exactly: a chord weighed as (1 - alpha) E + alpha E differs from E by a rounding, on some processors only."""
    for height in (0.1, 1 / 3, 0.3 + 0.1, 2 / 300):
        assert entezari(ALPHAS, np.full(101, height)) == 0 == frankle(ALPHAS, np.full(101, height))


def test_extrapolation_and_order_do_not_matter():
    curve = 1 + 2 * ALPHAS * (1 - ALPHAS)
    wide, more = np.append(ALPHAS[::-1], [-0.5, 1.5]), np.append(curve[::-1], [9.0, 9.0])
    assert frankle(wide, more) == frankle(ALPHAS, curve) and entezari(wide, more) == entezari(ALPHAS, curve)


def test_both_ends_must_be_there_and_values_finite():
    with pytest.raises(ValueError, match="alpha = 0"):
        frankle([0.1, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="NaN"):
        entezari([0.0, 1.0], [0.0, np.nan])


def test_point_values_are_those_of_the_mean_curve():
    values = np.random.default_rng(0).random((11, 50))
    alphas = np.linspace(0, 1, 11)
    found = barrier(alphas, values, np.random.default_rng(1))
    assert found.frankle.mean == frankle(alphas, values.mean(1))
    assert found.entezari.mean == entezari(alphas, values.mean(1))
    assert values.mean(1)[np.flatnonzero(alphas == found.frankle_alpha)[0]] == values.mean(1).max()


def test_resampling_equals_the_slow_way():
    values, alphas = np.random.default_rng(2).random((5, 20)), np.linspace(0, 1, 5)
    found = barrier(alphas, values, np.random.default_rng(7), draws=40)
    rng = np.random.default_rng(7)
    picks = rng.integers(0, 20, (40, 20))
    slow = [entezari(alphas, values[:, p].mean(1)) for p in picks]
    assert (found.entezari.low, found.entezari.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    curves = np.stack([values[:, p].mean(1) for p in picks])
    other = barrier_of(alphas, values.mean(1), curves, 20).frankle
    assert (other.low, other.high) == pytest.approx((found.frankle.low, found.frankle.high))


def test_the_interval_covers_a_known_barrier():
    rng, alphas = np.random.default_rng(3), np.array([0, 0.5, 1.0])
    hits = []
    for _ in range(200):
        errors = rng.random((3, 150)) < np.array([0.2, 0.6, 0.3])[:, None]
        found = barrier(alphas, errors, rng, draws=200).entezari
        hits.append(found.low <= 0.35 <= found.high)
    assert 0.89 < np.mean(hits) < 0.99
