"""The images of a run that trains less than a whole network, and what the frozen part gives for them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferscope.data.table import Table
from transferscope.engine.task_context import Work
from transferscope.tasks import inputs, shared_features
from transferscope.tasks.costs import EVAL_BATCH
from transferscope.tasks.frozen_features import Features, Source
from transferscope.tasks.frozen_head import Head
from transferscope.tasks.recipe import Run


class Images:
    """The images of a run, for its frozen part: features, and the seconds that they took."""

    def __init__(
        self,
        head: Head | None,
        part: Source,
        kind: inputs.Kind,
        table: Table,
        labels: np.ndarray,
        recipe: Run,
        work: Work,
    ) -> None:
        self.head, self.source = head, head or part
        self.kind, self.table, self.labels, self.recipe, self.work = kind, table, labels, recipe, work
        self.fed = inputs.Fed(recipe.mean, recipe.std, recipe.shuffle, recipe.seed, recipe.prepare)

    def alike(self, rows: np.ndarray) -> bool:
        """Whether training has of all these images just what evaluation sees of them."""
        for x, _, some in self._training(rows, 1):
            ((other, _, _),) = self._evaluation(some, len(some))
            if x.shape != other.shape or not torch.equal(x, other):
                return False
        return True

    def trained(self, rows: np.ndarray, number: int) -> tuple[Features, float]:
        """Of what training has of these images in epoch `number`. Raises Drift."""
        began, features = time.perf_counter(), Features(self.source)
        features.fill(self._training(rows, number), len(rows))
        return features, time.perf_counter() - began

    def seen(self, rows: np.ndarray) -> tuple[Features, float]:
        """Of what evaluation sees of these images, maybe as another run computed them. Raises Drift."""
        head = self.head

        def computed() -> Features:
            features = Features(self.source)
            features.fill(self._evaluation(rows, EVAL_BATCH), len(rows))
            return features

        if head is None:
            began = time.perf_counter()
            return computed(), time.perf_counter() - began

        def first() -> Tensor:
            ((x, _, _),) = self._evaluation(rows[:2], 2)
            return head.given(head.returned(x))

        found, seconds = shared_features.of(self.work, self._question(head, rows), lambda: computed().only(), first)
        return Features.of_rows(self.source, rows, found), seconds

    def _question(self, head: Head, rows: np.ndarray) -> dict[str, Any]:
        """What features hang on, as JSON."""
        recipe, fed = self.recipe, asdict(self.fed)
        if recipe.shuffle is None:
            del fed["seed"]
        return {
            "table": shared_features.table_digest(self.table.folder),
            "rows": shared_features.digest(rows),
            "network": recipe.network,
            "weights": head.fingerprint(),
            "input": recipe.input,
            "fed": fed,
            "precision": recipe.precision,
            "batch": EVAL_BATCH,
        }

    def _training(self, rows: np.ndarray, number: int) -> Iterator[Any]:
        batches = self.kind.training(
            self.table, rows, self.labels, self.recipe, epoch=number, start=0, device=self.work.device
        )
        return self._watched(batches)

    def _evaluation(self, rows: np.ndarray, size: int) -> Iterator[Any]:
        batches = self.kind.evaluation(
            self.table, rows, self.labels, self.fed, batch_size=size, device=self.work.device
        )
        return self._watched(batches)

    def _watched(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            self.work.go_on()
            yield batch
