"""The charts and the table of the shuffle analysis: everything against block size."""

import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.analyses.shuffle.results import Shuffled
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, View


def drawn(of: Shuffled) -> list[Chart]:
    """Final metric and relative drop, optimisation speed of the arms and its gap."""
    band = "Thick lines and bands: means and 95% intervals over seeds. Faint lines: single seeds."
    chance = (
        "" if of.chance is None else f" The flat line is chance, {of.score(of.chance)}: one answer for all {of.things}."
    )
    lost = [of.at(block) for block in of.blocks if of.lost(block)]
    void = f" Without meaning, because an arm is at chance: {phrases.listed(lost)}." if lost else ""
    return [
        *_scores(of, "final", f"Final test {of.word}", f"test {phrases.axis(of.metric)}", of.chance, band + chance),
        *_effects(
            of,
            "drop",
            "Relative drop",
            "percent",
            {block: of.drop(block) for block in of.blocks},
            "How much lower the final test score is without pretraining, in percent of the score with it. Band: 95% "
            f"interval.{void}",
        ),
        *_scores(
            of,
            "speed",
            "Optimisation speed",
            f"mean training {phrases.axis(of.metric)}",
            None,
            f"The training {of.word} in eval mode, averaged over the epochs without epoch 0. {band}",
        ),
        *_effects(
            of,
            "gap",
            "Gap in optimisation speed",
            of.unit,
            {block: of.gap(block, "speed") for block in of.blocks},
            f"Mean training {of.word} over the epochs, pretrained minus random. Band: 95% interval over seeds.",
        ),
    ]


def _scores(of: Shuffled, value: str, title: str, y: str, reference: float | None, caption: str) -> list[Chart]:
    """A line for every arm."""
    means = outcomes.over_seeds(of.runs, ["block", "arm"], value)
    if means.is_empty():
        return []
    if of.percent:
        means = means.with_columns(pl.col("low", "high").clip(0, 1))  # no score lies beyond
    runs = of.runs.select("block", "arm", "seed", value).drop_nulls()
    means, runs = (phrases.upright(one, value, of.metric) for one in (means, runs))
    spec = charts.lines(
        means,
        "block",
        value,
        "arm",
        low="low",
        high="high",
        runs=runs,
        x_title=of.axis,
        y_title=y,
        percent=of.percent,
        reference=answers.metric(of.metric).told(reference),
    )
    return [Chart(f"{of.target}-{value}", f"{title} against block size on {of.target}", spec, caption)]


def _effects(
    of: Shuffled, name: str, title: str, y: str, values: dict[str, Interval | None], caption: str
) -> list[Chart]:
    """One line against 0."""
    known = [{"block": b, name: i.mean, "low": i.low, "high": i.high} for b, i in values.items() if i is not None]
    if not known:
        return []
    rows = pl.DataFrame(known, schema={"block": pl.String, name: pl.Float64, "low": pl.Float64, "high": pl.Float64})
    spec = charts.lines(rows, "block", name, low="low", high="high", x_title=of.axis, y_title=y, reference=0.0)
    return [Chart(f"{of.target}-{name}", f"{title} against block size on {of.target}", spec, caption)]


def summary_table(of: Shuffled) -> View:
    """One row a block size, as text for reading; the numbers are in the CSV."""

    def text(interval: Interval | None, digits: int) -> str:
        return "-" if interval is None else interval.text(phrases.places(of.metric, interval.mean, usual=digits))

    def level(interval: Interval | None) -> str:
        return text(None if interval is None else contrasts.told(interval, of.metric), 3)

    rows = []
    for block in of.blocks:
        row = {"block": block}
        for value, word in (("final", f"test {of.word}"), ("speed", "speed")):
            row |= {f"{word}, {arm}": level(of.mean(block, arm, value)) for arm in of.arms}
        row[f"gain, {of.unit}"] = text(of.gap(block, "final"), 1)
        drop = of.drop(block)
        row["relative drop, percent"] = "-" if drop is None else drop.text(1)
        row[f"gap in speed, {of.unit}"] = text(of.gap(block, "speed"), 1)
        row["at chance"] = ", ".join(of.lost(block)) or "-"
        rows.append(row)
    caption = "Means over seeds with 95% intervals. Gain and gap in speed: pretrained minus random."
    return View(f"{of.target}-blocks", f"Every block size on {of.target}", pl.DataFrame(rows), caption)
