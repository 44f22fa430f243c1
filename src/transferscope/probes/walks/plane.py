"""Plane: metric and loss on the two-dimensional plane through three networks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.devices import exact
from transferscope.errors import UserError
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm, statistics_words
from transferscope.probes.walks.basis import beside
from transferscope.probes.walks.states import States
from transferscope.probes.weights.combine import Net, State, combine, inner, opened, same_architecture, trained

Array = NDArray[np.float64]
FLAT = 1e-6  # of c's distance from a: with less of it off the line a, b the three do not span a plane


@dataclass(frozen=True)
class Plane(result.Saved):
    """A grid on the plane through networks a, b and c, in units of L2 distance between trainable parameters.

    `x` (columns,) runs along the line from a to b, `y` (rows,) at a right angle to it on c's side. `metric` in [0, 1]
    and `loss`, the cross-entropy in nats, are (rows, columns). `points` (3, 2): where a, b and c lie; `at`, `at_loss`
    (3,): their scores on the plane's basis, with statistics as everywhere on the grid; `own`, `own_loss` (3,): with
    the batch-norm statistics they came with. `notes` tell where the two differ by more than chance.
    """

    x: Array
    y: Array
    metric: Array
    loss: Array
    points: Array
    at: Annotated[Array, result.Later((3,))]
    at_loss: Annotated[Array, result.Later((3,))]
    own: Annotated[Array, result.Later((3,))]
    own_loss: Annotated[Array, result.Later((3,))]
    metric_name: str
    batch_norm: str
    images: int
    notes: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """One row per point of the grid: x, y, metric, loss; y descending, as it is drawn."""
        rows = [
            {"x": float(x), "y": float(self.y[i]), "metric": float(self.metric[i, j]), "loss": float(self.loss[i, j])}
            for i in reversed(range(len(self.y)))
            for j, x in enumerate(self.x)
        ]
        return pl.DataFrame(rows).with_columns(pl.col("metric").fill_nan(None))

    def chart(self) -> Any:
        """The metric as a map; the cells nearest to the networks are named on the axes."""
        cells = self.table().with_columns(
            pl.col(axis).replace_strict(self._labels(values, i), return_dtype=pl.String)
            for i, (axis, values) in enumerate((("x", self.x), ("y", self.y)))
        )
        return charts.heat(
            cells,
            "x",
            "y",
            "metric",
            percent=True,
            value_title=self.metric_name,
            x_title="L2 distance along the line from a to b",
            y_title="L2 distance off that line, towards c",
        )

    def _labels(self, values: Array, axis: int) -> dict[float, str]:
        step = max(float(values[1] - values[0]), 1e-300)
        digits = max(0, 1 - math.floor(math.log10(step)))
        near: dict[int, str] = {}
        for letter, place in zip("abc", self.points[:, axis], strict=True):
            i = int(np.abs(values - place).argmin())
            near[i] = f"{near[i]}, {letter}" if i in near else letter
        return {float(v): f"{v:.{digits}f}" + (f" ({near[i]})" if i in near else "") for i, v in enumerate(values)}


def plane(
    a: Net,
    b: Net,
    c: Net,
    batches: Iterable[Any],
    *,
    steps: int = 11,
    margin: float = 0.25,
    statistics: Iterable[Any] | None = None,
    batch_norm: BatchNorm = "refresh",
    precision: str = "float32",
    images: int = 250,
    like: nn.Module | None = None,
) -> Plane:
    """Score a `steps` x `steps` grid on the plane through three networks (Garipov et al. 2018, section 3).

    The basis is orthonormal over trainable parameters: b - a, then c - a without its part along b - a, in float64.
    The grid covers the three points and `margin` of their extent on every side. Batch norm's statistics are
    re-estimated at every point of the grid, and for the three networks themselves, on `images` images of `statistics`
    (by default of `batches`); "as found" combines them like the weights. The three are networks or state dicts; `like`
    is a network of their form, needed where all are state dicts: its own values do not matter. Nothing given is
    changed. Raises UserError for networks that do not fit or lie on one line.
    """
    net, states = opened("plane", {"a": a, "b": b, "c": c}, like)
    a, b, c = states["a"], states["b"], states["c"]
    if steps < 2 or not (math.isfinite(margin) and margin >= 0):
        raise UserError(f"plane: steps must be at least 2 and margin 0 or more, not {steps} and {margin}.")
    same_architecture("plane", net, states)
    points = _points(net, a, b, c)
    x, y = (_axis(points[:, i], steps, margin) for i in (0, 1))
    (bx, _), (cx, cy) = points[1], points[2]
    with States(net, batches, statistics=statistics, batch_norm=batch_norm, precision=precision, images=images) as ask:
        if len(ask.names) > 1:
            raise UserError("plane: give the batches of one data set; for several call it once for each.")
        name, found = ask.names[0], np.empty((2, steps, steps))
        for i, v in enumerate(y.tolist()):
            for j, u in enumerate(x.tolist()):
                q = v / cy
                p = (u - q * cx) / bx
                one = ask(combine([a, b, c], [1 - p - q, p, q]), place=f"point ({u:.3g}, {v:.3g})")[name]
                found[:, i, j] = one.metric, one.loss.mean()
        now = {word: ask(state, place=word) for word, state in states.items()}
        own, notes = beside(ask, states, now)
        return Plane(
            x=x,
            y=y,
            metric=found[0],
            loss=found[1],
            points=points,
            at=np.array([one[name].metric for one in now.values()]),
            at_loss=np.array([one[name].loss.mean() for one in now.values()]),
            own=np.array([one[name].metric for one in own.values()]),
            own_loss=np.array([one[name].loss.mean() for one in own.values()]),
            metric_name=ask.metric,
            batch_norm=statistics_words("mixture", batch_norm, ask.has_batch_norm),
            images=ask.count(name),
            notes=notes,
        )


def _points(net: nn.Module, a: State, b: State, c: State) -> Array:
    """Coordinates (3, 2) of the networks by Gram-Schmidt."""
    names = trained(net)
    bb, bc, cc = inner(a, b, a, b, names), inner(a, b, a, c, names), inner(a, c, a, c, names)
    if not bb or not cc:
        raise UserError(f"plane: a and {'c' if bb else 'b'} have the same weights; give three different networks.")
    off = _off(net, a, b, c, bc / bb)
    if off <= FLAT * math.sqrt(cc):
        raise UserError("plane: the three networks lie on one line and span no plane; walk the line instead.")
    return np.array([[0.0, 0.0], [math.sqrt(bb), 0.0], [bc / math.sqrt(bb), off]])


def _off(net: nn.Module, a: State, b: State, c: State, share: float) -> float:
    """The length of c - a - share (b - a), summed entry by entry: a difference of squares would lose what is small."""
    total = 0.0
    for name in trained(net):
        start, along, aside = (exact(state[name].detach()).flatten().cpu() for state in (a, b, c))
        total += float(((aside - start) - share * (along - start)).square().sum())
    return math.sqrt(total)


def _axis(places: Array, steps: int, margin: float) -> Array:
    low, high = float(places.min()), float(places.max())
    return np.linspace(low - margin * (high - low), high + margin * (high - low), steps)
