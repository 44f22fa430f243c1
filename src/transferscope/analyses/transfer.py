"""Transfer: what pretraining gave, in final performance and in speed.

Each arm is trained on each target with the same seeds, data order and augmentation. The gain is the pretrained arm's
test metric minus the random arm's, paired by seed. (Neyshabur, Sedghi and Zhang 2020, section 2 and figure 2.)

How to read it. The interval of the gain is for new trainings and new test images together: it says how far the gain
would move if both were drawn anew, which an interval over seeds alone does not. The curves show the test metric after
every epoch: the line is the mean over seeds, the faint lines are single seeds. A pretrained curve that starts higher
but ends at the same height bought speed, not performance. If the random arm was still rising at the end, part of the
gain is only patience: train longer before believing it. The best metric is read at the epoch that was best on the
validation split, never on test. The relative drop is 100 (P-T - RI-T) / P-T, of scores alone: an error has none.
Optimisation speed is the mean over epochs (without epoch 0) of the training metric, in eval mode. After every epoch
each split is read on a fixed sample of `recipe.evaluate` images, so curves wobble by a few points and may end beside
the final and best test figures, which are those of all test images.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, gains, more_scores, outcomes, phrases, readings, transfer_cards
from transferscope.analyses._shared.outcomes import FLAT, summarise
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.measures.intervals import mean_interval, paired_interval
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study

TITLE = "What pretraining gave"


class Options(analyses.Options):
    """Nothing to set: the study's targets, arms and seeds say it all."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One training run per target, arm and seed."""
    for target in study.targets:
        for arm in study.arms:
            for seed in study.seeds:
                yield {"target": target, "arm": arm, "seed": seed}, study.run(target, arm, seed)


