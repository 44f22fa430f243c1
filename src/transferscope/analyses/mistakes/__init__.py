"""Mistakes: do two fine-tuned networks fail on the same images, and two networks trained from scratch?

The test errors of two networks are compared image by image: both wrong (common), only one wrong. More accurate networks
share fewer mistakes for that reason alone, so every count stands beside the one expected if errors were independent.
Pairs: two seeds of an arm, and the pretrained arm beside every other arm with the same seed. (Neyshabur, Sedghi and
Zhang 2020, section 3 and appendix.)

How to read it. The interval of the mistakes mended is for new trainings and new test images together. *Kappa* is
Cohen's kappa of the two error patterns: 0 is what independence gives, 1 is the same mistakes. It compares pairs of
different accuracy; the plain *Jaccard index* (common mistakes over all mistakes of either) does not, which is why its
expected value is drawn beside it. Numbers are not right or wrong: there the *correlation of the residuals* stands for
both, 0 for networks that have nothing in common but the truth; what nobody could predict is in the residuals of both,
and the better two networks are the more of their residuals it is. The pictures show the images of one seed that only
one arm gets wrong, and those both do, the most confident mistakes first. Where several labels belong to an image, every
answer counts, and an image is wrong if any label is.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, gains, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.mistakes import residuals
from transferscope.analyses.mistakes.pictures import shown, strip
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import kind_of, pairs, sides
from transferscope.tasks import costs, inputs, restore

TITLE = "Which mistakes are shared"


class Options(analyses.OfTrained):
    """Whose mistakes are compared, and how many are shown."""

    pictures: Annotated[int, Field(ge=0)] = 12
    """Images shown in each strip."""


@task("mistakes", version=1, cost=costs.fixed(costs.SMALL), needs="findings")
def measure(
    *, a: Artifact, b: Artifact, data: Artifact, checkpoint: str, pictures: int, work: Work
) -> list[dict[str, Any]]:
    """Rows of `probes.answers.mistakes` on the test images for two runs: "all", then every class (or label).

    With `pictures` above 0, writes one strip of images for the mistakes of only a, only b, and both, and their classes.
    """
    from transferscope.probes.answers.mistakes import mistakes

    table = inputs.open_table(data.whole())
    rows = table.rows["test"]
    outputs = [restore.outputs(run, "test", checkpoint) for run in (a, b)]
    if table.kind == "numbers":
        return residuals.rows(outputs[0], outputs[1], table.labels[rows], table.classes)
    several, metric = table.multilabel, table.judged
    found = mistakes(outputs[0], outputs[1], table.labels[rows], table.classes, multilabel=several, metric=metric)
    if pictures and table.pictures(rows[:1]) is not None:
        kinds = {"only-a": found.only_a_wrong, "only-b": found.only_b_wrong, "both": found.both_wrong}
        said = {
            name: strip(work.folder / f"{name}.png", table, rows, outputs, places, name == "only-b", pictures)
            for name, places in kinds.items()
            if len(places)
        }
        (work.folder / "strips.json").write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
    return found.table().to_dicts()


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair of trained networks."""
    for target in study.targets:
        for pair in pairs(study, target):
            if pair.b.at == "end":
                step = measure.step(
                    a=pair.a.run,
                    b=pair.b.run,
                    data=study.data(target),
                    checkpoint=options.checkpoint,
                    pictures=0 if pair.a.arm == pair.b.arm else options.pictures,
                )
                yield {"target": target, **pair.labels}, step


def section(table: ResultTable, options: Options) -> Section:
    """Kappa and Jaccard of every kind of pair, what pretraining mends, errors by class, and the pictures."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No pair of runs has finished yet."])
    said = Parts()
    for target, rows in by_target(table.rows):
        if residuals.KEY in rows.columns and rows[residuals.KEY].count():
            found, charts, view = residuals.shown(target, rows)
            said.findings += found
            said.charts += charts
            said.tables.append(view)
            continue
        if "kappa" not in rows.columns:
            continue
        whole = _with_parts(rows.filter(pl.col("group") == "all"), table, options.checkpoint)
        said.findings += _findings(target, whole)
        said.charts += _charts(target, whole)
        said.notes += _nothing_shared(target, whole)
        said.tables.append(View(f"{target}-pairs", f"Pairs on {target}, means over seeds", _summary_table(whole)))
        if not (by_class := _by_class(rows)).is_empty():
            caption = "Mean number of test images wrong, most often wrong for the second network alone first."
            said.tables.append(View(f"{target}-classes", f"Mistakes by class on {target}", by_class, caption))
    said.notes += contrasts.notes_on_pairs(table.rows)
    basis = (
        f"The answers to all test images, in eval mode. {phrases.weights(options.checkpoint)} Intervals of points of "
        "error are over trainings and test images where those are named, all others over seeds."
    )
    if "kappa" not in table.rows.columns:
        basis = (
            f"The predictions for all test images, in eval mode. {phrases.weights(options.checkpoint)} Intervals are "
            "over seeds."
        )
    return said.section(TITLE, basis, shown(table))


def _with_parts(rows: pl.DataFrame, table: ResultTable, checkpoint: str) -> pl.DataFrame:
    """Pairs with the share of right answers of both networks, and every test image's part in it."""
    for side in "ab":
        right = (1 - pl.col(f"wrong_{side}") / pl.col("n")).alias(f"right_{side}")
        rows = rows.with_columns(right, metric=pl.lit("accuracy"))
        rows = gains.with_parts(rows, table, ["target", "pair", "seed", "seed_b"], f"right_{side}", checkpoint, side)
    return rows


