"""Outputs of one set of weights on one data set, scored image by image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope.measures import judged


@dataclass(frozen=True)
class Scored:
    """One set of weights on one data set of n images.

    `loss` (n,): cross-entropy of each image, in nats (binary and multi-label: mean over its labels), of numbers the
    squared error. `wrong` (n,): 0 or 1, multi-label the share of labels on the wrong side of 0.5, of numbers what adds
    up to 1 - R². `metric`: accuracy, AUC or R² (`States.metric`) over the n images, NaN where it is undefined.
    `logits` (n, k).
    """

    loss: NDArray[np.float64]
    wrong: NDArray[np.float64]
    metric: float
    logits: NDArray[np.float32]


def scored(
    logits: NDArray[np.float32], labels: NDArray[Any], metric: str, spread: NDArray[np.float64] | None = None
) -> Scored:
    """Losses, errors and the metric of outputs (n, k) under labels (n,), or (n, k) of several labels or numbers.

    One output and labels (n,) of 0 and 1: its sigmoid is the probability of 1. `spread` (k,): the variance of numbers
    over all images of a set, of which these may be a part.
    """
    loss, wrong = judged.losses(logits, labels), judged.wrong(logits, labels, spread)
    if metric == "r2":
        varies = bool((labels.var(axis=0) if spread is None else spread).any())
        found = float(1 - wrong.mean()) if varies else None
    else:
        found = judged.score(logits, labels, metric)
    return Scored(loss, wrong, float("nan") if found is None else found, logits)
