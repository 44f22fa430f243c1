"""The barrier on the line between two networks alone, to a stated tolerance, from as few evaluations as that needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.halving import search
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm
from transferscope.probes.walks.basis import remarks, sources
from transferscope.probes.walks.line import Head, ends, line
from transferscope.probes.walks.path import Measure
from transferscope.probes.walks.refine import check
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.states import DATA
from transferscope.probes.weights.combine import Net
from transferscope.random_streams import stream

Array = NDArray[np.float64]
ENDS = {0.0: "a", 1.0: "b"}
ADDED = ("accuracy", "auc", "r2", "mae")  # metrics whose errors are means over images, however few of them


@dataclass(frozen=True)
class LineBarrier(result.Saved):
    """Entezari's barrier of `measure` ("error" or "loss") over the `n` images given.

    The value over all n images and all alphas lies in [`low`, `high`], at most two `tolerance` wide: at z = 3 for the
    images left out, and between alphas by the curve's bend and by as much as single images make it stray on average
    (they may make it stray an image or two further). `height`, seen at `alpha`, is the best guess. These
    bounds speak of these n images, not of others: for that see `path`. Per alpha tried: `alphas`, the estimated
    `excess` over the chord, and the number of images `seen`. `ends`, `own` (2,): the measure of a and b on the first
    images, as the line has them and with the batch-norm statistics they came with; `notes` tell where the two differ
    by more than chance. `evaluated` images went through the network to be scored, `refreshed` to re-estimate batch
    norm's statistics.
    """

    height: float
    low: float
    high: float
    alpha: float
    tolerance: float
    n: int
    evaluated: int
    refreshed: int
    alphas: Array
    excess: Array
    seen: NDArray[np.int64]
    ends: Annotated[Array, result.Later((2,))]
    own: Annotated[Array, result.Later((2,))]
    measure: str
    batch_norm: str
    head: str
    precision: str
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> float:
        """Images scored over images given: what a full curve needs once per alpha."""
        return self.evaluated / self.n

    def table(self) -> pl.DataFrame:
        """One row per alpha tried: alpha, excess, seen."""
        return pl.DataFrame({"alpha": self.alphas, "excess": self.excess, "seen": self.seen})

    def chart(self) -> Any:
        """Excess over the chord at every alpha tried."""
        return charts.lines(
            self.table(),
            "alpha",
            "excess",
            x_title="alpha (0: a, 1: b)",
            y_title=f"{self.measure} above the chord",
            percent=self.measure == "error",
            reference=0.0,
        )


def line_barrier(
    a: Net,
    b: Net,
    batches: Iterable[Any],
    *,
    tolerance: float = 0.01,
    measure: Measure = "error",
    statistics: Iterable[Any] | None = None,
    batch_norm: BatchNorm = "refresh",
    head: Head = "own",
    precision: str = "float32",
    seed: int = 0,
    images: int = 250,
    like: nn.Module | None = None,
) -> LineBarrier:
    """How high the line from a to b rises above the chord between its ends (Entezari et al. 2022), between two bounds
    at most two tolerances apart.

    Alphas are judged on few images first and only those where the supremum may lie see more: see
    `measures.halving.search`. Give a torch `Dataset` of (x, label) as `batches`, and images that are not needed are not
    read. The error must be a mean over images: under a metric that is none (macro F1, ...) it is refused; of a mean
    absolute error the tolerance is a share of the numbers' deviation. All other arguments are those of `path` (`a` and
    `b` may be state dicts), and so is the one basis of the line; `seed` draws the order of the images. A spike narrower
    than about a sixth of the line can be missed: for a curve to look at use `path`.
    """
    net, a, b = ends("line_barrier", a, b, head, like)
    check(measure, tolerance)
    if isinstance(batches, Mapping):
        raise UserError("batches: a barrier to a tolerance is that of one data set; give its batches, not several.")
    with line(
        "line_barrier",
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
        n = walk.states.count(DATA)
        order = stream(seed, "line barrier").permutation(n)
        first: dict[str, dict[str, Scored]] = {}

        at = walk.states
        if measure == "error" and at.metric not in ADDED:
            raise UserError(
                f"batches: {at.metric} is no mean over images, of which this looks at a few at a time; take path()."
            )
        unit = at.whole if measure == "error" else 1.0

        def value(scored: Scored) -> Array:
            return scored.wrong if measure == "error" else scored.loss

        def values(alpha: float, start: int, stop: int) -> Array:
            found = walk(alpha, {DATA: order[start:stop]})
            if alpha in ENDS and not start:
                first[ENDS[alpha]] = found
            return value(found[DATA])

        found = search(values, n, tolerance=tolerance * unit)
        own = walk.own({DATA: order[: len(first["a"][DATA].wrong)]}) if walk.apart else first
        return LineBarrier(
            height=found.height,
            low=found.low,
            high=found.high,
            alpha=found.alpha,
            tolerance=tolerance,
            n=n,
            evaluated=at.evaluated,
            refreshed=at.refreshed,
            alphas=found.alphas,
            excess=found.excess,
            seen=found.seen,
            measure=measure,
            batch_norm=walk.batch_norm_words,
            head=walk.head_words,
            precision=at.precision_words,
            ends=np.array([value(first[end][DATA]).mean() for end in ENDS.values()]),
            own=np.array([value(own[end][DATA]).mean() for end in ENDS.values()]),
            notes=(
                *remarks(own, first, at.metric, walk.batch_norm_words, at.names),
                *sources(at, walk.batch_norm == "refresh"),
            ),
        )
