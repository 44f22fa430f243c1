"""Layer-wise connectivity: the barrier between two networks when only one block walks from one to the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.barrier import barrier, never_below_zero
from transferscope.measures.crossfit import highest
from transferscope.measures.intervals import wilson
from transferscope.models.weights import blend
from transferscope.models.weights import distance as l2
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm
from transferscope.probes.blocks.changed_networks import (
    Trials,
    chosen,
    kept,
    own_tensors,
    possible,
    tensors_of,
    trained,
)
from transferscope.probes.walks.scored import Scored
from transferscope.probes.weights.combine import Net, opened
from transferscope.random_streams import stream

Array = NDArray[np.float64]
ALL = "(all)"
HEIGHTS = ("frankle", "entezari", "networks")


@dataclass(frozen=True)
class LayerwiseBarrier(result.Saved):
    """Curves and barriers of D data sets x B blocks x m alphas; the last "block", "(all)", is all of them together.

    `error` (D, B, m) in [0, 1] (several labels: the share that is wrong) and `loss` (D, B, m) in nats, with the named
    block at (1 - alpha) a + alpha b and all others a's. `error_height` and `loss_height` (D, B, 3, 3) are three heights
    in these units, each with the ends of its 95% interval over images: "frankle" and "entezari" of the block's own
    curve (see `measures.barrier`), and "networks": its sup above the chord between the ends of "(all)" (a and b, when
    no block is left out). `distance` (B,): L2 between the parameters, tied ones
    once. NaN where outputs overflow. `batch_norm` says which running statistics every point has, the ends too;
    `own_error` and `own_loss` (D, 2) are what a and b score with those they came with.
    """

    alphas: Array
    error: Array
    loss: Array
    error_height: Array
    loss_height: Array
    distance: Array
    blocks: tuple[str, ...]
    data: tuple[str, ...]
    images: tuple[int, ...]
    batch_norm: str
    precision: str
    skipped: tuple[str, ...] = ()
    own_error: Array = field(default_factory=lambda: np.zeros((0, 2)))  # of results saved before there were any
    own_loss: Array = field(default_factory=lambda: np.zeros((0, 2)))

    def table(self) -> pl.DataFrame:
        """One row per data set, block and quantity ("error", "loss"): each height with `_low` and `_high`, distance."""
        rows = []
        for d, data in enumerate(self.data):
            for b, block in enumerate(self.blocks):
                for word, heights in (("error", self.error_height), ("loss", self.loss_height)):
                    row: dict[str, Any] = {"data": data, "block": block, "quantity": word}
                    for k, kind in enumerate(HEIGHTS):
                        for end, name in enumerate(("", "_low", "_high")):
                            row[kind + name] = result.number(heights[d, b, k, end])
                    rows.append({**row, "distance": float(self.distance[b])})
        return pl.DataFrame(rows, infer_schema_length=None)

    def curves(self) -> pl.DataFrame:
        """One row per data set, block and alpha: error, loss."""
        rows = [
            {
                "data": data,
                "block": block,
                "alpha": float(alpha),
                "error": result.number(self.error[d, b, i]),
                "loss": result.number(self.loss[d, b, i]),
            }
            for d, data in enumerate(self.data)
            for b, block in enumerate(self.blocks)
            for i, alpha in enumerate(self.alphas)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def chart(self, quantity: str = "error") -> Any:
        """Frankle's height of every block on the last data set, with its interval over images."""
        rows = self.table().filter((pl.col("data") == self.data[-1]) & (pl.col("quantity") == quantity))
        return charts.forest(
            rows.drop_nulls("frankle"),
            "block",
            "frankle",
            "frankle_low",
            "frankle_high",
            value_title=f"barrier in {quantity}",
        )


