"""How often an effect at the margin is told to lie on one side of it, on the very code."""

import numpy as np
import pytest
from calibrated import margins, within

from transferscope.measures.deciding import sequential

pytestmark = pytest.mark.slow
REPETITIONS = 4000
MOST = 0.05 + within(0.05, REPETITIONS, 3)


@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("spread", [0.3, 1.5])
@pytest.mark.parametrize("both", [False, True])
def test_each_outcome_errs_in_five_percent_at_most(n, spread, both):
    found = margins.outcomes(1.0, spread, n, "normal", both, REPETITIONS, np.random.default_rng(0))
    assert found["within"] < MOST and found["beyond"] < MOST


@pytest.mark.parametrize("n", [3, 6])
def test_what_is_small_is_told_so_and_what_is_large_too(n):
    small, large = (
        margins.outcomes(effect, 0.3, n, "normal", False, REPETITIONS, np.random.default_rng(1)) for effect in (0, 2)
    )
    assert small["within"] > 0.9 and small["beyond"] == 0
    assert large["beyond"] > 0.9 and large["within"] == 0


@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_looks_hold_their_error_too(spread):
    found = margins.over_looks(sequential(3, 8), 1.0, spread, "normal", REPETITIONS, np.random.default_rng(2))
    assert found["within"] < MOST and found["beyond"] < MOST


def test_skewed_noise_leans_to_one_outcome():
    found = margins.outcomes(1.0, 0.3, 3, "skewed", False, REPETITIONS, np.random.default_rng(3))
    assert found["within"] < 0.12 and found["beyond"] < MOST
