"""What a target makes of a network's outputs: losses, mistakes, the judged metric, its parts, and what chance scores.

One function of every kind of answers (`transferscope.answers`); outputs are (n, k) in all of them.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope import answers
from transferscope.measures import imbalance, metrics, regression
from transferscope.measures.barrier import auc_values

Array = NDArray[np.float64]
Labels = NDArray[Any]


def score(outputs: ArrayLike, labels: ArrayLike, metric: str, scale: Sequence[float] | None = None) -> float | None:
    """The named metric (`answers.METRICS`) as a score of which more is better: minus an error, at most 0, or a metric
    of at most 1; None where it is undefined.

    `labels` (n,) are class indices, with AUC and average precision of 0/1 with k = 2 (ranked by output 1 less output 0)
    or k = 1; (n, k) are 0/1 (the mean over labels, cells below 0 left out) or numbers. ValueError for other shapes,
    outputs that are not finite, and a metric that cannot judge such labels. Of several numbers all metrics are means
    over them; an error is in their units, where outputs and labels are over a `scale` (k,).
    """
    z, y = np.asarray(outputs), np.asarray(labels)
    if metric not in answers.METRICS:
        raise ValueError(f"unknown metric '{metric}': known are {', '.join(map(repr, answers.METRICS))}.")
    if answers.METRICS[metric].error:
        return -float((regression.rmse if metric == "rmse" else regression.mae)(*_in_units(z, y, scale)).mean())
    if "numbers" in answers.METRICS[metric].of:
        return regression.r_squared(z, y) if metric == "r2" else regression.spearman(z, y)
    if metric == "accuracy":
        return metrics.accuracy(z, y)
    if metric in answers.OF_TWO:
        return _ranked(z, y, metric)
    if y.ndim == 2:
        return _mean_f1(z, y)
    metrics.accuracy(z, y)  # refuses what is not finite, and labels that are no classes
    counts = imbalance.confusion(z.argmax(1), y, z.shape[1])
    if metric == "kappa":
        return imbalance.quadratic_kappa(counts)
    return imbalance.balanced_accuracy(counts) if metric == "balanced_accuracy" else imbalance.macro_f1(counts)


def parts(outputs: ArrayLike, labels: ArrayLike, metric: str, scale: Sequence[float] | None = None) -> Array | None:
    """Each example's part (n,) in the metric, whose mean is `score`, exactly or to first order; None where nobody knows
    it (`answers.Metric.parts`) or the metric is undefined.

    For an accuracy right or wrong, with several labels the share that is right; for an AUC the placement of an example
    (DeLong et al. 1988); for kappa the delta method's; for R² what its error leaves of 1; for errors as
    `regression.error_parts` has them, negative.
    """
    z, y = np.asarray(outputs), np.asarray(labels)
    if not answers.metric(metric).parts:
        return None
    if answers.metric(metric).error:
        return -regression.error_parts(*_in_units(z, y, scale), squared=metric == "rmse")
    if metric == "r2":
        found: Array = 1 - regression.unexplained(z, y)
        return None if np.isnan(found).any() else found
    if metric == "auc":
        z = np.asarray(z, dtype=np.float64)
        if y.ndim == 1:
            z, y = z[:, -1:] - z[:, :1] if z.shape[1] > 1 else z, y[:, None]
        placed: Array = auc_values(z[None], y)[0]
        return placed
    if metric == "kappa":
        return imbalance.kappa_parts(z.argmax(1), y, z.shape[1])
    if metric == "balanced_accuracy":
        return imbalance.balanced_parts(z.argmax(1), y, z.shape[1])
    if y.ndim == 1:
        return np.asarray(z.argmax(1) == y, dtype=np.float64)
    known = answers.known(y)
    return np.asarray((((z > 0) == (y > 0.5)) & known).sum(1) / np.maximum(known.sum(1), 1), dtype=np.float64)


def losses(outputs: ArrayLike, labels: ArrayLike) -> Array:
    """The loss of every example (n,): cross-entropy in nats, with several labels or one output the logistic loss
    averaged over labels; of numbers the squared error averaged over them."""
    z, y = np.asarray(outputs), np.asarray(labels)
    if y.dtype.kind == "f":
        return regression.squared_errors(z, y)
    if y.ndim == 2 or z.shape[1] == 1:
        return metrics.binary_cross_entropies(z, y.reshape(len(y), -1))
    return metrics.cross_entropies(z, y)


def wrong(outputs: ArrayLike, labels: ArrayLike, spread: ArrayLike | None = None) -> Array:
    """How wrong every answer is (n,): 0 or 1, with several labels the share of those known on the wrong side, of
    numbers its part in the variance that is not explained (`regression.unexplained`; the squared error where none
    varies)."""
    z, y = np.asarray(outputs), np.asarray(labels)
    if y.dtype.kind == "f":
        found = regression.unexplained(z, y, spread)
        return regression.squared_errors(z, y) if np.isnan(found).any() else found
    if y.ndim == 2 or z.shape[1] == 1:
        y = y.reshape(len(y), -1)
        known = answers.known(y)
        off = ((z > 0) != (y > 0.5)) & known
        return np.asarray(off.mean(1) if known.all() else off.sum(1) / np.maximum(known.sum(1), 1))
    return np.asarray((z.argmax(1) != y).astype(np.float64))


def chance(
    labels: Labels, classes: int, metric: str, scale: Sequence[float] | None = None
) -> tuple[float | None, float | None]:
    """The score of one answer for all examples, and the standard deviation of the score of guessing on so many.

    `labels` are those of the examples. Accuracy: the largest class's share, and a binomial. AUC: 0.5, and the law of
    the rank sum (Mann and Whitney 1947), averaged over the labels that have both classes; None when no label has.
    Average precision: the share of positives, and no deviation. Balanced accuracy: one over the classes that there are.
    Macro F1: that of the largest class. Kappa and a rank correlation: 0, and one over the root of the examples, which
    is near what unrelated answers have. R²: 0, what the mean has, and guessing does not surpass it; nor what the mean
    has of RMSE and the median of MAE, minus which is their score.
    """
    n = len(labels)
    if answers.metric(metric).error:
        constant = labels.mean(axis=0) if metric == "rmse" else np.median(labels, axis=0)
        return score(np.broadcast_to(constant, labels.shape), labels, metric, scale), 0.0
    if metric in ("r2", "kappa", "spearman"):
        return 0.0, 0.0 if metric == "r2" else 1 / math.sqrt(n)
    if metric in answers.OF_TWO:
        return _chance_of_two(labels, metric)
    if labels.ndim == 2:
        return None, None
    counts = np.bincount(labels, minlength=classes)
    share = float(counts.max() / n)
    if metric == "accuracy":
        return share, math.sqrt(share * (1 - share) / n)
    there = int((counts > 0).sum())
    return 1 / there if metric == "balanced_accuracy" else 2 * share / (1 + share) / there, None


def _in_units(z: NDArray[Any], y: NDArray[Any], scale: Sequence[float] | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Outputs and labels times their scale; what both were moved by is no part of an error."""
    return (z, y) if scale is None else (z * np.asarray(scale, float), y * np.asarray(scale, float))


