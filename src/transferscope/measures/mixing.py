"""Whether batches are shuffled well enough for a minibatch estimate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def unshuffled(labels: ArrayLike, sizes: Sequence[int]) -> str | None:
    """A sentence when consecutive batches of `sizes` hold their classes far less mixed than a shuffle would, else None.

    Minibatch CKA compares samples within a batch: sorted by class it reads about 0 where the truth may be 0.8.
    Chi-square of the batch x class table, standardised; six standard deviations is the line.
    """
    classes, y = np.unique(np.asarray(labels), return_inverse=True)
    if len(sizes) < 2 or len(classes) < 2 or sum(sizes) != len(y):
        return None
    table = np.zeros((len(sizes), len(classes)))
    np.add.at(table, (np.repeat(np.arange(len(sizes)), sizes), y), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / len(y)
    freedom = (len(sizes) - 1) * (len(classes) - 1)
    excess = (float(((table - expected) ** 2 / expected).sum()) - freedom) / np.sqrt(2 * freedom)
    if excess < 6:
        return None
    return "The batches look sorted by class: minibatch CKA needs shuffled samples, so shuffle or use the full batch."
