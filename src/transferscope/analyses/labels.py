"""Labels: how many labelled images is pretraining worth?

The random and the pretrained arm are trained on nested, stratified fractions of the training images, the same images
for both. To the random arm's error a power law in the number of images, error = c + a n^-b, is fitted (Hestness et al.
2017); read backwards it tells how many images that arm needs to score what the pretrained arm scores with few. A curve
that does not follow the law is read off straight lines instead. (Neyshabur, Sedghi and Zhang 2020, figure 2, compare
the arms with all images; Raghu et al. 2019, "Transfusion", also with few.)

How to read it. On the first chart the horizontal gap between the two curves is what pretraining saves in labels, the
vertical gap what it adds in score. "Beyond the data" says that the random arm does not get there with all the training
images there are: the curve is never read outside the numbers of images that were tried. By default every budget is
trained for the same number of epochs, so small budgets take fewer steps; with `same: steps` they are trained for more
epochs. If the random arm was still rising at the end, part of the worth is only patience.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses import _pairs, _runs
from transferscope.analyses.transfer import FLAT
from transferscope.engine.step import Step, task
from transferscope.engine.store import Artifact
from transferscope.engine.table import Table
from transferscope.engine.work import Work
from transferscope.measures.intervals import paired_interval, too_few
from transferscope.measures.power_law import Worth, worth
from transferscope.schema import Real, Seeds, as_tuple
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study

TITLE = "What pretraining is worth in labels"
ARMS = ("random", "pretrained")


def _increasing(fractions: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(fractions)) < len(fractions):
        raise ValueError("a fraction is listed twice")
    return tuple(sorted(fractions))


Share = Annotated[Real, Field(gt=0, le=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(as_tuple), AfterValidator(_increasing), Field(min_length=2)]


class Options(analyses.Options):
    """`fractions` of the training images. `same`: all budgets get the same number of "epochs", or of "steps" (epochs
    over the fraction, at most `longest` times as many). `seeds` and `epochs` (of all images): null for the study's."""

    fractions: Shares = (0.1, 0.25, 0.5, 1.0)
    same: Literal["epochs", "steps"] = "epochs"
    longest: Annotated[Real, Field(ge=1)] = 10.0
    seeds: Seeds | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None


@task("labels", version=1)
def measure(*, run: Artifact, data: Artifact, work: Work) -> list[dict[str, Any]]:
    """One row: how many images the run was trained on, and what it came to."""
    from transferscope.data.split import nested_fraction
    from transferscope.data.table import open_table
    from transferscope.tasks import restore

    table, said = open_table(data.path), restore.said(run)
    rows = table.rows["train"]
    if said["fraction"] < 1:
        rows = nested_fraction(table.labels, rows, said["fraction"], seed=said["seed"])
    return [{"images": len(rows), **_runs.summary(run)}]


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One training run, and what it came to, per target, arm, fraction and seed."""
    _runs.need_weights(study, "labels")
    for target in study.targets:
        for arm in ARMS:
            for fraction in options.fractions:
                changes: dict[str, Any] = {"fraction": fraction, "epochs": _epochs(study, options, fraction)}
                for seed in options.seeds or study.seeds:
                    run = study.run(target, arm, seed, **changes)
                    labels = {"target": target, "arm": arm, "fraction": fraction, "seed": seed}
                    yield labels, measure.step(run=run, data=study.data(target))


def _epochs(study: Study, options: Options, fraction: float) -> int:
    whole = options.epochs or study.recipe.epochs
    return whole if options.same == "epochs" else round(whole * min(1 / fraction, options.longest))


def section(table: Table, options: Options) -> Section:
    """Both arms against the number of labels, and the random arm's labels that match the pretrained arm's score."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    findings: list[Finding] = []
    drawn: list[Chart] = []
    views: list[View] = []
    notes: list[str] = []
    for (name,), of_target in table.rows.group_by("target", maintain_order=True):
        target = str(name)
        notes += _runs.undefined(of_target, "test_metric", target)
        runs = _distinct(of_target.drop_nulls("test_metric"))
        if runs.is_empty():
            continue
        worths = _worths(runs)
        findings += [*_gaps(target, runs), *_inside(target, runs, worths), *_beyond(target, runs, worths)]
        drawn += _charts(target, runs, worths)
        views.append(View(f"{target}-budgets", f"Every budget on {target}", _summary(runs, worths)))
        notes += [*_training(target, runs), *_rising(target, runs), *_unfitted(target, worths)]
    if few := too_few(table.rows["seed"].n_unique()):
        notes.append(few)
    return Section(TITLE, findings, drawn, views, notes=notes)


