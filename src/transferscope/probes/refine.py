"""Alphas where they are needed: more of them wherever a curve bends or its barrier might be higher than was seen."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transferscope.measures.bend import bend, rises, suprema
from transferscope.probes.states import Scored

COARSE = 9  # alphas to start from
FINEST = 1 / 128
MOST = 65  # alphas
DRAWN = 5  # tolerances: how far the drawn curve may be off between two alphas

Array = NDArray[np.float64]
Point = dict[str, Scored]


def refined(found: dict[float, Point], walk: Callable[[float], Point] | None, measure: str, tolerance: float) -> float:
    """Add points of `walk` to `found` in place; how far a barrier (Entezari) may still rise above the one found.

    The mean of `measure` of every data set counts. With `walk` None nothing is added.
    """
    while True:
        alphas = np.array(sorted(x for x in found if 0 <= x <= 1))
        wanted: set[float] = set()
        left = 0.0
        for name in found[0.0]:
            curve = np.array([_values(found[x][name], measure).mean() for x in alphas.tolist()])
            excess = curve - (1 - alphas) * curve[0] - alphas * curve[-1]
            rise = rises(alphas, bend(alphas, excess))
            top = suprema(excess, rise)
            left = max(left, float(top.max() - excess.max()))
            wide = np.diff(alphas) > FINEST
            places = np.flatnonzero(((top > excess.max() + tolerance) | (rise > DRAWN * tolerance)) & wide)
            wanted |= {float(alphas[i] + alphas[i + 1]) / 2 for i in places}
        if walk is None or not wanted or len(found) >= MOST:
            return max(0.0, left)
        for alpha in sorted(wanted):
            found[alpha] = walk(alpha)


def _values(scored: Scored, measure: str) -> Array:
    return scored.wrong if measure == "error" else scored.loss
