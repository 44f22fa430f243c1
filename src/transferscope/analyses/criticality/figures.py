"""The charts of criticality: bars and valleys; and the table of whole networks."""

import polars as pl

from transferscope import charts
from transferscope.analyses._shared import per_block
from transferscope.analyses.criticality.findings import basis, largest, totals
from transferscope.analyses.criticality.options import Options
from transferscope.measures.ranges import bounded
from transferscope.section import Chart, View


def bars(target: str, scores: pl.DataFrame, options: Options) -> list[Chart]:
    means = per_block.means(scores, "value")
    spec = charts.bars(
        means,
        "block",
        "value",
        "arm",
        low="low",
        high="high",
        runs=scores.select("arm", "block", "seed", "value").drop_nulls(),
        value_title="criticality, log10(1 + mu per weight)",
    )
    way = "the straight way" if options.path == "direct" else "the saved epochs"
    allowed = f"{100 * options.tolerance:g}{'%' if options.relative else ' points'}"
    caption = (
        f"Along {way}, on up to {options.images} training images; errors up to {allowed} above the final one are "
        f"allowed. {per_block.INTERVALS} {basis(scores)}."
    )
    return [Chart(f"{target}-blocks", f"Criticality of each block on {target}", spec, caption)]


def valleys(target: str, rows: pl.DataFrame, options: Options) -> list[Chart]:
    """Training error over way and noise, mirrored, of the blocks that were asked for; one seed of each arm."""
    cells = rows.filter(pl.col("kind") == "valley").drop_nulls(["error", "sigma_relative"])
    if cells.is_empty():
        return []
    seed = cells["seed"][0]
    cells = cells.filter(pl.col("seed") == seed)
    levels = cells["sigma_relative"].unique().sort(descending=True).to_list()
    parts = []
    for sign, each in ((1, levels), (-1, [level for level in reversed(levels) if level > 0])):
        for level in each:
            one = cells.filter(pl.col("sigma_relative") == level)
            parts.append(one.with_columns(noise=pl.lit(f"{sign * level:.2g}")))
    straight = options.path == "direct"  # else the blocks have shares of their own
    way = pl.col("alpha").round(2) if straight else pl.col("point")
    drawn = pl.concat(parts).with_columns(way=way.cast(pl.String), of=pl.format("{}: {}", "arm", "block"))
    facets = {name: i for i, name in enumerate(_facets(cells))}
    drawn = drawn.sort(pl.col("of").replace_strict(facets, return_dtype=pl.Int64), maintain_order=True)
    spec = charts.heat(
        drawn,
        "way",
        "noise",
        "error",
        facet="of",
        columns=3,
        percent=True,
        domain=(0.0, 1.0),
        x_title="share of the way" if straight else "point on the way",
        value_title="training error",
    )
    caption = (
        f"Seed {seed}. From the start (left) to the final weights (right); up and down: noise, its standard deviation "
        "over the size of the block's weights. The lower half mirrors the upper."
    )
    return [Chart(f"{target}-valleys", f"Valleys of a few blocks on {target}", spec, caption)]


def _facets(cells: pl.DataFrame) -> list[str]:
    """Arm by arm, blocks in order."""
    found = cells.select("arm", "block").unique(maintain_order=True)
    return [f"{arm}: {block}" for arm, block in found.sort("arm", maintain_order=True).iter_rows()]


def networks(target: str, scores: pl.DataFrame) -> View:
    """The sums over blocks."""
    found = []
    for (arm,), of in totals(scores).group_by("arm", maintain_order=True):
        found.append(
            {
                "network": arm,
                "log10(1 + sum of mu)": bounded(of["total"].to_numpy()).text(2),
                "largest block": largest(of),
                "log10(1 + median mu)": bounded(of["median"].to_numpy()).text(2),
                "a lower bound in": f"{int(of['at_least'].sum())} of {of.height} seeds",
            }
        )
    title = f"Criticality of whole networks on {target}"
    caption = "Sums over blocks, which the largest one or two make up; the median block is that of each seed."
    return View(f"{target}-networks", title, pl.DataFrame(found), caption)
