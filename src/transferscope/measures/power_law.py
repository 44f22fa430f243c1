"""How error falls with the number of training examples: a power law, fitted, and read backwards without extrapolating.

error(n) = c + a n^-b with a, b, c >= 0, the form of Cortes et al. 1993 ("Learning curves") and Hestness et al. 2017
("Deep learning scaling is predictable, empirically").
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.intervals import mean_interval

Vector = NDArray[np.float64]
RATES = (0.01, 8.0)  # the exponents b that are tried
GRID, ROUNDS = 200, 6  # of exponents a round; every round looks between the neighbours of the best
FITS = 0.1  # of the range of a curve: what a law may miss it by and still describe it
ENOUGH = 3  # sizes from which on the floor c is fitted; below, it is 0


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = floor + scale (n / unit)^-rate; `unit` keeps the numbers tame."""

    floor: float
    scale: float
    rate: float
    unit: float

    def error(self, size: float) -> float:
        """The fitted error at `size` > 0 examples."""
        return self.floor + self.scale * math.exp(-self.rate * math.log(size / self.unit))

    def size(self, error: float) -> float:
        """The number of examples at which the law has this error; infinity at or below its floor."""
        if error <= self.floor or self.scale == 0:
            return math.inf
        return self.unit * math.exp(math.log(self.scale / (error - self.floor)) / self.rate)


def fit(sizes: ArrayLike, errors: ArrayLike) -> PowerLaw | None:
    """The least-squares law through `errors` (m,) at `sizes` (m,) > 0; None for fewer than two different sizes.

    For every exponent of a grid the two other numbers are a linear problem with bounds, solved exactly; the grid is
    then narrowed around the best exponent. A curve that does not fall gives scale 0 and its mean as floor (with two
    sizes, where the floor is held at 0, the smallest exponent).
    """
    n, e = np.asarray(sizes, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if n.shape != e.shape or n.ndim != 1 or not np.isfinite(e).all() or bool((e < 0).any()) or bool((n <= 0).any()):
        raise ValueError("a power law needs as many sizes above 0 as finite errors of 0 or more.")
    distinct = len(np.unique(n))
    if distinct < 2:
        return None
    unit = float(np.exp(np.log(n).mean()))
    floored = distinct >= ENOUGH

    low, high = math.log(RATES[0]), math.log(RATES[1])
    for _ in range(ROUNDS):
        grid = np.linspace(low, high, GRID)
        *_, loss = _bounded((n / unit) ** -np.exp(grid)[:, None], e, floored)
        best = int(np.argmin(loss))
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, GRID - 1)])
    rate = math.exp(float(grid[best]))
    floor, scale, _ = _bounded((n / unit) ** -np.array([[rate]]), e, floored)
    return PowerLaw(float(floor[0]), float(scale[0]), rate, unit)


def _bounded(u: Vector, e: Vector, floored: bool) -> tuple[Vector, Vector, Vector]:
    """c, a and the sum of squares of the least-squares e = c + a u, c and a >= 0, for every row of `u` (k, m).

    c is 0 if not `floored`. The best of the free solution, where it keeps the bounds, and of the solutions on them.
    """
    zero, mean = np.zeros(len(u)), np.full(len(u), e.mean())
    found = [(zero, np.maximum(0.0, u @ e / (u * u).sum(axis=1)))]
    if floored:
        centred = u - u.mean(axis=1, keepdims=True)
        a = centred @ e / np.maximum((centred**2).sum(axis=1), 1e-300)
        c = e.mean() - a * u.mean(axis=1)
        free = (a >= 0) & (c >= 0)
        found += [(np.where(free, c, mean), np.where(free, a, 0.0)), (mean, zero)]
    loss = np.array([((e - c[:, None] - a[:, None] * u) ** 2).sum(axis=1) for c, a in found])
    best, rows = loss.argmin(axis=0), np.arange(len(u))
    c, a = (np.array([pair[place] for pair in found])[best, rows] for place in (0, 1))
    return c, a, loss[best, rows]


Side = Literal["inside", "beyond", "below"]


@dataclass(frozen=True)
class Worth:
    """How many examples a curve needs for an error.

    `side` is "inside" (then `size` is the number), "beyond" (it needs more than were tried) or "below" (fewer than
    were tried). An end of the interval that lies outside of what was tried is None; so are both with one seed.
    `fitted` says whether a power law describes the curve; if not, it was read off straight lines between its points.
    """

    side: Side
    size: float | None
    low: float | None
    high: float | None
    seeds: int
    fitted: bool


