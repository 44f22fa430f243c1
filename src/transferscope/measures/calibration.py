"""Calibration: whether the probabilities that a network gives are those with which it is right, in float64."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
BINS = 15


def probabilities(logits: ArrayLike, several: bool = False) -> Array:
    """Of logits (n, k): the softmax over the classes, or with `several` labels an example the logistic of each."""
    z = np.asarray(logits, dtype=np.float64)
    if several:
        return np.exp(-np.logaddexp(0, -z))
    z = np.exp(z - z.max(axis=1, keepdims=True))
    found: Array = z / z.sum(axis=1, keepdims=True)
    return found


def brier(chances: ArrayLike, truth: ArrayLike) -> float:
    """Brier's score: the mean over examples of the squared distance of the probabilities (n, k) from what was the case,
    `truth` (n, k) of 0 and 1, summed over k exclusive classes: 0 is best, 2 worst (Brier 1950)."""
    p, y = _both(chances, truth)
    return float(((p - y) ** 2).sum(axis=1).mean())


def calibration_error(chances: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error in [0, 1]: how far confidence lies from the share that is right, averaged over `bins`
    of equal width on [0, 1] weighed by their answers (Guo et al. 2017, equation 3). `chances` and `right` are (n,).

    With few answers it is above 0 for a calibrated network too.
    """
    p, y = _both(chances, right)
    place = np.clip(np.ceil(p * bins).astype(np.int64) - 1, 0, bins - 1)
    sums = np.bincount(place, weights=y - p, minlength=bins)
    return float(np.abs(sums).sum() / len(p))


def _both(chances: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    p, y = np.asarray(chances, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.shape != y.shape or not p.size:
        raise ValueError(f"probabilities {p.shape} and truths {y.shape} must have one shape and at least one row.")
    if not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError("probabilities must lie in [0, 1].")
    return p, y
