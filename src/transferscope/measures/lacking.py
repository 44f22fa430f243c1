"""What each example adds to what a metric lacks of its best, whatever it is: barriers and gains are read from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope import answers
from transferscope.measures import imbalance, judged, left_out, regression

Array = NDArray[np.float64]


def lacking(outputs: ArrayLike, labels: ArrayLike, metric: str, scale: Sequence[float] | None = None) -> Array:
    """Each example's part (n,) in what the metric lacks of its best, whose mean is best - `judged.score`.

    That of `judged.parts` where they are known; of macro F1 the delta method's, and of an average
    precision and a rank correlation the jackknife's (`left_out.jackknifed`). NaN where the metric is undefined.
    """
    z, y = np.asarray(outputs), np.asarray(labels)
    best = answers.metric(metric).best
    found = judged.parts(z, y, metric, scale) if answers.metric(metric).parts else None
    if metric == "macro_f1":
        found = _f1_parts(z, y)
    elif metric == "spearman":
        found = _rank_parts(z, y, metric)
    elif metric == "average_precision":
        columns = z[:, -1:] - z[:, :1] if y.ndim == 1 and z.shape[1] > 1 else z
        found = _rank_parts(np.asarray(columns, dtype=np.float64), y.reshape(len(y), -1), metric)
    return np.full(len(y), np.nan) if found is None else best - found


def _f1_parts(z: NDArray[Any], y: NDArray[Any]) -> Array | None:
    """Each example's part (n,) in the mean F1 of classes, or of labels that have both answers, by the delta method."""
    if y.ndim == 1:
        named, own = np.eye(z.shape[1], dtype=bool)[z.argmax(1)], np.eye(z.shape[1], dtype=bool)[y]
        of = (named | own).any(0)
    else:
        named, own = (z > 0) & answers.known(y), y == 1
        of = own.any(0) & (~own & answers.known(y)).any(0)
    if not of.any():
        return None
    hits, both = (named & own)[:, of], named[:, of].astype(float) + own[:, of]
    score = 2 * hits.sum(0) / both.sum(0)
    found: Array = (score + len(y) * (2 * hits - score * both) / both.sum(0)).mean(1)
    return found


def _rank_parts(z: NDArray[Any], y: NDArray[Any], metric: str) -> Array | None:
    """Each example's part (n,) in the mean over columns of a rank correlation or an average precision, over those in
    which it is defined; cells below 0 of labels are left out, and have the score itself."""
    whole, left = (
        (imbalance.average_precision, left_out.average_precision)
        if metric == "average_precision"
        else (lambda a, b: regression.spearman(a[:, None], b[:, None]), left_out.spearman)
    )
    found = []
    for j, known in enumerate(answers.known(y).T):
        s, t = z[known, j], y[known, j]
        if np.ptp(t) > 0 and (score := whole(s, t)) is not None:
            column = np.full(len(y), score)
            column[known] += (left_out.jackknifed(left(s, t), score) - score) * len(y) / len(t)
            found.append(column)
    return np.mean(found, axis=0) if found else None
