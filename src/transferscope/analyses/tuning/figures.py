"""Tuning drawn: scores by way, scores against work, and the table of all ways."""

import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, phrases
from transferscope.analyses.tuning import against_full
from transferscope.analyses.tuning.against_full import FULL
from transferscope.section import Chart


def charts_of(target: str, runs: pl.DataFrame, means: pl.DataFrame) -> list[Chart]:
    metric = str(runs["metric"][0])
    word = phrases.axis(metric)
    means, runs = phrases.upright(means, "test_metric", metric), phrases.upright(runs, "test_metric", metric)
    spec = charts.dots(
        means,
        "way",
        "test_metric",
        low="low",
        high="high",
        runs=runs.select("way", "seed", "test_metric"),
        percent=phrases.percent(runs["metric"][0]),
        category_title="what is trained",
        value_title=f"final test {word}",
    )
    caption = "Large: mean and 95% interval over seeds. Small: single seeds. Every way has a searched learning rate."
    found = [Chart(f"{target}-ways", f"Ways of fine-tuning on {target}", spec, caption)]
    costed = means.drop_nulls("work")
    if costed.height > 1:
        spec = charts.lines(
            costed.select("way", "work", "test_metric"),
            "work",
            "test_metric",
            "way",
            percent=phrases.percent(runs["metric"][0]),
            x_title="work of training (full fine-tuning = 1)",
            y_title=f"final test {word}",
        )
        up = "Down" if answers.metric(metric).error else "Up"
        caption = f"Means over seeds. {up} is better, left is cheaper. Work counts operations, not seconds."
        found.append(Chart(f"{target}-work", f"Score against work on {target}", spec, caption))
    return found


def summary_table(
    target: str, runs: pl.DataFrame, means: pl.DataFrame, seconds: dict[tuple[str, str], list[float]]
) -> pl.DataFrame:
    """One line a way, in the order of the plan."""
    found, metric = [], runs["metric"][0]
    for row in means.iter_rows(named=True):
        mine, gap = runs.filter(against_full.of(row["way"])), against_full.difference(runs, row["way"])
        spent = seconds.get((target, row["way"]), [])
        found.append(
            {
                "what is trained": row["way"],
                "final": contrasts.seeds_cell(mine["test_metric"], metric=metric),
                f"{phrases.hundredths(metric)} against full": "-"
                if gap is None or row["way"] == FULL
                else phrases.interval(gap.interval(), metric),
                "learning rate": mine["lr"][0],
                "parameters trained": _share(row["trained"], row["parameters"]),
                "work": row["work"],
                "seconds": sum(spent) / len(spent) if spent else None,
            }
        )
    kinds = {"work": pl.Float64, "seconds": pl.Float64}
    return pl.DataFrame(found, schema_overrides=kinds)


def _share(part: int | None, whole: int | None) -> str:
    return "-" if part is None or not whole else f"{part / whole:z.1%}"
