"""Intervals of rare events, by adding up every possible count."""

import pytest
from calibrated import counts


@pytest.mark.slow
def test_wilson_holds_where_a_bootstrap_does_not():
    rows = counts.singles(ns=(50, 125), shares=(0.01, 0.02))
    assert all(row["wilson covers %"] >= 90 for row in rows)
    assert min(row["bootstrap covers %"] for row in rows) < 65


@pytest.mark.slow
def test_paired_score_intervals_hold_where_a_bootstrap_does_not():
    rows = counts.pairs(ns=(24, 125), cells=((0.01, 0.01), (0.03, 0.01), (0.05, 0.0)), draws=300)
    assert all(row["tango covers %"] >= 92 for row in rows)
    assert min(row["bootstrap covers %"] for row in rows) < 75
