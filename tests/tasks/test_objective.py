"""What training lowers for every kind of answers, against sums written out, and labels that are not known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transferscope.data.batches import mixup
from transferscope.data.epoch_order import with_gaps
from transferscope.errors import UserError
from transferscope.tasks.balance import class_weights
from transferscope.tasks.objective import Objective
from transferscope.tasks.recipe import Run, Training

OUT = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
GAPS = torch.tensor([[1, 0, -1], [0, -1, 1], [1, 1, 1], [-1, -1, -1], [0, 1, 0], [0, 0, -1]], dtype=torch.int8)


def graded(objective: Objective, y: Tensor) -> tuple[float, Tensor]:
    out = OUT.clone().requires_grad_()
    loss = objective.of(out, y)
    loss.backward()
    assert out.grad is not None
    return float(loss.detach()), out.grad


def test_labels_that_are_not_known_are_in_no_loss_and_have_no_gradient():
    objective = Objective("labels", 3, "auc", gaps=True)
    loss, gradient = graded(objective, objective.targets(GAPS))
    known = GAPS >= 0
    p = torch.sigmoid(OUT.double())
    each = -(GAPS * p.log() + (1 - GAPS) * (1 - p).log())
    assert loss == pytest.approx(float(each[known].mean()), rel=1e-5)  # float32
    assert (gradient[~known] == 0).all() and (gradient[known] != 0).all()
    whole = Objective("labels", 3, "auc")
    full = GAPS.clamp(min=0).to(torch.uint8)
    assert graded(objective, full.float())[0] == pytest.approx(graded(whole, whole.targets(full))[0], rel=1e-6)
    nothing = torch.full_like(GAPS, -1)
    assert graded(objective, objective.targets(nothing))[0] == 0.0


def test_scores_of_an_evaluation_are_the_loss_of_training():
    objective = Objective("labels", 3, "auc", gaps=True)
    loss, _ = objective.scores(OUT.numpy(), GAPS.numpy())
    assert loss == pytest.approx(graded(objective, objective.targets(GAPS))[0], rel=1e-5)
    numbers = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    for kind in ("mse", "huber"):
        of_numbers = Objective("numbers", 3, "r2", kind)
        loss, _ = of_numbers.scores(OUT.numpy(), numbers.numpy())
        assert loss == pytest.approx(graded(of_numbers, of_numbers.targets(numbers))[0], rel=1e-5)


def test_numbers_are_learnt_by_squared_error_or_huber():
    numbers = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)) * 3
    off = (OUT - numbers).double()
    assert graded(Objective("numbers", 3, "r2"), numbers)[0] == pytest.approx(float((off**2).mean()), rel=1e-5)
    near = torch.where(off.abs() < 1, off**2 / 2, off.abs() - 0.5)
    assert graded(Objective("numbers", 3, "r2", "huber"), numbers)[0] == pytest.approx(float(near.mean()), rel=1e-5)


def test_what_is_mixed_with_what_is_not_known_is_not_known():
    _, y = mixup(torch.zeros(6, 2), with_gaps(GAPS), alpha=1.0, seed=0, epoch=1, batch=0)
    assert bool(torch.isnan(y[3]).all()) and y.shape == (6, 3)
    assert int(y.isnan().sum()) > int((GAPS < 0).sum()), "each lies in its own mixture and in its partner's"
    loss = Objective("labels", 3, "auc", gaps=True).of(OUT, y)
    assert bool(torch.isfinite(loss))


def test_class_weights_count_what_is_known():
    weights = class_weights(GAPS.numpy(), 3)
    assert weights == pytest.approx([3 / 2, 1.0, 1 / 2])


@pytest.mark.parametrize("asked", [{"label_smoothing": 0.1}, {"class_weights": "balanced"}, {"sampler": "balanced"}])
def test_recipes_of_classes_are_refused_for_numbers(asked):
    with pytest.raises(UserError, match=rf"^recipe\.{next(iter(asked))}: it is for classes"):
        Training.model_validate(asked).check_answers("numbers")
    Training.model_validate(asked).check_answers("labels")
    Training().check_answers("numbers")


def test_classes_are_as_they_were():
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    objective = Objective("grade", 3, "kappa", smoothing=0.1)
    loss, _ = graded(objective, objective.targets(y))
    assert loss == pytest.approx(float(F.cross_entropy(OUT, y, label_smoothing=0.1)))
    assert float(objective.right(OUT, objective.targets(y))) == float((OUT.argmax(1) == y).sum())
    assert Objective("numbers", 3, "r2").right(OUT, OUT) is None
    assert "metric" not in Run.parameters() and np.isfinite(loss)
