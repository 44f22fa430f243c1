"""One singular value decomposition of a feature matrix, from which LogME, H-score and the ridge probe all follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

ALONE = 1e-10  # share of the ones' squared length below which they lie in the span of the features


@dataclass(frozen=True)
class Factored:
    """F = U S V' of features F (n, d) of rank r; U is never formed.

    `features` (n, d), `values` (r,) the singular values above rounding, decreasing, `directions` V (d, r), `sums` U'1
    (r,), `rest` (n,): what the projection on the columns of U leaves of a vector of ones (zeros where that is nothing).
    """

    features: Array
    values: Array
    directions: Array
    sums: Array
    rest: Array

    @property
    def samples(self) -> int:
        return len(self.features)

    @property
    def mean(self) -> Array:
        """Mean feature (d,)."""
        return self.directions @ (self.values * self.sums) / self.samples

    def coordinates(self, targets: ArrayLike) -> Array:
        """U' y (r, k) of targets y (n, k)."""
        y = np.asarray(targets, dtype=np.float64)
        found: Array = (self.directions.T @ (self.features.T @ y)) / self.values[:, None]
        return found


def factored(features: ArrayLike) -> Factored:
    """Decompose features (n, d) in float64: the triangle of a QR decomposition, then its SVD.

    Raises ValueError unless there are at least two rows, every value is finite, and one is not zero.
    """
    f = np.asarray(features, dtype=np.float64)
    if f.ndim != 2 or len(f) < 2 or not f.shape[1]:
        raise ValueError(f"features must be (examples, dimensions) with at least two examples, not {f.shape}.")
    if bad := int(f.size - np.isfinite(f).sum()):
        raise ValueError(f"{bad} of {f.size} features are NaN or infinite: no score is reported for them.")
    _, s, v = np.linalg.svd(np.linalg.qr(f, mode="r"), full_matrices=False)
    rank = int((s > s[0] * max(f.shape) * np.finfo(np.float64).eps).sum())
    if not rank:
        raise ValueError("every feature is zero: the network gives the same answer to every image.")
    s, v = s[:rank], np.ascontiguousarray(v[:rank].T)
    sums = (v.T @ f.sum(0)) / s
    rest = 1.0 - f @ (v @ (sums / s))
    if rest @ rest < ALONE * len(f):
        rest = np.zeros(len(f))
    return Factored(f, s, v, sums, rest)


def one_hot(labels: ArrayLike, classes: int | None = None) -> Array:
    """Targets (n, k) of 0 and 1 from class indices (n,), as many columns as `classes` (else as occur).

    Labels that are (n, k) already come back as floats. Raises ValueError for indices outside the classes.
    """
    y = np.asarray(labels)
    if y.ndim == 2:
        return y.astype(np.float64)
    if y.ndim != 1 or not len(y) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be class indices (n,) or 0 and 1 (n, k), not {y.dtype} of shape {y.shape}.")
    k = int(y.max()) + 1 if classes is None else classes
    if y.min() < 0 or y.max() >= k:
        raise ValueError(f"labels run from {y.min()} to {y.max()} but there are {k} classes.")
    out = np.zeros((len(y), k))
    out[np.arange(len(y)), y] = 1.0
    return out


def class_sums(space: Factored, labels: ArrayLike) -> tuple[Array, Array, Array]:
    """Of the classes that occur among labels (n,): counts (c,), sums of the rows of U (r, c), sums of `rest` (c,).

    Raises ValueError where labels and features are not equally many.
    """
    y = one_hot(labels)
    if len(y) != space.samples:
        raise ValueError(f"{len(y)} labels for {space.samples} rows of features.")
    y = y[:, y.any(0)]
    return y.sum(0), space.coordinates(y), space.rest @ y
