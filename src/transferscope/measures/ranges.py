"""Intervals over seeds for values that have a lowest or highest possible value, and never leave it."""

import math

import numpy as np
from numpy.typing import ArrayLike

from transferscope.measures.intervals import Interval, levelled, mean_interval
from transferscope.measures.student import t_quantile

MOST = 0.8  # of the possible range: an interval that covers more of it says nothing
FACTOR = 100.0  # from end to end, where there is no highest value
PRINTED = 6  # values, at most


@levelled
def bounded(
    values: ArrayLike, low: float = 0.0, high: float = math.inf, level: float = 0.95, widen: float = 1.0
) -> Interval:
    """Arithmetic mean of one value per seed in [`low`, `high`] with a t interval inside that range.

    The interval is a t interval on a scale without ends, the logit of the place in the range (with no highest value:
    the logarithm above `low`), around the arithmetic mean; the standard error is carried there by the slope of the
    scale at the mean (delta method, e.g. Agresti 2013, section 16.1), so that single values may lie at the ends. For
    [-1, 1] the scale is Fisher's z. Near an end it holds the truth more often than t does, in the middle it is t.

    Without an interval, and with the values as `note`: two values, whose interval is always too wide to say anything,
    and intervals over `MOST` of the range or, with no highest value, over a factor of `FACTOR`. Equal values have none
    either. `widen` multiplies the standard error, for values that depend on each other. Raises ValueError for values
    outside the range.
    """
    found = mean_interval(values, level)
    x = np.asarray(values, dtype=np.float64)
    slack = 1e-9 * (high - low if math.isfinite(high) else max(1.0, abs(low)))
    if low >= high or x.min() < low - slack or x.max() > high + slack:
        raise ValueError(f"values must lie between {low} and {high}, not {x.min()} and {x.max()}.")
    if found.n == 1:
        return found
    if np.ptp(x) <= slack:
        return Interval(found.mean, None, None, found.n, f"the same in all {found.n}")
    error = widen * float(x.std(ddof=1)) / math.sqrt(found.n)
    ends = _ends(found.mean, error, low, high, t_quantile((1 + level) / 2, found.n - 1))
    if found.n == 2 or ends is None:
        return Interval(found.mean, None, None, found.n, listed(x))
    return Interval(found.mean, *ends, found.n)


@levelled
def clipped(
    values: ArrayLike, low: float = 0.0, high: float = math.inf, level: float = 0.95, widen: float = 1.0
) -> Interval:
    """Arithmetic mean of one reading per seed with the part of its t interval that lies in [`low`, `high`].

    For readings that may themselves lie outside what they estimate, such as a barrier read below 0 or an unbiased CKA;
    the interval holds the truth as often as that of t, and its mean always. Two readings, equal ones and intervals over
    `MOST` of the range are told as in `bounded`, and so is `widen`.
    """
    found = mean_interval(values, level)
    if found.low is None or found.high is None:
        return found
    half = widen * (found.high - found.mean)
    ends = min(found.mean, max(low, found.mean - half)), max(found.mean, min(high, found.mean + half))
    if np.ptp(np.asarray(values, dtype=np.float64)) <= 1e-12 * max(1.0, abs(found.mean)):
        return Interval(found.mean, None, None, found.n, f"the same in all {found.n}")
    if found.n == 2 or ends[1] - ends[0] > MOST * (high - low):
        return Interval(found.mean, None, None, found.n, listed(values))
    return Interval(found.mean, *ends, found.n)


def inside(found: Interval, values: ArrayLike, low: float, high: float, level: float, *, readings: bool) -> Interval:
    """`found`, a t interval at `level` of `n` - 1 degrees of freedom around the mean of `values`, kept in its range.

    As `clipped` keeps it for `readings`, else as `bounded` does. For intervals that are more than those of independent
    values, such as over all pairs of runs. Without ends it is told by the values.
    """
    x = np.asarray(values, dtype=np.float64)
    if found.low is None or found.high is None:
        return Interval(found.mean, None, None, found.n, listed(x) if len(x) > 1 else found.note)
    half = found.high - found.mean
    if half <= 1e-12 * max(1.0, abs(found.mean)):
        return Interval(found.mean, None, None, found.n, f"the same in all {len(x)}")
    if readings:
        ends: tuple[float, float] | None
        ends = min(found.mean, max(low, found.mean - half)), max(found.mean, min(high, found.mean + half))
        if ends[1] - ends[0] > MOST * (high - low):
            ends = None
    else:
        t = t_quantile((1 + level) / 2, found.n - 1)
        ends = _ends(found.mean, half / t, low, high, t)
    return Interval(found.mean, *ends, found.n) if ends else Interval(found.mean, None, None, found.n, listed(x))


def listed(values: ArrayLike) -> str:
    """The values themselves, which say more than an interval over two of them: "values 0.31, 0.52"."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) <= PRINTED:
        return "values " + ", ".join(f"{v:.3g}" for v in x)
    return f"{len(x)} values from {x.min():.3g} to {x.max():.3g}"


def retold(note: str, times: float, plus: float = 0.0) -> str:
    """A note with the values it lists as `times` x + `plus`; any other note as it is."""
    words = note.removeprefix("values ")
    return listed([times * float(v) + plus for v in words.split(", ")]) if words != note else note


def _ends(mean: float, error: float, low: float, high: float, t: float) -> tuple[float, float] | None:
    """Ends of the interval around a mean inside the range; None where they say nothing."""
    if math.isinf(high):
        half = t * error / (mean - low)
        if 2 * half > math.log(FACTOR):
            return None
        return low + (mean - low) * math.exp(-half), low + (mean - low) * math.exp(half)
    share = (mean - low) / (high - low)
    half = t * error / ((high - low) * share * (1 - share))
    place = math.log(share / (1 - share))
    first, last = (low + (high - low) * _logistic(place + sign * half) for sign in (-1, 1))
    return None if last - first > MOST * (high - low) else (first, last)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)) if x > -700 else 0.0
