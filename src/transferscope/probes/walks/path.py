"""The line between two networks: loss, error and metric along it and beyond its ends, and the barriers it crosses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import answers, charts
from transferscope.errors import UserError
from transferscope.measures.intervals import Interval
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm
from transferscope.probes.walks.curves import measured
from transferscope.probes.walks.line import Head, chosen_alphas, ends, line
from transferscope.probes.walks.refine import COARSE, check, refined
from transferscope.probes.weights.combine import Net

Array = NDArray[np.float64]
Measure = Literal["error", "loss"]
KINDS = ("frankle", "entezari")


@dataclass(frozen=True)
class LinearPath(result.Saved):
    """Two networks a (alpha 0) and b (alpha 1) and the networks (1 - alpha) a + alpha b on the D data sets `names`.

    Per data set and alpha (D, m): `loss` (mean cross-entropy, nats), `error` (share wrong, in [0, 1]; under a `metric`
    that the batches bring, other than accuracy and AUC, what it lacks of its best) and `score`, the metric itself (an
    error negative; NaN where undefined). `own_loss`, `own_error`, `own_score` (D, 2): those of
    a and b with the batch-norm statistics they came with, beside the line's ends; `differs` (D, 2): whether their
    mistakes differ by more than chance (`probes.walks.basis.differ`). `n` (D,) images. `heights` (D, measures, 2, 4):
    of each of `measures` ("error", "loss", and "1 - auc" where the metric is one) Frankle's and Entezari's barrier on
    [0, 1]: height, chosen on some images and read on others, low and high of its interval over images (results saved by
    earlier versions: the largest value on all, and its bootstrap), alpha of the supremum over all images. `grid_error`:
    the tolerance that was reached, how far above the highest alpha tried Entezari's barrier of `measure` may still rise
    between them, by the bend of the curve and by images that change one by one (95%). `batch_norm` and `head` say in
    words what became of the statistics and the head; `notes` what to beware of.
    """

    alphas: Array
    loss: Array
    error: Array
    score: Array
    own_loss: Annotated[Array, result.Later(("n", 2))]
    own_error: Annotated[Array, result.Later(("n", 2))]
    own_score: Annotated[Array, result.Later(("n", 2))]
    differs: Annotated[Array, result.Later(("n", 2))]
    n: NDArray[np.int64]
    heights: Array
    names: tuple[str, ...]
    metric: str
    measures: tuple[str, ...]
    measure: str
    grid_error: float
    batch_norm: str
    head: str
    precision: str
    notes: tuple[str, ...]

    def barrier(self, data: str | None = None, measure: str = "error", kind: str = "entezari") -> Interval:
        """Barrier height on a data set (default: the first), with its 95% interval and the number of images."""
        d, m, k = self._place(data, measure, kind)
        height, low, high, _ = (float(v) for v in self.heights[d, m, k])
        if np.isnan(height):
            return Interval(height, None, None, int(self.n[d]), "the metric is undefined here")
        return Interval(height, low, high, int(self.n[d]))

    def at(self, data: str | None = None, measure: str = "error", kind: str = "entezari") -> float:
        """The alpha in [0, 1] where that barrier's supremum lies."""
        d, m, k = self._place(data, measure, kind)
        return float(self.heights[d, m, k, 3])

    def barriers(self) -> pl.DataFrame:
        """One row per data set, measure and definition: data, measure, barrier, height, low, high, alpha, n."""
        rows = [
            {
                "data": name,
                "measure": measure,
                "barrier": kind,
                **{
                    c: result.number(v)
                    for c, v in zip(("height", "low", "high", "alpha"), self.heights[d, m, k], strict=True)
                },
                "n": int(self.n[d]),
            }
            for d, name in enumerate(self.names)
            for m, measure in enumerate(self.measures)
            for k, kind in enumerate(KINDS)
        ]
        return pl.DataFrame(rows, schema_overrides=dict.fromkeys(("height", "low", "high", "alpha"), pl.Float64))

    def table(self) -> pl.DataFrame:
        """One row per data set and alpha: data, alpha, loss, error, score, metric, n, and at alpha 0 and 1 own_loss,
        own_error and own_score of the networks with the batch-norm statistics they came with."""
        parts = [
            pl.DataFrame(
                {
                    "data": [name] * len(self.alphas),
                    "alpha": self.alphas,
                    "loss": self.loss[d],
                    "error": self.error[d],
                    "score": pl.Series(self.score[d]).fill_nan(None),
                    "metric": [self.metric] * len(self.alphas),
                    "n": [int(self.n[d])] * len(self.alphas),
                    **{
                        f"own_{word}": self._at_ends(own[d])
                        for word, own in (("loss", self.own_loss), ("error", self.own_error), ("score", self.own_score))
                    },
                }
            )
            for d, name in enumerate(self.names)
        ]
        return pl.concat(parts)

    def chart(self) -> Any:
        """Metric and loss along the line, a colour per data set."""
        rows, x, how = self.table(), "alpha (0: a, 1: b)", answers.metric(self.metric)
        known = rows.drop_nulls("score").with_columns(pl.col("score") * how.told(1.0))
        score = charts.lines(known, "alpha", "score", "data", x_title=x, y_title=self.metric, percent=how.share)
        return charts.beside(score, charts.lines(rows, "alpha", "loss", "data", x_title=x, y_title="loss (nats)"))

    def _at_ends(self, own: Array) -> pl.Series:
        values = [result.number(own[int(alpha)]) if alpha in (0, 1) else None for alpha in self.alphas]
        return pl.Series(values, dtype=pl.Float64)

    def _place(self, data: str | None, measure: str, kind: str) -> tuple[int, int, int]:
        places = []
        for word, known in (
            (self.names[0] if data is None else data, self.names),
            (measure, self.measures),
            (kind, KINDS),
        ):
            if word not in known:
                raise UserError(f"path: there is no '{word}' here; known: {', '.join(known)}.")
            places.append(known.index(word))
        return places[0], places[1], places[2]


