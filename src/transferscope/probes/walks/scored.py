"""Outputs of one set of weights on one data set, scored image by image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope.measures import metrics


@dataclass(frozen=True)
class Scored:
    """One set of weights on one data set of n images.

    `loss` (n,): cross-entropy of each image, in nats (binary and multi-label: mean over its labels). `wrong` (n,):
    0 or 1, multi-label the share of labels on the wrong side of 0.5. `metric`: accuracy or AUC (`States.metric`) over
    the n images, NaN where an AUC is undefined. `logits` (n, k).
    """

    loss: NDArray[np.float64]
    wrong: NDArray[np.float64]
    metric: float
    logits: NDArray[np.float32]


def scored(logits: NDArray[np.float32], labels: NDArray[Any], metric: str) -> Scored:
    """Losses, errors and the metric ("accuracy" or "auc") of outputs (n, k) under labels (n,) or, multi-label, (n, k).

    One output and labels (n,) of 0 and 1: its sigmoid is the probability of 1.
    """
    if labels.ndim == 2 or logits.shape[1] == 1:
        y = labels.reshape(len(labels), -1).astype(np.float64)
        loss = metrics.binary_cross_entropies(logits, y)
        wrong = ((logits > 0) != (y > 0.5)).mean(1)
    else:
        loss = metrics.cross_entropies(logits, labels)
        wrong = (logits.argmax(1) != labels).astype(np.float64)
    found = metrics.score(logits, labels, metric)
    return Scored(loss, wrong, float("nan") if found is None else found, logits)
