"""False verdicts and power of the three designs, on the very code."""

import numpy as np
import pytest
from calibrated import deciding, within

from transferscope.measures.deciding import fixed, sequential

pytestmark = pytest.mark.slow
REPETITIONS = 4000
DESIGNS = [fixed(3), fixed(6), sequential(3, 8), sequential(2, 5), fixed(3).raised(6)]


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("design", DESIGNS, ids=lambda one: str(one.looks))
def test_designs_err_as_often_as_they_say(design):
    share, _, _ = deciding.decided(design, 0.0, "normal", REPETITIONS, rng())
    assert share == pytest.approx(design.errs, abs=within(design.errs, REPETITIONS))


@pytest.mark.parametrize("design", DESIGNS[:3], ids=lambda one: str(one.looks))
def test_skewed_noise_costs_little(design):
    share, _, _ = deciding.decided(design, 0.0, "skewed", REPETITIONS, rng())
    assert share < 0.08 + within(0.08, REPETITIONS, 3)


@pytest.mark.parametrize(("effect", "power", "seeds"), [(1.5, 0.84, 5.8), (2.0, 0.98, 4.9), (6.0, 1.0, 3.2)])
def test_power_of_three_to_eight_seeds(effect, power, seeds):
    share, wrong, used = deciding.decided(sequential(3, 8), effect, "normal", REPETITIONS, rng())
    assert share == pytest.approx(power, abs=within(power, REPETITIONS)) and wrong < 0.002
    assert used == pytest.approx(seeds, abs=0.15)


def test_looking_again_and_again_at_plain_intervals_errs_three_times_as_often():
    share, _ = deciding.with_levels(range(3, 9), [0.05] * 6, 0.0, REPETITIONS, rng())
    assert share == pytest.approx(0.146, abs=within(0.146, REPETITIONS))
