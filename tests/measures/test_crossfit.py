"""The cross-fitted highest row against the slow way, one fold and one resample after another."""

import math

import numpy as np
import pytest
from scipy import stats

from transferscope.measures.crossfit import FOLDS, SPLITS, elsewhere, highest


def slow(x, deals, picks):
    """The reading on the examples `picks` (repeats allowed), each of which keeps its fold."""
    found = []
    for deal in deals:
        read = []
        for fold in range(FOLDS):
            others = [i for i in picks if deal[i] != fold]
            row = int(np.argmax(x[:, others].sum(1)))
            read += [x[row, i] for i in picks if deal[i] == fold]
        found.append(read)
    return np.array(found)


def test_each_fold_reads_the_row_that_the_others_chose():
    x = np.random.default_rng(0).integers(0, 9, (4, 23)).astype(float)
    found = highest(x, np.random.default_rng(5), draws=30)
    rng = np.random.default_rng(5)
    deals = [rng.permutation(23) % FOLDS for _ in range(SPLITS)]
    own = slow(x, deals, range(23))
    assert found.mean == pytest.approx(own.mean()) and found.n == 23
    own = np.mean([row[np.argsort(np.argsort(deal, kind="stable"))] for row, deal in zip(own, deals, strict=True)], 0)
    counts = rng.multinomial(23, np.full(23, 1 / 23), 30)
    again = [slow(x, deals, np.repeat(np.arange(23), count)).mean() for count in counts]
    spread = max(own.std(ddof=1) / math.sqrt(23), np.std(again))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 22) * spread)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_row_is_its_mean_and_far_rows_do_not_matter():
    x = np.random.default_rng(1).normal(size=(3, 200))
    assert highest(x[:1], np.random.default_rng(0)).mean == pytest.approx(x[0].mean())
    assert highest(x - [[0], [50], [60]], np.random.default_rng(0)).mean == pytest.approx(x[0].mean())


def test_few_examples_and_none():
    assert highest([[1.0], [2.0]], np.random.default_rng(0)).mean == 2
    two = highest([[1.0, 1.0], [0.0, 0.0]], np.random.default_rng(0))
    assert two.mean == two.low == two.high == 1
    for bad in (np.zeros((3, 0)), np.zeros(3), [[np.nan, 1.0]]):
        with pytest.raises(ValueError, match="finite rows"):
            highest(bad, np.random.default_rng(0))


def test_what_is_best_elsewhere_is_read_here():
    x = np.random.default_rng(0).normal(size=(4, 6))
    slow = [x[np.argmax(np.delete(x, s, axis=1).mean(1)), s] for s in range(6)]
    assert elsewhere(x).tolist() == slow
    x[2, 3] = np.nan
    assert elsewhere(x).tolist() == elsewhere(np.delete(x, 3, axis=1)).tolist()
    assert elsewhere([[1.0], [2.0]]).tolist() == [2.0]
    with pytest.raises(ValueError, match="a choice needs"):
        elsewhere([[np.nan], [1.0]])


def test_the_best_of_equal_choices_does_not_lean():
    x = np.random.default_rng(0).normal(size=(4000, 5, 4))
    found = np.array([elsewhere(one).mean() for one in x])
    assert x.mean(2).max(1).mean() > 0.5 and abs(found.mean()) < 4 * found.std() / 4000**0.5
