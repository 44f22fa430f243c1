"""Distance: how far training moved the weights, and how far apart two trained networks lie.

The L2 distance between the parameters of two networks, over the whole body, per block, and for the head by itself;
buffers such as batch-norm statistics do not count. Pairs: two seeds of an arm, every trained network and its own start,
and every other arm beside P and beside P-T with the same seed. (Neyshabur, Sedghi and Zhang 2020, section 3, table 2.)

How to read it. Fine-tuned networks usually lie near each other and near the weights they started from, networks from
scratch far from everything. Absolute distances grow with the number of weights, so compare a block with itself across
pairs, or read the *relative* distance: that over the norm of the second network's block. In layers followed by a norm
the scale of the weights has no effect on the outputs: there, distance measures turning as well as growing.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import polars as pl

from transferscope import analyses, charts
from transferscope.analyses import _pairs
from transferscope.engine.step import Step, task
from transferscope.engine.store import Artifact
from transferscope.engine.table import Table
from transferscope.engine.work import Work
from transferscope.measures.intervals import spearman
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.tasks import passes

TITLE = "How far the weights moved"
BODY, HEAD = "(body)", "(head)"


class Options(analyses.Options):
    """`checkpoint`: the final weights or those best on val."""

    checkpoint: Literal["final", "best"] = "final"


@task("distance", version=1, cost=passes.fixed(passes.SMALL))
def measure(*, a: Artifact, a_at: str, b: Artifact, b_at: str, data: Artifact, work: Work) -> list[dict[str, Any]]:
    """Rows of `probes.distance`: every block, then "(head)" and "(body)", with l2, norm of b, relative and size."""
    from transferscope.probes.distance import state_distance
    from transferscope.tasks import restore

    net = restore.bare(a, data)
    return state_distance(net, restore.weights(a, a_at), restore.weights(b, b_at)).table().to_dicts()


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair."""
    yield from _pairs.steps(study, measure, options.checkpoint)


def section(table: Table, options: Options) -> Section:
    """The body's distances by pair, curves by block, and where in the network fine-tuning moved most."""
    return _pairs.section(TITLE, table.rows, _told)


def _told(target: str, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
    body, blocks = rows.filter(pl.col("block") == BODY), rows.filter(~pl.col("block").str.starts_with("("))
    view = View(f"{target}-body", f"L2 distances on {target}", _summary(rows), "Means over seeds.")
    return [*_ordering(target, body), *_trend(target, blocks)], _charts(target, body, blocks), view


def _ordering(target: str, body: pl.DataFrame) -> list[Finding]:
    """Claim 6: two P-T, and P-T and P, are nearer than two RI-T and than RI-T and P."""
    near, far = ("P-T & P-T", "P-T & P"), ("RI-T & RI-T", "RI-T & P")
    gaps = [_pairs.contrast(body, b, a, "l2") for a in near for b in far]
    if gaps[0] is None:
        return []
    means = {kind: _pairs.mean(body, kind, "l2") for kind in (*near, *far)}
    said = _pairs.listed([f"{_of(kind)} are {value:.3g} apart" for kind, value in means.items() if value is not None])
    nearer = "nearer to" if gaps[0].mean > 0 else "no nearer to"
    text = f"On {target}, {said}: two fine-tuned networks are {nearer} each other than two from scratch."
    return [_pairs.judged(text, gaps[0], "in L2 distance", 6, gaps)]


def _trend(target: str, blocks: pl.DataFrame) -> list[Finding]:
    """Whether fine-tuning moved later blocks farther: Spearman's correlation of a block's place and its distance."""
    own = _pairs.over_seeds(blocks.filter(pl.col("pair") == "P-T & P"), ["block"], "l2")
    rank = spearman(np.arange(own.height), own["l2"].to_numpy()) if own.height > 1 else None
    if rank is None:
        return []
    most, least = own.sort("l2")["block"][-1], own.sort("l2")["block"][0]
    trend = "later blocks more than earlier ones" if rank.mean > 0.3 else "earlier blocks more than later ones"
    if abs(rank.mean) <= 0.3:
        trend = "blocks without regard to their depth"
    text = f"On {target}, fine-tuning moves {trend}: {most} most, {least} least."
    unit = "rank correlation of depth and distance"
    return [Finding(text, rank.mean, rank.low, rank.high, rank.n, unit, counted="blocks")]


def _of(kind: str) -> str:
    a, _, b = kind.partition(" & ")
    return f"two {a}" if a == b else f"{a} and {b}"


def _charts(target: str, body: pl.DataFrame, blocks: pl.DataFrame) -> list[Chart]:
    whole = _pairs.over_seeds(body, [], "l2")
    runs = body.select("pair", "seed", "l2")
    spec = charts.dots(whole, "pair", "l2", low="low", high="high", runs=runs, value_title="L2 distance of the bodies")
    found = [
        Chart(f"{target}-body", f"Distances of whole bodies on {target}", spec, "Mean and 95% interval over seeds.")
    ]
    for column, word in (("l2", "L2 distance"), ("relative", "distance over the norm of the second")):
        means = _pairs.over_seeds(blocks, ["block"], column)
        if means.is_empty():
            continue
        runs = blocks.select("pair", "block", pl.format("{}-{}", "seed", "seed_b").alias("seed"), column).drop_nulls()
        spec = charts.lines(means, "block", column, "pair", runs=runs, x_title="block", y_title=word)
        caption = "Blocks in execution order, heads left out. Thick: means over seeds."
        found.append(Chart(f"{target}-{column}", f"{word[0].upper()}{word[1:]} by block on {target}", spec, caption))
    return found


def _summary(rows: pl.DataFrame) -> pl.DataFrame:
    """One line a pair: L2 of the body with its interval, relative, and of the head."""
    found = []
    for (kind,), of in rows.group_by("pair", maintain_order=True):
        body, head = of.filter(pl.col("block") == BODY), of.filter(pl.col("block") == HEAD)
        found.append(
            {
                "pair": kind,
                "body": _pairs.interval(body["l2"].to_numpy(), chained=_pairs.twins(str(kind))).text(2),
                "relative": body["relative"].mean(),
                "head": head["l2"].mean(),
            }
        )
    return pl.DataFrame(
        found, schema={"pair": pl.String, "body": pl.String, "relative": pl.Float64, "head": pl.Float64}
    )
