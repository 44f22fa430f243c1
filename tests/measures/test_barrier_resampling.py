"""Intervals of barriers where resampling says too little, and resampled AUCs against drawing them one by one."""

import numpy as np
import pytest

from transferscope.measures.barrier import barrier, resampled_aucs
from transferscope.measures.metrics import auc

ALPHAS = [0.0, 0.5, 1.0]


def test_no_flip_in_125_images_leaves_three_in_a_hundred():
    same = np.zeros((3, 125))
    bare = barrier(ALPHAS, same, np.random.default_rng(0)).entezari
    found = barrier(ALPHAS, same, np.random.default_rng(0), span=1.0).entezari
    assert bare.low == bare.high == 0
    assert found.low == found.mean == 0 and found.high == pytest.approx(1.96**2 / (125 + 1.96**2), abs=1e-4)


def test_wide_intervals_are_left_alone():
    errors = np.random.default_rng(3).random((3, 150)) < np.array([0.2, 0.6, 0.3])[:, None]
    bare = barrier(ALPHAS, errors, np.random.default_rng(0))
    assert barrier(ALPHAS, errors, np.random.default_rng(0), span=1.0) == bare


@pytest.mark.parametrize("k", [1, 3])
def test_aucs_of_resamples_are_those_of_drawing_them(k):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, (2, 40, k)).astype(float)  # with ties
    labels = rng.random((40, k)) < 0.4
    found = resampled_aucs(scores, labels, np.random.default_rng(5), draws=7)
    again = np.random.default_rng(5)
    for draw in range(7):
        pick = again.integers(0, 40, 40)
        for i in range(2):
            slow = [auc(scores[i, pick, j], labels[pick, j]) for j in range(k)]
            assert found[draw, i] == pytest.approx(np.mean([a for a in slow if a is not None]))


def test_resamples_of_one_class_are_drawn_anew_or_refused():
    labels = np.zeros((6, 1))
    labels[0] = 1
    found = resampled_aucs(np.random.default_rng(0).random((1, 6, 1)), labels, np.random.default_rng(0), draws=50)
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="both classes"):
        resampled_aucs(np.zeros((1, 6, 1)), np.zeros((6, 1)), np.random.default_rng(0))
