"""The linear probe: ridge regression on one-hot labels, its penalty chosen by generalised cross-validation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.factored import Factored, factored, one_hot

Array = NDArray[np.float64]

PENALTIES = 10.0 ** np.arange(-8, 2.25, 0.25)  # times the largest squared singular value
FREE = 1e-5  # share of the degrees of freedom that must be left for the error to mean anything


@dataclass(frozen=True)
class Ridge:
    """`weights` (d, k) and `intercept` (k,) of a linear map from features to one-hot labels; the `penalty` and its
    cross-validated mean squared error."""

    weights: Array
    intercept: Array
    penalty: float
    error: float

    def predict(self, features: ArrayLike) -> Array:
        """Scores (m, k) of features (m, d); the highest is the answer."""
        found: Array = np.asarray(features, dtype=np.float64) @ self.weights + self.intercept
        return found


def ridge(
    features: ArrayLike | Factored,
    labels: ArrayLike,
    classes: int | None = None,
    penalties: ArrayLike | None = None,
) -> Ridge:
    """Minimise |Y - F W - 1 c|^2 + p |W|^2; the intercept c is free, one penalty p serves all classes.

    `features` is (n, d), or their decomposition to share; `labels` (n,) of class indices or (n, k) of 0/1. Of
    `penalties` (default: 41 up to 100 times the largest squared singular value) the one with the smallest n RSS /
    (n - df)^2 is taken (Golub, Heath and Wahba 1979), df counting the intercept.
    """
    space = features if isinstance(features, Factored) else factored(features)
    y = one_hot(labels, classes)
    n, squares = space.samples, space.values**2
    if len(y) != n:
        raise ValueError(f"{len(y)} labels for {n} rows of features.")
    centre = y.mean(0)
    # With centred features F'F is, in the basis V, S^2 - n m m': diagonal minus one outer product.
    mean = space.values * space.sums / n
    right = space.values[:, None] * space.coordinates(y) - n * np.outer(mean, centre)
    total = float(((y - centre) ** 2).sum())
    alone = float(space.rest @ space.rest) / n
    best: tuple[float, float, Array] | None = None
    for penalty in PENALTIES * squares[0] if penalties is None else np.asarray(penalties, dtype=np.float64):
        p = float(penalty)
        diagonal = squares + p
        tilted = mean / diagonal
        # 1 - n m' D^-1 m, without the cancellation that a small penalty would bring.
        room = alone + p * float((space.sums**2 / diagonal).sum()) / n
        solved = right / diagonal[:, None] + np.outer(tilted * (n / room), tilted @ right)
        freedom = len(squares) + 1 - p * (float((1 / diagonal).sum()) + n / room * float(tilted @ tilted))
        rest = total - float((solved * right).sum()) - p * float((solved**2).sum())
        left = max(n - freedom, 0.0)
        error = n * max(rest, 0.0) / left**2 / y.shape[1] if left > FREE * n else np.inf
        if best is None or error < best[0]:
            best = error, p, solved
    assert best is not None
    error, p, solved = best
    weights = space.directions @ solved
    return Ridge(weights, centre - space.mean @ weights, p, error)