def section(table: ResultTable, options: Options) -> Section:
    """Learning curves, the gain with its interval, speed, and whether the curves had flattened."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    said, runs, by = Parts(), summarise(table.rows), ["target", "arm", "seed"]
    runs = gains.with_parts(gains.with_parts(runs, table, by), table, by, "best", "best")
    for target, of_target in by_target(runs):
        for arm in of_target["arm"].unique(maintain_order=True):
            if arm != "random":
                said.findings += _gain(target, arm, of_target, said.notes)
        said.cards += [*transfer_cards.gain(target, of_target), *transfer_cards.train(target, of_target, table)]
        said.readings += [*readings.gain(target, of_target), *readings.finals(target, of_target)]
    for target, rows in by_target(table.rows):
        said.notes += [*outcomes.stops(rows, target), *outcomes.lengths(rows, target)]
        said.notes += outcomes.chosen_on_test(rows, target)
        said.charts += _charts(target, rows)
        said.opening += transfer_cards.curve(target, rows, table)
    where = "test" if any(outcomes.chosen_on_test(table.rows, "")) else "validation"
    said.opening.append(transfer_cards.arms(runs, where))
    said.tables += transfer_cards.searched(table)
    said.tables.append(View("summary", "Every arm, means over seeds", _summary_table(runs, where)))
    for target, _ in by_target(runs):
        said.tables += more_scores.views(target, table)
    basis = f"{gains.basis(runs)} {outcomes.SPEED} The best epoch is chosen on the {where} images."
    return said.section(TITLE, basis)


def _paired(runs: pl.DataFrame, arm: str) -> pl.DataFrame:
    """Runs of `arm` beside the random run of the same seed."""
    random = runs.filter(pl.col("arm") == "random")
    return runs.filter(pl.col("arm") == arm).join(random, on="seed", suffix="_random").sort("seed")


def _gain(target: str, arm: str, runs: pl.DataFrame, notes: list[str]) -> list[Finding]:
    every = _paired(runs, arm)
    pairs = every.drop_nulls(["final", "final_random", "speed", "speed_random"])
    if lost := every.height - pairs.height:
        what = phrases.word(every["metric"][0])
        notes.append(f"On {target} the {what} is undefined in {lost} seed(s) of {arm}: {outcomes.why(every)}.")
    if pairs.is_empty():
        return []
    metric = pairs["metric"][0]
    unit = phrases.unit(metric)
    known = runs.filter(pl.col("seed").is_in(pairs["seed"].to_list()))
    over = gains.over_scratch(known, arm)
    final, random, gain = over.tuned.values, over.scratch.values, over.points.interval()
    if over.left:
        whole, part = gains.scores([known.filter(pl.col("arm") == name) for name in (arm, "random")])
        notes.append(
            f"On {target} the final scores of {arm} and random leave out seed {', '.join(map(str, over.left))}, where "
            f"a run has not learnt; with {'it' if len(over.left) == 1 else 'them'} the gain would be "
            f"{phrases.interval(gains.in_points(whole.minus(part), known).interval(), metric)} {unit}."
        )
    drop = over.tuned.drop_to(over.scratch).interval() if (final > 0).all() else None
    start = "with pretraining" if arm == "pretrained" else f"from the {arm} start"
    text = (
        f"On {target}, the final test {phrases.word(metric)} is {phrases.score(final.mean(), metric)} {start} and "
        f"{phrases.score(random.mean(), metric)} "
        f"from scratch{phrases.lower(gain.mean, metric)}"
    )
    if drop is not None and gain.mean > 0 and gain.excludes(0):
        text += f", a relative drop of {drop.mean:z.0f}% without it"
    text += "."
    judged = arm == "pretrained" and over.learnt  # runs that have not learnt decide nothing
    told = contrasts.judged(text, gain, unit, 1, [gain]) if judged else contrasts.finding(text, gain, unit)
    findings = [gains.with_images(told, gain)]

    times = phrases.times(metric)
    speed = paired_interval(times * pairs["speed"].to_numpy(), times * pairs["speed_random"].to_numpy())
    watched = pairs.drop_nulls("height_random")
    reach = [_first_at_least(c, r) for c, r in zip(watched["curve"], watched["height_random"], strict=True)]
    epochs = int(pairs["epochs"].max())  # type: ignore[arg-type]
    text = (
        f"On {target}, {_reached(arm, reach, epochs)} training {phrases.word(metric)}, averaged over the epochs, is "
        f"{phrases.compared(speed.mean, metric)} from scratch."
    )
    findings.append(contrasts.finding(text, speed, unit))
    for name, column in ((arm, ""), ("random", "_random")):
        if lost := outcomes.unlearnt(pairs, column):
            notes.append(
                f"On {target} the {name} arm ended with a higher training loss than it started with in {lost} of "
                f"{pairs.height} seeds: it has not learnt; lower its recipe.lr or train longer."
            )
    rising = mean_interval(pairs["rise_random"].drop_nulls().to_numpy()) if pairs["rise_random"].count() else None
    if rising is not None and rising.mean > phrases.threshold(FLAT, runs):
        notes.append(
            f"On {target} the random arm was still rising over the last quarter of the epochs "
            f"(by {phrases.risen(rising.mean, metric)}): with more epochs the gain may shrink."
        )
    return findings


def _reached(arm: str, reach: list[int | None], epochs: int) -> str:
    """When the arm first matched the random arm's final metric, both read on the same validation images; then "Its".

    `reach` has an entry for every seed with a defined score; nothing is said where there is none.
    """
    got = sorted(r for r in reach if r is not None)
    who = "the pretrained arm" if arm == "pretrained" else f"the {arm} arm"
    if not reach:
        return f"{who}'s"
    if not got:
        return f"{who} never reached the random arm's final score on the validation images. Its"
    if got[-1] == 0:
        return f"{who} matched the random arm's final validation score before any training: neither learnt much. Its"
    span = f"epoch {got[0]}" if got[0] == got[-1] else f"epochs {got[0]} to {got[-1]}"
    seeds = "" if len(got) == len(reach) else f" in {len(got)} of {len(reach)} seeds"
    return f"{who} reached the random arm's final validation score at {span} of {epochs}{seeds}. Its"


def _first_at_least(curve: Any, value: float) -> int | None:
    return next((epoch for epoch, score in enumerate(curve) if score is not None and score >= value), None)


def _summary_table(runs: pl.DataFrame, where: str) -> pl.DataFrame:
    """Means over seeds with intervals, as text for reading; the numbers are in the CSV."""
    rows = []
    over = phrases.listed(list(dict.fromkeys(phrases.hundredths(metric) for metric in runs["metric"])))
    for (target, arm), group in runs.group_by(["target", "arm"], maintain_order=True):
        metric = group["metric"][0]
        rows.append(
            {
                "target": target,
                "arm": arm,
                "metric": phrases.word(group["metric"][0]),
                "final": contrasts.seeds_cell(group["final"], metric=metric),
                f"best (on {where.removesuffix('idation')})": contrasts.seeds_cell(group["best"], metric=metric),
                f"{over} over random at the best": _over_random(runs, str(target), str(arm)),
                "optimisation speed": contrasts.seeds_cell(group["speed"], metric=metric),
                "flattened": _flattened(group["rise"], phrases.threshold(FLAT, group)),
            }
        )
    return pl.DataFrame(rows)


def _over_random(runs: pl.DataFrame, target: str, arm: str) -> str:
    """The gain of an arm over the random one at their best epochs, as text; "-" without one."""
    first, second = (runs.filter((pl.col("target") == target) & (pl.col("arm") == name)) for name in (arm, "random"))
    points = gains.difference(first, second, "best")
    return "-" if points is None or arm == "random" else phrases.interval(points.interval(), first["metric"][0])


def _flattened(rise: pl.Series, flat: float) -> str:
    """Whether the val metric stopped rising; "-" when there were too few epochs to say."""
    found = rise.drop_nulls()
    if found.is_empty():
        return "-"
    return "yes" if float(found.to_numpy().mean()) <= flat else "no"


def _charts(target: str, rows: pl.DataFrame) -> list[Chart]:
    """Test and training curves; none without a value."""
    found = []
    metric = str(rows["metric"][0])
    word, axis = phrases.word(metric), phrases.axis(metric)
    for split, what in (("test", "Test"), ("train", "Training")):
        y = f"{split}_metric"
        runs = rows.select("epoch", "arm", "seed", y).drop_nulls()
        if runs.is_empty():  # an AUC of one class
            continue
        means = runs.group_by("epoch", "arm", maintain_order=True).agg(pl.col(y).mean())
        runs = outcomes.trained(rows).select("epoch", "arm", "seed", y).drop_nulls()
        spec = charts.lines(
            phrases.upright(means, y, metric),
            "epoch",
            y,
            "arm",
            runs=phrases.upright(runs, y, metric),
            x_title="epoch",
            y_title=f"{what} {axis}",
            percent=phrases.percent(rows["metric"][0]),
        )
        caption = "Thick lines: means over seeds. Faint lines: single seeds. Epoch 0 is the start. " + outcomes.WATCHED
        found.append(Chart(f"{target}-{split}", f"{what} {word} on {target}", spec, caption))
    return found
