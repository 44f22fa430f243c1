"""The charts of feature reuse, and its table."""

import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses.reuse.findings import of_arm
from transferscope.analyses.reuse.options import Options
from transferscope.section import Chart


def lines(target: str, runs: pl.DataFrame, options: Options) -> list[Chart]:
    """Final metric and optimisation speed along the blocks, `stats` as a rule."""
    path = runs.drop_nulls("blocks").sort("blocks", "seed")
    if path.is_empty():
        return []
    metric = str(runs["metric"][0])
    word, how, found = phrases.axis(metric), answers.metric(metric), []
    scale = runs.filter(of_arm("stats"))
    for value, what in (
        ("final", f"final test {word}"),
        ("speed", f"mean training {word}" if how.error else f"mean training {word} over the epochs"),
    ):
        means = outcomes.over_seeds(path, ["upto"], value)
        spec = charts.lines(
            phrases.upright(means, value, metric),
            "upto",
            value,
            low="low",
            high="high",
            runs=phrases.upright(path.select("upto", "seed", value), value, metric),
            percent=how.share,
            x_title="last block with pretrained values",
            y_title=what,
            reference=how.told(contrasts.average(scale[value])) if len(scale) else None,
        )
        rest = "random" if options.above == "random" else "redrawn with the pretrained means and variances"
        caption = f"Blocks above are {rest}. Thick: mean and 95% interval over seeds. Faint: single seeds."
        caption += " Dashed: means and variances only, in all blocks." if len(scale) else ""
        title = "Where features are reused" if value == "final" else "Where speed comes from"
        found.append(Chart(f"{target}-{value}", f"{title} on {target}", spec, caption))
    return found


def curves(target: str, rows: pl.DataFrame) -> list[Chart]:
    """Test curves of the starts that are no cut points."""
    keep = (pl.col("target") == target) & ~pl.col("arm").str.starts_with("transfuse")
    runs = rows.filter(keep).select("metric", "epoch", "arm", "seed", "test_metric").drop_nulls()
    if runs.is_empty():
        return []
    metric = str(runs["metric"][0])
    runs = phrases.upright(runs, "test_metric", metric)
    means = runs.group_by("epoch", "arm", maintain_order=True).agg(pl.col("test_metric").mean())
    spec = charts.lines(
        means,
        "epoch",
        "test_metric",
        "arm",
        runs=runs.drop("metric"),
        x_title="epoch",
        y_title=f"test {phrases.axis(metric)}",
        percent=phrases.percent(metric),
    )
    caption = "Thick lines: means over seeds. Faint lines: single seeds. Epoch 0 is the start. " + outcomes.WATCHED
    return [Chart(f"{target}-curves", f"Learning curves from starts without features on {target}", spec, caption)]


def summary_table(runs: pl.DataFrame) -> pl.DataFrame:
    """One line a start: final metric, how far below the pretrained start in points, speed."""
    found, metric = [], runs["metric"][0]
    for (arm,), of in runs.group_by("arm", maintain_order=True):
        short = gains.difference(runs.filter(of_arm("pretrained")), of)
        found.append(
            {
                "start": arm,
                "pretrained up to": of["upto"][0] or "-",
                "final": contrasts.seeds_cell(of["final"], metric=metric),
                f"{phrases.hundredths(metric)} short of pretrained": "-"
                if short is None or arm == "pretrained"
                else phrases.interval(short.interval(), metric),
                "optimisation speed": contrasts.seeds_cell(of["speed"], metric=metric),
            }
        )
    return pl.DataFrame(found)
