"""Scores in which a rare class counts as much as a common one, by class and over all of them, in float64."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


def confusion(predicted: ArrayLike, truth: ArrayLike, classes: int) -> Counts:
    """Counts (classes, classes): how often each class, a row, was taken for each, a column; both arguments are (n,) of
    class indices."""
    p, y = np.asarray(predicted, dtype=np.int64), np.asarray(truth, dtype=np.int64)
    if p.shape != y.shape or p.ndim != 1:
        raise ValueError(f"predictions {p.shape} and classes {y.shape} must be two vectors of one length.")
    return np.bincount(y * classes + p, minlength=classes * classes).reshape(classes, classes)


def recalls(counts: Counts) -> Array:
    """Share of each class that is right (classes,); NaN for one without an example."""
    own = counts.sum(axis=1)
    found: Array = np.where(own > 0, np.diag(counts) / np.maximum(own, 1), np.nan)
    return found


def balanced_accuracy(counts: Counts) -> float:
    """Mean of the `recalls` of the classes that there are, in [0, 1]."""
    return float(np.nanmean(recalls(counts)))


def balanced_parts(predicted: ArrayLike, truth: ArrayLike, classes: int) -> Array:
    """Each example's part (n,) in the balanced accuracy, whose mean it is, by the delta method: recalls are ratios, so
    that what counts is a hit less the recall of its class, and not how many examples the class happens to have."""
    p, y = np.asarray(predicted), np.asarray(truth)
    hit, own = p == y, np.bincount(y, minlength=classes)
    recall = np.bincount(y, hit, minlength=classes) / np.maximum(own, 1)
    found: Array = recall[own > 0].mean() + len(y) * (hit - recall[y]) / ((own > 0).sum() * own[y])
    return found


def f1_scores(counts: Counts) -> Array:
    """Harmonic mean of precision and recall of each class (classes,): 2 hits over all named so or being so; NaN for a
    class that neither is there nor was named."""
    both = counts.sum(axis=0) + counts.sum(axis=1)
    found: Array = np.where(both > 0, 2 * np.diag(counts) / np.maximum(both, 1), np.nan)
    return found


def macro_f1(counts: Counts) -> float:
    """Mean of the `f1_scores` of the classes that are there or were named, in [0, 1] (as scikit-learn's "macro")."""
    return float(np.nanmean(f1_scores(counts)))


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Mean over the positives of the precision among all that rank as high or higher, in [0, 1]; both are (n,), labels
    0 or 1. Without skill it is the share of positives. None without a positive or a negative.

    The sum of precision times the rise of recall at every distinct score, not interpolated (as scikit-learn has it).
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    if s.shape != y.shape or s.ndim != 1:
        raise ValueError(f"scores {s.shape} and labels {y.shape} must be two vectors of one length.")
    if not y.any() or y.all():
        return None
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)  # of every distinct score
    hits = np.cumsum(y[order])[last]
    return float((hits / (last + 1) * np.diff(hits, prepend=0)).sum() / y.sum())


def quadratic_kappa(counts: Counts) -> float | None:
    """Cohen's kappa of grades with weights (i - j)^2 (Cohen 1968), at most 1: 1 less the squared difference of grades
    over that of unrelated answers with the same shares. None where truth and answers are one and the same grade."""
    apart = _apart(len(counts))
    n = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    chance = float((apart * expected).sum())
    return 1 - float((apart * counts).sum()) / chance if chance > 0 else None


def kappa_parts(predicted: ArrayLike, truth: ArrayLike, classes: int) -> Array | None:
    """Each example's part (n,) in the quadratic kappa, whose mean it is: to first order what the example moves it by
    (the delta method, Fleiss, Cohen and Everitt 1969). None as in `quadratic_kappa`."""
    p, y = np.asarray(predicted, dtype=np.int64), np.asarray(truth, dtype=np.int64)
    counts = confusion(p, y, classes)
    kappa = quadratic_kappa(counts)
    if kappa is None:
        return None
    apart, n = _apart(classes), len(y)
    rows, columns = counts.sum(axis=1) / n, counts.sum(axis=0) / n
    expected = float((apart * np.outer(rows, columns)).sum())
    # What an example adds to the observed difference, and by its truth and its answer to the expected one.
    observed = apart[y, p]
    by_margins = (apart @ columns)[y] + (rows @ apart)[p]
    moved = -(observed - observed.mean()) / expected + (1 - kappa) * (by_margins - 2 * expected) / expected
    found: Array = kappa + moved
    return found


def _apart(classes: int) -> Array:
    grades = np.arange(classes, dtype=np.float64)
    found: Array = (grades[:, None] - grades[None, :]) ** 2
    return found
