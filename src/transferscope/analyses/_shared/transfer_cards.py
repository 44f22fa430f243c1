"""What the analysis transfer puts on the first screen: gain, learning curve, table of arms, and how to train on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from transferscope import answers
from transferscope.analyses._shared import cards, contrasts, gains, in_range, outcomes, phrases
from transferscope.charts import learning_curves as drawn
from transferscope.engine.artifact import Artifact
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures import judged, rounding
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.section import Card, Chart, View

OUTCOMES = ("val_metric", "chosen")  # of a search's rows, besides what was searched
WORDS = {"pretrained": "pretrained", "random": "from scratch"}


def gain(target: str, runs: pl.DataFrame) -> list[Card]:
    """Whether pretraining helped: the final score with it less that from scratch, paired by seed."""
    over = gains.over_scratch(runs, "pretrained")
    if not len(over.tuned.values):
        return []
    effect: Interval = over.points.interval()
    if not over.learnt:
        effect = Interval(effect.mean, None, None, effect.n, "no run has learnt")
    digits = 1 if abs(effect.mean) < 2 else 0
    metric = runs["metric"][0]
    word, unit = phrases.word(metric), phrases.unit(metric)
    means = [float(np.mean(one.values)) for one in (over.tuned, over.scratch)]
    scores = [
        f"{rounding.text(100 * mean, digits)}%" if phrases.percent(metric) else rounding.text(mean, digits + 2)
        for mean in means
    ]
    if answers.metric(metric).error:
        scores = [phrases.score(mean, metric) for mean in means]
    both = f"final test {word} is {scores[0]} with it and {scores[1]} from scratch{phrases.lower(effect.mean, metric)}"
    card = cards.answer(
        "Gain",
        target,
        effect,
        unit,
        yes=f"Pretraining helped: the {both}",
        no=f"Pretraining hurt: the {both}",
        unsure=f"Pretraining is not shown to help or to hurt: the {both}",
        advice=_left_out(over.left),
    )
    return [card]


def _left_out(seeds: Sequence[int]) -> str:
    """What is said of seeds whose scores do not count; "" where all do."""
    if not seeds:
        return ""
    named = phrases.listed([str(seed) for seed in seeds])
    which = f"Seed {named} is" if len(seeds) == 1 else f"Seeds {named} are"
    why = "a run ended with a higher training loss than it began with"
    return f"{which} left out: {why}; lower recipe.lr or train longer."


def train(target: str, runs: pl.DataFrame, table: ResultTable) -> list[Card]:
    """Whether to train longer, by the rise in the last quarter of the epochs, and what is known of learning rates."""
    rise = runs.filter(pl.col("arm") == "pretrained")["rise"].drop_nulls()
    rates = _rates(target, table)
    if rise.is_empty():
        text = "Too few epochs to say whether longer training would help"
        return [Card("Train", "unsure", text, sure="four epochs or more would tell", advice=rates, target=target)]
    metric = str(runs["metric"][0])
    times, flat = phrases.times(metric), phrases.threshold(outcomes.FLAT, runs)
    limit = times * flat
    effect = mean_interval(times * rise.to_numpy())
    scratch = runs.filter(pl.col("arm") == "random")["rise"].drop_nulls()
    still = len(scratch) and float(np.mean(scratch.to_numpy())) > flat
    patience = "From scratch was still rising: with more epochs the gain may shrink." if still else ""
    card = cards.answer(
        "Train",
        target,
        effect,
        f"{phrases.unit(metric)} gained in the last quarter of the epochs (flat: up to {phrases.limit(limit, metric)})",
        yes="Train longer: the pretrained curve was still rising at the end",
        no="Long enough: the pretrained curve had flattened",
        unsure="The pretrained curve is not shown to have flattened, nor to rise still",
        limit=limit,
        advice=" ".join(filter(None, (patience, rates))),
    )
    return [card]


def _rates(target: str, table: ResultTable) -> str:
    """Which learning rate the pretrained arm had, and whether it was searched."""
    runs = [one for labels, one in table.artifacts if (labels["target"], labels["arm"]) == (target, "pretrained")]
    given = runs[0].said["params"].get("lr") if runs else None
    if given is None:
        return ""
    if not isinstance(given, Mapping):
        return f"One learning rate was tried ({given:g}); a list in recipe.lr searches several."
    rows = _input(runs[0], given).rows
    best = next(row for row in rows if row["chosen"])
    places = {name: _place([row[name] for row in rows], best[name]) for name in best if name not in OUTCOMES}
    if len(places) == 1:
        place = places["lr"]
        more = f", the {place}: try {place.replace('est', 'er')} ones too" if place else ""
        return f"Of {len(rows)} learning rates {best['lr']:g} was best on validation images{more}."
    edges = [f"{name} is the {place} tried" for name, place in places.items() if place]
    more = f" ({', '.join(edges)}: try beyond)" if edges else ""
    return f"Of {len(rows)} settings {fields(best)} was best on validation images{more}."


def _place(tried: Sequence[Any], best: Any) -> str:
    """Whether `best` is the lowest or the highest of several; "" for neither, and for what has no order."""
    values = sorted({value for value in tried if value is not None})
    return {values[0]: "lowest", values[-1]: "highest"}.get(best, "") if len(values) > 1 else ""


def fields(row: Mapping[str, Any]) -> str:
    """The fields of a search's row in words: "lr 0.01, layer_decay 0.65"."""
    return ", ".join(
        f"{name} {'null' if value is None else format(value, 'g')}"
        for name, value in row.items()
        if name not in OUTCOMES
    )


