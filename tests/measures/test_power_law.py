"""The power law of learning curves: known laws are found again, bounds hold, nothing is read outside the data."""

import itertools
import math

import numpy as np
import pytest

from transferscope.measures.power_law import PowerLaw, falling, fit, worth

SIZES = np.array([100.0, 250, 500, 1000, 2000])


def law(n, c=0.05, a=2.0, b=0.5):
    return c + a * np.asarray(n, dtype=float) ** -b


@pytest.mark.parametrize(("c", "a", "b"), [(0.05, 2.0, 0.5), (0.0, 1.0, 0.2), (0.2, 30.0, 1.3), (0.0, 0.9, 0.05)])
def test_exact_laws_are_found_again(c, a, b):
    found = fit(SIZES, law(SIZES, c, a, b))
    assert found.floor == pytest.approx(c, abs=1e-5)
    assert found.rate == pytest.approx(b, rel=1e-4)
    for n in (100, 333, 2000):
        assert found.error(n) == pytest.approx(law(n, c, a, b), rel=1e-7)
        assert found.size(found.error(n)) == pytest.approx(n, rel=1e-9)


def slow_fit(n, e):
    """Brute force: every c and b of a fine grid, the best a >= 0 for each."""
    best = (math.inf, None)
    for c, b in itertools.product(np.linspace(0, e.min(), 120), np.geomspace(0.02, 6, 240)):
        u = n**-b
        a = max(0.0, float(u @ (e - c)) / float(u @ u))
        best = min(best, (float(((e - c - a * u) ** 2).sum()), (c, a, b)))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_noisy_curves_are_fitted_as_well_as_by_brute_force(seed):
    draw = np.random.default_rng(seed)
    e = law(SIZES) + draw.normal(0, 0.01, len(SIZES))
    found = fit(SIZES, e)
    ours = sum((found.error(n) - y) ** 2 for n, y in zip(SIZES, e, strict=True))
    assert ours <= slow_fit(SIZES, e)[0] * (1 + 1e-6)
    assert found.floor >= 0 and found.scale >= 0 and found.rate > 0


def test_a_curve_that_does_not_fall_is_flat_and_never_beats_itself():
    found = fit(SIZES, [0.3, 0.31, 0.32, 0.33, 0.34])
    assert found.scale == 0 and found.floor == pytest.approx(0.32)
    assert found.size(0.32) == math.inf and found.size(0.1) == math.inf


def test_few_sizes():
    assert fit([100], [0.3]) is None and fit([100, 100], [0.3, 0.2]) is None
    two = fit([100, 400], [0.4, 0.2])
    assert two.floor == 0 and two.rate == pytest.approx(0.5) and two.error(100) == pytest.approx(0.4)
    assert two.size(0.3) == pytest.approx(100 * (4 / 3) ** 2)
    rising = fit([100, 400], [0.2, 0.3])
    assert rising.error(100) == pytest.approx(0.25, abs=0.01)


def test_perfect_scores_are_fitted_too():
    found = fit(SIZES, np.zeros(5))
    assert found.error(500) == 0 and isinstance(found, PowerLaw)


@pytest.mark.parametrize(("sizes", "errors"), [([1, 2], [0.1]), ([0, 2], [0.1, 0.2]), ([1, 2], [0.1, math.nan])])
def test_nonsense_is_refused(sizes, errors):
    with pytest.raises(ValueError, match="power law"):
        fit(sizes, errors)


def test_worth_reads_the_curve_backwards():
    errors = np.tile(law(SIZES), (4, 1))
    found = worth(SIZES, errors, np.full(4, law(700.0)))
    assert found.side == "inside" and found.size == pytest.approx(700, rel=1e-6) and found.seeds == 4
    assert found.low == pytest.approx(700, rel=1e-3) and found.high == pytest.approx(700, rel=1e-3)


