"""Intervals inside a range hold the truth near its ends, where those of t do not and leave the range."""

import pytest
from calibrated import ranges, within

REPS = 1500


@pytest.mark.slow
def test_near_an_end_they_hold_more_often_than_t():
    rows = ranges.compared(REPS, names=("accuracy .99, sd .01", "kappa .90, sd .08", "barrier .02, sd .02"))
    for row in rows:
        assert row["in range %"] >= 100 * (0.925 - within(0.925, REPS)), row
        assert row["in range %"] > row["t %"] and row["clipped t %"] == row["t %"]
    assert any(row["t leaves the range %"] > 50 for row in rows)


@pytest.mark.slow
def test_in_the_middle_they_are_t():
    for row in ranges.compared(REPS, ns=(6, 10), names=("middle .50, sd .10",)):
        assert abs(row["in range %"] - 95) < 100 * within(0.95, REPS) and row["none %"] < 1
