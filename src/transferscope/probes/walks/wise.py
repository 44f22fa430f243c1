"""WiSE-FT: the line from the pretrained network to the fine-tuned one, on the target's images and on others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.intervals import wilson
from transferscope.models.weights import belongs
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm, statistics_words
from transferscope.probes.inputs.weights import classifier
from transferscope.probes.walks.basis import beside
from transferscope.probes.walks.states import States
from transferscope.probes.weights.combine import Net, combine, opened, same_architecture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WiseFT(result.Saved):
    """Networks (1 - alpha) start + alpha tuned in the body, all with the tuned network's head, on D data sets.

    `alphas` (m,), ascending. `metric` in [0, 1] and `loss`, the cross-entropy in nats, are (D, m); `low` and `high`
    (D, m) bound the accuracy over images (Wilson, 95%; NaN for an AUC). `own`, `own_loss` (D, 2): of alpha 0 and 1 with
    the batch-norm statistics that the start and the tuned network came with; `notes` tell where that differs from the
    basis of the curve by more than chance. `images` (D,) counts them.
    """

    alphas: Array
    metric: Array
    loss: Array
    low: Array
    high: Array
    own: Annotated[Array, result.Later(("images", 2))]
    own_loss: Annotated[Array, result.Later(("images", 2))]
    images: NDArray[np.int64]
    data: tuple[str, ...]
    metric_name: str
    head_names: tuple[str, ...]
    batch_norm: str
    notes: tuple[str, ...] = ()

    def best(self, data: str | None = None) -> float:
        """The alpha of the highest metric on a data set (the first one); chosen on these very images."""
        if (name := data or self.data[0]) not in self.data:
            raise UserError(f"wise_ft: no data set '{name}' was evaluated, only {', '.join(self.data)}.")
        metric = self.metric[self.data.index(name)]
        if np.isnan(metric).all():
            raise UserError(
                f"wise_ft: the {self.metric_name} of '{name}' is undefined (one class only?): no best alpha."
            )
        return float(self.alphas[np.nanargmax(metric)])

    def table(self) -> pl.DataFrame:
        """One row per data set and alpha: data, alpha, metric, low, high, loss, and at alpha 0 and 1 own_metric and
        own_loss with the batch-norm statistics these networks came with."""
        rows = [
            {
                "data": name,
                "alpha": float(alpha),
                "metric": float(self.metric[d, i]),
                "low": float(self.low[d, i]),
                "high": float(self.high[d, i]),
                "loss": float(self.loss[d, i]),
                "own_metric": float(self.own[d, int(alpha)]) if alpha in (0, 1) else None,
                "own_loss": float(self.own_loss[d, int(alpha)]) if alpha in (0, 1) else None,
            }
            for d, name in enumerate(self.data)
            for i, alpha in enumerate(self.alphas)
        ]
        kinds = dict.fromkeys(("own_metric", "own_loss"), pl.Float64)
        return pl.DataFrame(rows, schema_overrides=kinds).with_columns(pl.selectors.float().fill_nan(None))

    def chart(self) -> Any:
        """The metric along the line, one curve per data set."""
        low, high = ("low", "high") if np.isfinite(self.low).all() else (None, None)
        title = "share of the way from the start to the tuned network"
        return charts.lines(
            self.table(),
            "alpha",
            "metric",
            "data",
            x_title=title,
            y_title=self.metric_name,
            percent=True,
            low=low,
            high=high,
        )


def wise_ft(
    start: Net,
    tuned: Net,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    alphas: int | Sequence[float] = 11,
    head: str | Sequence[str] | None = None,
    statistics: Iterable[Any] | None = None,
    batch_norm: BatchNorm = "refresh",
    precision: str = "float32",
    images: int = 250,
    like: nn.Module | None = None,
) -> WiseFT:
    """Walk from the pretrained `start` to `tuned` (Wortsman et al. 2022, WiSE-FT, section 3) and score every point.

    `start` has no head for the target, so every point has the head of `tuned` (`head` names it when it is not found
    by itself), alpha = 0 too: that is the pretrained body under the tuned head. `batches` are (x, labels), or several
    such under names (the target's images first, then those of other domains with the same classes). `alphas`: a count
    of even steps over [0, 1], or values. The curve has one basis: batch norm's statistics are re-estimated at every
    point, the ends too, on `images` images of `statistics` (by default of the first batches). `start` and `tuned` are
    networks or state dicts; `like` is a network of the form of `tuned`, needed where both are state dicts: its own
    values do not matter. Nothing given is changed. Raises UserError for bodies that do not fit.
    """
    net, states = opened("wise_ft", {"tuned": tuned, "start": start}, like)
    start, tuned = states["start"], states["tuned"]
    try:
        given = np.asarray(alphas)
        whole = given.ndim == 0 and given.dtype.kind in "iu"
        values = np.linspace(0, 1, max(int(given), 0)) if whole else np.unique(given.astype(np.float64))
    except (TypeError, ValueError):
        values = np.zeros(0)
    if len(values) < 2 or np.ndim(alphas) > 1 or not np.isfinite(values).all():
        raise UserError("wise_ft: alphas must be at least two finite numbers, or their count (2 or more).")
    heads = classifier(net) if head is None else (head,) if isinstance(head, str) else tuple(head)
    body = {name: tensor for name, tensor in start.items() if not belongs(name, heads)}
    first = body | {name: tensor for name, tensor in tuned.items() if belongs(name, heads)}
    same_architecture("wise_ft", net, {"the tuned network": tuned, "the start": first})
    with States(net, batches, statistics=statistics, batch_norm=batch_norm, precision=precision, images=images) as ask:
        points = [
            ask(combine([first, tuned], [1 - alpha, alpha]), place=f"alpha {alpha:g}") for alpha in values.tolist()
        ]
        ends = {"start": first, "tuned": tuned}
        at = {word: values.tolist().index(alpha) for word, alpha in (("start", 0.0), ("tuned", 1.0)) if alpha in values}
        now = {word: points[at[word]] if word in at else ask(ends[word], place=word) for word in ends}
        own, notes = beside(ask, ends, now)
        owns = np.array([[[one[d].metric, one[d].loss.mean()] for one in own.values()] for d in ask.names])
        counts = np.array([ask.count(name) for name in ask.names])
        curves = np.array([[[p[name].metric, p[name].loss.mean()] for p in points] for name in ask.names])
        bounds = np.full((2, *curves.shape[:2]), np.nan)
        if ask.metric == "accuracy":
            for d, name in enumerate(ask.names):
                for i, point in enumerate(points):
                    found = wilson(len(point[name].wrong) - int(point[name].wrong.sum()), int(counts[d]))
                    bounds[:, d, i] = found.low, found.high
        return WiseFT(
            alphas=values,
            metric=curves[..., 0],
            loss=curves[..., 1],
            low=bounds[0],
            high=bounds[1],
            images=counts,
            own=owns[..., 0],
            own_loss=owns[..., 1],
            data=ask.names,
            metric_name=ask.metric,
            head_names=heads,
            batch_norm=statistics_words("mixture", batch_norm, ask.has_batch_norm),
            notes=notes,
        )
