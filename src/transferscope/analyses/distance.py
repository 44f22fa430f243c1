"""Distance: how far training moved the weights, and how far apart two trained networks lie.

The L2 distance between the parameters of two networks, over the whole body, per block, and for the head by itself;
buffers such as batch-norm statistics do not count. Pairs: two seeds of an arm, every trained network and its own start,
and every other arm beside P and beside P-T with the same seed. (Neyshabur, Sedghi and Zhang 2020, section 3, table 2.)

How to read it. Fine-tuned networks usually lie near each other and near the weights they started from, networks from
scratch far from everything. An L2 distance grows with the number of weights, so between blocks it compares little but
their sizes. Blocks are compared by the way of a single weight, which does not: the *root mean square* over a block's
weights of what they moved. Beside it stands the *relative* distance, that over the norm of the second network's block,
which does not grow with size either but depends on how large the weights began. In layers followed by a norm the scale
of the weights has no effect on the outputs: there, distance measures turning as well as growing.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, per_block, phrases
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import sides
from transferscope.tasks import costs

TITLE = "How far the weights moved"
BODY, HEAD = "(body)", "(head)"
BASIS = "Weights and biases count, buffers such as running statistics do not."
MEASURES = {
    "rms": ("Way of a single weight", "root mean square over the weights of a block", ""),
    "relative": (
        "Relative distance",
        "distance over the norm of the second",
        " Over the norm of the block it left.",
    ),
    "l2": ("L2 distance", "L2 distance", " It grows with the size of a block: compare a block with itself only."),
}


class Options(analyses.OfTrained):
    """Which weights are compared."""


@task("distance", version=2, cost=costs.fixed(costs.READING))  # 2: rows hold the way of a single weight
def measure(*, a: Artifact, a_at: str, b: Artifact, b_at: str, data: Artifact, work: Work) -> list[dict[str, Any]]:
    """Rows of `ts.distance`: every block, then "(head)" and "(body)", with l2, norm of b, relative, rms, size."""
    from transferscope.probes.weights.distance import distance
    from transferscope.tasks import restore

    found = distance(restore.weights(a, a_at), restore.weights(b, b_at), like=restore.bare(a, data))
    return found.table().to_dicts()


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair."""
    yield from contrasts.steps(study, measure, options.checkpoint)


def section(table: ResultTable, options: Options) -> Section:
    """The body's distances by pair, curves by block, and where in the network fine-tuning moved most."""
    basis = f"{phrases.weights(options.checkpoint)} {BASIS} No image is looked at."
    return contrasts.section(TITLE, table.rows, _of_target, basis=basis)


def _of_target(target: str, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
    rows = rows.with_columns(rms=pl.when(pl.col("size") > 0).then(pl.col("l2") / pl.col("size").sqrt()))
    body, blocks = rows.filter(pl.col("block") == BODY), rows.filter(~pl.col("block").str.starts_with("("))
    view = View(f"{target}-body", f"L2 distances on {target}", _summary_table(rows), "Means over seeds.")
    return [*_ordering(target, body), *_trend(target, blocks)], _charts(target, body, blocks), view


def _ordering(target: str, body: pl.DataFrame) -> list[Finding]:
    """Claim 6: two P-T, and P-T and P, are nearer than two RI-T and than RI-T and P."""
    near, far = ("P-T & P-T", "P-T & P"), ("RI-T & RI-T", "RI-T & P")
    gaps = [contrasts.contrast(body, b, a, "l2") for a in near for b in far]
    if gaps[0] is None:
        return []
    means = {kind: contrasts.mean(body, kind, "l2") for kind in (*near, *far)}
    said = phrases.listed([f"{_of(kind)} are {value:.3g} apart" for kind, value in means.items() if value is not None])
    nearer = (
        "not shown to be nearer to" if not gaps[0].excludes() else "nearer to" if gaps[0].mean > 0 else "NOT nearer to"
    )
    text = (
        f"On {target}, {said} in L2 distance over the weights of the whole body: two fine-tuned networks are {nearer} "
        "each other than two from scratch."
    )
    return [contrasts.judged(text, gaps[0], "in L2 distance", 6, gaps)]


def _trend(target: str, blocks: pl.DataFrame) -> list[Finding]:
    """Whether fine-tuning moved the weights of later blocks farther: Spearman's correlation of depth and the way of a
    single weight, one a seed, that of the other measures beside it."""
    own = blocks.filter(pl.col("pair") == "P-T & P")
    ranks = {name: _rank(own, name) for name in MEASURES}
    if (rank := ranks["rms"]) is None:
        return []
    far = contrasts.over_pairs(own, ["block"], "rms").sort("rms")["block"]
    trend = per_block.with_depth(
        rank,
        "farther in later blocks than in earlier ones",
        "less far in later blocks than earlier",
        "by no shown trend along depth",
    )
    others = [
        f"{found.mean:+z.2f} {word}"
        for name, word in (
            ("relative", "relative to the norm of P's block"),
            ("l2", "as L2, which grows with size"),
        )
        if (found := ranks[name]) is not None
    ]
    beside = f" The correlation with depth is {phrases.listed(others)}." if others else ""
    text = (
        f"On {target}, fine-tuning moves a single weight (root mean square over a block) {trend}: most in {far[-1]}, "
        f"least in {far[0]}.{beside}"
    )
    unit = "rank correlation of depth and the way of a single weight"
    return [contrasts.finding(text, rank, unit)]


def _rank(own: pl.DataFrame, measure: str) -> Interval | None:
    return per_block.along(own, measure, per_block.order(own))


def _of(kind: str) -> str:
    a, b = sides(kind)
    return f"two {a}" if a == b else f"{a} and {b}"


def _charts(target: str, body: pl.DataFrame, blocks: pl.DataFrame) -> list[Chart]:
    whole = contrasts.over_pairs(body, [], "l2")
    runs = body.select("pair", "seed", "l2")
    spec = charts.dots(whole, "pair", "l2", low="low", high="high", runs=runs, value_title="L2 distance of the bodies")
    found = [
        Chart(
            f"{target}-body",
            f"Distances of whole bodies on {target}",
            spec,
            "Mean and 95% interval over seeds.",
        )
    ]
    for column, (title, word, note) in MEASURES.items():
        means = contrasts.over_pairs(blocks, ["block"], column)
        if means.is_empty():
            continue
        runs = blocks.select("pair", "block", pl.format("{}-{}", "seed", "seed_b").alias("seed"), column).drop_nulls()
        spec = charts.lines(means, "block", column, "pair", runs=runs, x_title="block", y_title=word)
        caption = f"Blocks in execution order, heads left out. Thick: means over seeds.{note}"
        found.append(Chart(f"{target}-{column}", f"{title} by block on {target}", spec, caption))
    return found


def _summary_table(rows: pl.DataFrame) -> pl.DataFrame:
    """One line a pair: L2 of the body with its interval, relative, and of the head."""
    found = []
    for (kind,), of in rows.group_by("pair", maintain_order=True):
        body, head = of.filter(pl.col("block") == BODY), of.filter(pl.col("block") == HEAD)
        found.append(
            {
                "pair": kind,
                "body": contrasts.cell(contrasts.of_pairs(body, "l2", together=contrasts.twins(str(kind))), 2),
                "relative": body["relative"].mean(),
                "head": head["l2"].mean(),
            }
        )
    return pl.DataFrame(
        found, schema={"pair": pl.String, "body": pl.String, "relative": pl.Float64, "head": pl.Float64}
    )
