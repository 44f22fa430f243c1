"""From the scores along a line to what is said of it: curves, barriers with their intervals, and what to beware of."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transferscope.measures.barrier import auc_values
from transferscope.measures.barrier import barrier as both_barriers
from transferscope.measures.judged import wrong
from transferscope.probes.walks.basis import differ, remarks, sources
from transferscope.probes.walks.line import Line
from transferscope.probes.walks.scored import Scored
from transferscope.random_streams import stream

Array = NDArray[np.float64]
Points = Mapping[float, Mapping[str, Scored]]
Ends = Mapping[str, Mapping[str, Scored]]


def measured(walk: Line, found: Points, own: Ends, seed: int) -> dict[str, Any]:
    """The fields of a `LinearPath` that the scores `found` by alpha, and those of the networks themselves, give."""
    at, order = walk.states, sorted(found)
    names, measures = at.names, ("error", "loss", *(["1 - auc"] if at.metric == "auc" else []))
    curves = np.array(
        [[[s.loss.mean(), s.wrong.mean(), s.metric] for s in (found[x][d] for x in order)] for d in names]
    )
    ends = {"a": found[0.0], "b": found[1.0]}
    owns = np.array([[[s.loss.mean(), s.wrong.mean(), s.metric] for s in (own[e][d] for e in ends)] for d in names])
    apart = [[differ(own[e][d].wrong, ends[e][d].wrong) for e in ends] for d in names]
    heights = np.full((len(names), len(measures), 2, 4), np.nan)
    for d, name in enumerate(names):
        for m, word in enumerate(measures):
            rng = stream(seed, "path", name, word)
            if word == "1 - auc":
                if np.isnan(curves[d, :, 2]).any():
                    continue
                scores, labels = _scores([found[x][name].logits for x in order], at.labels(name))
                values = 1 - auc_values(scores, labels)
            else:
                values = np.stack([found[x][name].wrong if word == "error" else found[x][name].loss for x in order])
            if not np.isfinite(values).all():  # a metric that is undefined
                continue
            counted = word == "error" and at.metric in ("accuracy", "auc")
            both = both_barriers(order, values, rng, span=1.0 if counted else None)
            for k, (height, alpha) in enumerate(
                ((both.frankle, both.frankle_alpha), (both.entezari, both.entezari_alpha))
            ):
                heights[d, m, k] = height.mean, height.low, height.high, alpha
    return {
        "alphas": np.array(order),
        "loss": curves[:, :, 0],
        "error": curves[:, :, 1],
        "score": curves[:, :, 2],
        "own_loss": owns[:, :, 0],
        "own_error": owns[:, :, 1],
        "own_score": owns[:, :, 2],
        "differs": np.array(apart),
        "n": np.array([at.count(name) for name in names]),
        "heights": heights,
        "names": names,
        "metric": at.metric,
        "measures": measures,
        "batch_norm": walk.batch_norm_words,
        "head": walk.head_words,
        "precision": at.precision_words,
        "notes": (
            *at.notes,
            *_permuted(walk, ends, own),
            *remarks(own, ends, at.metric, walk.batch_norm_words, names),
            *sources(at, walk.batch_norm == "refresh"),
        ),
    }


def _scores(logits: list[NDArray[np.float32]], labels: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
    """What ranks the images for an AUC, (m, n, k), and the labels (n, k): of two classes the gap of the logits."""
    z = np.stack(logits).astype(np.float64)
    if labels.ndim == 1 and z.shape[2] == 2:
        z = z[:, :, 1:] - z[:, :, :1]
    return z, labels.reshape(len(labels), -1)


def _permuted(walk: Line, ends: Ends, own: Ends) -> Iterator[str]:
    """An end no better than always naming the commonest class, where the other is: perhaps its classes are permuted."""
    for name in walk.states.names:
        labels = walk.states.labels(name)
        if labels.ndim != 1:
            continue
        chance = 1 - np.unique(labels, return_counts=True)[1].max() / len(labels)
        errors = {end: min(float(wrong(one[end][name].logits, labels).mean()) for one in (ends, own)) for end in ends}
        for end, other in (("a", "b"), ("b", "a")):
            if errors[end] >= chance and errors[other] < 0.8 * chance:
                yield (
                    f"Network {end} is no better on '{name}' than always naming the commonest class, network {other} "
                    "is: were they trained with their classes in the same order?"
                )
