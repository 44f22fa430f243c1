"""Mistakes of two networks: counts by hand, chance levels by simulation, tests against scipy."""

import numpy as np
import pytest

from transferscope.measures.agreement import agreement, by_class, by_label, examples, mcnemar


def test_counts_by_hand():
    a = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    b = np.array([1, 0, 0, 1, 0, 0, 0, 0], bool)
    found = agreement(a, b)
    assert (found.common, found.only_a, found.only_b, found.wrong_a, found.wrong_b) == (1, 2, 1, 3, 2)
    assert found.jaccard == 1 / 4 and found.share_a == 1 / 3 and found.share_b == 1 / 2
    assert found.expected == 3 * 2 / 8 and found.expected_jaccard == pytest.approx(0.75 / 4.25)
    indices = examples(a, b)
    assert [indices[k].tolist() for k in ("common", "only_a", "only_b")] == [[0], [1, 2], [3]]


def test_kappa_is_the_definition_and_zero_at_independence():
    rng = np.random.default_rng(0)
    a, b = rng.random(100_000) < 0.3, rng.random(100_000) < 0.2
    found = agreement(a, b)
    assert abs(found.kappa) < 0.01
    assert found.common == pytest.approx(found.expected, rel=0.02)
    assert found.jaccard == pytest.approx(found.expected_jaccard, abs=0.005)
    metrics = pytest.importorskip("sklearn.metrics")
    assert found.kappa == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)
    assert agreement(a, a).kappa == 1 and agreement(a, a).jaccard == 1


def test_nothing_wrong_is_undefined_not_nan():
    found = agreement(np.zeros(5, bool), np.zeros(5, bool))
    assert (found.jaccard, found.kappa, found.share_a, found.expected_jaccard) == (None,) * 4
    assert found.mcnemar == 1.0 and found.expected == 0
    assert agreement(np.zeros(0, bool), np.zeros(0, bool)).row()["kappa"] is None


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 9), (3, 11), (7, 7), (400, 480), (12_000, 13_000)])
def test_mcnemar_matches_the_exact_binomial(b, c):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-7)


def test_classes_add_up_and_empty_ones_survive():
    rng = np.random.default_rng(1)
    y, a, b = (rng.integers(0, 4, 200) for _ in range(3))
    whole, *classes = by_class(a, b, y, ["p", "q", "r", "s", "never"])
    assert whole.group == "all" and [c.group for c in classes] == ["p", "q", "r", "s", "never"]
    assert classes[-1].n == 0
    for name in ("n", "common", "only_a", "only_b"):
        assert sum(getattr(c, name) for c in classes) == getattr(whole, name)
    assert classes[2].only_a == ((y == 2) & (a != 2) & (b == 2)).sum()


def test_labels_are_counted_one_by_one():
    y = np.array([[1, 0], [0, 0], [1, 1]])
    a = np.array([[0, 0], [0, 0], [1, 0]])
    b = np.array([[0, 1], [0, 0], [1, 0]])
    whole, first, second = by_label(a, b, y)
    assert (whole.n, whole.common, whole.only_b) == (6, 2, 1)
    assert (first.common, first.only_b) == (1, 0) and (second.common, second.only_b) == (1, 1)


def test_different_examples_are_refused():
    with pytest.raises(ValueError, match="same examples"):
        agreement([True], [True, False])
