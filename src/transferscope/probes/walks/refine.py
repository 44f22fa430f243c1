"""Alphas where they are needed: more of them wherever a curve bends or its barrier might be higher than was seen."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from transferscope.errors import UserError
from transferscope.measures.curve_bend import bend, rises, suprema
from transferscope.probes.walks.scored import Scored

COARSE = 9  # alphas to start from
FINEST = 1 / 256
MOST = 129  # alphas
DRAWN = 5  # tolerances: how far the drawn curve may be off between two alphas
RAGGED = math.sqrt(math.log(20) / 2)  # 95% of Brownian bridges stay below so many standard deviations of their end

Array = NDArray[np.float64]
Point = dict[str, Scored]


def check(measure: str, tolerance: float) -> None:
    """UserError for what no barrier is measured in, and for a tolerance that cannot be reached."""
    if measure not in ("error", "loss"):
        raise UserError(f"measure: '{measure}' is neither 'error' nor 'loss'.")
    if not tolerance > 0:
        raise UserError(f"tolerance: it must be above 0, not {tolerance}.")


def refined(
    found: dict[float, Point],
    walk: Callable[[float], Point] | None,
    measure: str,
    tolerance: float,
    whole: float = 1.0,
) -> float:
    """Add points of `walk` to `found` in place; how far a barrier (Entezari) may still rise above the one found.

    The mean of `measure` of every data set counts, and beside the error the metric: the AUC has a curve of its own.
    Points are added for Frankle's barrier, too. Between two alphas a curve may rise by its bend, and, since it is a
    mean over n images that change one by one, by what those that changed add at random on the way (`_ragged`; of few
    images that is most). With `walk` None nothing is added. `tolerance` is a share of the `whole` that errors range
    over, and so is what is given back.
    """
    while True:
        alphas = np.array(sorted(x for x in found if 0 <= x <= 1))
        wanted: set[float] = set()
        left = 0.0
        for name in found[0.0]:
            wide = np.diff(alphas) > FINEST
            points = [found[x][name] for x in alphas.tolist()]
            unit = whole if measure == "error" else 1.0
            astray = _ragged(points, measure) / unit
            for number, curve in enumerate(curve / unit for curve in _curves(points, measure)):
                excess = curve - (1 - alphas) * curve[0] - alphas * curve[-1]
                rise = rises(alphas, bend(alphas, excess))
                open_ = rise > DRAWN * tolerance
                for height in (excess, curve):  # Entezari's barrier and Frankle's
                    open_ |= suprema(height, rise + astray) > height.max() + tolerance
                if not number:
                    left = max(left, float(suprema(excess, rise + astray).max() - excess.max()))
                wanted |= {float(alphas[i] + alphas[i + 1]) / 2 for i in np.flatnonzero(open_ & wide)}
        if walk is None or not wanted or len(found) >= MOST:
            return max(0.0, left)
        for alpha in sorted(wanted):
            found[alpha] = walk(alpha)


def _ragged(points: list[Scored], measure: str) -> Array:
    """How far the mean over the images may stray from its chord within each gap, (m - 1,), with 95% certainty.

    A Brownian bridge whose variance is that of the mean of the images' changes from one alpha to the next.
    """
    values = [one.wrong if measure == "error" else one.loss for one in points]
    changes = [float((b - a).var() / len(a)) for a, b in pairwise(values)]
    return np.asarray(RAGGED * np.sqrt(np.array(changes)))


def _curves(points: list[Scored], measure: str) -> list[Array]:
    """The mean of `measure` along the line; beside the error 1 - metric, where that is another curve (an AUC);
    none where the measure is undefined."""
    if measure != "error":
        return [np.array([one.loss.mean() for one in points])]
    error, lost = np.array([one.wrong.mean() for one in points]), np.array([1 - one.metric for one in points])
    if np.isnan(error).any():
        return []
    return [error] if np.isnan(lost).any() or np.ptp(lost - error) < 1e-9 else [error, lost]
