"""What the section of `choose` says and draws of one target: places, agreement with fine-tuning, the table."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.engine.table import ResultTable
from transferscope.measures.crossfit import chosen_elsewhere
from transferscope.measures.intervals import mean_interval, spearman
from transferscope.measures.scores import SCORES
from transferscope.section import Chart, Finding
from transferscope.tasks import restore

SAME = 1e-9  # of the largest: scores that differ by less (H-scores of wide features, which are all equal) are the same
TRUSTED = ("probe_metric", "logme")  # whose agreement with fine-tuning is a finding; that of all is drawn


def _scored(scores: pl.DataFrame) -> list[str]:
    """The scores that at least two candidates have and that tell them apart by more than rounding."""
    found = []
    for name in SCORES:
        values = scores[name].drop_nulls().to_numpy()
        if len(values) > 1 and np.ptp(values) > SAME * np.abs(values).max():
            found.append(name)
    return found


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean test metric of the fine-tuning runs by candidate, with its interval and number of seeds."""
    runs = rows.filter(pl.col("what") == "run")
    if "tuned_metric" not in rows.columns:
        runs = runs.with_columns(tuned_metric=pl.lit(None, pl.Float64))
    return outcomes.over_seeds(
        runs.with_columns(pl.col("tuned_metric").cast(pl.Float64)), ["candidate"], "tuned_metric"
    )


def with_parts(rows: pl.DataFrame, table: ResultTable) -> pl.DataFrame:
    """The rows with what every test image adds to the metric of the fine-tuning runs (`gains.with_parts`)."""
    if "tuned_metric" not in rows.columns:
        return rows
    return gains.with_parts(rows, table, ["what", "target", "candidate", "seed"], "tuned_metric")


def seconds_of(table: ResultTable) -> dict[tuple[str, str], dict[str, float]]:
    """Seconds of every part by target and candidate, where the store still has them."""
    found = {}
    for labels, artifact in table.artifacts:
        if labels["what"] == "scores" and (spent := restore.timing(artifact)) is not None:
            found[str(labels["target"]), str(labels["candidate"])] = spent
    return found


def first(target: str, scores: pl.DataFrame) -> list[Finding]:
    """Who comes first by most of the scores, and which ones disagree."""
    winners = {
        name: scores.drop_nulls(name).sort(name, descending=True, maintain_order=True)["candidate"][0]
        for name in _scored(scores)
    }
    if not winners:
        return []
    counts = {who: list(winners.values()).count(who) for who in winners.values()}
    best = max(counts, key=lambda who: (counts[who], who == winners.get("probe_metric")))
    text = f"On {target}, {best} comes first of {scores.height} networks by {counts[best]} of {len(winners)} scores"
    rest = [who for who in counts if who != best]
    others = [
        f"{phrases.listed([SCORES[name] for name, first in winners.items() if first == who])} would take {who}"
        for who in rest
    ]
    return [Finding(f"{text}{'; ' if others else ''}{'; '.join(others)}.")]


def places(target: str, scores: pl.DataFrame) -> list[Chart]:
    """Every score between the worst and the best candidate."""
    names = _scored(scores)
    if not names:
        return []
    parts = []
    for name in names:
        of = scores.select("candidate", pl.col(name).alias("value")).drop_nulls()
        low, span = of["value"].min(), float(of["value"].max()) - float(of["value"].min())  # type: ignore[arg-type]
        parts.append(of.select("candidate", score=pl.lit(SCORES[name]), place=(pl.col("value") - low) / span))
    spec = charts.heat(pl.concat(parts), "score", "candidate", "place", domain=(0.0, 1.0), value_title="from 0 to 1")
    caption = "Each column runs from 0, the lowest of these networks by that score, to 1, the highest."
    return [Chart(f"{target}-scores", f"Candidates for {target} by every score", spec, caption)]


