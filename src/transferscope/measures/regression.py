"""Scores of predicted numbers: R², errors, rank correlation and the correlation of two networks' residuals, float64.

Predictions and truths are (n, k), k numbers an example; what is said of several numbers is the mean over those that
vary.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.metrics import ranks

Array = NDArray[np.float64]


def unexplained(predicted: ArrayLike, truth: ArrayLike, spread: ArrayLike | None = None) -> Array:
    """Each example's part (n,) in the variance that is not explained: its squared error over the variance of the truth,
    averaged over the numbers; its mean is 1 - R². NaN where no number varies.

    `spread` (k,) is the variance to go by, where that is of more examples than these.
    """
    z, y = _both(predicted, truth)
    variance = y.var(axis=0) if spread is None else np.asarray(spread, dtype=np.float64)
    varies = variance > 0
    if not varies.any():
        return np.full(len(y), np.nan)
    found: Array = ((z - y)[:, varies] ** 2 / variance[varies]).mean(axis=1)
    return found


def r_squared(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Share of the variance explained, 1 - sum of squared errors over that around the mean, at most 1 and without a
    least value; the mean over numbers. None where no number varies."""
    parts = unexplained(predicted, truth)
    return None if np.isnan(parts).any() else float(1 - parts.mean())


def squared_errors(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """The squared error of every example (n,), averaged over its numbers."""
    z, y = _both(predicted, truth)
    found: Array = ((z - y) ** 2).mean(axis=1)
    return found


def huber(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean of half the squared error up to an error of 1 and of the error less 1/2 beyond it (Huber 1964), as torch's
    HuberLoss has it."""
    z, y = _both(predicted, truth)
    off = np.abs(z - y)
    return float(np.where(off <= 1, off**2 / 2, off - 0.5).mean())


def rmse(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Root of the mean squared error of every number (k,), in its units."""
    z, y = _both(predicted, truth)
    found: Array = np.sqrt(((z - y) ** 2).mean(axis=0))
    return found


def mae(predicted: ArrayLike, truth: ArrayLike) -> Array:
    """Mean absolute error of every number (k,), in its units."""
    z, y = _both(predicted, truth)
    found: Array = np.abs(z - y).mean(axis=0)
    return found


def error_parts(predicted: ArrayLike, truth: ArrayLike, *, squared: bool) -> Array:
    """Each example's part (n,) in the mean over numbers of MAE, or if `squared` of RMSE, whose mean it is.

    Of RMSE to first order what an example moves it by, (e^2 - MSE) / (2 RMSE), beside the RMSE itself (delta method).
    """
    z, y = _both(predicted, truth)
    if not squared:
        absolute: Array = np.abs(z - y).mean(axis=1)
        return absolute
    off, root = (z - y) ** 2, rmse(z, y)
    moved = np.divide(off - root**2, 2 * root, out=np.zeros_like(off), where=root > 0)
    found: Array = (root + moved).mean(axis=1)
    return found


def spearman(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Spearman's rank correlation in [-1, 1], ties sharing their mean rank; the mean over numbers. A constant
    prediction of a number that varies has 0. None where no number varies."""
    z, y = _both(predicted, truth)
    found = [_correlation(ranks(z[:, j]), ranks(y[:, j])) or 0.0 for j in range(y.shape[1]) if np.ptp(y[:, j]) > 0]
    return float(np.mean(found)) if found else None


def residual_correlation(a: ArrayLike, b: ArrayLike, truth: ArrayLike) -> Array:
    """Pearson's correlation in [-1, 1] of the residuals of two networks, one for every number (k,); NaN where those of
    one do not vary. 0 is what networks with nothing in common but the truth have."""
    first, y = _both(a, truth)
    second, _ = _both(b, truth)
    found = [_correlation(first[:, j] - y[:, j], second[:, j] - y[:, j]) for j in range(y.shape[1])]
    return np.array([np.nan if value is None else value for value in found])


def _correlation(x: Array, y: Array) -> float | None:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / size, -1, 1)) if size > 0 else None


def _both(predicted: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    z, y = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if z.shape != y.shape or z.ndim != 2 or not z.size:
        raise ValueError(f"predictions {z.shape} and numbers {y.shape} must have one shape (examples, numbers).")
    if lost := int(z.size - np.isfinite(z).sum()):
        raise ValueError(f"{lost} of {z.size} network outputs are NaN or infinite: no metric is reported for them.")
    return z, y
