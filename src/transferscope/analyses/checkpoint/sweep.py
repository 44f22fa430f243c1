"""What fine-tuning from every checkpoint of a pretraining came to, and the earliest checkpoint that does."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses._shared.parts import by_target
from transferscope.measures import choosing
from transferscope.measures.choosing import Choice
from transferscope.measures.deciding import ERROR, LEAST
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, Finding

EARLY = 0.5  # a checkpoint from before this share of the pretraining counts as early
MOST = 0.8  # share of the gain of the whole pretraining that an early checkpoint has to give, to be nearly as good
VALUES = {"final": "final test metric", "speed": "optimisation speed"}  # what a checkpoint may be near the best in
KEY = ["target", "track", "checkpoint", "pretrained_epochs", "place"]


def finished(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per target, track, checkpoint and seed with `final` and `speed`; checkpoints in order."""
    arms = pl.concat_str(["track", pl.lit("\t"), "checkpoint"])
    found = outcomes.summarise(rows.with_columns(arm=arms))
    keys = rows.select(*KEY).unique().with_columns(arm=arms)
    return found.join(keys, on=["target", "arm"]).with_columns(at=axis()).sort("target", "track", "place", "seed")


def axis() -> pl.Expr:
    """How a checkpoint is called on an axis: the epoch where it is known."""
    return pl.coalesce(pl.format("epoch {}", "pretrained_epochs"), "checkpoint")


def by_checkpoint(runs: pl.DataFrame, value: str) -> pl.DataFrame:
    """Mean of `value` over seeds for every checkpoint, in their order."""
    return runs.group_by("place", "at", "pretrained_epochs").agg(pl.col(value).mean()).sort("place")


def gap(runs: pl.DataFrame, better: int, other: int, value: str) -> Interval | None:
    """`value` from checkpoint `better` minus that from `other` in points, paired by seed, by image where possible."""
    a, b = (runs.filter(pl.col("place") == place) for place in (better, other))
    points = gains.difference(a, b, value)
    return None if points is None else points.interval()


def earliest(runs: pl.DataFrame, value: str, margin: float, level: float = 0.95) -> tuple[list[int], Choice] | None:
    """The places of the checkpoints, and which of them is the earliest less than `margin` points behind every other
    (`measures.choosing.earliest`, at `level` one-sided), over the seeds that have them all; None without any."""
    places = runs.drop_nulls(value)["place"].unique().sort().to_list()
    every = gains.scores([runs.filter(pl.col("place") == p) for p in places], value)
    every = [gains.in_points(of, runs) for of in every]
    if not every or not len(every[0].values):
        return None

    def lead(one: int, other: int, level: float) -> Interval:
        return every[one].minus(every[other]).interval(level)

    margin = phrases.margin(margin, runs)
    whole = all(of.parts is not None for of in every)
    return places, choosing.earliest(np.array([of.values for of in every]), margin, level, lead=lead if whole else None)


def worth(target: str, track: str, runs: pl.DataFrame, margin: float) -> list[Finding]:
    """The earliest checkpoint that does, in metric and in speed, and the claim that an early one is nearly as good."""
    found = []
    under = "" if track in ("given", "true") else f" (pretrained with {track} labels)"
    metric = runs["metric"][0]
    unit = phrases.unit(metric)
    means = by_checkpoint(runs, "final")
    steps = {int(p): (str(n), e) for p, n, e in means.select("place", "at", "pretrained_epochs").rows()}
    for value, what in VALUES.items():
        at = partial(_near, f"On {target}{under}, ", runs, margin, value, what, steps, unit)
        if (one := at(ERROR)) is not None:
            found.append(replace(one, again=at))
    if track == "random":
        if (gain := gap(runs, max(steps), min(steps), "final")) is not None:
            a, b = (float(means.filter(pl.col("place") == p)["final"][0]) for p in (min(steps), max(steps)))
            text = (
                f"On {target}, the final test metric is {phrases.score(b, metric)} after pretraining with random "
                f"labels to {steps[max(steps)][0]} and {phrases.score(a, metric)} after {steps[min(steps)][0]}."
            )
            found.append(gains.with_images(contrasts.finding(text, gain, unit), gain))
        return found
    return [*found, *_claim(target, runs, steps, unit)]


