"""Scores of a network's outputs: accuracy, area under the ROC curve, and the two cross-entropies, in float64."""

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = Literal["accuracy", "auc"]


def metric_name(classes: int, multilabel: bool) -> Metric:
    """The metric the paper would report: AUC for multi-label and two-class tasks, accuracy for the rest."""
    return "auc" if multilabel or classes == 2 else "accuracy"


def score(logits: ArrayLike, labels: ArrayLike, metric: str) -> float | None:
    """The named metric, in [0, 1]; None where an AUC is undefined.

    `logits` is (n, k). For "accuracy" `labels` is (n,) of class indices. For "auc" it is (n, k) of 0/1 (multi-label:
    mean over labels) or (n,) of 0/1 with k = 2 (ranked by logit 1 minus logit 0) or k = 1.
    """
    if metric == "accuracy":
        return accuracy(logits, labels)
    if metric != "auc":
        raise ValueError(f"unknown metric '{metric}': known are 'accuracy' and 'auc'.")
    z, y = _finite(logits), np.asarray(labels)
    if y.ndim == 2:
        return mean_auc(z, y)
    if z.ndim == 2 and z.shape[1] not in (1, 2):
        raise ValueError(f"an AUC of {z.shape[1]} exclusive classes is not defined: use 'accuracy'.")
    return auc(z if z.ndim == 1 else z[:, -1] - z[:, 0] if z.shape[1] == 2 else z[:, 0], y)


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
    """Mean of the AUCs of the labels (columns) that have both classes; `logits` and `labels` (0/1) are (n, k)."""
    z, y = _rows(logits), np.asarray(labels)
    if z.shape != y.shape:
        raise ValueError(f"logits {z.shape} and labels {y.shape} must have one shape.")
    defined = [a for a in (auc(z[:, j], y[:, j]) for j in range(z.shape[1])) if a is not None]
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
    """The logistic loss of every row, (n,), averaged over its labels, in nats."""
    z, y = _finite(logits), np.asarray(labels, dtype=np.float64)
    if z.shape != y.shape or not z.size:
        raise ValueError(f"logits {z.shape} and labels {y.shape} must have one shape and at least one row.")
    if not bool(np.all((y >= 0) & (y <= 1))):
        raise ValueError("labels of a binary cross-entropy must lie in [0, 1].")
    loss = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
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
