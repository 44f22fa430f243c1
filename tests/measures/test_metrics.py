"""Metrics against definitions written out pair by pair, and what they refuse."""

import numpy as np
import pytest

from transferscope.answers import usual
from transferscope.measures.judged import score
from transferscope.measures.metrics import (
    accuracy,
    auc,
    binary_cross_entropies,
    binary_cross_entropy,
    cross_entropies,
    cross_entropy,
    mean_auc,
    ranks,
)


def test_accuracy_counts_hits():
    assert accuracy([[1, 0], [0, 1], [3, 2]], [0, 0, 0]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", [accuracy, cross_entropy, lambda z, y: score(z, y, "accuracy")])
def test_outputs_that_are_not_finite_are_refused(function, bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        function([[bad, 0.0], [0.0, 1.0]], [0, 1])


def test_auc_is_the_share_of_ordered_pairs_with_ties_as_halves():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, labels = rng.integers(0, 6, 30).astype(float), rng.integers(0, 2, 30)
        labels[:2] = 0, 1
        p, n = scores[labels == 1][:, None], scores[labels == 0][None]
        assert auc(scores, labels) == pytest.approx(np.mean((p > n) + 0.5 * (p == n)), abs=1e-14)


def test_auc_of_all_ties_is_a_half_and_of_one_class_none():
    assert auc(np.ones(5), [0, 1, 0, 1, 1]) == 0.5
    assert auc([1.0, 2.0], [1, 1]) is None
    with pytest.raises(ValueError, match="0 or 1"):
        auc([1.0, 2.0], [1, 2])


def test_mean_auc_leaves_out_undefined_labels():
    z = np.array([[0.1, 5], [0.2, 1], [0.3, 2]])
    y = np.array([[0, 1], [0, 1], [1, 1]])
    assert mean_auc(z, y) == 1.0
    assert mean_auc(z, np.ones_like(y)) is None


def test_cross_entropy_is_the_definition_and_survives_large_logits():
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(7, 4)), rng.integers(0, 4, 7)
    naive = -np.log(np.exp(z)[np.arange(7), y] / np.exp(z).sum(1))
    np.testing.assert_allclose(cross_entropies(z, y), naive, rtol=1e-12)
    assert cross_entropy([[1e4, 0.0]], [1]) == pytest.approx(1e4)


def test_binary_cross_entropy_is_the_definition_and_survives_large_logits():
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=(7, 3)), rng.integers(0, 2, (7, 3))
    p = 1 / (1 + np.exp(-z))
    naive = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    np.testing.assert_allclose(binary_cross_entropies(z, y), naive.mean(1), rtol=1e-12)
    assert binary_cross_entropy([[-1e4]], [[1]]) == pytest.approx(1e4)


def test_score_dispatches():
    z, y = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.5]]), np.array([0, 1, 0])
    assert score(z, y, "auc") == auc(z[:, 1] - z[:, 0], y) == 1.0
    assert score(z, y, "accuracy") == pytest.approx(2 / 3)
    assert score(z, np.array([[0, 1], [1, 0], [0, 1]]), "auc") == mean_auc(z, [[0, 1], [1, 0], [0, 1]])
    with pytest.raises(ValueError, match="unknown metric"):
        score(z, y, "f1")
    with pytest.raises(ValueError, match="exclusive classes"):
        score(np.zeros((3, 3)), y, "auc")
    assert [usual("class", 2), usual("labels", 5), usual("class", 9)] == ["auc", "auc", "accuracy"]


def test_labels_must_fit():
    with pytest.raises(ValueError, match="2 outputs"):
        accuracy([[0.0, 1.0]], [2])
    with pytest.raises(ValueError, match="class indices"):
        accuracy([[0.0, 1.0]], [0.5])


def test_ranks_match_scipy():
    stats = pytest.importorskip("scipy.stats")
    x = np.random.default_rng(3).integers(0, 9, 40)
    np.testing.assert_array_equal(ranks(x), stats.rankdata(x))
