"""The valley around a block's weights: its score from the cells that hold, and how few cells tell it.

A cell is a point on the way from the start to the final weights (row, at distance `reach` from the start) and a noise
level (column). It holds where the mean training error under that noise stays within what is allowed, and is feasible
where it and all cells of its row with less noise hold. The score is the least reach^2 / sigma^2 over feasible cells
(Chatterji et al. 2020, definition of module criticality). There the error is an expectation, which rises with the noise
where there is a valley; of a few draws on a few images it wiggles, and some cell far outside holds by luck.
"""

import math
from collections.abc import Callable, Sequence
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


def score(holds: ArrayLike, reach: ArrayLike, sigma: ArrayLike) -> Best:
    """The score of a whole grid: `holds` (A, S) of bool, `reach` (A,), `sigma` (S,) ascending.

    Of cells with the same ratio the one of smaller noise counts. Reach 0 throughout (nothing moved) scores 0.
    """
    r, s = _axes(reach, sigma)
    given = np.asarray(holds, dtype=bool)
    if given.shape != (len(r), len(s)):
        raise ValueError(f"a grid of {given.shape} does not fit {len(r)} distances and {len(s)} noise levels.")
    good = np.logical_and.accumulate(given, axis=1)
    ratio = np.where(good, (r[:, None] / s[None, :]) ** 2, np.inf)
    if not good.any():
        return Best(math.inf, -1, -1) if r.any() else Best(0.0, -1, -1)
    row, column = (int(i) for i in np.unravel_index(int(ratio.argmin()), ratio.shape))
    return Best(float(ratio[row, column]), row, column)


def border(reach: ArrayLike, sigma: ArrayLike, holds: Callable[[int, int], bool]) -> Best:
    """The same score from few cells, where a row that fails at one noise level fails at every higher one.

    Rows nearest the start are free (reach 0 scores 0 at any level), so those come first, at the least noise. Then, from
    the farthest row down, each is asked only at the least noise that would improve on the best ratio; one that passes
    is followed up level by level, the farthest by bisection. In the end the best row is asked halfway below its level
    too: where it fails there, it ends there and all is done again with what is known.
    Of cells with the same ratio the farthest counts.
    """
    r, s = _axes(reach, sigma)
    if not r.any():
        return Best(0.0, -1, -1)
    known: dict[tuple[int, int], bool] = {}
    ends = [len(s)] * len(r)  # of every row the least level known to fail

    def ask(row: int, column: int) -> bool:
        if column >= ends[row]:
            return False
        if (row, column) not in known:
            known[row, column] = holds(row, column)
            if not known[row, column]:
                ends[row] = column
        return known[row, column]

    rows: list[int] = np.argsort(-r, kind="stable").tolist()
    for free in (row for row in rows if r[row] == 0):
        if ask(free, 0):
            return Best(0.0, free, 0)
    while True:
        best = Best(math.inf, -1, -1)
        for row in (row for row in rows if r[row] > 0):
            ratios = (r[row] / s) ** 2
            better = np.flatnonzero(ratios < best.mu * (1 - NOTHING))
            if not len(better):
                continue
            low = int(better[0]) - (row == rows[0])
            if row == rows[0]:  # nothing is known yet
                high = ends[row]
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if ask(row, middle) else (low, middle)
            elif ask(row, low):  # mostly one level better, seldom many
                while low + 1 < len(s) and ask(row, low + 1):
                    low += 1
            else:
                continue
            if low >= int(better[0]):
                best = Best(float(ratios[low]), row, low)
        if best.column <= 0 or ask(best.row, best.column // 2):
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


def draws_verdict(wrong: Sequence[int], *, draws: int, size: int, limit: float, deviation: float | None) -> bool | None:
    """Whether a cell holds, from some of its `draws`, each on all answers (`size`); None: not yet clear.

    `wrong` (m,): errors under each draw seen; the cell holds with at most `limit` in all. Exact where the count is
    decided whatever the rest holds. Else their mean is compared with what is allowed, z = 3 standard errors of the mean
    of all draws apart, given the `deviation` of one draw's errors from another's (one error at least; None: not known).
    """
    total, left = sum(wrong), draws - len(wrong)
    if total > limit + _room(limit):
        return False
    if total + left * size <= limit + _room(limit):
        return True
    if deviation is None or not wrong:
        return None
    gap = total / len(wrong) - limit / draws
    half = Z * max(deviation, 1.0) * math.sqrt(1 / len(wrong) - 1 / draws)
    return gap < 0 if abs(gap) > half else None


def pooled_deviation(cells: Sequence[Sequence[int]]) -> float | None:
    """Standard deviation of the errors under one draw, within cells; None with fewer than 2 degrees of freedom."""
    free = sum(len(cell) - 1 for cell in cells)
    return math.sqrt(sum(float(np.var(cell)) * len(cell) for cell in cells) / free) if free >= 2 else None
