"""Mistakes: do two networks fail on the same samples, more than their accuracies alone would make them?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures import agreement
from transferscope.measures.agreement import Agreement
from transferscope.models.floats import wide
from transferscope.probes import result
from transferscope.probes.answers.predictions import Predictions
from transferscope.probes.inputs.given import column
from transferscope.probes.inputs.labels import read_labels

COUNTS = {
    "n": pl.Int64,
    "wrong_a": pl.Int64,
    "wrong_b": pl.Int64,
    "common": pl.Int64,
    "only_a": pl.Int64,
    "only_b": pl.Int64,
}
INDICES = ("jaccard", "share_a", "share_b", "expected", "expected_jaccard", "kappa", "mcnemar")


@dataclass(frozen=True)
class Mistakes(result.Saved):
    """Mistakes of networks a and b on n samples: all together first, then by class (multi-label: by label).

    Arrays per group (G,), in the order of `groups`: `n` answers, `common` wrong in both, `only_a` and `only_b` wrong
    in one. Sample indices, ascending: `both_wrong`, `only_a_wrong`, `only_b_wrong` (multi-label: any label wrong).
    Every index derived from the counts (`measures.agreement`) is in `table()` and `overall`. `notes`: how the labels
    were read, and what else is worth knowing.
    """

    n: NDArray[np.int64]
    common: NDArray[np.int64]
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]
    both_wrong: NDArray[np.int64]
    only_a_wrong: NDArray[np.int64]
    only_b_wrong: NDArray[np.int64]
    groups: tuple[str, ...]
    multilabel: bool = False
    notes: tuple[str, ...] = ()

    @property
    def overall(self) -> Agreement:
        """All answers together: counts, Jaccard, Cohen's kappa, McNemar's p and what independence would give."""
        return self._group(0)

    def _group(self, i: int) -> Agreement:
        return Agreement(self.groups[i], int(self.n[i]), int(self.common[i]), int(self.only_a[i]), int(self.only_b[i]))

    def table(self) -> pl.DataFrame:
        """One row per group, "all" first: counts, the indices, and the values expected if errors were independent."""
        rows = [self._group(i).row() for i in range(len(self.groups))]
        schema = {"group": pl.String, **COUNTS, **dict.fromkeys(INDICES, pl.Float64)}
        return pl.DataFrame(rows, schema=schema)

    def chart(self) -> Any:
        """Cohen's kappa of the errors by group: 0 is what independence gives."""
        rows = self.table().drop_nulls("kappa")
        return charts.dots(rows, "group", "kappa", value_title="kappa of the two error patterns", reference=0.0)


def mistakes(
    a: Predictions | ArrayLike,
    b: Predictions | ArrayLike,
    labels: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    *,
    multilabel: bool | None = None,
    metric: str | None = None,
) -> Mistakes:
    """Common and separate mistakes of two networks on the same samples in the same order.

    `a` and `b` are results of `predictions`, or logits (n, k) with `labels` given: (n,) class indices, or (n, k) of
    0/1 for multi-label answers; `labels.read_labels` tells how these are read, `multilabel` decides where one 1 a row
    could be either, and with a `metric` (as of `Batch`) -1 is a label that is not known. `names` are the classes in
    index order. Predictions must carry equal labels and either equal ids or equal inputs: that both saw the same
    samples is checked, not assumed. Raises UserError else, and for labels or names that are not those of the outputs.
    """
    first, second = (_predictions(one, labels, multilabel, metric) for one in (a, b))
    _same_samples(first, second)
    y = first.labels
    _named(first, second, names)
    by_group = agreement.by_label if first.multilabel else agreement.by_class
    try:
        found = by_group(first.predicted, second.predicted, y, names)
    except ValueError as error:
        raise UserError(f"mistakes: {error}") from None
    wrong = [p.wrong.any(1) if p.multilabel else p.wrong for p in (first, second)]
    places = agreement.examples(*wrong)
    return Mistakes(
        n=np.array([g.n for g in found]),
        common=np.array([g.common for g in found]),
        only_a=np.array([g.only_a for g in found]),
        only_b=np.array([g.only_b for g in found]),
        both_wrong=places["common"],
        only_a_wrong=places["only_a"],
        only_b_wrong=places["only_b"],
        groups=tuple(g.group for g in found),
        multilabel=first.multilabel,
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
    )


def _predictions(
    given: Predictions | ArrayLike, labels: ArrayLike | None, multilabel: bool | None, metric: str | None
) -> Predictions:
    none = np.zeros(0, dtype=np.uint64)
    if isinstance(given, Predictions):
        if labels is None:
            if not len(given.labels):
                raise UserError("mistakes: the batches had no labels, so there is no telling right from wrong.")
            return given
        logits, ids, samples, notes = given.logits, given.ids, given.samples, given.notes
    elif labels is None:
        raise UserError("mistakes: logits need labels=; without them give results of predictions().")
    else:
        try:
            logits = np.asarray(wide(given.detach()).cpu() if isinstance(given, Tensor) else given, dtype=np.float32)
        except (TypeError, ValueError):
            raise UserError(
                f"mistakes: give results of predictions(), or logits (samples, outputs), not a {type(given).__name__}."
            ) from None
        ids, samples, notes = none, none, ()
    y = column(labels)
    if y is None or logits.ndim != 2 or not y.ndim or len(logits) != len(y):
        shape = "nothing" if y is None else y.shape
        raise UserError(f"mistakes: outputs {logits.shape} and labels {shape} are not of the same samples.")
    read = read_labels(y, logits.shape[1], "mistakes", multilabel, metric)
    return Predictions(logits, read.values, ids, samples, (*notes, *read.notes))


def _named(a: Predictions, b: Predictions, names: Sequence[str] | None) -> None:
    """Raise UserError unless every answer has its label, and every label a name where there are names."""
    y, widths = a.labels, (a.logits.shape[1], b.logits.shape[1])
    if widths[0] != widths[1]:
        raise UserError(f"mistakes: the networks have {widths[0]} and {widths[1]} outputs; compare those of one task.")
    if a.multilabel:
        if names is not None and len(names) != y.shape[1]:
            raise UserError(f"mistakes: {len(names)} names for {y.shape[1]} labels; give one for each.")
    elif len(y) and names is not None and y.max() >= len(names):
        raise UserError(f"mistakes: {len(names)} names, but a label is {y.max()}; give a name for every class.")


def _same_samples(a: Predictions, b: Predictions) -> None:
    column = "ids" if len(a.ids) and len(b.ids) else "samples"
    x, y = getattr(a, column), getattr(b, column)
    if np.array_equal(np.sort(x), np.sort(y)) and not np.array_equal(x, y):
        raise UserError(
            "mistakes: both networks saw the same samples in different orders; do not shuffle the batches "
            "(a loader with shuffle=False keeps one order)."
        )
    if not np.array_equal(a.labels, b.labels):
        raise UserError("mistakes: the labels of the two differ; both networks must see the same samples in one order.")
    if np.array_equal(x, y) or (not len(x) and not len(y)):
        return
    hint = "" if column == "ids" else " (if the inputs differ on purpose, batches (x, labels, ids) say which is which)"
    raise UserError(f"mistakes: the two networks saw different samples{hint}.")
