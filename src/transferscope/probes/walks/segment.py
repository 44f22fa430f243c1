"""The line between two networks as the basin test walks it: points with and without noise, its ends, and the draws."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope.probes.weights.combine import State, combine, inner, trained
from transferscope.random_streams import stream, stream_seed

Array = NDArray[np.float64]
# The loss at alpha on the line, plus Gaussian noise of a standard deviation per weight in the direction of a draw.
At = Callable[[float, float, tuple[int, int]], float]
STRIDE = 0.1  # of the distance from a to b: the first steps of the search for the boundary
HALVINGS = 3  # of the last stride
ROUNDING = 1e-12  # a margin nearer to 0 is 0: on a plateau both sides of a condition are one number


def along(net: nn.Module, a: State, b: State, value: Callable[[State, str], float], seed: int) -> At:
    """The loss at any point of the line, with or without noise in the trainable parameters (without: asked once)."""
    shared: dict[int, list[str]] = {}  # a tied parameter has several names and one noise
    for name, tensor in net.state_dict(keep_vars=True).items():
        shared.setdefault(id(tensor), []).append(name)
    parameters = dict(net.named_parameters())
    names = [shared[id(parameters[name])] for name in trained(net)]
    known: dict[float, float] = {}

    def at(alpha: float, noise: float, draw: tuple[int, int]) -> float:
        if not noise and alpha in known:
            return known[alpha]
        state = combine([a, b], [1 - alpha, alpha])
        if noise:
            source = torch.Generator().manual_seed(stream_seed(seed, "basin", "noise", *draw) % 2**63)
            for same in names:
                like = state[same[0]]
                drawn: Tensor = torch.randn(like.shape, generator=source) * noise
                for name in same:
                    state[name] = like + drawn.to(like.device, like.dtype)
        found = value(state, f"alpha {alpha:.4g}" + (f" with noise {noise:g}" if noise else ""))
        if not noise:
            known[alpha] = found
        return found

    return at


def explored(
    at: At,
    net: nn.Module,
    a: State,
    b: State,
    *,
    grid: Array,
    samples: int,
    draws: int,
    slack: float,
    limit: float | None,
    seed: int,
) -> dict[str, Any]:
    """The arrays and sizes of a `Basin`; a and b themselves are asked for first. `limit` None: nothing is extended."""
    known = np.array([at(0.0, 0.0, (0, 0)), at(1.0, 0.0, (0, 0))])
    ends, reached = np.array([0.0, 1.0]), np.zeros(2, dtype=bool)
    if limit is not None:
        ends, reached = boundary(at, slack, limit)
    spread = (np.arange(samples) + stream(seed, "basin", "inside").random(samples)) / samples
    alphas = ends[0] + (ends[1] - ends[0]) * spread
    losses = np.array([at(alpha, 0.0, (0, 0)) for alpha in alphas.tolist()])
    names, length = set(trained(net)), math.sqrt(inner(a, b, a, b, trained(net)))
    size = sum(p.numel() for name, p in net.named_parameters() if name in names)
    noisy, beyond = [], []
    inside = float((losses + 2 * np.abs(losses - losses.mean())).mean())
    past = half_normal(draws, seed)
    for s in grid.tolist():
        away = s * math.sqrt(size) / length * past * np.array([[-1.0], [1.0]])
        noisy.append([[at(float(ends[e]), s, (e, d)) for d in range(draws)] for e in (0, 1)])
        beyond.append([[at(float(ends[e] + away[e, d]), 0.0, (e, d)) for d in range(draws)] for e in (0, 1)])
        if min(np.mean(noisy[-1]), np.mean(beyond[-1])) > inside - ROUNDING:
            break
    return {
        "ends": ends,
        "reached": reached,
        "alphas": alphas,
        "losses": losses,
        "per_weight": grid[: len(noisy)],
        "noisy": np.array(noisy),
        "beyond": np.array(beyond),
        "length": length,
        "size": size,
        "at": known,
    }


def boundary(at: At, slack: float, limit: float) -> tuple[Array, NDArray[np.bool_]]:
    """How far the loss stays within `slack` of its mean over [0, 1] on both sides, and whether it left it there."""
    between = np.linspace(0, 1, 5)
    known = [at(alpha, 0.0, (0, 0)) for alpha in between.tolist()]
    bar = float(np.mean(known)) + slack
    ends, reached = [], []
    for origin, side, first in ((0.0, -1.0, known[0]), (1.0, 1.0, known[-1])):
        good, bad = 0.0, None if first <= bar else 0.0
        while bad is None and good < limit - 1e-9:
            trial = min(good + STRIDE, limit)
            if at(origin + side * trial, 0.0, (0, 0)) <= bar:
                good = trial
            else:
                bad = trial
        reached.append(bad is not None)
        for _ in range(HALVINGS if bad else 0):
            trial = (good + (bad or 0.0)) / 2
            if at(origin + side * trial, 0.0, (0, 0)) <= bar:
                good = trial
            else:
                bad = trial
        ends.append(origin + side * good)
    return np.array(ends), np.array(reached)


def half_normal(draws: int, seed: int) -> Array:
    """(2, draws) values of |N(0, 1)|, one in each of `draws` equally likely ranges; the same for every delta."""
    spread = (np.arange(draws) + stream(seed, "basin", "beyond").random((2, draws))) / draws
    quantile = np.vectorize(NormalDist().inv_cdf)
    return np.asarray(quantile(0.5 + 0.5 * np.minimum(spread, 1 - 1e-12)), dtype=np.float64)
