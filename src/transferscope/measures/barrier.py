"""The barrier on the line between two networks: two definitions, each chosen on some examples and read on others."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.crossfit import highest
from transferscope.measures.intervals import Interval, wilson
from transferscope.measures.metrics import ranks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Barrier:
    """Barrier heights in the units of the curve, and the alphas in [0, 1] where their suprema lie.

    Equal ends make the two agree. With unequal ends Frankle's is positive on a straight slope, Entezari's is 0.
    """

    frankle: Interval
    entezari: Interval
    frankle_alpha: float
    entezari_alpha: float


def frankle(alphas: ArrayLike, curve: ArrayLike) -> float:
    """Linear interpolation instability: sup of the curve on [0, 1] minus the mean of its ends (Frankle et al. 2020,
    section 2). `curve` (m,) is an error or loss (lower is better) at `alphas` (m,), which must hold 0 and 1."""
    a, c = _inside(alphas, curve)
    return float(_frankle(a, c).max())


def entezari(alphas: ArrayLike, curve: ArrayLike) -> float:
    """Sup over [0, 1] of the curve minus the chord (1 - alpha) E(0) + alpha E(1) (Entezari et al. 2022, eq. 1); >= 0.

    The supremum is of the difference: the chord's gap where the curve itself peaks can be smaller.
    """
    a, c = _inside(alphas, curve)
    return float(_entezari(a, c).max())


def barrier(
    alphas: ArrayLike,
    values: ArrayLike,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = 200,
    span: float | None = None,
) -> Barrier:
    """Both barriers of per-example losses or errors `values` (m alphas, n examples), cross-fitted over the examples.

    A largest value is chosen on some examples and read on others (`measures.crossfit.highest`), so that noise does not
    pass for height: without a barrier the expectation is 0, and a reading may be below it. The alphas are those of the
    suprema over all examples. Intervals are over examples and do not go below 0, where no barrier lies, unless the
    reading does. Where no example differs between alphas n examples do not prove that none would: give `span`, the
    range of one example's value (1 for an error), and no interval is narrower than Wilson's bound on what 0 of n
    examples leave open, times `span`.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 2 or not v.shape[1]:
        raise ValueError(f"per-example values must be (alphas, examples) with at least one example, not {v.shape}.")
    a, curves = _inside(alphas, v.T)
    least = span * (wilson(0, v.shape[1]).high or 0.0) if span is not None else 0.0
    found = []
    for excess in (_frankle(a, curves), _entezari(a, curves)):
        height = never_below_zero(highest(excess.T, rng, level, draws), least)
        found.append((height, float(a[excess.mean(0).argmax()])))
    return Barrier(found[0][0], found[1][0], found[0][1], found[1][1])


def never_below_zero(found: Interval, least: float = 0.0) -> Interval:
    """The interval of a height that is never below 0, at least `least` to either side of its reading.

    Its low end is 0 or more, or the reading where that is below 0; its high end is never below 0.
    """
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    low = min(found.mean, max(0.0, min(low, found.mean - least)))
    return replace(found, low=low, high=max(0.0, high, found.mean + least), note="")


def auc_values(scores: ArrayLike, labels: ArrayLike) -> Array:
    """Values (m, n) whose means over the examples are the AUCs of `scores` (m alphas, n examples, k labels), averaged
    over the labels that have both classes; `labels` (n, k) of 0/1, or -1 where one is not known: such an example has
    the AUC itself.

    A positive has AUC + (share of negatives it outranks - AUC) n / positives, a negative likewise: to first order one
    example's part in the AUC (DeLong et al. 1988), so that the mean over some examples is their own AUC but for terms
    of order 1 / n. Their own AUC it is not, for a few examples may hold one class only. Raises ValueError where no
    label has both classes.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    m, n, _ = s.shape
    known = [y[:, j] >= 0 for j in range(y.shape[1])]
    both = [j for j in range(y.shape[1]) if 0 < (y[:, j] > 0).sum() < known[j].sum()]
    if not both:
        raise ValueError("an AUC needs both classes of a label.")
    out = np.zeros((m, n))
    for j in both:
        there, of = known[j], y[known[j], j] > 0
        positives = int(of.sum())
        negatives = len(of) - positives
        for i in range(m):
            own = s[i, there, j]
            beaten = ranks(own)
            beaten[of] = (beaten[of] - ranks(own[of])) / negatives
            beaten[~of] = 1 - (beaten[~of] - ranks(own[~of])) / positives
            area = beaten[of].mean()
            out[i] += area
            out[i, there] += (beaten - area) * n / np.where(of, positives, negatives)
    return out / len(both)


def _frankle(alphas: Array, curves: Array) -> Array:
    return curves - (curves[..., :1] + curves[..., -1:]) / 2


def _entezari(alphas: Array, curves: Array) -> Array:
    first, last = curves[..., :1], curves[..., -1:]
    return (curves - first) - alphas * (last - first)  # exactly 0 at both ends and on a level line, fused or not


def _inside(alphas: ArrayLike, curves: ArrayLike) -> tuple[Array, Array]:
    """Alphas in [0, 1] in ascending order and the curves (..., m) there; both ends must have been evaluated."""
    a, c = np.asarray(alphas, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if a.ndim != 1 or c.shape[-1:] != a.shape:
        raise ValueError(f"a curve needs one value per alpha, not {c.shape} for {a.shape}.")
    if not np.isfinite(c).all():
        raise ValueError("the curve has values that are NaN or infinite: no barrier is reported for it.")
    order = np.argsort(a, kind="stable")
    order = order[(a[order] >= 0) & (a[order] <= 1)]
    a, c = a[order], c[..., order]
    if not len(a) or a[0] != 0 or a[-1] != 1:
        raise ValueError("a barrier needs the curve at alpha = 0 and at alpha = 1 exactly.")
    return a, c
