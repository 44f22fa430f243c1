"""Classes of unequal size that count alike: weights in the loss, and images drawn as often."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from transferscope.errors import UserError
from transferscope.tasks import balance

LABELS = np.array([0] * 60 + [1] * 9 + [3] * 4)  # no image of class 2
ROWS = np.arange(len(LABELS))


def test_weights_make_every_class_count_alike() -> None:
    weights = balance.class_weights(LABELS, 4)
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    expected = sklearn.compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS)
    assert weights[[0, 1, 3]] == pytest.approx(expected) and weights[2] == 0
    assert weights[LABELS].mean() == pytest.approx(1.0)
    several = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert balance.class_weights(several, 3).tolist() == [1 / 3, 3.0, 1.0]


def test_every_class_comes_as_often_and_so_does_every_image_of_it() -> None:
    for epoch in range(1, 4):
        drawn = balance.balanced_rows(ROWS, LABELS, seed=0, epoch=epoch)
        assert len(drawn) == len(ROWS)
        counts = np.bincount(LABELS[drawn], minlength=4)
        assert counts[2] == 0 and np.ptp(counts[[0, 1, 3]]) <= 1
        for one in (1, 3):
            assert np.ptp(np.bincount(drawn, minlength=len(ROWS))[one == LABELS]) <= 1
    first = balance.balanced_rows(ROWS, LABELS, seed=0, epoch=1)
    assert np.array_equal(first, balance.balanced_rows(ROWS, LABELS, seed=0, epoch=1))
    assert not np.array_equal(first, balance.balanced_rows(ROWS, LABELS, seed=0, epoch=2))
    assert not np.array_equal(first, balance.balanced_rows(ROWS, LABELS, seed=1, epoch=1))


def test_several_labels_have_no_class_to_draw() -> None:
    with pytest.raises(UserError, match=r"^recipe\.sampler: images with several labels"):
        balance.balanced_rows(ROWS, np.zeros((len(ROWS), 2)), seed=0, epoch=1)


def test_training_goes_by_both(fit, digits, monkeypatch) -> None:
    from transferscope.data import open_squares
    from transferscope.tasks import loop
    from transferscope.tasks.objective import Objective

    table = open_squares(digits.path)
    seen: dict[str, object] = {"rows": []}
    batch, loss = loop._Run._batch, Objective.of

    def noted(self, x, labels, *rest) -> None:
        seen["rows"].extend(labels.tolist())
        batch(self, x, labels, *rest)

    def compared(self, out, y):
        """The slow way: every image's cross-entropy times the weights of its (mixed, smoothed) labels."""
        found = loss(self, out, y)
        weights = torch.from_numpy(balance.class_weights(table.labels[table.rows["train"]], 10)).float()
        soft = 0.9 * y + 0.01
        assert torch.allclose(found, -(F.log_softmax(out, 1) * weights * soft).sum(1).mean(), rtol=1e-5)  # float32
        return found

    monkeypatch.setattr(loop._Run, "_batch", noted)
    monkeypatch.setattr(Objective, "of", compared)
    how = {"epochs": 1, "class_weights": "balanced", "sampler": "balanced"}
    _, rows = fit("balanced", **how)
    counts = np.bincount(seen["rows"])
    assert np.ptp(counts) <= 1 < np.ptp(np.bincount(table.labels[table.rows["train"]]))
    monkeypatch.undo()
    assert fit("again", **how)[1] == rows != fit("plain", epochs=1)[1]