def path(
    a: Net,
    b: Net,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    alphas: int | Sequence[float] | Literal["adaptive"] = "adaptive",
    statistics: Iterable[Any] | None = None,
    batch_norm: BatchNorm = "refresh",
    head: Head = "own",
    precision: str = "float32",
    tolerance: float = 0.01,
    measure: Measure = "error",
    seed: int = 0,
    images: int = 250,
    like: nn.Module | None = None,
) -> LinearPath:
    """Evaluate (1 - alpha) a + alpha b over the whole state, heads and buffers included (Neyshabur et al. 2020, s. 4).

    `batches` of (x, labels), or several data sets by name (train and test; the domains of a cross-domain line).
    `alphas`: how many, evenly from 0 to 1 with both ends (the paper: 50); a list, beyond [0, 1] to extrapolate, to
    which 0 and 1 are added; or "adaptive": 9, then more wherever the curve bends or a barrier of `measure` (or, with
    "error", of the AUC) could exceed the one found by more than `tolerance`, by its bend or by the raggedness of few
    images, at most 129 (`grid_error`: what Entezari's may yet; a note where that is more than `tolerance`).

    The line has one basis: `batch_norm` holds for every alpha, 0 and 1 too. "refresh" re-estimates the statistics on
    `images` images of `statistics` (training images, shuffled; default: spread over the first data set, which `notes`
    tell); "average" interpolates them, "first" and "last" take those of a or b. What a and b score with the statistics
    they came with stands beside (`own_error`, ...), and `notes` tell where that differs by more than chance.
    `head`: "own" moves the head with the rest; "a" or "b" keeps that network's at every alpha. Integer buffers are a's.
    `a` and `b` are networks or state dicts; `like` is a network of their form (with the head of b for head="b"), needed
    where both are state dicts: its own values do not matter. All are left as found. `seed` draws the folds and the
    resamples of the images (`measures.crossfit`). Raises
    UserError for networks of different architecture, weights or outputs that are not finite, data without labels, and
    impossible alphas.
    """
    net, a, b = ends("path", a, b, head, like)
    check(measure, tolerance)
    asked = chosen_alphas(COARSE if isinstance(alphas, str) and alphas == "adaptive" else alphas)
    with line(
        "path",
        net,
        a,
        b,
        batches,
        statistics=statistics,
        batch_norm=batch_norm,
        head=head,
        precision=precision,
        images=images,
    ) as walk:
        found = {alpha: walk(alpha) for alpha in asked}
        left = refined(found, walk if isinstance(alphas, str) else None, measure, tolerance, walk.states.whole)
        own = walk.own() if walk.apart else {"a": found[0.0], "b": found[1.0]}
        values = measured(walk, found, own, seed)
        if isinstance(alphas, str) and left > tolerance:
            values["notes"] += (
                f"The tolerance of {tolerance:g} was not reached: on these images the barrier of the {measure} may be "
                f"up to {left:.2g} higher between two alphas (95%), for a curve of few images goes up and down by "
                "single ones.",
            )
        return LinearPath(**values, measure=measure, grid_error=left)
