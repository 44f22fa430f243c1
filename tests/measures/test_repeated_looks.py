"""Repeated looks against drawing them, against scipy's boundaries, and against a fine grid."""

import math

import numpy as np
import pytest

from transferscope.measures import repeated_looks
from transferscope.measures.repeated_looks import constant_level, false_verdicts

stats = pytest.importorskip("scipy.stats")


def drawn(looks, levels, repetitions, rng):
    """The share of samples in which a t interval excludes 0 at some look, each look on its own."""
    x = rng.normal(size=(repetitions, max(looks)))
    found = np.zeros(repetitions, dtype=bool)
    for n, p in zip(looks, levels, strict=True):
        found |= stats.ttest_1samp(x[:, :n], 0, axis=1).pvalue < p
    return found.mean()


@pytest.mark.parametrize(
    ("looks", "levels"),
    [
        ([3, 4, 5, 6, 7, 8], [0.05] * 6),
        ([3, 6], [0.05, 0.03]),
        ([2, 3, 5], [0.1, 0.001, 0.2]),
        (list(range(4, 31)), [0.01] * 27),
    ],
)
def test_looks_err_as_often_as_drawn_ones(looks, levels):
    repetitions = 60_000
    share = drawn(looks, levels, repetitions, np.random.default_rng(0))
    error = math.sqrt(share * (1 - share) / repetitions)
    assert false_verdicts(looks, levels) == pytest.approx(share, abs=4 * error)


@pytest.mark.parametrize("n", [2, 3, 8, 30])
@pytest.mark.parametrize("p", [1e-4, 0.05, 0.3])
def test_one_look_errs_by_its_level(n, p):
    assert false_verdicts([n], [p]) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("p", [1e-3, 0.0143, 0.3])
def test_boundaries_are_those_of_t(p):
    ns = np.arange(2, 31)
    r = np.array(repeated_looks._bounds(ns, [p] * len(ns)))
    t = r * np.sqrt((ns - 1) / (ns - r**2))
    # By the tail of t and not its quantile, of which scipy 1.11 has eight digits.
    assert 2 * stats.t.sf(t, ns - 1) == pytest.approx(np.full(len(ns), p), rel=1e-8)


def test_the_grid_is_fine_enough(monkeypatch):
    cases = [range(3, 9), range(2, 31), range(29, 31), [3, 30], [2, 100]]
    coarse = [constant_level(tuple(looks)) for looks in cases]
    monkeypatch.setattr(repeated_looks, "GRID", 1500)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    monkeypatch.setattr(repeated_looks, "NODES", nodes)
    monkeypatch.setattr(repeated_looks, "WEIGHTS", weights)
    fine = [false_verdicts(list(looks), [p] * len(looks)) for looks, p in zip(cases, coarse, strict=True)]
    assert fine == pytest.approx([0.05] * 5, abs=4e-4)


@pytest.mark.parametrize(
    ("looks", "levels"),
    [
        ([], []),
        ([1, 2], [0.1, 0.1]),
        ([3, 3], [0.1, 0.1]),
        ([3], [0.1, 0.1]),
        ([3], [0.0]),
        ([3], [0.4]),
        ([101], [0.1]),
    ],
)
def test_other_looks_are_refused(looks, levels):
    with pytest.raises(ValueError):
        false_verdicts(looks, levels)
