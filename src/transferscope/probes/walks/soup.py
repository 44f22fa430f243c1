"""Which networks go into an average, with which weights, and the ensemble it is compared with."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope.errors import UserError
from transferscope.probes.inputs.samples import fingerprints, unpacked
from transferscope.probes.walks.states import States
from transferscope.probes.weights.combine import State, combine

Array = NDArray[np.float64]
HELD_OUT = "held-out images"
SHARED = 0.05  # of the held-out images that may also be among those reported on


def shares(count: int, weights: Sequence[float] | None, kind: Any, held_out: bool) -> Array:
    """The weight of each network, equal ones for a start of greedy."""
    if count < 2:
        raise UserError(f"average: {count} network{' was' if count == 1 else 's were'} given; give at least two.")
    if kind not in ("uniform", "greedy"):
        raise UserError(f"average: kind '{kind}' is neither 'uniform' nor 'greedy'.")
    if kind == "greedy" and weights is not None:
        raise UserError("average: a greedy soup finds its own weights; leave out weights=, or kind='greedy'.")
    if kind == "greedy" and not held_out:
        raise UserError("average: a greedy soup needs held_out= batches, of other images than those reported on.")
    if kind == "uniform" and held_out:
        raise UserError("average: a uniform average has no use for held_out=; leave it out, or give kind='greedy'.")
    if weights is None:
        return np.full(count, 1 / count)
    try:
        given = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.zeros(0)
    if given.shape != (count,) or not np.isfinite(given).all() or abs(given.sum() - 1) > 1e-6:
        raise UserError(f"average: weights must be {count} numbers that add up to 1, one for each network.")
    return given


def greedy(scorer: States, states: Sequence[State]) -> tuple[Array, NDArray[np.int64], Array, Array]:
    """Weights, the order of trial, the soup's held-out score at each trial, and each network's, all on one basis."""
    rows = {HELD_OUT: slice(None)}
    alone = np.array(
        [scorer(state, place=f"network {i}", rows=rows)[HELD_OUT].metric for i, state in enumerate(states, 1)]
    )
    if np.isnan(alone).any():
        raise UserError("average: no score can be had on the held-out images (only one class?); give others.")
    order = np.argsort(-alone, kind="stable")
    members, best, tried = [int(order[0])], float(alone[order[0]]), [float(alone[order[0]])]
    for i in order[1:].tolist():
        trial = [*members, i]
        mixed = combine([states[j] for j in trial], [1 / len(trial)] * len(trial))
        tried.append(scorer(mixed, place=f"a soup of {len(trial)} networks", rows=rows)[HELD_OUT].metric)
        if tried[-1] >= best:
            members, best = trial, tried[-1]
    weights = np.zeros(len(states))
    weights[members] = 1 / len(members)
    return weights, order, np.array(tried), alone


def ensemble(logits: Sequence[np.ndarray], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Logits whose probabilities are the mean of those of all networks, each (n, k); of numbers their mean.

    `labels` are those of the examples, (n,) or (n, k).
    """
    z = np.stack(logits).astype(np.float64)
    if labels.dtype.kind == "f":
        out = z.mean(0)
    elif labels.ndim == 2 or z.shape[2] == 1:
        right, wrong = -np.logaddexp(0, -z), -np.logaddexp(0, z)  # logarithms of p and 1 - p
        out = np.logaddexp.reduce(right, 0) - np.logaddexp.reduce(wrong, 0)
    else:
        out = np.logaddexp.reduce(z - np.logaddexp.reduce(z, 2, keepdims=True), 0) - np.log(len(z))
    return np.asarray(out, dtype=np.float32)


def noted(batches: Iterable[Any], seen: list[np.ndarray]) -> Iterator[Any]:
    for batch in batches:
        seen += [fingerprints(one.x) for one in unpacked([batch])]
        yield batch


def apart(seen: Mapping[str, list[np.ndarray]]) -> None:
    """Raise UserError where held-out images are also reported on: the choice of members would flatter the soup."""
    held = np.concatenate(seen[HELD_OUT]) if HELD_OUT in seen else np.zeros(0)
    for name, parts in seen.items():
        if name != HELD_OUT and (shared := int(np.isin(held, np.concatenate(parts)).sum())) > SHARED * len(held):
            raise UserError(
                f"average: {shared} of the {len(held)} held-out images are also in '{name}', on which the soup is "
                "judged; hold out other images."
            )
