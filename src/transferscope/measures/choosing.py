"""The earliest of several ordered choices that is less than a margin behind every other, with an error rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.intervals import ALIKE, Interval
from transferscope.measures.student import t_quantile


@dataclass(frozen=True)
class Choice:
    """`place`: the earliest choice shown to be less than `margin` behind every other, None where that is undecided.

    `best`: the highest in the mean over `n` seeds. `limits` (k,): how far each choice may be behind the best of all
    others at most, at the given level one-sided; below 0 where it is shown to be the best; infinite where nothing is
    known (one seed).
    """

    place: int | None
    best: int
    limits: NDArray[np.float64]
    margin: float
    n: int


Lead = Callable[[int, int, float], Interval]


def earliest(scores: ArrayLike, margin: float, level: float = 0.95, lead: Lead | None = None) -> Choice:
    """The earliest of k ordered choices that does: `scores` (k, seeds), higher is better, paired by seed.

    A choice does if for every other the one-sided upper limit (paired t) of the other's lead lies below `margin`. All
    of them must, so that no correction for their number is due (an intersection-union test, Berger 1982), and none for
    which of them is best: nobody has to be the best to be compared with. From the choice with the highest mean on it is
    asked backwards, ending with the first that fails; then the only way to name one that is `margin` or more behind is
    that the last such one passes, which has a chance of at most 1 - `level` where scores rise to a plateau and may fall
    after it (a fixed sequence, Maurer et al. 1995). Seeds without all scores do not count. `lead(a, b, level)` gives a
    two-sided interval of the lead of choice a over b where there is a better one than t over seeds (over test images
    too). Raises ValueError for no seed with all, and for a margin that is not above 0.
    """
    x = np.asarray(scores, dtype=np.float64)
    x = x[:, np.isfinite(x).all(0)] if x.ndim == 2 else x
    if x.ndim != 2 or not x.size or not margin > 0:
        raise ValueError(f"the earliest choice needs scores (choices, seeds) and a margin above 0, not {x.shape}.")
    limits = np.array([_limit(x, place, level, lead) for place in range(len(x))])
    best = int(x.mean(1).argmax())
    place = None
    for candidate in range(best, -1, -1):
        if not limits[candidate] < margin:
            break
        place = candidate
    return Choice(place, best, limits, margin, x.shape[1])


def _limit(x: NDArray[np.float64], place: int, level: float, lead: Lead | None) -> float:
    """The highest upper limit of another choice's lead over that at `place`; -inf where there is no other."""
    n = x.shape[1]
    leads = np.delete(x - x[place], place, axis=0)
    if not len(leads):
        return -math.inf
    if n == 1:
        return math.inf
    if lead is not None:
        ends = [lead(other, place, 2 * level - 1).high for other in range(len(x)) if other != place]
        return max(math.inf if end is None else end for end in ends)
    spread = leads.std(1, ddof=1)
    if n < ALIKE and bool((spread <= 1e-12).any()):
        return math.inf  # a few equal differences, which scores of few images have, do not show how seeds vary
    return float((leads.mean(1) + t_quantile(level, n - 1) * spread / math.sqrt(n)).max())
