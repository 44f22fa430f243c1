"""Objective: what training lowers, and what an evaluation tells, for every kind of answers of a target.

One object of a run; the mathematics of scores is in `measures.judged`, that of the loss is torch's.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transferscope import answers
from transferscope.data.epoch_order import with_gaps
from transferscope.data.table import Table
from transferscope.measures import judged, metrics, regression
from transferscope.tasks import balance
from transferscope.tasks.recipe import Training


@dataclass(frozen=True)
class Objective:
    """`kind` of the answers, how many `outputs` they take, the `metric` that judges, the `loss` of numbers ("mse" or
    "huber"), the `weights` of classes in the loss, the share of a label that is smoothed away, whether `gaps` are
    among the labels, and the `scale` (k,) that numbers were divided by."""

    kind: answers.Kind
    outputs: int
    metric: str
    loss: str = "mse"
    weights: Tensor | None = None
    smoothing: float = 0.0
    gaps: bool = False
    scale: tuple[float, ...] | None = None

    def targets(self, labels: Tensor) -> Tensor:
        """Labels of a batch as floats (b, k): several an image (NaN where one is not known), numbers, one that
        augmentation shares among several classes, or its number as one-hot."""
        if labels.ndim == 1:
            return F.one_hot(labels, self.outputs).float()
        return with_gaps(labels)

    def of(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss of outputs (b, k) under `targets` (b, k), a mean over those that are known."""
        if self.kind == "numbers":
            return F.huber_loss(out, y) if self.loss == "huber" else F.mse_loss(out, y)
        if self.kind != "labels":
            return F.cross_entropy(out, y, self.weights, label_smoothing=self.smoothing)
        if not self.gaps:
            return F.binary_cross_entropy_with_logits(out, y, pos_weight=self.weights)
        known = ~y.isnan()
        each = F.binary_cross_entropy_with_logits(out, y.nan_to_num(), pos_weight=self.weights, reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1)

    def counted(self, y: Tensor) -> Tensor | int:
        """What the loss under `targets` is a mean over, up to a factor: how many there are, or are known."""
        return (~y.isnan()).sum() if self.gaps else len(y)

    def right(self, out: Tensor, y: Tensor) -> Tensor | None:
        """How many answers are right, of one class an image; None for others."""
        return y.gather(1, out.detach().argmax(1, keepdim=True)).sum() if self.counts else None

    @property
    def facts(self) -> dict[str, float]:
        """What a row of scores holds beside them: of errors `deviation`, that of the numbers in training, the mean over
        them in their units, a hundredth of which is worth a point of other metrics (`answers.points`)."""
        return {} if self.scale is None else {"deviation": float(np.mean(self.scale))}

    @property
    def counts(self) -> bool:
        """Whether answers are right or wrong, one an image."""
        return self.kind in ("class", "grade")

    def scores(self, out: np.ndarray, labels: np.ndarray) -> tuple[float, float | None]:
        """Loss and metric of outputs (n, k) under labels as the table has them. ValueError where there are none."""
        score = judged.score(out, labels, self.metric, self.scale)
        if self.kind == "numbers":
            huber = self.loss == "huber"
            return regression.huber(out, labels) if huber else float(judged.losses(out, labels).mean()), score
        return (metrics.binary_cross_entropy if self.kind == "labels" else metrics.cross_entropy)(out, labels), score


def objective(table: Table, run: Training, trained: np.ndarray, device: str) -> Objective:
    """The objective of a run on a table, `trained` being the labels of its training examples. UserError for a recipe
    that asks of numbers what only classes have."""
    run.check_answers(table.kind)
    weights = None
    if run.class_weights is not None:
        weights = torch.from_numpy(balance.class_weights(trained, len(table.classes))).float().to(device)
    gaps = table.labels.dtype == np.int8
    outputs, loss = len(table.classes), table.loss or "mse"
    return Objective(table.kind, outputs, table.judged, loss, weights, run.label_smoothing, gaps, table.error_scale)
