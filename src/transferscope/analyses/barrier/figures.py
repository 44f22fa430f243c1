"""The charts of lines and barriers, and the table of every line."""

import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import barriers, contrasts, phrases
from transferscope.analyses._shared.barriers import NORMS, hundredths
from transferscope.analyses.barrier.options import Options
from transferscope.section import Chart, View


def draw(target: str, rows: pl.DataFrame, every: pl.DataFrame, options: Options) -> list[Chart]:
    first = options.batch_norm[0]
    main = rows.filter((pl.col("batch_norm") == first) & ~pl.col("pair").str.ends_with(" best & last"))
    facet = "split" if len(options.splits) > 1 else None
    words = main["statistics"][0] if not main.is_empty() else ""
    caption = f"Thick: means over pairs. Faint: single pairs. Batch-norm statistics: {words}."
    found = list(
        barriers.chart(f"{target}-lines", f"On the line between two networks, {target}", main, caption, facet=facet)
    )
    values = every.filter(pl.col("split") == options.splits[0])
    parts = []
    for key, of in values.drop_nulls("barrier").group_by("pair", "batch_norm", maintain_order=True):
        height = barriers.over_pairs(of, str(key[0]), "barrier")
        if height is not None:
            height = contrasts.moved(height, barriers.times(of))
            parts.append(
                {
                    "pair": key[0],
                    "statistics": NORMS[str(key[1])],
                    "barrier": height.mean,
                    "low": height.low,
                    "high": height.high,
                }
            )
    if not parts:
        return found
    schema = dict.fromkeys(("pair", "statistics"), pl.String) | dict.fromkeys(("barrier", "low", "high"), pl.Float64)
    runs = values.drop_nulls("barrier").select(
        "pair", "seed", pl.col("barrier") * barriers.times(values), statistics=pl.col("batch_norm").replace(NORMS)
    )
    spec = charts.dots(
        pl.DataFrame(parts, schema=schema),
        "pair",
        "barrier",
        "statistics" if len(options.batch_norm) > 1 else "pair",
        low="low",
        high="high",
        runs=runs,
        value_title=f"barrier ({hundredths(values)})",
        reference=barriers.times(values) * barriers.limit(values),
    )
    falls, below = barriers.falls(values)
    caption = (
        f"How far the score {falls} {below} the mean of the ends. Large: mean and 95% interval over seeds; small: "
        f"single pairs. The rule stands at {barriers.most(values)} {hundredths(values)}, below which networks count as "
        "connected."
    )
    return [*found, Chart(f"{target}-barriers", f"Barriers on {target}", spec, caption)]


def summary_table(target: str, every: pl.DataFrame) -> View:
    """Every pair: its ends, its middle, and both barriers with their intervals over images, in points."""

    def with_interval(name: str, low: str, high: str) -> pl.Expr:
        parts = [barriers.column(part, every).cast(pl.String).fill_null("-") for part in (name, low, high)]
        return pl.format("{} [{}, {}]", *parts)

    named = {
        "first": "first",
        "middle": "middle",
        "second": "second",
        "first_own": "first (own statistics)",
        "second_own": "second (own statistics)",
    }
    numbers = [barriers.column(name, every, level=True).alias(title) for name, title in named.items()]
    found = every.select(
        "pair",
        "seed",
        "seed_b",
        "split",
        pl.col("batch_norm").alias("statistics"),
        "head",
        *numbers,
        with_interval("barrier", "barrier_low", "barrier_high").alias("barrier"),
        with_interval("chord_barrier", "chord_low", "chord_high").alias("from the chord"),
        pl.col("loss_barrier").round(3).alias("barrier of the loss"),
        "points",
        "images",
    )
    percent = phrases.percent(every["measure"][0])
    told = "Scores in percent, barriers in points" if percent else "Scores and barriers in hundredths"
    if answers.metric(str(every["measure"][0])).error:
        told = "Errors and barriers in the units of the target"
    loss = "in nats" if percent else "in squared deviations of the training examples"
    caption = (
        f"{told} with 95% intervals over images, the loss {loss}. Barriers "
        "are measured from the ends as the line has them; own statistics: these networks with the batch-norm "
        "statistics they came with. points: how many places of the line were evaluated."
    )
    return View(f"{target}-pairs", f"Every line on {target}", found, caption)