def _near(
    where: str,
    runs: pl.DataFrame,
    margin: float,
    value: str,
    what: str,
    steps: dict[int, tuple[str, Any]],
    unit: str,
    error: float,
) -> Finding | None:
    """The earliest checkpoint that is within the margin of the best in `value`, with the error that this may have."""
    if (got := earliest(runs, value, margin, 1 - error)) is None:
        return None
    places, choice = got
    (top, _), whole = steps[places[choice.best]], steps[max(steps)][1]
    near = f"within {phrases.amount(phrases.margin(margin, runs), unit)}"
    if choice.place is None:
        return Finding(
            f"{where}it is undecided which checkpoint is {near} of the best in {what}: with {choice.n} "
            f"seed{'s' if choice.n != 1 else ''} not even {top}, the best on average, is shown to be."
        )
    name, epoch = steps[places[choice.place]]
    if choice.place == choice.best == 0:
        text = f"{where}{name} is {near} of every later checkpoint in {what}"
    elif choice.place == choice.best:
        text = f"{where}no checkpoint before {top} is shown to be {near} of the best in {what}"
    else:
        text = f"{where}{name} is {near} of the best checkpoint in {what} ({top} on average)"
    saved = f", saving {1 - epoch / whole:z.0%} of the pretraining" if epoch is not None and whole else ""
    few = f" with {choice.n} seeds" if choice.n < LEAST else "" if choice.place == choice.best else saved
    most, metric = max(0.0, float(choice.limits[choice.place])), str(runs["metric"][0])
    sure = f"one-sided {100 * (1 - error):.3g}%"
    text += f"{few} (at most {phrases.difference(most, metric)} behind, {sure})."
    lead = gap(runs, places[choice.best], places[choice.place], value)
    if choice.place == choice.best or lead is None:  # it is not behind itself
        return Finding(text)
    return gains.with_images(contrasts.finding(text, lead, f"{unit} behind the best"), lead)


def _claim(target: str, runs: pl.DataFrame, steps: dict[int, tuple[str, Any]], unit: str) -> list[Finding]:
    """Claim 10: the last checkpoint from the first half gives at least `MOST` of the gain of all the pretraining."""
    first, last = min(steps), max(steps)
    whole = steps[last][1]
    inside = [(p, epoch) for p, (_, epoch) in steps.items() if p not in (first, last)]
    early = [p for p, epoch in inside if (epoch <= EARLY * whole if whole else p <= EARLY * last)]
    gain = gap(runs, last, first, "final")
    if not early or gain is None:
        return []
    none, part, whole_way = gains.scores([runs.filter(pl.col("place") == p) for p in (first, early[-1], last)])
    if not len(part.values):
        return []
    excess = gains.in_points(part.plus(none, MOST - 1).plus(whole_way, -MOST), runs).interval()  # p - n - MOST (w - n)
    metric = str(runs["metric"][0])
    gives = phrases.signed(gain.mean, metric)
    kept = phrases.signed(phrases.times(metric) * float((part.values - none.values).mean()), metric)
    text = (
        f"On {target}, the whole pretraining gives {gives} {unit} over {steps[first][0]}, and "
        f"{steps[early[-1]][0]} already {kept}; early checkpoints would do if that is at least {MOST:z.0%} of it."
    )
    if not (gain.mean > 0 and gain.excludes(0)):
        text += " The gain itself is not clearly above 0, so there is little to divide."
        return [
            gains.with_images(Finding(text, excess.mean, excess.low, excess.high, excess.n, unit, 10, "open"), excess)
        ]
    return [gains.with_images(contrasts.judged(text, excess, f"{unit} above that", 10, [excess]), excess)]


def unlearnt(runs: pl.DataFrame) -> list[str]:
    """A note for every target on which fine-tuning left some runs with a higher training loss than they began with."""
    found = []
    for target, of in by_target(runs.drop_nulls(["loss_start", "loss_end"])):
        if lost := outcomes.unlearnt(of):
            found.append(
                f"On {target}, {lost} of {of.height} runs ended with a higher training loss than they started with: "
                "they have not learnt; lower recipe.lr or train longer."
            )
    return found


def curves(target: str, runs: pl.DataFrame) -> list[Chart]:
    """Target metric and speed by checkpoint, a line a track."""
    found = []
    for value, what in (("final", "Final test metric"), ("speed", "Optimisation speed")):
        rows = runs.drop_nulls(value).sort("place")
        if rows.is_empty():
            continue
        means = rows.group_by("track", "at", "place", maintain_order=True).agg(pl.col(value).mean()).sort("place")
        metric = str(rows["metric"][0])
        spec = charts.lines(
            phrases.upright(means, value, metric),
            "at",
            value,
            "track",
            runs=phrases.upright(rows.select("at", "track", "seed", value), value, metric),
            x_title="pretrained for",
            y_title=what.lower() + (", lower is better" if answers.metric(metric).error else ""),
            percent=phrases.percent(metric),
        )
        caption = "Thick lines: means over seeds; faint lines: single seeds."
        found.append(Chart(f"{target}-{value}", f"{what} on {target} by checkpoint", spec, caption))
    return found


def summary_table(runs: pl.DataFrame) -> pl.DataFrame:
    """One line a checkpoint, as text for reading; the numbers are in the CSV."""
    rows = [
        {
            "target": target,
            "track": track,
            "pretrained for": at,
            "final": contrasts.seeds_cell(of["final"], metric=of["metric"][0]),
            "speed": contrasts.seeds_cell(of["speed"], metric=of["metric"][0]),
        }
        for (target, track, at), of in runs.group_by(["target", "track", "at"], maintain_order=True)
    ]
    return pl.DataFrame(rows)
