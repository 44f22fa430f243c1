"""H-score: how much of the features' variance lies between classes (Bao et al. 2019), plain and with shrinkage."""

import numpy as np
from numpy.typing import ArrayLike

from transferscope.measures.factored import Array, Factored, class_sums, factored


def h_score(features: ArrayLike | Factored, labels: ArrayLike) -> float:
    """tr(cov(f)^+ cov(E[f|y])) (Bao et al. 2019, section 3), from 0 to classes - 1; higher is better.

    `features` is (n, d), or their decomposition to share; `labels` (n,) of class indices. With P the projection on the
    centred features and Q that on the classes' indicators it is tr(P Q), and P is that on the columns of U, plus that
    on what they leave of the constant, minus that on the constant: no covariance is inverted. With as many independent
    features as examples it is classes - 1 whatever the labels: see `shrunk_h_score`.
    """
    space = features if isinstance(features, Factored) else factored(features)
    counts, sums, rests = class_sums(space, labels)
    length = float(space.rest @ space.rest)
    total = float(((sums**2).sum(0) / counts).sum())
    return total - 1.0 + (float((rests**2 / counts).sum()) / length if length else 0.0)


def shrunk_h_score(features: ArrayLike | Factored, labels: ArrayLike) -> float:
    """tr(C_a^-1 (1 - a) cov(E[f|y])), C_a = (1 - a) cov(f) + a tr(cov(f)) / d I (Ibrahim et al. 2022, section 4).

    The share a is that of Ledoit and Wolf (2004), as `shrinkage` gives it. Unlike the plain H-score it is
    of use with more features than examples. Raises ValueError where all rows of features are equal.
    """
    space = features if isinstance(features, Factored) else factored(features)
    counts, sums, _ = class_sums(space, labels)
    n = space.samples
    a, level = shrinkage(space)
    if a == 0:
        return h_score(space, labels)
    # In the basis V the shrunk covariance is diagonal minus one outer product (Sherman and Morrison 1950).
    diagonal = (1 - a) * space.values**2 / n + a * level
    mean = space.values * space.sums / n
    means = space.values[:, None] * sums / counts - mean[:, None]
    solved, tilted = means / diagonal[:, None], mean / diagonal
    along = tilted @ means
    # 1 - (1 - a) m' D^-1 m, without the cancellation that a large mean would bring.
    room = float(space.rest @ space.rest) / n + a * level * float((space.sums**2 / diagonal).sum()) / n
    weight = (1 - a) / room
    return float((1 - a) * (counts / n * ((means * solved).sum(0) + weight * along**2)).sum())


def shrinkage(space: Factored) -> tuple[float, float]:
    """The share a in [0, 1] of the identity in the covariance of Ledoit and Wolf (2004), and the identity's scale.

    Raises ValueError where all rows are equal.
    """
    n, d = space.features.shape
    squares, shares = space.values**2 / n, space.sums**2 / n
    lengths = ((space.features - space.mean) ** 2).sum(1)
    variance = float(lengths.mean())
    if variance <= 1e-14 * float(squares.sum()):
        raise ValueError("all rows of features are equal: the network gives the same answer to every image.")
    # cov(f) = V S (I - u u') S V' / n with u = sums / sqrt(n); its squared Frobenius norm, adding positive terms only
    # (features whose mean dwarfs their spread would otherwise cancel).
    others = float(space.rest @ space.rest) / n + _before(shares) + _before(shares[::-1])[::-1]
    product = squares * shares
    size = float(((squares * others) ** 2).sum() + 2 * (product * _before(product)).sum())
    gap = size - variance**2 / d
    noise = (float((lengths**2).mean()) - size) / n
    return (min(noise, gap) / gap if gap > 0 else 1.0), variance / d


def _before(values: Array) -> Array:
    """Sum of the values before each (k,)."""
    return np.concatenate(([0.0], np.cumsum(values)[:-1]))