def layerwise_barrier(
    a: Net,
    b: Net,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    alphas: int | Sequence[float] = 11,
    blocks: Sequence[str] | None = None,
    batch_norm: BatchNorm = "refresh",
    statistics: Iterable[Any] | None = None,
    images: int = 250,
    draws: int = 200,
    precision: str = "float32",
    seed: int = 0,
    like: nn.Module | None = None,
) -> LayerwiseBarrier:
    """The barrier when one block of `a` at a time is interpolated to its value in `b` (Adilova et al. 2024).

    `batches` (x, labels): one data set, or several by name. `alphas`: how many evenly spread over [0, 1], or the values
    themselves, 0 and 1 among them. `blocks` names those to walk. `batch_norm` "refresh": running statistics are
    estimated anew at every point, 0 and 1 too, from up to `images` of `statistics`, or else of the first data set;
    "as found": the block's are interpolated with its weights, all others stay a's. Each height is chosen on
    some images and read on others (`measures.crossfit.highest`); that, and `draws` resamples for the intervals, are
    drawn from `seed`.

    `a` and `b` are networks or state dicts; `like` is a network of the form of `a`, needed where both are state dicts:
    its own values do not matter. Nothing given is changed. Raises UserError for two architectures, an unknown block,
    and labels missing.
    """
    net, states = opened("layerwise_barrier", {"a": a, "b": b}, like)
    at = _alphas(alphas)
    start, end = own_tensors("layerwise_barrier", "a", net, a, states["a"]), kept(states["b"])
    trials = Trials(net, batches, batch_norm=batch_norm, statistics=statistics, images=images, precision=precision)
    inner = tensors_of(net, trials.cut)
    asked = [block for block in chosen(trials.cut, blocks) if block.name in inner]
    wanted, skipped = possible("layerwise_barrier", net, {"a": start, "b": end}, asked)
    trials.on(start)
    names, moving = trials.states.names, trained(net)
    counted = trials.states.metric in ("accuracy", "auc")
    parts = {block.name: inner[block.name] for block in wanted}
    parts[ALL] = tuple(name for inside in parts.values() for name in inside)

    first = trials((), {}, "a")
    owns = [trials.own(start), trials.own({**start, **{n: end[n] for n in parts[ALL]}})]
    found: dict[str, list[dict[str, Scored | None]]] = {}
    for name, inside in parts.items():
        of = wanted if name == ALL else chosen(wanted, [name])
        mine, other = ({n: state[n] for n in inside} for state in (start, end))
        found[name] = [first if x == 0 else trials(of, blend(mine, other, x), f"{name} at alpha {x:g}") for x in at]
    curves = {word: np.full((len(names), len(parts), len(at)), np.nan) for word in ("wrong", "loss")}
    heights = {word: np.full((len(names), len(parts), len(HEIGHTS), 3), np.nan) for word in ("wrong", "loss")}
    for d, data in enumerate(names):
        n = trials.states.count(data)
        for word in curves:
            every = _rows(found[ALL], data, word, n)
            for i, block in enumerate(parts):
                rows = _rows(found[block], data, word, n)
                curves[word][d, i] = rows.mean(1)
                heights[word][d, i] = _heights(
                    at, rows, every, draws, seed, 1.0 if word == "wrong" and counted else None
                )
    return LayerwiseBarrier(
        alphas=at,
        error=curves["wrong"],
        loss=curves["loss"],
        error_height=heights["wrong"],
        loss_height=heights["loss"],
        distance=np.array([l2(start, end, [n for n in inside if n in moving]) for inside in parts.values()]),
        blocks=tuple(parts),
        data=names,
        images=tuple(trials.states.count(data) for data in names),
        batch_norm=trials.basis,
        precision=trials.states.precision_words,
        skipped=skipped,
        own_error=_own(owns, names, "wrong"),
        own_loss=_own(owns, names, "loss"),
    )


def _alphas(given: int | Sequence[float]) -> Array:
    at = np.linspace(0, 1, given) if isinstance(given, int) else np.array(sorted(given), dtype=np.float64)
    if len(at) < 2 or at[0] != 0 or at[-1] != 1:
        raise UserError("alphas: give a count of at least 2, or values from 0 to 1 with both of these among them.")
    return at


def _rows(found: Sequence[Mapping[str, Scored | None]], data: str, word: str, n: int) -> Array:
    """Values of every image at every alpha (m, n); a row of NaN where the outputs overflowed."""
    return np.array([np.full(n, np.nan) if (of := one[data]) is None else getattr(of, word) for one in found])


def _own(owns: Sequence[Mapping[str, Scored | None]], names: Sequence[str], word: str) -> Array:
    """Means over the images of every data set, for a and b (D, 2)."""
    return np.array(
        [[np.nan if (of := one[data]) is None else getattr(of, word).mean() for one in owns] for data in names]
    )


def _heights(at: Array, rows: Array, whole: Array, draws: int, seed: int, span: float | None) -> Array:
    """The three heights with their intervals, (3, 3); NaN where a curve has a gap. `span`: see `measures.barrier`."""
    out = np.full((len(HEIGHTS), 3), np.nan)
    if np.isfinite(rows).all():
        of = barrier(at, rows, stream(seed, "bootstrap"), draws=draws, span=span)
        out[0] = of.frankle.mean, of.frankle.low, of.frankle.high
        out[1] = of.entezari.mean, of.entezari.low, of.entezari.high
    if np.isfinite(rows).all() and np.isfinite(whole[[0, -1]]).all():
        above = rows - (np.outer(1 - at, whole[0]) + np.outer(at, whole[-1]))
        least = 0.0 if span is None else span * (wilson(0, rows.shape[1]).high or 0.0)
        third = never_below_zero(highest(above, stream(seed, "bootstrap"), draws=draws), least)
        out[2] = third.mean, third.low, third.high
    return out
