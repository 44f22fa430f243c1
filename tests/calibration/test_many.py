"""How often a claim of several effects decides one that is not there, on the very code."""

import numpy as np
import pytest
from calibrated import many, within

pytestmark = pytest.mark.slow
REPETITIONS = 1500


@pytest.mark.parametrize("effects", [[0.0] * 5, [0.0, 0.0, 3.0, 3.0, 3.0]])
@pytest.mark.parametrize("n", [3, 6])
@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_the_family_holds_its_error(effects, n, shared):
    share, plain, _ = many.decided(effects, n, shared, "normal", REPETITIONS, np.random.default_rng(0))
    assert share < 0.05 + within(0.05, REPETITIONS, 3)
    assert plain > share


def test_plain_intervals_do_not():
    _, plain, _ = many.decided([0.0] * 5, 6, 0.0, "normal", REPETITIONS, np.random.default_rng(1))
    assert plain == pytest.approx(1 - 0.95**5, abs=within(0.23, REPETITIONS))


def test_skewed_noise_costs_some():
    share, _, real = many.decided([0.0] * 4 + [3.0], 6, 0.0, "skewed", REPETITIONS, np.random.default_rng(2))
    assert share < 0.10 + within(0.10, REPETITIONS, 3) and real > 0.95
