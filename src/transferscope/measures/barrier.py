"""The barrier on the line between two networks: two definitions, each with a bootstrap interval over test examples."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.intervals import Interval, bootstrap_means, wilson

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
    draws: int = 1000,
    span: float | None = None,
) -> Barrier:
    """Both barriers of the mean curve of per-example losses or errors `values` (m alphas, n examples).

    Every resample of the examples is shared by all alphas, so their pairing is kept. Where no example differs between
    alphas all resamples agree, which n examples do not prove: give `span`, the range of one example's value (1 for an
    error), and no interval is narrower than Wilson's bound on what 0 of n examples leave open, times `span`.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 2 or not v.shape[1]:
        raise ValueError(f"per-example values must be (alphas, examples) with at least one example, not {v.shape}.")
    n = v.shape[1]
    found = barrier_of(alphas, v.mean(1), bootstrap_means(v, rng, draws), n, level)
    if span is None:
        return found
    least = span * (wilson(0, n, level).high or 0.0)
    return replace(found, frankle=_widened(found.frankle, least), entezari=_widened(found.entezari, least))


def barrier_of(alphas: ArrayLike, curve: ArrayLike, resampled: ArrayLike, n: int, level: float = 0.95) -> Barrier:
    """Both barriers of any `curve` (m,) with percentile intervals from `resampled` curves (draws, m) of n examples.

    For curves that are no mean over examples, such as 1 - AUC. A supremum of noisy values leans upward, and so do its
    resamples: where there is no barrier the interval starts above 0 by about the noise.
    """
    a, c = _inside(alphas, curve)
    _, r = _inside(alphas, resampled)
    found = []
    for excess in (_frankle, _entezari):
        heights = excess(a, c)
        low, high = np.quantile(excess(a, r).max(-1), [(1 - level) / 2, (1 + level) / 2])
        found.append((Interval(float(heights.max()), float(low), float(high), n), float(a[heights.argmax()])))
    return Barrier(found[0][0], found[1][0], found[0][1], found[1][1])


def resampled_aucs(
    scores: ArrayLike, labels: ArrayLike, rng: np.random.Generator, draws: int = 200
) -> NDArray[np.float64]:
    """Mean AUCs (draws, m) of `scores` (m alphas, n examples, k labels) in `draws` resamples of the examples.

    `labels` (n, k) of 0/1. All alphas and labels share each resample; a label with one class in a resample is left
    out of its mean, and a resample in which every label is so is drawn anew.
    """
    s, y = np.asarray(scores), np.asarray(labels, dtype=bool)
    m, n, k = s.shape
    counts = np.zeros((draws, n))
    for draw in range(draws):
        for _ in range(100):
            counts[draw] = np.bincount(rng.integers(0, n, n), minlength=n)
            positives = counts[draw] @ y
            if bool(np.any((positives > 0) & (positives < n))):
                break
        else:
            raise ValueError("an AUC needs both classes of a label, and the resamples hold only one.")
    out = np.empty((draws, m))
    for i in range(m):
        areas = np.stack([_weighted_auc(s[i, :, j], y[:, j], counts) for j in range(k)])
        out[:, i] = np.nanmean(areas, axis=0)
    return out


def _weighted_auc(scores: Array, positive: NDArray[np.bool_], counts: Array) -> Array:
    """AUC for every row of `counts` (draws, n), how often each example was drawn; NaN where a class is missing."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    ups, downs = counts[:, order] * positive[order], counts[:, order] * ~positive[order]
    below = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(downs, 1)], axis=1)
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right")
    beaten = (ups * (below[:, first] + below[:, last]) / 2).sum(1)
    pairs = ups.sum(1) * downs.sum(1)
    return np.asarray(np.divide(beaten, pairs, out=np.full(len(counts), np.nan), where=pairs > 0))


def _widened(found: Interval, least: float) -> Interval:
    low, high = found.low or 0.0, found.mean if found.high is None else found.high
    return replace(found, low=max(0.0, min(low, found.mean - least)), high=max(high, found.mean + least))


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
