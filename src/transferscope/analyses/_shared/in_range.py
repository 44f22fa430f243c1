"""Intervals over seeds that stay within what a value can be, by the name of its column."""

import math
from collections.abc import Mapping

from numpy.typing import ArrayLike

from transferscope import answers
from transferscope.measures.intervals import Interval, levelled, mean_interval
from transferscope.measures.pairs import Key, pairs_interval
from transferscope.measures.ranges import bounded, clipped, inside

SHARE = (0.0, 1.0)
RANGES = {
    **dict.fromkeys(("final", "best", "speed", "test_metric", "tuned_metric", "jaccard", "accuracy"), SHARE),
    **dict.fromkeys(("kappa", "residual_correlation"), (-1.0, 1.0)),
    **dict.fromkeys(("l2", "rms", "relative"), (0.0, math.inf)),
    "value": (0.0, math.inf),  # of criticality, log10(1 + mu)
}
READINGS = dict.fromkeys(("barrier", "chord_barrier", "cka"), SHARE)  # may lie outside what they estimate


@levelled
def interval(values: ArrayLike, name: str, level: float = 0.95, metric: str = "accuracy") -> Interval:
    """Mean of one value per seed of the column `name` with its interval; t for a column of no known range.

    See `measures.ranges`, also for when there is none. Columns of scores have the range of their `metric`; where that
    has no least value the interval is that of t below 1.
    """
    if RANGES.get(name) is SHARE and (least := answers.metric(metric).least) != 0:
        how = answers.metric(metric)
        return (clipped if math.isinf(least) else bounded)(values, least, how.best, level)
    if name in READINGS:
        return clipped(values, *_readings(name, metric), level)
    if name in RANGES:
        return bounded(values, *RANGES[name], level)
    return mean_interval(values, level)


@levelled
def over_pairs(values: Mapping[Key, float], name: str, level: float = 0.95, metric: str = "accuracy") -> Interval:
    """Mean over pairs of runs of one arm of the column `name`, with its interval for new runs; `n` counts runs."""
    found = pairs_interval(values, level)
    known = [value for value in values.values() if math.isfinite(value)]
    if (name not in RANGES and name not in READINGS) or not known:
        return found
    reach = _readings(name, metric) if name in READINGS else RANGES[name]
    return inside(found, known, *reach, level, readings=name in READINGS)


def _readings(name: str, metric: str) -> tuple[float, float]:
    """What a column of readings estimates lies between: a barrier 0 and all that its metric ranges over."""
    how = answers.metric(metric)
    return READINGS[name] if name == "cka" else (0.0, how.best - how.least)
