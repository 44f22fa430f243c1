"""Batches of inputs of like length, so that little of what is computed is padding; still another draw every epoch."""

import numpy as np

from transferscope.data.epoch_order import batch_starts
from transferscope.random_streams import stream

MOST = 50  # batches that are sorted together at most
LEAST = 4  # parts of an epoch that are sorted apart at least, where there are so many batches


def bucketed(order: np.ndarray, lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> np.ndarray:
    """`order` (n,) rearranged so that batches cut by `batch_starts` hold inputs of like length; `lengths` (n,) are
    those of `order`.

    The order, itself drawn, is cut into windows of as many batches; each is sorted by length and cut into batches, and
    the batches of all windows come in a drawn order. So an input meets others of its window only, which is drawn anew
    every epoch; which batch of the epoch it is in says nothing of its length, but batches are more alike than chance
    would have them. What is left over is the last batch, drawn from all. A pure function of the arguments (stream
    `buckets`). The windows are those of Hugging Face's `LengthGroupedSampler`, whose batches are not drawn.
    """
    starts = batch_starts(len(order), batch_size)
    if len(starts) < 2:
        return order
    whole = int(starts[-1])
    window = batch_size * max(1, min(MOST, (len(starts) - 1) // LEAST))
    parts = [np.arange(start, min(start + window, whole)) for start in range(0, whole, window)]
    places = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    drawn = stream(seed, "buckets", epoch).permutation(len(starts) - 1)
    return np.concatenate([order[places.reshape(-1, batch_size)[drawn].reshape(-1)], order[whole:]])


def by_length(lengths: np.ndarray) -> np.ndarray:
    """The places (n,) of inputs of `lengths` (n,), the longest first: those of a batch are alike, and a lack of memory
    is met at once."""
    return np.argsort(-lengths, kind="stable")
