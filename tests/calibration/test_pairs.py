"""Coverage and width of means over all pairs of runs, on the very code."""

import pytest
from calibrated import pairs, within

pytestmark = pytest.mark.slow
REPETITIONS = 3000


@pytest.mark.parametrize("setting", pairs.SETTINGS)
@pytest.mark.parametrize("n", [3, 6, 10])
def test_all_pairs_cover(setting, n):
    share, _ = pairs.held(pairs.all_pairs(n, setting, "normal"), REPETITIONS, 0)
    assert share > 0.95 - within(0.95, REPETITIONS, 3)


@pytest.mark.parametrize("setting", [*pairs.SETTINGS, "distances"])
def test_skewed_noise_costs_little(setting):
    share, _ = pairs.held(pairs.all_pairs(4, setting, "skewed"), REPETITIONS, 0)
    assert share > 0.92 - within(0.92, REPETITIONS, 3)


@pytest.mark.parametrize("setting", pairs.SETTINGS)
def test_three_runs_give_a_third_of_the_width_of_chained_pairs(setting):
    _, half = pairs.held(pairs.all_pairs(3, setting, "normal"), REPETITIONS, 0)
    _, chained = pairs.held(pairs.chained_pairs(3, setting, "normal"), REPETITIONS, 0)
    assert 0.3 < half / chained < 0.42


@pytest.mark.parametrize("setting", pairs.SETTINGS)
@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("n", [3, 6])
def test_two_kinds_that_share_runs_cover(setting, kind, n):
    share, _ = pairs.held(pairs.kinds(n, setting, kind), REPETITIONS, 0)
    assert share > 0.94 - within(0.94, REPETITIONS, 3)
