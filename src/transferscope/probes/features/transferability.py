"""Transferability: cheap scores of how well a network would transfer to labelled images, without fine-tuning it."""

import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from transferscope import answers, charts
from transferscope.errors import UserError
from transferscope.measures import judged
from transferscope.measures.factored import Factored, factored
from transferscope.measures.h_score import h_score, shrunk_h_score
from transferscope.measures.logme import logme
from transferscope.measures.ridge import ridge
from transferscope.measures.scores import SCORES, leep, nce, neighbour_accuracy, softmax
from transferscope.probes import result
from transferscope.probes.features.penultimate import Penultimate, penultimate
from transferscope.probes.weights.combine import Net, built

QUERIES = 2_000  # images whose neighbours are looked for, among all


@dataclass(frozen=True)
class Transferability(result.Saved):
    """Scores of one network for one labelled set, from its penultimate features; of all of them, higher is better.

    `probe_metric`: `metric` ("accuracy", "auc", "r2", ...) of a ridge regression on held-out images. `neighbours`:
    accuracy of the 5 nearest others by cosine. `logme`, `h_score`, `shrunk_h_score`: see `measures`. `leep`, `nce`:
    from the source head with its `source_classes`, None without one. Multi-label: `h_score` and its twin are means over
    labels; `neighbours`, `leep` and `nce`, which are for exclusive classes, are None, of numbers the H-scores too.
    `images` were scored in `dimensions`.
    """

    probe_metric: float | None
    neighbours: float | None
    logme: float
    h_score: float | None
    shrunk_h_score: float | None
    leep: float | None
    nce: float | None
    metric: str
    images: int
    held_out: int
    dimensions: int
    source_classes: int | None
    notes: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """One row per score: score, value (null where there is none)."""
        return pl.DataFrame(
            {"score": list(SCORES.values()), "value": [getattr(self, name) for name in SCORES]},
            schema={"score": pl.String, "value": pl.Float64},
        )

    def chart(self) -> Any:
        """The scores that are shares: linear probe and nearest neighbours."""
        rows = self.table().head(2).drop_nulls()
        return charts.bars(rows, "score", "value", percent=answers.metric(self.metric).share, value_title=self.metric)


def transferability(
    net: Net,
    train: Iterable[Any],
    held_out: Iterable[Any],
    *,
    head: str | Sequence[str] | None = None,
    source_head: bool = False,
    neighbours: int = 5,
    precision: str = "float32",
    clock: MutableMapping[str, float] | None = None,
    like: nn.Module | None = None,
) -> Transferability:
    """Score `net` for the task of the batches (x, labels, ...): one pass over each, then every score on the features.

    `source_head` says that the head is the one the network was pretrained with: LEEP and NCE need it. `head` and
    `precision` as in `penultimate`. `clock`, if given, is filled with the seconds of the passes and of every score.
    Raises UserError without labels and for features that are not finite.
    """
    net = built("transferability", {"net": net}, like)["net"]
    watch = _watch({} if clock is None else clock)
    with watch("features"):
        a, b = (penultimate(net, batches, head=head, precision=precision) for batches in (train, held_out))
    if not len(a.labels) or not len(b.labels):
        raise UserError("batches: the scores need labels; give tuples (images, labels).")
    try:
        return _scored(a, b, source_head, neighbours, watch)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise UserError(f"{type(net).__name__}: {str(error).rstrip('.')}.") from None


Watch = Callable[[str], Any]


def _scored(a: Penultimate, b: Penultimate, source_head: bool, k: int, watch: Watch) -> Transferability:
    several, numbers = a.labels.ndim == 2, a.labels.dtype.kind == "f"
    if a.labels.shape[1:] != b.labels.shape[1:]:
        raise ValueError("the training labels are of another kind than the held-out ones.")
    if a.labels.dtype.kind != "f" and min(a.labels.min(), b.labels.min()) == answers.MISSING and several:
        raise ValueError("the scores need every label of every image; leave out images with labels that are not known.")
    if not several:  # only which are equal matters: labels may start at 1, or leave gaps
        known, y = np.unique(np.concatenate([a.labels, b.labels]), return_inverse=True)
        a, b = replace(a, labels=y[: len(a.labels)]), replace(b, labels=y[len(a.labels) :])
    classes = a.labels.shape[1] if several else len(known)
    judging = a.metric or answers.usual(answers.kind(a.labels), classes)
    with watch("decomposition"):
        space = factored(a.features)
    found: dict[str, float | None] = dict.fromkeys(SCORES)
    with watch("linear probe"):
        predicted = ridge(space, a.labels, classes).predict(b.features) - (0.5 if judging == "macro_f1" else 0.0)
        found["probe_metric"] = judged.score(predicted, b.labels, judging, b.scale)
    with watch("LogME"):
        found["logme"] = logme(space, a.labels)
    if not numbers:
        with watch("H-score"):
            found["h_score"] = _per_label(h_score, space, a.labels)
        with watch("shrunk H-score"):
            found["shrunk_h_score"] = _per_label(shrunk_h_score, space, a.labels)
    if not several:
        with watch("nearest neighbours"):
            found["neighbours"] = neighbour_accuracy(a.features, a.labels, k, QUERIES)
        if source_head:
            with watch("LEEP and NCE"):
                theta = softmax(a.logits)
                found["leep"], found["nce"] = leep(theta, a.labels), nce(theta, a.labels)
    return Transferability(
        **found,  # type: ignore[arg-type]
        metric=judging,
        images=len(a.labels),
        held_out=len(b.labels),
        dimensions=a.features.shape[1],
        source_classes=a.logits.shape[1] if source_head else None,
        notes=(*dict.fromkeys((*a.notes, *b.notes)), *_overlap(a, b)),
    )


def _overlap(a: Penultimate, b: Penultimate) -> tuple[str, ...]:
    if not (shared := int(np.isin(b.samples, a.samples).sum())):
        return ()
    return (
        f"{shared} of the {len(b.samples)} held-out samples are also among the training ones: the linear probe's "
        "score flatters.",
    )


def _per_label(score: Callable[[Factored, Any], float], space: Factored, labels: np.ndarray) -> float:
    """The score, for several labels the mean over those that are not the same for all images."""
    if labels.ndim == 1:
        return score(space, labels)
    varied = [column for column in labels.T.astype(np.int64) if np.ptp(column)]
    if not varied:
        raise ValueError("every label is the same for all images.")
    return float(np.mean([score(space, column) for column in varied]))


def _watch(clock: MutableMapping[str, float]) -> Watch:
    @contextmanager
    def over(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        clock[name] = time.perf_counter() - began

    return over