def test_nothing_is_said_outside_the_sizes_tried():
    errors = np.tile(law(SIZES), (3, 1))
    beyond, below = worth(SIZES, errors, np.full(3, law(2100))), worth(SIZES, errors, np.full(3, law(90)))
    assert (beyond.side, beyond.size, beyond.low, beyond.high) == ("beyond", None, None, None)
    assert (below.side, below.size) == ("below", None)
    near = worth(SIZES, errors, np.array([law(1500), law(1900), law(1999)]))
    assert near.side == "inside" and near.low is not None and near.high is None, "the interval leaves the data"


STEP = np.array([0.67, 0.66, 0.36, 0.02, 0.0])  # chance, then all at once: no power law


@pytest.mark.parametrize(
    ("wanted", "size"),
    [(0.66, 250), (0.51, math.sqrt(250 * 500)), (0.36, 500), (0.19, math.sqrt(500 * 1000)), (0, 2000)],
)
def test_a_curve_that_follows_no_law_is_read_off_its_points(wanted, size):
    found = worth(SIZES, STEP[None], [wanted])
    assert not found.fitted and found.side == "inside" and found.size == pytest.approx(size)


def test_what_was_measured_is_never_called_out_of_reach():
    """The fit may lie above the last point; an error that was reached there is inside."""
    assert worth(SIZES, STEP[None], [0.7]).side == "below"
    draw = np.random.default_rng(0)
    for _ in range(50):
        errors = law(SIZES) + draw.normal(0, 0.004, len(SIZES))
        assert worth(SIZES, errors[None], [errors[-1]]).side == "inside"
        assert worth(SIZES, errors[None], [errors[0]]).side == "inside"
        assert worth(SIZES, errors[None], [min(errors) - 0.02]).side == "beyond"


def test_order_of_the_sizes_does_not_matter():
    errors = law(SIZES) + np.random.default_rng(0).normal(0, 0.003, (4, 5))
    place = [3, 0, 4, 1, 2]
    assert worth(SIZES[place], errors[:, place], np.full(4, law(700))) == worth(SIZES, errors, np.full(4, law(700)))


@pytest.mark.parametrize("seed", range(5))
def test_falling_is_the_nearest_curve_that_never_rises(seed):
    draw = np.random.default_rng(seed)
    e = draw.normal(size=7)
    ours = falling(e)
    assert (np.diff(ours) <= 1e-12).all()
    slow = [max(min(np.mean(e[i : j + 1]) for i in range(k + 1)) for j in range(k, 7)) for k in range(7)]
    np.testing.assert_allclose(ours, slow)  # the min-max formula (Barlow et al. 1972)


def test_one_seed_has_no_interval_and_one_size_no_answer():
    one = worth(SIZES, law(SIZES)[None], [law(300)])
    assert one.size == pytest.approx(300, rel=1e-6) and one.low is None and one.high is None
    assert worth([100], [[0.3]], [0.2]) is None
    with pytest.raises(ValueError, match="row for each"):
        worth(SIZES, law(SIZES)[None], [0.1, 0.2])


def test_the_interval_covers_as_often_as_it_says():
    """200 studies of 6 noisy paired seeds: the true size lies inside in about 95 of 100."""
    draw = np.random.default_rng(0)
    true, hits, known = 600.0, 0, 0
    for _ in range(200):
        errors = law(SIZES) + draw.normal(0, 0.004, (6, len(SIZES)))
        found = worth(SIZES, errors, law(true) + draw.normal(0, 0.004, 6))
        if found.low is not None and found.high is not None:
            known += 1
            hits += found.low <= true <= found.high
    assert known > 190 and 0.89 < hits / known < 0.99


@pytest.mark.parametrize(
    ("sizes", "errors"), [([100, 200, 1000], [0, 0, 0]), ([100, 200, 1000], [0.1] * 3), ([100, 1000], [0, 0])]
)
def test_a_level_curve_is_reached_with_the_fewest(sizes, errors):
    """Where both arms are perfect with any number of images, pretraining is worth none."""
    found = worth(sizes, [errors] * 3, [errors[0]] * 3)
    assert found.side == "inside" and found.size == pytest.approx(100)
    assert worth(sizes, [errors] * 3, [errors[0] + 0.01] * 3).side == "below"
