"""Charts of several studies: learning curves and final scores in one, and like charts of their pages side by side."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from transferscope import charts
from transferscope.analyses._shared import phrases
from transferscope.analyses._shared.readings import START
from transferscope.comparison.sides import Side
from transferscope.comparison.targets import Matched
from transferscope.report.page import PagePart
from transferscope.section import Chart

CAPTION = "Thick lines: means over seeds. Faint lines: single seeds. Epoch 0 is before any training."


def together(sides: Sequence[Side], targets: Sequence[Matched]) -> list[Chart]:
    """Of every target that several studies trained on: its learning curves, and the final score of every arm."""
    found: list[Chart] = []
    for target in targets:
        if target.several:
            found += [*_curves(sides, target), *_finals(sides, target)]
    return found


def _runs(sides: Sequence[Side], target: Matched) -> pl.DataFrame:
    """Study, arm, seed, epoch, metric and test score of all epochs that the analysis transfer tells of."""
    wanted = ("arm", "seed", "epoch", "metric", "test_metric")
    parts = []
    for place, name in target.names.items():
        for part in sides[place].parts:
            if part.kind == "transfer" and set(wanted) <= set(part.table.columns):
                of = part.table.filter(pl.col("target") == name).select(*wanted)
                parts.append(of.with_columns(pl.col("test_metric").cast(pl.Float64), study=pl.lit(sides[place].name)))
                break
    return pl.concat(parts, how="vertical_relaxed").drop_nulls("test_metric") if parts else pl.DataFrame()


def _curves(sides: Sequence[Side], target: Matched) -> Iterator[Chart]:
    rows = _runs(sides, target)
    if rows.is_empty() or rows["metric"].n_unique() > 1:
        return
    rows = rows.with_columns(trained=pl.col("arm").replace_strict(START, default=pl.col("arm")))
    metric = str(rows["metric"][0])
    means = rows.group_by("study", "trained", "epoch", maintain_order=True).agg(pl.col("test_metric").mean())
    spec = charts.lines(
        phrases.upright(means, "test_metric", metric),
        "epoch",
        "test_metric",
        "study",
        runs=phrases.upright(rows.select("study", "trained", "epoch", "seed", "test_metric"), "test_metric", metric),
        facet="trained",
        columns=2,
        x_title="epoch",
        y_title=f"test {phrases.axis(metric)}",
        percent=phrases.percent(metric),
        height=230,
    )
    title = f"Test {phrases.word(metric)} after every epoch on {target.name}"
    yield Chart(f"{target.name}-curves", title, spec, CAPTION)


def _finals(sides: Sequence[Side], target: Matched) -> Iterator[Chart]:
    means, runs, metrics = [], [], set()
    for place, name in target.names.items():
        for _, reading in sides[place].readings:
            if reading.level and reading.target == name and reading.scores is not None:
                arm = reading.name.partition("/")[2]
                here = {"arm": START.get(arm, arm), "study": sides[place].name}
                times = phrases.times(reading.judged)
                low, high = reading.shown.low, reading.shown.high
                ends = {"low": None if low is None else low / times, "high": None if high is None else high / times}
                means.append({**here, "score": reading.shown.mean / times, **ends})
                values = zip(reading.seeds, reading.scores.values, strict=True)
                runs += [{**here, "seed": seed, "score": float(value) / times} for seed, value in values]
                metrics.add(reading.judged)
    if len(metrics) != 1:
        return
    (metric,) = metrics
    kinds: dict[str, Any] = {"low": pl.Float64, "high": pl.Float64}
    spec = charts.dots(
        pl.DataFrame(means, schema_overrides=kinds),
        "arm",
        "score",
        "study",
        low="low",
        high="high",
        runs=pl.DataFrame(runs),
        value_title=f"final test {phrases.axis(metric)}",
        percent=phrases.percent(metric),
    )
    caption = "Means over seeds with 95% intervals over seeds; small dots: seeds."
    yield Chart(f"{target.name}-finals", f"Final test {phrases.word(metric)} on {target.name}", spec, caption)


def beside(sides: Sequence[Side], targets: Sequence[Matched]) -> list[tuple[str, list[tuple[str, Chart]]]]:
    """Charts of the studies' own pages that are of one kind, (analysis, [(study, chart)] by chart); those that more
    than one study has, in the order of the first."""
    found = []
    for part in sides[0].parts:
        for chart in part.section.charts:
            group = [(sides[0].name, chart)]
            for place in range(1, len(sides)):
                if (like := _like(sides, targets, part, chart, place)) is not None:
                    group.append((sides[place].name, like))
            if len(group) > 1:
                found.append((str(part.section.title), group))
    return found


def _like(sides: Sequence[Side], targets: Sequence[Matched], part: PagePart, chart: Chart, place: int) -> Chart | None:
    """The chart of another study that shows what `chart` of the first one does."""
    other = next((one for one in sides[place].parts if (one.name, one.kind) == (part.name, part.kind)), None)
    if other is None:
        return None
    wanted = chart.name
    for target in sorted(targets, key=lambda one: -len(one.names.get(0, ""))):  # "a-b" before "a"
        name = target.names.get(0)
        if name is not None and chart.name.startswith(f"{name}-"):
            if place not in target.names:
                return None
            wanted = target.names[place] + chart.name.removeprefix(name)
            break
    return next((one for one in other.section.charts if one.name == wanted), None)