def _ranked(z: NDArray[Any], y: NDArray[Any], metric: str) -> float | None:
    """An AUC or an average precision, of several labels their mean over those that have both answers."""
    one = metrics.auc if metric == "auc" else imbalance.average_precision
    if y.ndim == 2:
        if metric == "auc":
            return metrics.mean_auc(z, y)
        known = answers.known(y)
        found = [one(z[of, j], y[of, j]) for j, of in enumerate(known.T)]
        defined = [value for value in found if value is not None]
        return float(np.mean(defined)) if defined else None
    if z.ndim == 2 and z.shape[1] not in (1, 2):
        what = "an AUC" if metric == "auc" else "an average precision"
        raise ValueError(f"{what} of {z.shape[1]} exclusive classes is not defined: use 'accuracy'.")
    z = np.asarray(z, dtype=np.float64)
    return one(z if z.ndim == 1 else z[:, -1] - z[:, 0] if z.shape[1] == 2 else z[:, 0], y)


def _mean_f1(z: NDArray[Any], y: NDArray[Any]) -> float | None:
    """The mean over labels of their F1, with answers that are yes above 0; None where none has both answers."""
    known = answers.known(y)
    found = []
    for j, of in enumerate(known.T):
        truth, said = y[of, j] == 1, z[of, j] > 0
        if truth.any() and not truth.all():
            found.append(2 * (truth & said).sum() / (truth.sum() + said.sum()))
    return float(np.mean(found)) if found else None


def _chance_of_two(labels: Labels, metric: str) -> tuple[float | None, float | None]:
    counts = [(int((column == 1).sum()), int((column >= 0).sum())) for column in labels.reshape(len(labels), -1).T]
    both = [(ones, n) for ones, n in counts if 0 < ones < n]
    if metric == "average_precision":
        return (float(np.mean([ones / n for ones, n in both])) if both else None), None
    spreads = [math.sqrt((n + 1) / (12 * ones * (n - ones))) for ones, n in both]
    return 0.5, sum(spreads) / len(spreads) if spreads else None
