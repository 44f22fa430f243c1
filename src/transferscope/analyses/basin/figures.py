"""The charts of a basin, its floor and its walls, and the table of every pair."""

import polars as pl

from transferscope import charts
from transferscope.analyses.basin.findings import OWN, unit, word
from transferscope.engine.table import ResultTable
from transferscope.section import Chart, View


def floor(target: str, table: ResultTable) -> list[Chart]:
    """The error on every pair's segment."""
    parts = []
    loss = "error"
    for labels, artifact in table.artifacts:
        if labels["target"] != target or not artifact.rows:
            continue
        arrays, loss = artifact.arrays("basin"), str(artifact.rows[0]["loss"])
        of = pl.DataFrame({"alpha": arrays["alphas"], "loss": arrays["losses"]}).sort("alpha")
        name = f"{labels['pair']}, seeds {labels['seed']} and {labels['seed_b']}"
        parts.append(of.with_columns(pair=pl.lit(name)))
    if not parts:
        return []
    spec = charts.lines(
        pl.concat(parts),
        "alpha",
        "loss",
        "pair",
        y_title=f"test {word(loss)}",
        percent=unit(loss)[0] == 100 and loss != "unexplained variance",
        x_title="from the first network (0) to the second (1) and beyond",
    )
    caption = "Points spread evenly over the segment out to where the error leaves the slack, or the search ended."
    return [Chart(f"{target}-floor", f"On the floor of the basin, {target}", spec, caption)]


def walls(target: str, rows: pl.DataFrame) -> list[Chart]:
    """Rises off the segment's ends over 2 epsilon, for both ways off and every delta tried."""
    loss = str(rows["loss"][0])
    share = unit(loss)[0] == 100 and loss != "unexplained variance"
    long = pl.concat(
        rows.select(
            "pair",
            pl.format("{}-{}", "seed", "seed_b").alias("seed"),
            pl.format(f"{word}, {{}} a weight", "per_weight").alias("off the ends"),
            (pl.col(name) - pl.col("twice_epsilon")).alias("margin"),
        ).sort("off the ends", maintain_order=True)
        for name, word in (("noise", "noise"), ("beyond", "past the ends"))
    )
    means = long.group_by("pair", "off the ends", maintain_order=True).agg(pl.col("margin").mean())
    spec = charts.dots(
        means,
        "off the ends",
        "margin",
        "pair",
        runs=long,
        reference=0.0,
        percent=share,
        value_title=f"rise of the {word(loss)} over 2 epsilon",
    )
    caption = (
        "Right of the rule the condition holds. Large: means over pairs. Small: single pairs. Larger deltas are not "
        "tried once both conditions hold."
    )
    return [Chart(f"{target}-walls", f"The walls of the basin, {target}", spec, caption)]


def summary_table(target: str, every: pl.DataFrame) -> View:
    rows = every.select(
        "pair",
        "seed",
        "seed_b",
        pl.col("first_end").round(2).alias("from"),
        pl.col("second_end").round(2).alias("to"),
        pl.col("mean").round(4),
        pl.col("epsilon").round(4),
        pl.col("epsilon_error").round(4).alias("its error"),
        pl.col("found_delta").round(2).alias("delta"),
        pl.col("noise").round(4).alias("rise with noise"),
        pl.col("beyond").round(4).alias("rise beyond"),
        "sure",
        "failing",
        *(pl.col(c).round(4).alias(title) for c, title in OWN.items() if c in every.columns),
    )
    caption = (
        f"{word(every['loss'][0])} on {every['images'][0]} test images; {every['samples'][0]} points on each segment, "
        f"{every['draws'][0]} draws at each end, from seed 0. from, to: the segment in units of the line."
    )
    return View(f"{target}-basins", f"Basins on {target}", rows, caption)