def _distinct(runs: pl.DataFrame) -> pl.DataFrame:
    """One run an arm, seed and number of images: with few images two fractions can keep the same ones."""
    return (
        runs.sort("fraction")
        .unique(["images", "arm", "seed"], keep="first", maintain_order=True)
        .sort("images", "arm", "seed")
    )


def _of(arm: str, images: int) -> pl.Expr:
    return (pl.col("arm") == arm) & (pl.col("images") == images)


def _worths(runs: pl.DataFrame) -> dict[int, Worth]:
    """For every number of images, how many the random arm needs for the pretrained arm's score (see `power_law`).

    Taken over the seeds that have the random arm at every number of images and the pretrained one at this number.
    """
    curve = runs.filter(pl.col("arm") == "random").pivot("images", index="seed", values="test_metric")
    curve = curve.drop_nulls().sort("seed")
    sizes = sorted(int(name) for name in curve.columns if name != "seed")
    found = {}
    for images in runs["images"].unique().sort().to_list():
        tuned = runs.filter(_of("pretrained", images)).select("seed", "test_metric")
        both = curve.join(tuned, on="seed", maintain_order="left")
        if both.is_empty() or len(sizes) < 2:
            continue
        errors = 1 - both.select([str(size) for size in sizes]).to_numpy()
        if (read := worth(sizes, errors, 1 - both["test_metric"].to_numpy())) is not None:
            found[int(images)] = read
    return found


def _gaps(target: str, runs: pl.DataFrame) -> list[Finding]:
    """What pretraining adds with the fewest and with the most images."""
    counts = runs["images"].unique().sort().to_list()
    word, unit = _pairs.word(runs["metric"][0]), _pairs.unit(runs["metric"][0])
    found = []
    for images in dict.fromkeys((counts[0], counts[-1])):
        tuned, random = _runs.paired(runs, _of("pretrained", images), _of("random", images), "test_metric")
        if len(tuned):
            text = (
                f"On {target}, with {images:,} labelled images the final test {word} is {tuned.mean():.1%} with "
                f"pretraining and {random.mean():.1%} from scratch."
            )
            found.append(_pairs.told(text, paired_interval(100 * tuned, 100 * random), unit))
    return found


def _inside(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Finding]:
    """ "Pretraining is worth N labels", for every budget where the random arm gets there."""
    found = []
    most = max(runs["images"].to_list())
    for images, read in worths.items():
        if read.size is None:
            continue
        text = (
            f"On {target}, fine-tuning on {images:,} labelled images scores as high as training from scratch on about "
            f"{read.size:,.0f}"
        )
        if read.size > images * 1.005:
            times = read.size / images
            text += f": pretraining is worth {_labels(read.size - images)} ({times:.1f} times as many)."
        else:
            text += ": pretraining is worth no labels there."
        least = min(runs.filter(pl.col("arm") == "random")["images"].to_list())
        if read.seeds > 1 and (read.low is None or read.high is None):
            begins = f"below the {least:,} images tried first" if read.low is None else f"at {read.low:,.0f}"
            ends = f"beyond the {most:,} there are" if read.high is None else f"at {read.high:,.0f}"
            text = text.removesuffix(".") + f"; its interval begins {begins} and ends {ends}."
        low, high = (read.low, read.high) if read.low is not None and read.high is not None else (None, None)
        found.append(Finding(text, read.size, low, high, read.seeds, "labelled images from scratch"))
    return found


def _labels(count: float) -> str:
    """A number of labels above 0 in words, to two digits."""
    digits = max(0, len(f"{count:.0f}") - 2)
    said = max(1, round(round(count / 10**digits) * 10**digits))
    return f"about {said:,} more label{'s' if said != 1 else ''}"


def _beyond(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Finding]:
    """The budgets at which the random arm never gets there, and those at which fewer images than tried would do."""
    found = []
    random = runs.filter(pl.col("arm") == "random")
    if random.is_empty():
        return []
    least, most = (int(f(random["images"].to_list())) for f in (min, max))
    unit = _pairs.unit(runs["metric"][0])
    if beyond := [images for images, read in worths.items() if read.side == "beyond"]:
        tuned, whole = _runs.paired(runs, _of("pretrained", beyond[0]), _of("random", most), "test_metric")
        text = (
            f"On {target}, what pretraining is worth lies beyond the data for {_budgets(beyond)}: training from "
            f"scratch does not get there with all {most:,} images."
        )
        if len(tuned):
            text = text.removesuffix(".") + f" (fine-tuning on {beyond[0]:,} against scratch on {most:,})."
            found.append(_pairs.told(text, paired_interval(100 * tuned, 100 * whole), unit))
        else:
            found.append(Finding(text))
    if below := [images for images, read in worths.items() if read.side == "below"]:
        text = (
            f"On {target}, with {_budgets(below)} the pretrained arm scores no higher than the random arm is expected "
            f"to with {least:,}, the fewest tried."
        )
        found.append(Finding(text))
    return found