@dataclass(frozen=True)
class _Reading:
    """One curve read backwards: the side, the logarithm of the size held inside the data, and whether a law fits."""

    side: Side
    place: float
    fitted: bool


def worth(sizes: ArrayLike, errors: ArrayLike, wanted: ArrayLike, level: float = 0.95) -> Worth | None:
    """The size at which the curve of `errors` (seeds, m) at `sizes` (m,) has the error `wanted` (seeds,), seeds paired.

    The law is fitted to means over seeds and never read outside the sizes tried. Where it misses the means by more than
    a tenth of their range (root mean square), it is not used: the curve, made to fall (`falling`), is then read off
    straight lines over log(size). The interval is a jackknife over seeds of the logarithm of the size with Student's t
    (Tukey 1958) at `level`. None for fewer than two different sizes.
    """
    n, e, w = (np.asarray(x, dtype=np.float64) for x in (sizes, errors, wanted))
    if e.shape != (len(w), len(n)) or not len(w):
        raise ValueError(f"errors {e.shape} must have a row for each of {len(w)} seeds and a column for each size.")
    if len(np.unique(n)) < 2:
        return None
    order = np.argsort(n)
    n, e = n[order], e[:, order]
    seeds, ends = len(w), (math.log(n[0]), math.log(n[-1]))
    whole = _read(n, e.mean(axis=0), float(w.mean()))
    place = whole.place
    if whole.side != "inside":
        return Worth(whole.side, None, None, None, seeds, whole.fitted)
    if seeds == 1:
        return Worth("inside", math.exp(place), None, None, 1, whole.fitted)
    without = [np.arange(seeds) != left for left in range(seeds)]
    parts = [_read(n, e[kept].mean(axis=0), float(w[kept].mean())) for kept in without]
    spread = mean_interval([seeds * place - (seeds - 1) * part.place for part in parts], level)
    half = 0.0 if spread.high is None else spread.high - spread.mean
    sides = {part.side for part in parts}
    low = math.exp(place - half) if "below" not in sides and place - half >= ends[0] else None
    high = math.exp(place + half) if "beyond" not in sides and place + half <= ends[1] else None
    return Worth("inside", math.exp(place), low, high, seeds, whole.fitted)


def _read(n: Vector, errors: Vector, wanted: float) -> _Reading:
    """The curve of `errors` (m,) at increasing sizes, read at one error."""
    law = fit(n, errors)
    if law is None:
        raise ValueError("a curve has at least two different sizes.")
    misses = errors - np.array([law.error(float(size)) for size in n])
    fitted = bool(np.sqrt(np.mean(misses**2)) <= FITS * np.ptp(errors) + 1e-12)
    by_law = fitted and law.scale > 0  # a level curve (both arms perfect, say) is reached where it begins
    curve = np.array([law.error(float(size)) for size in n]) if by_law else falling(errors)
    least, most = math.log(n[0]), math.log(n[-1])
    if wanted < min(curve[-1], errors[-1]):  # what was measured has a say: a fit is not exact at its ends
        return _Reading("beyond", most, fitted)
    if wanted > max(curve[0], errors[0]):
        return _Reading("below", least, fitted)
    if by_law:
        size = law.size(wanted)
        place = most if math.isinf(size) else math.log(size)
        return _Reading("inside", min(max(place, least), most), fitted)
    first = int(np.argmax(curve <= wanted)) if bool((curve <= wanted).any()) else len(n) - 1
    if first == 0:
        return _Reading("inside", least, fitted)
    share = (curve[first - 1] - min(wanted, curve[first - 1])) / max(curve[first - 1] - curve[first], 1e-300)
    place = math.log(n[first - 1]) + min(share, 1.0) * math.log(n[first] / n[first - 1])
    return _Reading("inside", place, fitted)


def falling(errors: ArrayLike) -> Vector:
    """The nearest curve (least squares) that never rises: neighbours that do are pooled (Ayer et al. 1955)."""
    pools: list[tuple[float, int]] = []
    for value in np.asarray(errors, dtype=np.float64).tolist():
        mean, count = value, 1
        while pools and pools[-1][0] < mean:
            before, size = pools.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        pools.append((mean, count))
    return np.repeat([mean for mean, _ in pools], [count for _, count in pools])
