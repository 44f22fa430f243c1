"""Outputs of one set of weights on one data set, scored image by image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope.measures import judged
from transferscope.measures.lacking import lacking

MISTAKES = ("accuracy", "auc", "r2")  # under which an image's part is its mistake, of numbers of unexplained variance


@dataclass(frozen=True)
class Scored:
    """One set of weights on one data set of n images.

    `loss` (n,): cross-entropy of each image, in nats (binary and multi-label: mean over its labels), of numbers the
    squared error. `wrong` (n,): 0 or 1, multi-label the share of labels on the wrong side of 0.5, of numbers what adds
    up to 1 - R²; under another metric than accuracy, AUC and R² what an image adds to what it lacks of its best
    (`measures.lacking`). `metric`: the score by `States.metric` over the n images, NaN where it is undefined; of an
    error it is negative. `logits` (n, k).
    """

    loss: NDArray[np.float64]
    wrong: NDArray[np.float64]
    metric: float
    logits: NDArray[np.float32]


def scored(
    logits: NDArray[np.float32],
    labels: NDArray[Any],
    metric: str,
    spread: NDArray[np.float64] | None = None,
    scale: tuple[float, ...] | None = None,
) -> Scored:
    """Losses, errors and the metric of outputs (n, k) under labels (n,), or (n, k) of several labels or numbers.

    One output and labels (n,) of 0 and 1: its sigmoid is the probability of 1. `spread` (k,): the variance of numbers
    over all images of a set, of which these may be a part; `scale` (k,): what numbers were divided by, in whose units
    errors are.
    """
    if metric not in MISTAKES:
        score = judged.score(logits, labels, metric, scale)
        lost = lacking(logits, labels, metric, scale)
        return Scored(judged.losses(logits, labels), lost, float("nan") if score is None else score, logits)
    loss, wrong = judged.losses(logits, labels), judged.wrong(logits, labels, spread)
    if metric == "r2":
        varies = bool((labels.var(axis=0) if spread is None else spread).any())
        found = float(1 - wrong.mean()) if varies else None
    else:
        found = judged.score(logits, labels, metric)
    return Scored(loss, wrong, float("nan") if found is None else found, logits)
