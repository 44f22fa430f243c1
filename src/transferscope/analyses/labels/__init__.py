"""Labels: how many labelled images is pretraining worth?

The random and the pretrained arm are trained on nested, stratified fractions of the training images, the same images
for both. To the random arm's error a power law in the number of images, error = c + a n^-b, is fitted (Hestness et al.
2017); read backwards it tells how many images that arm needs to score what the pretrained arm scores with few. A curve
that does not follow the law is read off straight lines instead. (Neyshabur, Sedghi and Zhang 2020, figure 2, compare
the arms with all images; Raghu et al. 2019, "Transfusion", also with few.)

How to read it. On the first chart the horizontal gap between the two curves is what pretraining saves in labels, the
vertical gap what it adds in score, whose interval is for new trainings and new test images together. "Beyond the data"
says that the random arm does not get there with all the training images there are: the curve is never read outside the
numbers of images that were tried. By default every budget is trained for the same number of epochs, so small budgets
take fewer steps; with `same: steps` they are trained for more epochs. If the random arm was still rising at the end,
part of the worth is only patience.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field

from transferscope import analyses, answers, charts
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.labels import worth
from transferscope.analyses.labels.card import card
from transferscope.analyses.labels.worth import ARMS, of
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.measures.power_law import Worth
from transferscope.section import Chart, Finding, Section, View
from transferscope.strict_models import Real, as_tuple
from transferscope.study import Study
from transferscope.study.schema import Seeds

TITLE = "What pretraining is worth in labels"


def _increasing(fractions: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(fractions)) < len(fractions):
        raise ValueError("a fraction is listed twice")
    return tuple(sorted(fractions))


Share = Annotated[Real, Field(gt=0, le=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(as_tuple), AfterValidator(_increasing), Field(min_length=2)]


class Options(analyses.Options):
    """How many labels each training gets, and how long it lasts."""

    fractions: Shares = (0.1, 0.25, 0.5, 1.0)
    """Two or more fractions of the training images, each of which is trained on."""
    same: Literal["epochs", "steps"] = "epochs"
    """What all fractions get the same number of: `epochs`, or `steps` (more epochs for fewer images)."""
    longest: Annotated[Real, Field(ge=1)] = 10.0
    """With `same: steps`, how many times the epochs of all images a fraction is trained at most."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of a training on all images; null for the study's."""


@task("labels", version=1, needs="findings")
def measure(*, run: Artifact, data: Artifact, work: Work) -> list[dict[str, Any]]:
    """One row: how many images the run was trained on, and what it came to."""
    from transferscope.data.split import nested_fraction
    from transferscope.tasks import restore
    from transferscope.tasks.inputs import open_table

    table, said = open_table(data.whole()), restore.said(run)
    rows = table.rows["train"]
    if said["fraction"] < 1:
        rows = nested_fraction(table.labels, rows, said["fraction"], seed=said["seed"])
    return [{"images": len(rows), **outcomes.final_scores(run)}]


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One training run, and what it came to, per target, arm, fraction and seed."""
    outcomes.need_weights(study, "labels")
    for target in study.targets:
        for arm in ARMS:
            for fraction in options.fractions:
                changes: dict[str, Any] = {"fraction": fraction, "epochs": _epochs(study, options, arm, fraction)}
                for seed in options.seeds or study.seeds:
                    run = study.run(target, arm, seed, **changes)
                    labels = {"target": target, "arm": arm, "fraction": fraction, "seed": seed}
                    yield labels, measure.step(run=run, data=study.data(target))


def _epochs(study: Study, options: Options, arm: str, fraction: float) -> int:
    whole = options.epochs or study.recipe.epochs_of(arm)
    return whole if options.same == "epochs" else round(whole * min(1 / fraction, options.longest))


def section(table: ResultTable, options: Options) -> Section:
    """Both arms against the number of labels, and the random arm's labels that match the pretrained arm's score."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    every = gains.with_parts(table.rows, table, ["target", "arm", "fraction", "seed"], "test_metric")
    for target, of_target in by_target(every):
        said.notes += outcomes.undefined(of_target, "test_metric", target)
        runs = _distinct(of_target.drop_nulls(["test_metric", "images"]))
        if runs.is_empty():
            continue
        worths = worth.by_budget(runs)
        said.findings += [*_gaps(target, runs), *worth.findings(target, runs, worths)]
        said.cards += card(target, runs, worths)
        said.charts += [*_curve(target, runs), *worth.drawn(target, worths)]
        said.tables.append(View(f"{target}-budgets", f"Every budget on {target}", _summary_table(runs, worths)))
        said.notes += [*_training(target, runs), *_rising(target, runs), *worth.unfitted(target, worths)]
    return said.section(TITLE, f"{gains.basis(every, 'test_metric')} Both arms of a seed train on the same images.")


