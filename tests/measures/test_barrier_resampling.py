"""Intervals of barriers where resampling says too little."""

import numpy as np
import pytest

from transferscope.measures.barrier import barrier

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
