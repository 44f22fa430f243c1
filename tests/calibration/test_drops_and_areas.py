"""Relative drops and differences of AUCs: to first order in the images their intervals cover as a gain's do."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from transferscope.analyses._shared import gains
from transferscope.measures import judged
from transferscope.measures.intervals import mean_interval

PHI = np.vectorize(NormalDist().cdf)
SETTINGS = {"images": (0.03, 0.3), "both": (0.1, 0.3), "seeds": (0.2, 0.2)}  # of a run; of an image for one arm
SPREAD, RESIDUAL = 1.0, 0.6  # of images, and of one answer
TIMES = 300


def drops(rng, runs, images, n, count):
    """The drop of arms that answer rightly at 0.9 and 0.3 in the units of an image's ease, and its expectation."""
    shifts, spread = (0.9, 0.3), math.sqrt(SPREAD**2 + images**2 + RESIDUAL**2)
    first, second = (PHI((shift + rng.normal(0, runs, 5000)) / spread) for shift in shifts)
    ease = rng.normal(0, SPREAD, count)
    arms = []
    for shift in shifts:
        own = shift + ease + rng.normal(0, images, count) + rng.normal(0, runs, (n, 1))
        right = (own + rng.normal(0, RESIDUAL, (n, count)) > 0).astype(float)
        arms.append(gains.Scores(right.mean(1), right, (0.0, 1.0)))
    return arms[0].drop_to(arms[1]), 100 * (1 - second / first).mean()


def areas(rng, runs, images, n, count):
    """The difference of the AUCs of arms that tell the classes apart by 1.6 and 1.2, and its expectation."""
    shifts, spread = (1.6, 1.2), math.sqrt(2 * (SPREAD**2 + images**2 + RESIDUAL**2))
    first, second = (PHI((shift + rng.normal(0, runs, 5000)) / spread) for shift in shifts)
    labels, ease = (rng.random(count) < 0.4).astype(int), rng.normal(0, SPREAD, count)
    arms = []
    for shift in shifts:
        own = ease + rng.normal(0, images, count)
        outputs = [(shift + rng.normal(0, runs)) * labels + own + rng.normal(0, RESIDUAL, count) for _ in range(n)]
        parts = np.array([judged.parts(output[:, None], labels, "auc") for output in outputs])
        arms.append(gains.Scores(parts.mean(1), parts))
    return arms[0].minus(arms[1]).times(100), 100 * (first - second).mean()


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", [drops, areas])
def test_new_seeds_and_images_are_covered(kind, setting, n):
    rng = np.random.default_rng(0)
    ours = over_seeds = 0
    for _ in range(TIMES):
        found, truth = kind(rng, *SETTINGS[setting], n, 100)
        interval, plain = found.interval(), mean_interval(found.values)
        ours += interval.low <= truth <= interval.high
        over_seeds += plain.low <= truth <= plain.high
    assert ours / TIMES > 0.915, "95% less three standard errors"
    if n == 10 and setting != "seeds":
        assert over_seeds / TIMES < 0.88, "which is what t over seeds does"
