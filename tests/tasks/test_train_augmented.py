"""Training on altered and mixed images: the loss, the metric, both arms alike, and that stopping leaves no trace."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transferscope.engine.step import Outside
from transferscope.measures import metrics
from transferscope.models import weights_fingerprint
from transferscope.tasks import balance, loop
from transferscope.tasks.augment import Augment
from transferscope.tasks.objective import Objective

AUGMENT: dict[str, Any] = {"scale": [0.5, 1.0], "ratio": [0.75, 1.33], "flip": False, "interpolation": "bilinear"}
THEN: list[Any] = [{"rand_augment": {"num_ops": 1}}, {"random_erasing": {"p": 0.5}}, {"mixup": {}}, {"cutmix": {}}]
HOW: dict[str, Any] = {"mixup": 0.0, "augment": {**AUGMENT, "then": THEN}}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Every batch that training is fed, with its targets."""
    found: list[tuple[Tensor, Tensor]] = []
    batch = loop._Run._batch

    def noted(self: loop._Run, x: Tensor, labels: Tensor, *rest: Any) -> None:
        found.append((x.clone(), labels.clone()))
        batch(self, x, labels, *rest)

    monkeypatch.setattr(loop._Run, "_batch", noted)
    return found


@pytest.mark.parametrize("every", [1, 5])
def test_stopped_and_resumed_ends_in_the_same_bytes(unhurried, every: int) -> None:
    unhurried(every, epochs=2, **HOW)


def test_the_batch_changes_no_image(fit, seen) -> None:
    fed = {}
    for size in (7, 32):
        fit(f"batches of {size}", epochs=1, batch_size=size, **HOW)
        fed[size] = torch.cat([x for x, _ in seen]), torch.cat([y for _, y in seen])
        seen.clear()
    assert all(torch.equal(a, b) for a, b in zip(fed[7], fed[32], strict=True))


def test_every_arm_sees_the_same_images(fit, seen) -> None:
    source, _ = fit("source", epochs=1, seed=9)
    ref = f"file:{source / 'final.safetensors'}"
    weights = Outside(ref, weights_fingerprint(ref, "toy.nets:tiny"))
    fed = []
    for arm, start in (("random", {}), ("pretrained", {"weights": weights, "min_share": 0.9})):
        seen.clear()
        fit(arm, epochs=1, arm=arm, **start, **HOW)
        fed.append([*seen])
    for a, b in zip(*fed, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    seen.clear()
    fit("another seed", epochs=1, seed=1, **HOW)
    assert not torch.equal(seen[0][0], fed[0][0][0])


def test_targets_are_shares_of_two_labels_and_images_are_not_those_of_crops(fit, seen) -> None:
    fit("mixed", epochs=1, **HOW)
    mixed = [*seen]
    seen.clear()
    fit("crops", epochs=1, mixup=0.0, augment=AUGMENT)
    assert sum(len(x) for x, _ in mixed) == sum(len(x) for x, _ in seen)
    shares = torch.cat([y for _, y in mixed])
    assert shares.shape[1] == 10 and shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(1), torch.ones(len(shares)))
    assert ((shares > 0).sum(1) <= 2).all() and ((shares > 0).sum(1) == 2).float().mean() > 0.5
    changed = torch.cat([(a != b).flatten(1).any(1) for (a, _), (b, _) in zip(mixed, seen, strict=True)])
    assert changed.float().mean() > 0.9


@pytest.mark.parametrize("weighted", [None, "balanced"])
def test_the_loss_and_the_running_accuracy_are_means_over_the_shares(
    fit, digits, monkeypatch: pytest.MonkeyPatch, weighted: str | None
) -> None:
    """The slow way, in float64: of each label its share, smoothed, times its weight and minus its log probability."""
    from transferscope.data import open_squares

    table = open_squares(digits.path)
    weights = np.ones(10)
    if weighted:
        weights = balance.class_weights(table.labels[table.rows["train"]], 10)
    totals = {"loss": 0.0, "right": 0.0, "images": 0}
    original = Objective.of

    def compared(self: Objective, out: Tensor, y: Tensor) -> Tensor:
        found = original(self, out, y)
        logits, shares = out.detach().double().numpy(), y.double().numpy()
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        by_hand = 0.0
        for row, share in zip(log, shares, strict=True):
            for label in range(10):
                by_hand -= weights[label] * (0.9 * share[label] + 0.1 / 10) * row[label]
        assert float(found.detach()) == pytest.approx(by_hand / len(log), rel=1e-5)  # float32
        totals["loss"] += by_hand
        totals["right"] += shares[np.arange(len(log)), logits.argmax(1)].sum()
        totals["images"] += len(log)
        return found

    monkeypatch.setattr(Objective, "of", compared)
    _, rows = fit("run", epochs=1, class_weights=weighted, **HOW)
    assert rows[1]["running_loss"] == pytest.approx(totals["loss"] / totals["images"], rel=1e-5)
    assert rows[1]["running_accuracy"] == pytest.approx(totals["right"] / totals["images"], rel=1e-5)


def test_what_is_scored_is_never_altered(fit, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training metric, too, is of the images as evaluation sees them and of their own labels."""
    from transferscope.data import open_squares

    table, said = open_squares(digits.path), {}
    score = loop._Run._score

    def noted(self: loop._Run, split: str, rows: np.ndarray, out: np.ndarray, number: int) -> Any:
        if split == "train":
            said[number] = metrics.accuracy(out, table.labels[rows])
        return score(self, split, rows, out, number)

    monkeypatch.setattr(loop._Run, "_score", noted)
    _, rows = fit("run", epochs=1, **HOW)
    trained = dict(said)
    _, plain = fit("plain", epochs=1, mixup=0.0, augment=AUGMENT)
    assert [row["train_metric"] for row in rows] == [trained[0], trained[1]]
    for name, value in rows[0].items():  # before training nothing tells the two apart
        assert plain[0][name] == value, name


def test_labels_that_are_several_are_shared_too() -> None:
    from toy.nets import tiny

    torch.manual_seed(0)
    out = tiny(3)(torch.randn(4, 3, 8, 8))
    y = torch.tensor([[1.0, 0.3, 0.0], [0.0, 0.7, 1.0], [0.5, 0.5, 0.0], [1.0, 1.0, 1.0]])
    p = torch.sigmoid(out.double())
    by_hand = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert float(Objective("labels", 3, "auc").of(out, y).detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_without_more_nothing_changes() -> None:
    """The parameters of a step are those of before there was a choice; with more, every option stands in them."""
    for absent in (AUGMENT, {**AUGMENT, "then": []}):
        assert Augment.model_validate(absent).model_dump(mode="json") == AUGMENT
    said = Augment.model_validate({**AUGMENT, "then": ["rotate", {"cutmix": {"alpha": 0.5}}]}).model_dump(mode="json")
    assert said.pop("then") == [{"rotate": {"degrees": 15.0, "fill": 0.0}}, {"cutmix": {"alpha": 0.5, "p": 1.0}}]
    assert said == AUGMENT
