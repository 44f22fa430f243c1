"""A trend along depth: over seeds the interval holds; over blocks that depend on each other it does not."""

import pytest
from calibrated import depth, within

REPS = 800


@pytest.mark.slow
def test_blocks_that_depend_on_each_other_are_no_sample():
    rows = depth.compared(REPS, seeds=(3, 6), slopes=(0.0, 0.5), near=(0.6,))
    for row in rows:
        assert row["seeds %"] >= 100 * (0.94 - within(0.94, REPS)), row
        assert row["slope"] or row["18 blocks %"] < 85
