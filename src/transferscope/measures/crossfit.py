"""The highest of several noisy means without the lean of a largest value: chosen on some, read on others."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.intervals import Interval
from transferscope.measures.student import t_quantile

Array = NDArray[np.float64]
FOLDS = 5
SPLITS = 4  # how often the columns are dealt anew: one deal alone moves the reading by half a standard error


def highest(
    rows: ArrayLike, rng: np.random.Generator, level: float = 0.95, draws: int = 200, folds: int = FOLDS
) -> Interval:
    """The mean over examples of the highest of m `rows` (m, n), cross-fitted, with its interval over examples.

    The n examples are dealt into `folds`; each fold reads the row whose mean over all other folds is highest, and the
    readings are averaged, weighted by size, over `SPLITS` such deals. Where all rows are equal the expectation is that
    of one row, where the largest mean is too high by about its noise; where another row is nearly as high it is a
    little too low. (Cross-fitting: Chernozhukov et al. 2018, section 3; for a maximum: van Hasselt 2010, section 3.)

    The interval is the reading plus and minus t (n - 1 degrees of freedom) times its standard error, the larger of two:
    that of the examples at the rows that were chosen for them, which leaves out that another sample would choose other
    rows, and that of the whole procedure over `draws` resamples of the examples, each of which keeps its folds. One
    example alone is read where it was chosen. Raises ValueError for rows without examples or with values that are not
    finite.
    """
    x = np.asarray(rows, dtype=np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(
            f"the highest row needs finite rows (m, n) with at least one example, not {x.shape} with gaps."
        )
    n = x.shape[1]
    if n == 1:
        return Interval(float(x.max()), None, None, 1, "one example has no interval")
    deals = [rng.permutation(n) % min(folds, n) for _ in range(SPLITS)]
    own = np.mean([x[_chosen(x, deal)[deal], np.arange(n)] for deal in deals], axis=0)
    spread = max(own.std(ddof=1) / math.sqrt(n), _resampled(x, deals, rng, draws).std())
    half = t_quantile((1 + level) / 2, n - 1) * float(spread)
    return Interval(float(own.mean()), float(own.mean()) - half, float(own.mean()) + half, n)


def elsewhere(values: ArrayLike) -> Array:
    """For every seed the value of the choice that is best in the mean over all *other* seeds, (seeds,); `values` is
    (choices, seeds), higher is better.

    What is chosen and read on the same seeds leans upward. Seeds without all values do not count; one seed alone is
    read where it was chosen. Raises ValueError without a seed.
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[:, np.isfinite(x).all(0)] if x.ndim == 2 else x
    return np.asarray(x[chosen_elsewhere(x), np.arange(x.shape[1])])


def chosen_elsewhere(values: ArrayLike) -> NDArray[np.int64]:
    """For every seed the choice that `elsewhere` reads, (seeds,); `values` (choices, seeds) without gaps."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"a choice needs values (choices, seeds) and a seed that has all of them, not {x.shape}.")
    others = x.sum(1, keepdims=True) - x if x.shape[1] > 1 else x
    return np.asarray(others.argmax(0))


def _chosen(x: Array, deal: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every fold of `deal` (n,) the row of `x` (m, n) that is highest on all other folds; the first of equals."""
    sums = _fold_sums(np.ones((1, x.shape[1])), x, deal)[0]
    return np.asarray((sums.sum(0) - sums).argmax(1))


def _resampled(x: Array, deals: list[NDArray[np.int64]], rng: np.random.Generator, draws: int) -> Array:
    """The cross-fitted reading in every one of `draws` resamples of the columns of `x`, (draws,)."""
    n = x.shape[1]
    chunk = max(1, 4_000_000 // n)
    out = np.empty(draws)
    for start in range(0, draws, chunk):
        counts = rng.multinomial(n, np.full(n, 1 / n), min(chunk, draws - start)).astype(np.float64)
        read = np.zeros(len(counts))
        for deal in deals:
            sums = _fold_sums(counts, x, deal)
            best = (sums.sum(1, keepdims=True) - sums).argmax(2)
            read += np.take_along_axis(sums, best[..., None], 2)[..., 0].sum(1) / n
        out[start : start + len(counts)] = read / len(deals)
    return out


def _fold_sums(counts: Array, x: Array, deal: NDArray[np.int64]) -> Array:
    """Sums of the rows of `x` (m, n) over the columns of each fold, each taken `counts` (d, n) times: (d, folds, m)."""
    folds = [np.flatnonzero(deal == fold) for fold in range(int(deal.max()) + 1)]
    return np.stack([counts[:, fold] @ x[:, fold].T for fold in folds], axis=1)
