"""How often Student's t at several looks at one growing sample errs at least once, and the level that holds it."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST = 100  # seeds: beyond it the fixed quadrature below would lose digits
GRID = 100  # points between 0 and a boundary: errors of at most 0.4% of the result
GRID_PER_GAP = 8  # more of them for every count of values at which nobody looks: interpolation errors add up there
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def false_verdicts(looks: Sequence[int], levels: Sequence[float]) -> float:
    """P(at least one of the t intervals excludes the true mean), in [0, 1], for normal noise.

    At each of `looks` (increasing counts of values, 2 to 100) the mean of all values so far gets its two-sided t
    interval with error `levels` (each in (0, 0.3]). By the recursion of Armitage, McPherson & Rowe (1969), which is
    exact for t too: r = sum x / sqrt(sum x^2) at n values is independent of sum x^2, so that the next one is
    r cos(phi) + sin(phi) with phi of density cos^(n-1) whatever the spread. Raises ValueError for other looks or
    levels.
    """
    ns, ps = _checked(looks, levels)
    # |r| stays below sqrt(n), which is also the boundary where nobody looks.
    bounds = {n: math.sqrt(n) for n in range(ns[0], ns[-1] + 1)} | dict(zip(ns, _bounds(ns, ps), strict=True))
    spread = _spread(GRID + GRID_PER_GAP * (len(bounds) - len(ns)))
    at = bounds[ns[-1]] * spread
    stays = np.ones(len(at))  # P(no boundary is crossed from here on), at each |r| of the grid
    for n in range(ns[-1] - 1, ns[0] - 1, -1):
        stays, at = _before(n, bounds[n] * spread, bounds[n + 1], at, stays)
    n = ns[0]
    half = (math.pi / 2 - math.acos(min(1.0, bounds[n] / math.sqrt(n)))) / 2
    theta = math.pi / 2 - half + half * NODES
    density = np.sin(theta) ** (n - 2) / _whole(n - 2)
    crossed = 1 - (2 * half * (np.interp(math.sqrt(n) * np.cos(theta), at, stays) * density) @ WEIGHTS)
    return float(crossed)


@lru_cache(maxsize=256)
def constant_level(looks: tuple[int, ...], error: float = 0.05) -> float:
    """The error p of every single look at which all `looks` together err in `error` of cases (Pocock 1977, for t).

    `looks` as in `false_verdicts`, `error` in (0, 0.3]. Found by the secant method to 1e-5 of p; remembered.
    """
    if len(looks) == 1:
        return error  # of any count
    _checked(looks, [error] * len(looks))
    xs: list[float] = []
    ys: list[float] = []
    guess: float = error / len(looks) ** 0.7
    for _ in range(12):
        xs.append(math.log(guess))
        ys.append(math.log(false_verdicts(looks, [guess] * len(looks)) / error))
        if abs(ys[-1]) < 1e-5:
            break
        slope = (ys[-1] - ys[-2]) / (xs[-1] - xs[-2]) if len(xs) > 1 else 1.0
        guess = min(error, math.exp(xs[-1] - ys[-1] / slope))
    return guess


def _before(n: int, r: Array, next_bound: float, at: Array, stays: Array) -> tuple[Array, Array]:
    """P(no boundary is crossed after n values) at each of `r` (and `r`), from that of n + 1 (`stays` at |r| = `at`)."""
    # The next |r| is below its boundary but for phi between these two angles.
    first, turn = np.arcsin(np.minimum(next_bound / np.sqrt(1 + r * r), 1)), np.arctan(r)
    far = min(math.pi / 2, 7.5 / math.sqrt(n - 1))  # beyond it the density is below 1e-12
    low = np.clip(np.stack([np.full(len(r), -far), math.pi - first - turn]), -far, far)
    high = np.clip(np.stack([first - turn, np.full(len(r), far)]), -far, far)
    half = (high - low)[..., None] / 2
    phi = (high + low)[..., None] / 2 + half * NODES
    reached = np.abs(r[:, None] * np.cos(phi) + np.sin(phi))
    found = (np.interp(reached, at, stays) * np.cos(phi) ** (n - 1) * half * WEIGHTS).sum((0, 2)) / _whole(n - 1)
    return found, r


def _spread(points: int) -> Array:
    """The grid in units of the boundary: dense where it ends, because there the function bends."""
    return np.sin(np.linspace(0, math.pi / 2, points))


def _whole(power: int) -> float:
    """The integral of cos^power over a half turn."""
    return math.sqrt(math.pi) * math.exp(math.lgamma((power + 1) / 2) - math.lgamma(power / 2 + 1))


def _bounds(ns: Sequence[int], ps: Sequence[float]) -> list[float]:
    """The |r| that a t interval of error p excludes 0 beyond: sqrt(n) cos(theta), P(theta) = p / 2; by Newton.

    The logarithms of P and theta are nearly proportional, so that few steps reach the last digit.
    """
    n, p = np.asarray(ns, dtype=np.float64), np.asarray(ps, dtype=np.float64)
    whole = np.array([_whole(k - 2) for k in ns])
    theta = np.minimum((p / 2 * whole * (n - 1)) ** (1 / (n - 1)), math.pi / 2)
    for _ in range(8):
        sines = np.sin(theta[:, None] * (NODES + 1) / 2) ** (n - 2)[:, None]
        below = sines @ WEIGHTS * theta / 2
        error = np.log(2 * below / whole / p)
        theta = np.minimum(theta * np.exp(-error * below / (theta * np.sin(theta) ** (n - 2))), math.pi / 2)
    return [float(b) for b in np.sqrt(n) * np.cos(theta)]


def _checked(looks: Sequence[int], levels: Sequence[float]) -> tuple[list[int], list[float]]:
    ns, ps = list(looks), list(levels)
    if not ns or len(ns) != len(ps) or ns[0] < 2 or ns[-1] > MOST or any(b <= a for a, b in pairwise(ns)):
        raise ValueError(f"looks must rise between 2 and {MOST}, one level each, not {ns} with {len(ps)} levels.")
    if not all(0 < p <= 0.3 for p in ps):
        raise ValueError(f"the level of a look must be above 0 and at most 0.3, not {ps}.")
    return ns, ps