def _findings(target: str, rows: pl.DataFrame) -> list[Finding]:
    found = []
    if (gap := contrasts.contrast(rows, "P-T & P-T", "RI-T & RI-T", "kappa")) is not None:
        tuned, scratch = (contrasts.mean(rows, kind_of(arm), "kappa") for arm in ("P-T", "RI-T"))
        text = (
            f"On {target}, two fine-tuned networks {_shared(gap)} than two from scratch, accuracy allowed for: kappa "
            f"is {tuned:z.2f} between two P-T and {scratch:z.2f} between two RI-T."
        )
        found.append(contrasts.judged(text, gap, "in kappa", 4, [gap]))
    for kind in rows["pair"].unique(maintain_order=True):
        a, b = sides(kind)
        of = rows.filter(pl.col("pair") == kind)
        if a == b:
            continue
        known = of.drop_nulls(["wrong_a", "wrong_b", "only_a", "only_b"]).filter(pl.col("n") > 0)
        if not (known["wrong_a"] + known["wrong_b"]).sum():
            continue  # no mistakes to compare: a note says so
        (first,), (second,) = (gains.scores([known], f"right_{side}") for side in "ab")
        net, n = first.minus(second).times(100).interval(), known["n"][0]
        text = (
            f"On {target}, of the {contrasts.average(known['wrong_b']):z.0f} mistakes that {b} makes in {n} test "
            f"answers, {a} gets {contrasts.average(known['only_b']):z.0f} right, and makes "
            f"{contrasts.average(known['only_a']):z.0f} that {b} does not."
        )
        found.append(gains.with_images(contrasts.finding(text, net, "points of error"), net))
    return found


def _shared(gap: Interval) -> str:
    """How a difference of kappas reads, no stronger than its interval."""
    if not gap.excludes():
        return "are not shown to share more of their mistakes, nor fewer,"
    return f"share {'more' if gap.mean > 0 else 'fewer'} of their mistakes"


def _nothing_shared(target: str, rows: pl.DataFrame) -> list[str]:
    """A note on every kind of pair with pairs whose kappa has no value: nobody is wrong, or everybody always."""
    found = []
    for (kind,), of in rows.group_by("pair", maintain_order=True):
        if not (lost := of["kappa"].null_count()):
            continue
        empty = of.filter(pl.col("kappa").is_null())
        wrong = (empty["wrong_a"] + empty["wrong_b"]).drop_nulls().to_list()
        if wrong and not any(wrong):
            why = f"no mistakes to compare: no network of the pair is wrong in any of the {empty['n'][0]} test answers"
        elif wrong and all(count == 2 * n for count, n in zip(wrong, empty["n"], strict=False)):
            why = f"nothing to compare: both networks of the pair are wrong in all {empty['n'][0]} test answers"
        else:
            why = "their errors leave nothing to compare"
        which = f"{str(kind).replace(' & ', ' and ')}{'' if lost == of.height else f' in {lost} of {of.height} pairs'}"
        found.append(f"On {target}, {which}: {why}. Kappa has no value there.")
    return found


def _charts(target: str, rows: pl.DataFrame) -> list[Chart]:
    found = []
    kappa = contrasts.over_pairs(rows, [], "kappa")
    if not kappa.is_empty():
        spec = charts.dots(
            kappa,
            "pair",
            "kappa",
            low="low",
            high="high",
            runs=rows.select("pair", "seed", "kappa").drop_nulls(),
            value_title="kappa of the errors",
            reference=0.0,
        )
        caption = "Large: mean and 95% interval over seeds. Small: single pairs. 0 is what independent errors give."
        found.append(Chart(f"{target}-kappa", f"Agreement in mistakes on {target}", spec, caption))
    found_or_expected = (("jaccard", "found"), ("expected_jaccard", "expected if independent"))
    parts = [
        rows.select("pair", pl.lit(word).alias("what"), pl.col(column).alias("jaccard"))
        for column, word in found_or_expected
    ]
    long = pl.concat(parts).drop_nulls()
    if not long.is_empty():
        means = long.group_by("pair", "what", maintain_order=True).agg(pl.col("jaccard").mean())
        spec = charts.dots(means, "pair", "jaccard", "what", value_title="common mistakes, share of all", percent=True)
        caption = "Mistakes of both over mistakes of either, means over seeds, beside what independence would give."
        found.append(Chart(f"{target}-jaccard", f"Shared mistakes on {target}", spec, caption))
    return found


def _summary_table(rows: pl.DataFrame) -> pl.DataFrame:
    counts = [pl.col(name).mean().round(1) for name in ("wrong_a", "wrong_b", "common", "expected")]
    indices = [pl.col(name).mean().round(3) for name in ("jaccard", "expected_jaccard", "kappa")]
    return rows.group_by("pair", maintain_order=True).agg(pl.len().alias("pairs"), *counts, *indices)


def _by_class(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean counts of every class for the pairs of different arms."""
    mixed = rows.filter((pl.col("group") != "all") & ~pl.col("pair").map_elements(contrasts.twins, pl.Boolean))
    means = [pl.col(name).mean().round(1) for name in ("n", "common", "only_a", "only_b")]
    return (
        mixed.group_by("pair", "group", maintain_order=True)
        .agg(*means)
        .sort("pair", pl.col("only_b"), descending=[False, True], maintain_order=True)
        .rename({"group": "class"})
    )
