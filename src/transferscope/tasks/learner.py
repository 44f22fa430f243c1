"""Learner: the network of a run and the loss of its batches, in every process that trains it."""

from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transferscope.data.batches import Batches, mixup
from transferscope.data.epoch_order import Epoch, batch_starts
from transferscope.data.table import Table
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.models.batch_shares import Share, WholeBatch
from transferscope.models.build import seeded
from transferscope.models.outputs import logits_of
from transferscope.models.precision import running
from transferscope.random_streams import stream_seed
from transferscope.tasks import balance, frozen, inputs, run_setup
from transferscope.tasks.objective import objective
from transferscope.tasks.process_group import Group
from transferscope.tasks.recipe import Run


class BatchLoss(NamedTuple):
    """The mean `loss` of a batch to go back from, or this process's part of it; what all have together of it (`told`)
    and of answers that are `right`; the `images` of the batch."""

    loss: Tensor
    told: Tensor
    right: Tensor | None
    images: int


class Learner:
    """A run's network at its start, its images, and the loss of their batches.

    With a `group` it is given the share of this process of every batch, and computes as if it had the whole.
    """

    def __init__(self, table: Table, start: run_setup.Start, recipe: Run, work: Work) -> None:
        self.table, self.recipe, self.device = table, recipe, work.device
        classes, seed = len(table.classes), recipe.seed
        self.kind = inputs.of_table(table.folder)
        self.labels = run_setup.chosen_labels(table, recipe.labels, seed)
        self.rows = run_setup.chosen_rows(table, recipe.fraction, seed)
        self.objective = objective(table, recipe, self.labels[self.rows["train"]], self.device)
        self.net, self.loaded = run_setup.network(recipe, start, classes, work)
        self.adapters = run_setup.adapted(self.net, recipe, table, self.device)
        self.frozen = run_setup.outermost(run_setup.freeze(self.net, recipe.trainable, classes, recipe.drop_in))
        self.spared: frozen.Spared | None = None  # passes of a frozen part that was computed once
        self.group: Group | None = None
        self.cut = False  # whether batches come as shares

    def train(self) -> None:
        """Put the network in the state of training."""
        self.net.train()
        for module in self.frozen:
            module.eval()

    def batches(self, number: int, start: int) -> inputs.Batches:
        """The batches of epoch `number` (from 1) from batch `start` (from 0) on, or this process's share of each."""
        found = self.kind.training(
            self.table, self._drawn(number), self.labels, self.recipe, epoch=number, start=start, device=self.device
        )
        # Where images are blended across the batch, or somebody's kind makes it in its way, the whole is made first.
        self.cut = False
        if (group := self.group) is None or self.recipe.mixup > 0 or not isinstance(found, Epoch | Batches):
            return found
        self.cut = True
        return replace(found, share=lambda images: group.share(images).rows)

    def _drawn(self, number: int) -> np.ndarray:
        """The training rows of an epoch."""
        rows = self.rows["train"]
        if self.recipe.sampler == "shuffled":
            return rows
        return balance.balanced_rows(rows, self.labels, seed=self.recipe.seed, epoch=number)

    def loss(self, x: Tensor, labels: Tensor, rows: np.ndarray, number: int, batch: int) -> BatchLoss:
        """Of batch `batch` (from 0) of epoch `number` as `batches` gave it; UserError where it is a single image that
        batch norm refuses."""
        y = self.objective.targets(labels)
        if self.recipe.mixup > 0:
            x, y = mixup(x, y, alpha=self.recipe.mixup, seed=self.recipe.seed, epoch=number, batch=batch)
        images = self._size(batch) if self.cut else len(x)
        share = self.group.share(images) if self.group else None
        if share is not None and len(x) > len(share):
            x, y, rows = x[share.rows], y[share.rows], rows[share.rows]
        drawn = stream_seed(self.recipe.seed, "dropout", number, batch)
        whole = WholeBatch(share, self.group) if share is not None and self.group is not None else nullcontext()
        with seeded(drawn, self.device), running(self.recipe.precision, self.device), whole:
            out = self._outputs(x, rows, number, images)
        loss, right = self.objective.of(out, y), self.objective.right(out, y)
        if share is None:
            return BatchLoss(loss, loss.detach(), right, images)
        return self._summed(loss, right, y, share)

    def _summed(self, loss: Tensor, right: Tensor | None, y: Tensor, share: Share) -> BatchLoss:
        """The part that a share has in the loss of its batch, and what all have together."""
        assert self.group is not None
        counts = self.objective.counted(y) if share.counts else 0
        known = self.group.total(torch.as_tensor(counts, device=y.device)) if self.objective.gaps else share.images
        loss = loss * (counts / (known if isinstance(known, int) else known.clamp(min=1)))
        own = loss.new_zeros(()) if right is None or not share.counts else right.to(loss.dtype)
        told, every = self.group.total(torch.stack([loss.detach(), own]))
        return BatchLoss(loss, told, None if right is None else every, share.images)

    def _size(self, batch: int) -> int:
        """The images of a batch (from 0)."""
        count = len(self.rows["train"])
        starts = [*batch_starts(count, self.recipe.batch_size), count]
        return int(starts[batch + 1] - starts[batch])

    def _outputs(self, x: Tensor, rows: np.ndarray, number: int, images: int) -> Tensor:
        try:
            found = self.spared.outputs(x, rows, number) if self.spared else logits_of(self.net(x), len(x))
            return found.float()
        except frozen.Drift:  # a network whose path hangs on values
            self.spared = None
            return self._outputs(x, rows, number, images)
        except ValueError as error:  # batch norm wants more than one value a channel
            if images > 1:
                raise
            raise UserError(
                f"The network cannot train on a single image ({error}): there must be at least 2 training images, and "
                "recipe.batch_size must be at least 2."
            ) from None