def agreement(target: str, joined: pl.DataFrame, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart]]:
    """How the scores order the candidates that were fine-tuned, and what choosing by the linear probe would cost."""
    known = joined.drop_nulls("tuned_metric")
    if known.height < 2:
        return [], []
    metric = str(known["metric"][0])
    findings: list[Finding] = []
    correlations = []
    for name in _scored(known):
        both = known.drop_nulls(name)
        found = spearman(both[name].to_numpy(), both["tuned_metric"].to_numpy()) if both.height > 2 else None
        if found is None:
            continue
        correlations.append({"score": SCORES[name], "correlation": found.mean, "low": found.low, "high": found.high})
        if name in TRUSTED:
            text = (
                f"On {target}, the {SCORES[name]} orders {found.n} fine-tuned networks with a rank correlation of "
                f"{found.mean:z.2f} with their final test {phrases.word(metric)}."
            ).replace("the LogME", "LogME")
            findings.append(
                Finding(text, found.mean, found.low, found.high, found.n, "rank correlation", counted="networks")
            )
    findings += _cost(target, known, rows, metric)
    parts = [
        known.select("candidate", what=pl.lit("linear probe"), value="probe_metric", low=None, high=None),
        known.select("candidate", what=pl.lit("fine-tuned"), value="tuned_metric", low="low", high="high"),
    ]
    both = pl.concat(parts, how="vertical_relaxed").cast({"low": pl.Float64, "high": pl.Float64}).drop_nulls("value")
    caption = "Linear probe on the validation split; fine-tuned networks on the test split, means over seeds."
    title = f"Linear probe and fine-tuning on {target}"
    spec = charts.dots(
        phrases.upright(both, "value", metric),
        "candidate",
        "value",
        "what",
        low="low",
        high="high",
        percent=phrases.percent(metric),
        value_title=phrases.axis(metric),
    )
    drawn = [Chart(f"{target}-truth", title, spec, caption)]
    if correlations and known.height > 3:
        frame = pl.DataFrame(correlations).cast({"low": pl.Float64, "high": pl.Float64})
        spec = charts.forest(frame, "score", "correlation", "low", "high", value_title="rank correlation")
        caption = f"Spearman's correlation of each score with fine-tuning over {known.height} networks, 95% intervals."
        drawn.append(Chart(f"{target}-agreement", f"Do the scores foretell fine-tuning on {target}?", spec, caption))
    return findings, drawn


def _cost(target: str, known: pl.DataFrame, rows: pl.DataFrame, metric: str) -> list[Finding]:
    """What the choice of the linear probe gives away against the network that came out best."""
    ranked = known.drop_nulls("probe_metric").sort("probe_metric", descending=True, maintain_order=True)
    if ranked.is_empty():
        return []
    chosen = str(ranked["candidate"][0])
    best = str(known.sort("tuned_metric", descending=True, maintain_order=True)["candidate"][0])
    if chosen == best:
        return [
            Finding(
                f"On {target}, the network that the linear probe would take, {chosen}, also fine-tunes best of "
                f"the {known.height} that were."
            )
        ]
    runs = rows.filter(pl.col("what") == "run")
    a, b = (runs.filter(pl.col("candidate") == who) for who in (best, chosen))
    scores = dict(zip(known["candidate"], known["tuned_metric"], strict=True))
    points = gains.difference(a, b, "tuned_metric")
    lost = phrases.times(metric) * (scores[best] - scores[chosen])
    gap = mean_interval([lost]) if points is None else points.interval()
    which = ""
    if gap.n > 1 and (left := _behind(runs, known["candidate"].to_list(), chosen)) is not None:
        gap, which = left.interval(), " behind the best in the other seeds"  # chosen in the same ones it leans upward
    text = (
        f"On {target}, the linear probe would take {chosen}, which fine-tunes to a test {phrases.word(metric)} of "
        f"{phrases.score(scores[chosen], metric)}; {best} reaches {phrases.score(scores[best], metric)}."
    )
    return [gains.with_images(contrasts.finding(text, gap, f"{phrases.unit(metric)}{which}"), gap)]


def _behind(runs: pl.DataFrame, names: Sequence[str], chosen: str) -> gains.Scores | None:
    """How far `chosen` is behind the network that is best in all other seeds, in points, over seeds that have all."""
    every = gains.scores([runs.filter(pl.col("candidate") == name) for name in names], "tuned_metric")
    if len(every[0].values) < 2:
        return None
    places = chosen_elsewhere([of.values for of in every])
    return gains.in_points(gains.picked(every, places).minus(every[list(names).index(chosen)]), runs)


def summary_table(
    target: str, joined: pl.DataFrame, seconds: Mapping[tuple[str, str], Mapping[str, float]]
) -> pl.DataFrame:
    """The table of candidates, those that the linear probe prefers first."""
    found = []
    metric = answers.metric(str(joined["metric"][0])) if joined.height else answers.metric("accuracy")
    for row in joined.sort("probe_metric", descending=True, nulls_last=True, maintain_order=True).iter_rows(named=True):
        row["probe_metric"] = metric.told(row["probe_metric"])
        spent = seconds.get((target, str(row["candidate"])), {})
        found.append(
            {
                "candidate": row["candidate"],
                "parameters": row["parameters"],
                "dimensions": row["dimensions"],
                **{
                    f"{words} ({phrases.word(row['metric'])})" if name == "probe_metric" else words: row[name]
                    for name, words in SCORES.items()
                },
                "fine-tuned": metric.told(row["tuned_metric"]),
                "seconds, features": spent.get("features"),
                "seconds, scores": sum(v for k, v in spent.items() if k != "features") if spent else None,
            }
        )
    return pl.DataFrame(found, infer_schema_length=None)
