"""The order of an epoch and its batches, whatever the inputs are: a pure function of rows, seed and epoch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from transferscope.random_streams import stream

Batch = tuple[torch.Tensor, torch.Tensor, np.ndarray]
# What a network is fed at some places of an order of rows.
Feed = Callable[[slice], torch.Tensor]
# Inputs (b + 1, ...), their labels and their rows to inputs and targets (b, ...): each blended with the one after it.
Mix = Callable[[torch.Tensor, torch.Tensor, np.ndarray], tuple[torch.Tensor, torch.Tensor]]
# Which of so many rows of a batch are wanted.
Share = Callable[[int], slice]


def with_gaps(labels: torch.Tensor) -> torch.Tensor:
    """Labels (b, k) as floats, NaN where one is not known (-1 of int8, the type of labels with gaps)."""
    y = labels.float()
    return y.masked_fill(labels < 0, torch.nan) if labels.dtype == torch.int8 else y


def epoch_order(rows: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """`rows` in the order of one epoch: each exactly once, a pure function of (rows, seed, epoch)."""
    return stream(seed, "order", epoch).permutation(np.asarray(rows))


def batch_starts(count: int, batch_size: int) -> np.ndarray:
    """Where the batches of `count` images begin: every `batch_size` images, the last one short.

    A last image by itself joins the batch before: batch norm has no variance to take of one image, refuses it where a
    map is down to one place, and elsewhere ends every epoch by moving its running statistics towards that image.
    """
    starts = np.arange(0, count, batch_size)
    return starts[:-1] if batch_size > 1 and len(starts) > 1 and count - starts[-1] == 1 else starts


def in_turn(feed: Feed, parts: Sequence[slice], *, ahead: bool) -> Iterator[torch.Tensor]:
    """What `feed` makes of each of the `parts`; `ahead` of time by one, in a thread, where they are decoded."""
    if not (ahead and parts):
        yield from map(feed, parts)
        return
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(feed, parts[0])
        for following in parts[1:]:
            inputs, coming = coming.result(), thread.submit(feed, following)
            yield inputs
        yield coming.result()


@dataclass(frozen=True)
class Epoch:
    """The training batches of one epoch: (inputs, labels, rows of the table), cut by `batch_starts`, none dropped.

    `feed` is given all rows of the epoch in their order, and makes inputs of any slice of them. `labels` belongs to the
    whole table. `start_batch` continues an interrupted epoch. `mix` blends every example with the next of the epoch,
    the last with the first, wherever batches are cut; its targets stand in the place of the labels. `arrange` puts
    the drawn order into another. `ahead` makes the next batch while one is used. Of every batch the rows of a `share`
    alone are made.
    """

    rows: np.ndarray
    labels: np.ndarray
    feed: Callable[[np.ndarray], Feed]
    batch_size: int
    seed: int
    epoch: int
    start_batch: int = 0
    device: torch.device | str = "cpu"
    mix: Mix | None = None
    arrange: Callable[[np.ndarray], np.ndarray] | None = None
    ahead: bool = False
    share: Share | None = None

    def __len__(self) -> int:
        """The number of batches still to come."""
        return max(0, len(batch_starts(len(self.rows), self.batch_size)) - self.start_batch)

    def __iter__(self) -> Iterator[Batch]:
        order = epoch_order(self.rows, seed=self.seed, epoch=self.epoch)
        order = order if self.arrange is None else self.arrange(order)
        starts = batch_starts(len(order), self.batch_size)[self.start_batch :]
        first = order[:1]
        order = order[starts[0] :] if len(starts) else order[:0]
        inputs = self.feed(order if self.mix is None else np.concatenate([order, first]))
        parts = [self._cut(start, end) for start, end in pairwise([*(starts - starts[:1]), len(order)])]
        fed = parts if self.mix is None else [slice(part.start, part.stop + 1) for part in parts]
        for part, x in zip(parts, in_turn(inputs, fed, ahead=self.ahead), strict=True):
            rows = order[part]
            if self.mix is None:
                yield x, self._labels(rows), rows
            else:
                pairs = np.append(rows, order[part.stop] if part.stop < len(order) else first)
                yield *self.mix(x, self._labels(pairs), pairs), rows

    def _cut(self, start: int, end: int) -> slice:
        own = slice(0, end - start) if self.share is None else self.share(end - start)
        return slice(start + own.start, start + own.stop)

    def _labels(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.labels[rows]).to(self.device)
