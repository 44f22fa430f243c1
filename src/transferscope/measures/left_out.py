"""Statistics of ranks with each example left out in turn, all at once; from them each example's part in the statistic.

Leaving one example out moves every rank by 0, a half or 1, so that no sample is ranked anew.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.metrics import ranks

Array = NDArray[np.float64]
CELLS = 4_000_000  # of a block of examples left out by examples kept


def jackknifed(left: Array, whole: float) -> Array:
    """Each example's part (n,) in a statistic whose value is `whole`, and `left` (n,) without each: what leaving it out
    moves the statistic by, n - 1 times (Efron 1982, chapter 3). Their mean is `whole`; where nothing is defined without
    an example it has the mean of the others."""
    known = np.where(np.isfinite(left), left, np.nanmean(left) if np.isfinite(left).any() else whole)
    found: Array = whole + (len(known) - 1) * (known.mean() - known)
    return found


def spearman(x: ArrayLike, y: ArrayLike) -> Array:
    """Spearman's rank correlation without each example (n,), ties sharing their mean rank; NaN where one of the two
    does not vary without it."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (x, y))
    out = np.full(len(a), np.nan)
    first, second = (_without(values) for values in (a, b))
    for rows in _blocks(len(a), len(a)):
        p, q = first(rows), second(rows)
        kept = np.arange(len(a)) != rows[:, None]
        p, q = (np.where(kept, one - one.sum(1, where=kept, keepdims=True) / (len(a) - 1), 0.0) for one in (p, q))
        size = np.sqrt((p**2).sum(1) * (q**2).sum(1))
        out[rows] = np.divide((p * q).sum(1), size, out=np.full(len(rows), np.nan), where=size > 0)
    return out


def average_precision(scores: ArrayLike, labels: ArrayLike) -> Array:
    """The average precision (`imbalance.average_precision`) without each example (n,); NaN where no positive or no
    negative is left."""
    s, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    n, of = len(s), np.flatnonzero(positive)
    out = np.full(n, np.nan)
    for rows in _blocks(n, len(of)):
        high = s[rows][:, None] >= s[of][None, :]  # left out, and counted for this positive
        hits = _at_least(s[positive], s[of])[None, :] - (high & positive[rows][:, None])
        counts = _at_least(s, s[of])[None, :] - high
        kept = of[None, :] != rows[:, None]
        total = np.divide(hits, counts, out=np.zeros(hits.shape), where=kept & (counts > 0)).sum(1)
        left = len(of) - positive[rows]
        fine = (left > 0) & (n - 1 - left > 0)
        out[rows[fine]] = total[fine] / left[fine]
    return out


def _without(values: Array) -> Callable[[NDArray[np.int64]], Array]:
    """The ranks of all examples without one of `rows`, (rows, n), from 1; that of the one left out means nothing."""
    whole = ranks(values)

    def of(rows: NDArray[np.int64]) -> Array:
        own = values[rows][:, None]
        moved: Array = whole[None, :] - (own < values[None, :]) - 0.5 * (own == values[None, :])
        return moved

    return of


def _at_least(values: Array, bounds: Array) -> NDArray[np.int64]:
    """How many of `values` are as large as each of `bounds` or larger."""
    return np.asarray(len(values) - np.searchsorted(np.sort(values), bounds, side="left"))


def _blocks(n: int, width: int) -> Iterator[NDArray[np.int64]]:
    """The examples in blocks that are left out together."""
    step = max(1, CELLS // max(width, 1))
    for start in range(0, n, step):
        yield np.arange(start, min(start + step, n))