def _distinct(runs: pl.DataFrame) -> pl.DataFrame:
    """One run an arm, seed and number of images: with few images two fractions can keep the same ones."""
    return (
        runs.sort("fraction")
        .unique(["images", "arm", "seed"], keep="first", maintain_order=True)
        .sort("images", "arm", "seed")
    )


def _gaps(target: str, runs: pl.DataFrame) -> list[Finding]:
    """What pretraining adds with the fewest and with the most images."""
    counts = runs["images"].unique().sort().to_list()
    metric, found = runs["metric"][0], []
    word, unit = phrases.word(metric), phrases.unit(metric)
    for images in dict.fromkeys((counts[0], counts[-1])):
        tuned, random = gains.scores([runs.filter(of(arm, images)) for arm in ("pretrained", "random")], "test_metric")
        if len(tuned.values):
            text = (
                f"On {target}, with {images:,} labelled images the final test {word} is "
                f"{phrases.score(tuned.values.mean(), metric)} with pretraining and "
                f"{phrases.score(random.values.mean(), metric)} from scratch"
            )
            gain = gains.in_points(tuned.minus(random), runs).interval()
            text += f"{phrases.lower(gain.mean, metric)}."
            found.append(gains.with_images(contrasts.finding(text, gain, unit), gain))
    return found


def _training(target: str, runs: pl.DataFrame) -> list[str]:
    """How long each budget was trained."""
    pace = runs.select("images", "epochs").unique(maintain_order=True).sort("images", "epochs")
    if pace["epochs"].n_unique() == 1:
        return [
            f"On {target} every number of labels was trained for the same {pace['epochs'][0]} epochs, so few labels "
            f"also mean few training steps."
        ]
    said = [f"{images:,} images for {epochs}" for images, epochs in pace.iter_rows()]
    return [f"On {target} fewer labels were trained for more epochs: {phrases.listed(said)}."]


def _rising(target: str, runs: pl.DataFrame) -> list[str]:
    """Budgets whose random arm had not flattened."""
    random = runs.filter(pl.col("arm") == "random").drop_nulls("rise_metric")
    rise = random.group_by("images", maintain_order=True).agg(pl.col("rise_metric").mean())
    late = [int(images) for images, value in rise.iter_rows() if value > phrases.threshold(outcomes.FLAT, runs)]
    if not late:
        return []
    return [
        f"On {target} the random arm was still rising at the end with {worth.budgets(late)}: trained longer, it may "
        f"need fewer labels than said here."
    ]


def _curve(target: str, runs: pl.DataFrame) -> list[Chart]:
    """Both arms' scores against the number of labels."""
    metric = str(runs["metric"][0])
    means = outcomes.over_seeds(runs, ["arm", "images"], "test_metric")
    spec = charts.lines(
        phrases.upright(means, "test_metric", metric),
        "images",
        "test_metric",
        "arm",
        low="low",
        high="high",
        percent=phrases.percent(metric),
        log_x=True,
        runs=phrases.upright(runs.select("arm", "images", "seed", "test_metric"), "test_metric", metric),
        x_title="labelled training images (log scale)",
        y_title=f"final test {phrases.axis(metric)}",
    )
    caption = "Thick: mean and 95% interval over seeds. Faint: single seeds. Both arms see the same images."
    return [Chart(f"{target}-curve", f"Score against labels on {target}", spec, caption)]


def _summary_table(runs: pl.DataFrame, worths: dict[int, Worth]) -> pl.DataFrame:
    """One line a budget: both arms' means, and the labels that the random arm needs."""
    outside = {"beyond": "beyond the data", "below": "fewer than tried"}
    found, metric = [], answers.metric(str(runs["metric"][0]))
    for images in runs["images"].unique().sort().to_list():
        row: dict[str, Any] = {"labelled images": images}
        for arm in ARMS:
            values = runs.filter(of(arm, images))["test_metric"].to_numpy()
            row[arm] = metric.told(float(np.mean(values))) if len(values) else None
        read = worths.get(images)
        row["from scratch it takes"] = "-" if read is None else outside.get(read.side) or f"{read.size:,.0f}"
        row["times as many"] = read.size / images if read is not None and read.size is not None else None
        found.append(row)
    kinds = {
        "labelled images": pl.Int64,
        "random": pl.Float64,
        "pretrained": pl.Float64,
        "from scratch it takes": pl.String,
        "times as many": pl.Float64,
    }
    return pl.DataFrame(found, schema=kinds)
