"""Barriers of curves known in closed form, cross-fitted heights, and per-image parts of an AUC."""

import numpy as np
import pytest

from transferscope.measures.barrier import auc_values, barrier, entezari, frankle
from transferscope.measures.crossfit import highest
from transferscope.measures.metrics import auc

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


def test_a_single_row_of_noise_is_chosen_on_all_and_read_on_others():
    values = np.random.default_rng(0).random((11, 50))
    alphas = np.linspace(0, 1, 11)
    found = barrier(alphas, values, np.random.default_rng(1))
    curve = values.mean(1)
    assert curve[alphas == found.frankle_alpha] == curve.max()
    assert found.frankle.mean < frankle(alphas, curve) and found.entezari.mean < entezari(alphas, curve)


def test_both_heights_are_those_of_the_examples_own_excess():
    values, alphas = np.random.default_rng(2).random((5, 20)), np.linspace(0, 1, 5)
    found = barrier(alphas, values, np.random.default_rng(7), draws=40)
    rng = np.random.default_rng(7)
    ends = values[[0, -1]]
    for height, above in (
        (found.frankle, values - ends.mean(0)),
        (found.entezari, values - ((1 - alphas)[:, None] * ends[0] + alphas[:, None] * ends[1])),
    ):
        slow = highest(above, rng, draws=40)
        assert height.mean == pytest.approx(slow.mean, abs=1e-12)
        assert height.high == pytest.approx(slow.high) and height.low == pytest.approx(max(0, slow.low))


def test_an_interval_is_not_below_zero_unless_its_reading_is():
    rng, below = np.random.default_rng(0), 0
    for _ in range(40):
        found = barrier(ALPHAS[::20], rng.random((6, 30)), rng, draws=50)
        for height in (found.frankle, found.entezari):
            assert min(height.mean, 0) <= height.low <= height.mean <= height.high and height.high >= 0
            below += height.mean < 0
    assert below > 10


def test_the_interval_covers_a_known_barrier():
    rng, alphas = np.random.default_rng(3), np.array([0, 0.5, 1.0])
    hits = []
    for _ in range(200):
        errors = rng.random((3, 150)) < np.array([0.2, 0.6, 0.3])[:, None]
        found = barrier(alphas, errors, rng, draws=100).entezari
        hits.append(found.low <= 0.35 <= found.high)
    assert 0.89 < np.mean(hits) < 0.99


def test_values_of_an_auc_have_it_as_mean_and_the_folds_own_as_means_of_folds():
    """Of 400 examples the mean over a fifth is that fifth's own AUC but for terms of second order."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (2, 400, 3)).astype(float)  # with ties
    labels = rng.random((400, 3)) < 0.4
    labels[:, 2] = True  # a label with one class counts for nothing
    found = auc_values(scores, labels)
    for i in range(2):
        assert found[i].mean() == pytest.approx(np.mean([auc(scores[i, :, j], labels[:, j]) for j in range(2)]))
        for fold in np.split(rng.permutation(400), 5):
            own = np.mean([auc(scores[i, fold, j], labels[fold, j]) for j in range(2)])
            assert found[i, fold].mean() == pytest.approx(own, abs=0.02)
    with pytest.raises(ValueError, match="both classes"):
        auc_values(scores[:, :, 2:], labels[:, 2:])


def test_values_of_an_auc_are_delongs_structural_components():
    rng = np.random.default_rng(1)
    s, y = rng.normal(size=30), rng.random(30) < 0.3
    found = auc_values(s[None, :, None], y[:, None])[0]
    area = auc(s, y)
    for i in range(30):
        beaten = np.mean([(s[i] > s[j]) == y[i] for j in range(30) if y[j] != y[i]])
        assert found[i] == pytest.approx(area + (beaten - area) * 30 / (y == y[i]).sum())
