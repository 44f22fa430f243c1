"""The valley around a block's weights: its score from the cells that hold, and how few cells tell it.

A cell is a point on the way from the start to the final weights (row, at distance `reach` from the start) and a noise
level (column). It is feasible where the mean training error under that noise stays within what is allowed. The score is
the least reach^2 / sigma^2 over feasible cells (Chatterji et al. 2020, definition of module criticality).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST = 4  # pieces of a cell that must be seen before an interval decides
Z = 3.0
NOTHING = 1e-12  # counts are compared with this much room, for the product that gave the limit


@dataclass(frozen=True)
class Best:
    """The score and the cell that gives it; infinity and -1, -1 where no cell is feasible."""

    mu: float
    row: int
    column: int


def _axes(reach: ArrayLike, sigma: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r, s = np.asarray(reach, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if r.ndim != 1 or s.ndim != 1 or not len(r) or not len(s) or bool((r < 0).any()):
        raise ValueError("a valley needs one or more distances >= 0 and one or more noise levels.")
    if bool((s <= 0).any()) or bool((np.diff(s) <= 0).any()):
        raise ValueError("noise levels must be above 0 and ascend.")
    return r, s


def score(feasible: ArrayLike, reach: ArrayLike, sigma: ArrayLike) -> Best:
    """The score of a whole grid: `feasible` (A, S) of bool, `reach` (A,), `sigma` (S,) ascending.

    Of cells with the same ratio the one of smaller noise counts. Reach 0 throughout (nothing moved) scores 0.
    """
    r, s = _axes(reach, sigma)
    good = np.asarray(feasible, dtype=bool)
    if good.shape != (len(r), len(s)):
        raise ValueError(f"a grid of {good.shape} does not fit {len(r)} distances and {len(s)} noise levels.")
    ratio = np.where(good, (r[:, None] / s[None, :]) ** 2, np.inf)
    if not good.any():
        return Best(math.inf, -1, -1) if r.any() else Best(0.0, -1, -1)
    row, column = (int(i) for i in np.unravel_index(int(ratio.argmin()), ratio.shape))
    return Best(float(ratio[row, column]), row, column)


def border(reach: ArrayLike, sigma: ArrayLike, feasible: Callable[[int, int], bool]) -> Best:
    """The same score from few cells, where a row that fails at one noise level fails at every higher one.

    Rows nearest the start are free (reach 0 scores 0 at any level), so those come first, at the least noise. Then, from
    the farthest row down, each is asked only at the least noise that would improve on the best ratio; a row that passes
    there is followed up by bisection. At most one failing cell per row, and for rows that improve, log2(S) more.
    Of cells with the same ratio the farthest counts.
    """
    r, s = _axes(reach, sigma)
    best = Best(math.inf, -1, -1)
    if not r.any():
        return Best(0.0, -1, -1)
    rows: list[int] = np.argsort(-r, kind="stable").tolist()
    for free in (row for row in rows if r[row] == 0):
        if feasible(free, 0):
            return Best(0.0, free, 0)
    for row in (row for row in rows if r[row] > 0):
        ratios = (r[row] / s) ** 2
        better = np.flatnonzero(ratios < best.mu * (1 - NOTHING))
        if not len(better) or not feasible(row, int(better[0])):
            continue
        low, high = int(better[0]), len(s)  # feasible, and not known to be
        while high - low > 1:
            middle = (low + high) // 2
            if feasible(row, middle):
                low = middle
            else:
                high = middle
        best = Best(float(ratios[low]), row, low)
    return best


def within(wrong: int, limit: float) -> bool:
    """Whether a count of errors is within its limit."""
    return wrong <= limit + _room(limit)


def _room(limit: float) -> float:
    return NOTHING * max(1.0, limit)


def verdict(
    wrong: ArrayLike, before: ArrayLike, flips: ArrayLike, sizes: ArrayLike, *, total: int, at_start: int, limit: float
) -> bool | None:
    """Whether a cell is feasible, from some of its pieces (one noise draw on one batch each); None: not yet clear.

    Per piece seen (m,): errors, errors of the final network on the same images, answers that differ in being right,
    answers given. The cell consists of `total` answers; the final network's errors on them are `at_start`, and it is
    feasible with at most `limit` errors. Exact where the count is decided whatever the rest holds. Else the mean excess
    of errors is compared with the allowed one, z = 3 standard errors apart, on 4 pieces or more: the larger one of that
    over pieces (draws and batches differ) and that over answers, which counts z^2 flips more than were seen and so is
    never 0, both shrunk as more of the whole is seen.
    """
    w, b, f, n = (np.asarray(x, dtype=np.float64) for x in (wrong, before, flips, sizes))
    seen = float(n.sum())
    if w.sum() > limit + _room(limit):
        return False
    if w.sum() + total - seen <= limit + _room(limit):
        return True
    if len(w) < LEAST:
        return None
    excess = float((w - b).sum() / seen)
    allowed = (limit - at_start) / total
    answers = (float(f.sum()) + Z * Z) / (seen + Z * Z) / seen
    rates = (w - b) / n
    pieces = float(((n / n.mean() * (rates - excess)) ** 2).sum()) / (len(w) - 1) / len(w)
    half = Z * math.sqrt(max(answers, pieces) * (1 - seen / total))
    return excess < allowed if abs(excess - allowed) > half else None
