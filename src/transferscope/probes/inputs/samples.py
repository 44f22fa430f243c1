"""A pass over batches: what came, in which order, and proof that two passes saw the same samples."""

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferscope import progress
from transferscope.errors import UserError
from transferscope.probes.inputs.given import Batch, batch_of, shuffles, used_up, walkable
from transferscope.probes.inputs.labels import Labels, read_labels, together

__all__ = ["Batch", "Order", "Supply", "fingerprints", "unpacked"]

VALUES = 512  # of each sample enter its fingerprint, evenly spread
REPEATED = 0.05  # of the samples: from there on it is said that some came twice


def unpacked(batches: Iterable[Any], what: str = "batches", of: str = "") -> Iterator[Batch]:
    """Each batch in one form (`given.batch_of`); messages begin with "`what`: batch 1`of`".

    Raises UserError where nothing comes from what can be walked once.
    """
    number = 0
    for number, batch in enumerate(walkable(batches, what), 1):
        yield batch_of(batch, f"{what}: batch {number}{of}")
    if not number and hasattr(batches, "__next__"):
        raise used_up(batches, what)


def fingerprints(x: Tensor) -> np.ndarray:
    """A 64-bit number per sample (n,), uint64, from up to 512 of its values: equal for equal samples."""
    rows = x.detach().reshape(len(x), -1)
    step = max(1, -(-rows.shape[1] // VALUES))
    values = rows[:, ::step].to("cpu", torch.float32).contiguous().numpy()
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in values)
    return np.frombuffer(digests, dtype=np.uint64)


@dataclass
class Order:
    """Which samples came, in which order, with which labels; `check` compares a later pass with the first."""

    seen: list[np.ndarray] = field(default_factory=list)
    batch_labels: list[np.ndarray | None] = field(default_factory=list)
    multilabel: bool | None = None
    metric: str | None = None
    scale: tuple[float, ...] | None = None

    def note(self, batch: Batch) -> None:
        self.seen.append(fingerprints(batch.x))
        self.batch_labels.append(batch.labels)
        self.multilabel, self.metric, self.scale = batch.multilabel, batch.metric, batch.scale

    @property
    def samples(self) -> int:
        return sum(map(len, self.seen))

    def labels(self, outputs: int | None = None, what: str = "batches") -> Labels | None:
        """The labels of all samples (`labels.read_labels`), None where no batch brought any."""
        found = together(self.batch_labels, what)
        return None if found is None else read_labels(found, outputs, what, self.multilabel, self.metric)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where many samples came more than once."""
        return repeated(np.concatenate(self.seen)) if self.seen else ()

    def check(self, number: int, x: Tensor, why: str = "") -> None:
        """Raise UserError unless batch `number` (from 0) of this pass is the one of the first; `why` it may not be."""
        if number >= len(self.seen) or not np.array_equal(self.seen[number], fingerprints(x)):
            raise UserError(
                f"batches: batch {number + 1} differs from pass to pass{f' ({why})' if why else ''}; give a list of "
                "batches, or a loader that neither shuffles nor augments."
            )


def repeated(samples: np.ndarray) -> tuple[str, ...]:
    """A sentence where many of the fingerprints (n,) are there more than once."""
    twice = len(samples) - len(np.unique(samples))
    if twice <= REPEATED * len(samples):
        return ()
    return (
        f"{twice} of {len(samples)} samples repeat an earlier one: standard errors and intervals, which take every "
        "sample for a new one, are too narrow.",
    )


class Supply:
    """Batches looked at once before they are used: `first` is the first one, and iterating gives all of them.

    `order` knows what came in the first pass; a later one must bring the same, which is checked. A generator can be
    iterated once (`once`); anything else anew for every pass. A last batch of fewer than `least` samples joins the one
    before where the sizes of their samples allow. Raises UserError when there is no batch.
    """

    def __init__(self, batches: Iterable[Any], least: int = 1) -> None:
        self._batches, self._least = walkable(batches), least
        self.order = Order()
        self.joined = 0  # samples of the last batch that joined the one before
        walk = iter(self._batches)
        self.once = walk is self._batches
        formed = self._formed(walk)
        head = list(islice(formed, 1))
        if not head:
            raise used_up(batches)
        self.first = head[0]
        self._begun: Iterator[Batch] | None = chain(head, formed)

    def __iter__(self) -> Iterator[Batch]:
        walk, self._begun = self._begun, None
        if walk is not None:
            for batch in self._counted(walk):
                self.order.note(batch)
                yield batch
            return
        number = 0
        for number, batch in enumerate(self._counted(self._formed(iter(self._batches))), 1):
            self.order.check(number - 1, batch.x, shuffles(self._batches))
            yield batch
        if number < len(self.order.seen):
            raise UserError("batches: fewer came in a later pass; give a list of batches or a loader.")

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the samples that came in the first pass."""
        short = f"The last batch was short: its {self.joined} joined the batch before." if self.joined else ""
        return (*([short] if short else []), *self.order.notes)

    def _counted(self, walk: Iterator[Batch]) -> Iterator[Batch]:
        total = len(self._batches) if isinstance(self._batches, Sized) else None
        return progress.over(walk, "batches", total)

    def _formed(self, walk: Iterator[Any]) -> Iterator[Batch]:
        held: list[Batch] = []  # the batch before, which a short last one may join
        for number, given in enumerate(walk, 1):
            batch = batch_of(given, f"batches: batch {number}")
            if self._least == 1:
                yield batch
                continue
            if len(held) == 2:
                yield held.pop(0)
            held.append(batch)
        if len(held) == 2 and len(held[1].x) < self._least and held[0].x.shape[1:] == held[1].x.shape[1:]:
            self.joined = len(held[1].x)
            held = [_union(*held)]
        yield from held


def _union(a: Batch, b: Batch) -> Batch:
    columns = [
        np.concatenate([p, q]) if p is not None and q is not None and p.shape[1:] == q.shape[1:] else None
        for p, q in ((a.labels, b.labels), (a.ids, b.ids))
    ]
    return Batch(torch.cat([a.x, b.x]), columns[0], columns[1], a.multilabel, a.metric, a.scale)