def _budgets(counts: list[int]) -> str:
    return f"{_pairs.listed([f'{count:,}' for count in counts])} labelled images"


def _training(target: str, runs: pl.DataFrame) -> list[str]:
    """How long each budget was trained."""
    pace = runs.select("images", "epochs").unique(maintain_order=True).sort("images", "epochs")
    if pace["epochs"].n_unique() == 1:
        return [
            f"On {target} every number of labels was trained for the same {pace['epochs'][0]} epochs, so few labels "
            f"also mean few training steps."
        ]
    said = [f"{images:,} images for {epochs}" for images, epochs in pace.iter_rows()]
    return [f"On {target} fewer labels were trained for more epochs: {_pairs.listed(said)}."]


def _rising(target: str, runs: pl.DataFrame) -> list[str]:
    """Budgets whose random arm had not flattened."""
    random = runs.filter(pl.col("arm") == "random").drop_nulls("rise_metric")
    rise = random.group_by("images", maintain_order=True).agg(pl.col("rise_metric").mean())
    late = [int(images) for images, value in rise.iter_rows() if value > FLAT]
    if not late:
        return []
    return [
        f"On {target} the random arm was still rising at the end with {_budgets(late)}: trained longer, it may need "
        f"fewer labels than said here."
    ]


def _unfitted(target: str, worths: dict[int, Worth]) -> list[str]:
    if all(read.fitted for read in worths.values()):
        return []
    return [
        f"On {target} the random arm does not follow a power law; the labels it needs are read off straight lines "
        f"between the numbers of labels tried (over their logarithm)."
    ]


def _charts(target: str, runs: pl.DataFrame, worths: dict[int, Worth]) -> list[Chart]:
    word = _pairs.word(runs["metric"][0])
    means = _runs.over_seeds(runs, ["arm", "images"], "test_metric")
    spec = charts.lines(
        means, "images", "test_metric", "arm", low="low", high="high", percent=True, log_x=True,
        runs=runs.select("arm", "images", "seed", "test_metric"), x_title="labelled training images (log scale)",
        y_title=f"final test {word}",
    )  # fmt: skip
    caption = "Thick: mean and 95% interval over seeds. Faint: single seeds. Both arms see the same images."
    found = [Chart(f"{target}-curve", f"Score against labels on {target}", spec, caption)]
    rows = [
        {"budget": f"{images:,}", "needed": read.size, "low": read.low or read.size, "high": read.high or read.size}
        for images, read in worths.items()
        if read.size is not None
    ]
    if rows:
        spec = charts.dots(
            pl.DataFrame(rows), "budget", "needed", low="low", high="high", bar=True,
            category_title="labels with pretraining", value_title="labels needed from scratch for the same score",
        )  # fmt: skip
        caption = "Read off the random arm's learning curve. Rules: 95% intervals, where they lie inside the data."
        found.append(Chart(f"{target}-worth", f"Labels needed from scratch on {target}", spec, caption))
    return found


def _summary(runs: pl.DataFrame, worths: dict[int, Worth]) -> pl.DataFrame:
    """One line a budget: both arms' means, and the labels that the random arm needs."""
    outside = {"beyond": "beyond the data", "below": "fewer than tried"}
    found = []
    for images in runs["images"].unique().sort().to_list():
        row: dict[str, Any] = {"labelled images": images}
        for arm in ARMS:
            values = runs.filter(_of(arm, images))["test_metric"].to_numpy()
            row[arm] = float(np.mean(values)) if len(values) else None
        read = worths.get(images)
        row["from scratch it takes"] = "-" if read is None else outside.get(read.side) or f"{read.size:,.0f}"
        row["times as many"] = read.size / images if read is not None and read.size is not None else None
        found.append(row)
    kinds = {"labelled images": pl.Int64, "random": pl.Float64, "pretrained": pl.Float64,
             "from scratch it takes": pl.String, "times as many": pl.Float64}  # fmt: skip
    return pl.DataFrame(found, schema=kinds)
