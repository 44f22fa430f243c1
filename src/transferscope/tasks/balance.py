"""Balance: classes that count alike, by weights in the loss or by how often their images are drawn."""

import numpy as np

from transferscope.errors import UserError
from transferscope.random_streams import stream


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """What multiplies the loss of each class (classes,), from the labels of the training images.

    One label an image (n,): ``n / (k * count)`` over the k classes that there are, as scikit-learn's "balanced"; the
    mean over the images is 1. Several (n, classes): negatives over positives, the `pos_weight` of torch's
    BCEWithLogitsLoss, of the cells that are known. A class without an image has 0, or of several labels 1.
    """
    if labels.ndim == 2:
        positive, known = (labels > 0).sum(0), (labels >= 0).sum(0)
        return np.where(positive > 0, (known - positive) / np.maximum(positive, 1), 1.0)
    counts = np.bincount(labels, minlength=classes)
    return np.where(counts > 0, len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)


def balanced_rows(rows: np.ndarray, labels: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """As many rows as there are, drawn so that every class comes as often as any other (give or take one).

    Of a class every image comes as often as any other (give or take one). A pure function of (rows, labels, seed,
    epoch). UserError for several labels an image.
    """
    if labels.ndim == 2:
        raise UserError("recipe.sampler: images with several labels have no class to balance; use class_weights.")
    draw = stream(seed, "balance", epoch)
    found = np.unique(labels[rows])
    shares = np.full(len(found), len(rows) // len(found))
    shares[draw.permutation(len(found))[: len(rows) % len(found)]] += 1
    parts = []
    for one, share in zip(found, shares, strict=True):
        own = rows[labels[rows] == one]
        rounds, rest = divmod(int(share), len(own))
        parts += [np.tile(own, rounds), draw.permutation(own)[:rest]]
    return np.concatenate(parts)