def searched(table: ResultTable) -> list[View]:
    """Every setting that was tried on validation images, its score, and which was taken; none where nothing was."""
    found, known = [], set()
    for labels, run in table.artifacts:
        given = run.said["params"].get("lr")
        if isinstance(given, Mapping) and (key := tuple(given["$step"])) not in known:
            known.add(key)
            metric = str(run.rows[0]["metric"])
            for row in _input(run, given).rows:
                score = "–" if row["val_metric"] is None else _told(row["val_metric"], metric)
                said = {"data": labels["target"], "arm": labels["arm"], "tried": fields(row), "validation": score}
                found.append({**said, "": "taken" if row["chosen"] else ""})
    caption = "One run each, with a seed that is no run's of the study; all validation images."
    return [View("searched", "What was searched", pl.DataFrame(found), caption)] if found else []


def _told(score: float, metric: str) -> str:
    if answers.metric(metric).error:
        return phrases.score(score, metric)
    return f"{rounding.text(100 * score, 1)}%" if phrases.percent(metric) else rounding.text(score, 3)


def _input(run: Artifact, given: Mapping[str, Any]) -> Artifact:
    """The finished step that a finished step names as its parameter."""
    task, key = given["$step"]
    return run.beside(task, key)


def chance(target: str, table: ResultTable) -> float | None:
    """The test score of one answer for all images; None where the images are no longer in the store."""
    from transferscope.tasks.inputs import open_table

    for labels, run in table.artifacts:
        if labels["target"] == target:
            try:
                images = open_table(_input(run, run.said["params"]["data"]).whole())
            except (OSError, KeyError, TypeError, UserError):
                return None
            own = images.labels[images.rows["test"]]
            return judged.chance(own, len(images.classes), images.judged, images.error_scale)[0] if len(own) else None
    return None


def curve(target: str, rows: pl.DataFrame, table: ResultTable) -> list[Chart]:
    """The test score after every epoch, with names at the lines' ends and the chance level."""
    runs = rows.select("epoch", "arm", "seed", score=pl.col("test_metric").cast(pl.Float64)).drop_nulls()
    if runs.is_empty():
        return []
    means = runs.group_by("epoch", "arm", maintain_order=True).agg(pl.col("score").mean())
    runs = outcomes.trained(rows).select("epoch", "arm", "seed", score=pl.col("test_metric").cast(pl.Float64))
    words = {str(arm): WORDS.get(str(arm), str(arm)) for arm in means["arm"].unique(maintain_order=True)}
    word, percent = phrases.word(rows["metric"][0]), phrases.percent(rows["metric"][0])
    metric, level = str(rows["metric"][0]), chance(target, table)
    how = answers.metric(metric)
    means, runs = (phrases.upright(one, "score", metric) for one in (means, runs.drop_nulls()))
    y_title, level = f"test {phrases.axis(metric)}", how.told(level)
    spec = drawn.curves(means, runs, words, y_title, level, percent, error=how.error)
    caption = "Thick: mean over seeds. Thin: single seeds. Epoch 0 is before any training."
    return [Chart(f"{target}-opening", f"Test {word} after every epoch on {target}", spec, caption)]


def arms(runs: pl.DataFrame, where: str = "validation") -> View:
    """Every arm in a line: final, best (chosen on `where`) and speed, with intervals over seeds."""
    several = runs["target"].n_unique() > 1
    found = []
    for (target, arm), of in runs.group_by(["target", "arm"], maintain_order=True):
        columns = {"final test": "final", "best test": "best", "speed": "speed"}
        cells = {name: _cell(of[column], column, of["metric"][0]) for name, column in columns.items()}
        first = {"data": target} if several else {}
        found.append({**first, "trained": WORDS.get(str(arm), f"from the {arm} start"), **cells})
    caption = (
        f"Means over seeds (95% intervals). Best: at the epoch that was best on {where} images. Speed: the training "
        "score, averaged over the epochs."
    )
    return View("arms", "Scores", pl.DataFrame(found), caption)


def _cell(values: pl.Series, name: str, metric: str) -> str:
    known = values.drop_nulls().cast(pl.Float64)
    if known.is_empty():
        return "–"
    found: Interval = in_range.interval(known.to_numpy(), name, metric=metric)
    if not math.isfinite(found.mean):
        return "–"
    if answers.metric(metric).error:
        found = contrasts.told(found, metric)
        return found.text(phrases.places(metric, found.mean)).partition(", n =")[0]
    return rounding.score(found.mean, found.low, found.high, share=phrases.percent(metric))
