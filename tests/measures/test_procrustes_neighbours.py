"""Procrustes distance and k-NN accuracy against their definitions on features."""

import numpy as np
import pytest
import torch

from transferscope.measures.neighbours import knn_accuracy, squared_distances
from transferscope.measures.procrustes import procrustes


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("widths", [(12, 30), (30, 90), (2500, 7)])
def test_procrustes_is_the_nuclear_norm_formula(widths):
    a, b = draw(40, widths[0]), draw(40, widths[1], seed=1)
    x, y = (m.double() - m.double().mean(0) for m in (a, b))
    x, y = x / x.norm(), y / y.norm()
    expected = 2 - 2 * torch.linalg.svdvals(x.T @ y).sum()
    assert procrustes(a, b) == pytest.approx(float(expected), abs=1e-7)


def test_procrustes_is_zero_up_to_rotation_scale_and_shift_and_constants_have_none():
    a = draw(40, 12)
    q = torch.linalg.qr(draw(12, 12, seed=2))[0]
    assert procrustes(a, 5 * a @ q + 1) == pytest.approx(0, abs=1e-6)
    assert procrustes(a, torch.full((40, 3), 3.3)) is None
    with pytest.raises(ValueError, match="same samples"):
        procrustes(a, a[:-1])


@pytest.mark.parametrize("k", [1, 2, 5])
def test_knn_equals_a_loop(k):
    x, y = draw(60, 3), torch.arange(60) % 3
    x[:, 0] += 1.5 * y
    hits = []
    for i in range(60):
        near = [j for j in np.argsort(((x - x[i]) ** 2).sum(1).numpy()) if j != i][:k]
        votes = [int(y[j]) for j in near]
        best = max(votes.count(v) for v in votes)
        hits.append(next(v for v in votes if votes.count(v) == best) == y[i])
    assert knn_accuracy(squared_distances([x[:25], x[25:]], k), y, k) == pytest.approx(np.mean(hits))
    with pytest.raises(ValueError, match="cannot vote"):
        knn_accuracy(squared_distances([x], 60), y, 60)


@pytest.mark.parametrize("far", [1e4, 1e8, 1e15, 1e30, 1e38])
def test_one_sample_far_out_does_not_move_the_distances_of_the_others(far):
    x = draw(60, 5)
    x[7, 2] = far
    expected = (x.double()[:, None] - x.double()[None]).square().sum(2)
    others = torch.arange(60) != 7
    torch.testing.assert_close(
        squared_distances([x[:25], x[25:]], 5)[others][:, others].double(),
        expected[others][:, others],
        rtol=1e-3,
        atol=1e-5,
    )


def test_clusters_far_apart_and_copies_keep_their_order():
    x = draw(12, 3).repeat(5, 1) * 1e-3 + 1e3 * (torch.arange(60) % 2)[:, None]
    expected = (x.double()[:, None] - x.double()[None]).square().sum(2)
    torch.testing.assert_close(squared_distances([x], 5).double(), expected)
