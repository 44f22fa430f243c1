"""Cheap scores of a pretrained network for a target that need no decomposition: LEEP, NCE, nearest neighbours."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Every score of a network for a target, as a field and in words. Of all of them, higher is better.
SCORES = {
    "probe_metric": "linear probe",
    "neighbours": "nearest neighbours",
    "logme": "LogME",
    "h_score": "H-score",
    "shrunk_h_score": "shrunk H-score",
    "leep": "LEEP",
    "nce": "NCE",
}
ROWS = 1024  # of the similarity matrix held at once


def leep(source: ArrayLike, labels: ArrayLike) -> float:
    """mean_i log sum_z p(y_i | z) theta(x_i)_z (Nguyen et al. 2020, section 3), at most 0; higher is better, in nats.

    `source` (n, z) holds the probabilities theta the source head gives its own classes for the target's images,
    `labels` (n,) the target's class indices; p(y | z) is their empirical conditional distribution.
    """
    theta, y = _probabilities(source, labels)
    joint = np.zeros((int(y.max()) + 1, theta.shape[1]))
    np.add.at(joint, y, theta / len(theta))
    given = joint / np.maximum(joint.sum(0), np.finfo(np.float64).tiny)
    return float(np.log((given[y] * theta).sum(1)).mean())


def nce(source: ArrayLike, labels: ArrayLike) -> float:
    """Minus the conditional entropy H(y | z), z the source class of highest probability (Tran et al. 2019).

    At most 0; higher is better, in nats. Arguments as for `leep`.
    """
    theta, y = _probabilities(source, labels)
    z = theta.argmax(1)
    joint = np.zeros((int(y.max()) + 1, theta.shape[1]))
    np.add.at(joint, (y, z), 1.0)
    return float(np.log(joint[y, z] / joint.sum(0)[z]).mean())


def softmax(logits: ArrayLike) -> Array:
    """Probabilities (n, k) of logits (n, k). Raises ValueError where one is not finite."""
    x = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError("a source output is NaN or infinite: no score is reported for it.")
    raised = np.exp(x - x.max(1, keepdims=True))
    found: Array = raised / raised.sum(1, keepdims=True)
    return found


def neighbour_accuracy(features: ArrayLike, labels: ArrayLike, k: int = 5, queries: int | None = None) -> float:
    """Share of rows whose k nearest others by cosine vote for their class, in [0, 1]; each row leaves itself out.

    `features` (n, d), `labels` (n,) class indices; k is at most n - 1. With `queries` only the first so many rows are
    asked, of all others. A tied vote goes to the tied class with the nearest member. A row of zeros is near to none.
    Raises ValueError for fewer than two rows and for features that are not finite.
    """
    f, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if f.ndim != 2 or len(f) < 2 or y.shape != (len(f),) or k < 1:
        raise ValueError(f"{k} neighbours of features {f.shape} with labels {y.shape} cannot vote.")
    if not np.isfinite(f).all():
        raise ValueError("a feature is NaN or infinite: no score is reported for it.")
    k = min(k, len(f) - 1)
    unit = f / np.maximum(np.linalg.norm(f, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    asked = min(len(f), queries or len(f))
    # Below one vote, and falling with rank: the best rank of a class decides between equal votes.
    bonus = (1 - np.arange(k) / k) / 2
    right = 0
    for start in range(0, asked, ROWS):
        own = np.arange(start, min(start + ROWS, asked))
        near = unit[own] @ unit.T
        near[np.arange(len(own)), own] = -np.inf
        chosen = np.sort(np.argpartition(-near, k - 1, axis=1)[:, :k], axis=1)  # by row, so that ties fall one way
        rank = np.argsort(-np.take_along_axis(near, chosen, 1), axis=1, kind="stable")
        classes = y[np.take_along_axis(chosen, rank, 1)]
        votes = np.zeros((len(own), int(y.max()) + 1))
        first = np.zeros_like(votes)
        for place in range(k - 1, -1, -1):
            rows = np.arange(len(own))
            votes[rows, classes[:, place]] += 1
            first[rows, classes[:, place]] = bonus[place]
        right += int(((votes + first).argmax(1) == y[own]).sum())
    return right / asked


def _probabilities(source: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    theta, y = np.asarray(source, dtype=np.float64), np.asarray(labels)
    if theta.ndim != 2 or y.shape != (len(theta),) or not len(y) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"probabilities {theta.shape} need as many class indices, not {y.dtype} {y.shape}.")
    if not np.isfinite(theta).all() or theta.min() < 0 or np.abs(theta.sum(1) - 1).max() > 1e-4:
        raise ValueError("source probabilities must be at least 0 and sum to 1 in every row: give the softmax.")
    return theta, y.astype(np.int64)
