"""LogME: the log evidence that features give the labels under a Bayesian linear model (You et al. 2021)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.factored import Factored, factored, one_hot

Array = NDArray[np.float64]

STEP = math.log(10) / 2  # of the first search over the ratio of precisions, in its logarithm
GOLDEN = (math.sqrt(5) - 1) / 2
ROUNDS = 44  # of golden section: the bracket shrinks to a billionth of two steps
TINY = 1e-300


def logme(features: ArrayLike | Factored, labels: ArrayLike) -> float:
    """Mean over classes of the maximal log evidence per example; higher is better, in nats.

    `features` is (n, d), or their decomposition to share; `labels` (n,) of class indices, or (n, k) of 0/1 when
    multi-label. Classes without an example are left out.
    """
    y = one_hot(labels)
    return float(np.mean(evidences(features, y[:, y.any(0)])))


def evidences(features: ArrayLike | Factored, targets: ArrayLike) -> Array:
    """Maximal log evidence / n of every column of real targets y (n, k); (k,).

    y is F w with Gaussian noise of precision b, and w has a Gaussian prior of precision a (You et al. 2021, section 4).
    With t = a / b, the squared error of the posterior mean plus t times its squared norm is
    E(t) = |y|^2 - sum_j z_j^2 s_j^2 / (s_j^2 + t), where F = U S V' and z = U'y. The best b is n / E, which leaves

        L(t) / n = (log(n / E(t)) - 1 - log 2 pi) / 2 + sum_j log(t / (t + s_j^2)) / 2n,

    a function of one number. Its maximum is looked for directly, on a grid and then by golden section, where the
    published code iterates a fixed point at most 11 times: the two agree where that has converged.
    """
    space = features if isinstance(features, Factored) else factored(features)
    y = np.asarray(targets, dtype=np.float64)
    if y.ndim != 2 or len(y) != space.samples:
        raise ValueError(f"targets must be ({space.samples}, k), not {y.shape}.")
    n, squares = space.samples, space.values**2
    power = space.coordinates(y) ** 2
    whole = (y**2).sum(0)
    beyond = np.maximum(whole - power.sum(0), 0.0)  # what no weights reach

    def value(error: Array, penalty: Array) -> Array:
        found: Array = (np.log(n / np.maximum(error, TINY)) - 1 - math.log(2 * math.pi)) / 2 + penalty / (2 * n)
        return found

    def at(logs: Array) -> Array:
        """L / n of column j at ratio exp(logs[j])."""
        t = np.exp(logs)
        shares = t / (squares[:, None] + t)
        return value(beyond + (power * shares).sum(0), np.log(shares).sum(0))

    grid = np.arange(math.log(squares[-1]) - 8 * STEP, math.log(squares[0]) + 16 * STEP, STEP)
    shares = np.exp(grid)[:, None] / (squares + np.exp(grid)[:, None])
    coarse = value(beyond + shares @ power, np.log(shares).sum(1)[:, None])
    best = grid[coarse.argmax(0)]
    low, high = best - STEP, best + STEP
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = at(left), at(right)
    for _ in range(ROUNDS):
        down = at_left > at_right
        low, high = np.where(down, low, left), np.where(down, right, high)
        fresh = np.where(down, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        seen = at(fresh)
        left, right = np.where(down, fresh, right), np.where(down, left, fresh)
        at_left, at_right = np.where(down, seen, at_right), np.where(down, at_left, seen)
    nothing = value(whole, np.zeros_like(whole))  # t without bound: the features are no use
    found: Array = np.max([at_left, at_right, coarse.max(0), nothing], axis=0)
    return found
