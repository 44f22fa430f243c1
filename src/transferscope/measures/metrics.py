"""Accuracy, area under the ROC curve, and the two cross-entropies of a network's outputs, in float64."""

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.answers import MISSING


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows whose largest logit is the label's, in [0, 1]; `logits` (n, k), `labels` (n,) of class indices.

    Raises ValueError on logits that are not finite: the argmax of NaN is class 0 and would pass for chance.
    """
    z = _rows(logits)
    return float(np.mean(z.argmax(1) == _classes(labels, *z.shape)))


def auc(scores: ArrayLike, labels: ArrayLike) -> float | None:
    """Probability that a positive outranks a negative, ties counting one half, in [0, 1]; both arguments are (n,).

    The Mann-Whitney U statistic over the number of pairs (Hanley & McNeil 1982). None when only one class is present.
    """
    s, y = _finite(scores), _binary(labels)
    if s.shape != y.shape or s.ndim != 1:
        raise ValueError(f"scores {s.shape} and labels {y.shape} must be two vectors of one length.")
    positives = int(y.sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return None
    return float((ranks(s)[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def mean_auc(logits: ArrayLike, labels: ArrayLike) -> float | None:
    """Mean of the AUCs of the labels (columns) that have both classes; `logits` and `labels` (0/1) are (n, k).

    A cell below 0 is not known and is left out of its label.
    """
    z, y = _rows(logits), np.asarray(labels)
    if z.shape != y.shape:
        raise ValueError(f"logits {z.shape} and labels {y.shape} must have one shape.")
    known = y >= 0
    defined = [a for a in (auc(z[of, j], y[of, j]) for j, of in enumerate(known.T)) if a is not None]
    return float(np.mean(defined)) if defined else None


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log-likelihood in nats under the softmax; `logits` (n, k), `labels` (n,) of class indices."""
    return float(cross_entropies(logits, labels).mean())


def cross_entropies(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """The cross-entropy of every row, (n,), in nats: what a bootstrap over examples resamples."""
    z = _rows(logits)
    y = _classes(labels, *z.shape)
    z = z - z.max(1, keepdims=True)
    return cast(NDArray[np.float64], np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), y])


def binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean over rows and labels of the logistic loss in nats; `logits` and `labels` (in [0, 1]) have one shape."""
    return float(binary_cross_entropies(logits, labels).mean())


def binary_cross_entropies(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """The logistic loss of every row, (n,), averaged over its labels, in nats.

    A label of -1 is not known: it counts 0, and the labels that are known so much more that the mean over rows is that
    over all of them.
    """
    z, y = _finite(logits), np.asarray(labels, dtype=np.float64)
    if z.shape != y.shape or not z.size:
        raise ValueError(f"logits {z.shape} and labels {y.shape} must have one shape and at least one row.")
    missing = y == MISSING
    if not bool(np.all(missing | ((y >= 0) & (y <= 1)))):
        raise ValueError("labels of a binary cross-entropy must lie in [0, 1].")
    loss = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    if missing.any():
        loss = np.where(missing, 0.0, loss) * (missing.size / max(1, missing.size - int(missing.sum())))
    return cast(NDArray[np.float64], loss.reshape(len(z), -1).mean(1))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing the mean of their ranks; `values` is (n,)."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    out = np.asarray(values, dtype=np.float64)
    bad = int(out.size - np.isfinite(out).sum())
    if bad:
        raise ValueError(f"{bad} of {out.size} network outputs are NaN or infinite: no metric is reported for them.")
    return out


def _rows(logits: ArrayLike) -> NDArray[np.float64]:
    z = _finite(logits)
    if z.ndim != 2 or not z.size:
        raise ValueError(f"logits must be (examples, classes) with at least one of each, not {z.shape}.")
    return z


def _classes(labels: ArrayLike, n: int, k: int) -> NDArray[np.int64]:
    y = np.asarray(labels)
    if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be {n} class indices, not {y.dtype} of shape {y.shape}.")
    if y.min() < 0 or y.max() >= k:
        raise ValueError(f"labels run from {y.min()} to {y.max()} but the network has {k} outputs.")
    return y.astype(np.int64)


def _binary(labels: ArrayLike) -> NDArray[np.bool_]:
    y: NDArray[Any] = np.asarray(labels)
    if not bool(np.all((y == 0) | (y == 1))):
        raise ValueError("labels of an AUC must be 0 or 1.")
    return y.astype(np.bool_)
