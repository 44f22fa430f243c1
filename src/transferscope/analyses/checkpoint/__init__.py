"""Checkpoint: which checkpoint of a pretraining is worth having, and when more of it stopped paying.

The network is fine-tuned from every checkpoint of `pretrained` (a series of files, or what a pretraining inside the
study saved), with the same seeds for all and, where `recipe.lr` is a list, with a rate searched on val for each.
(Neyshabur, Sedghi and Zhang 2020, section 3.6 and figure 7.)

How to read it. The target metric usually stops rising long before the source metric does: a checkpoint from before that
point would have done. The earliest that does is within a margin of every other checkpoint, by the upper end of the
differences paired by seed and test image: one that is a margin or more behind is named in one case of twenty at most,
and with few seeds it is often undecided. Optimisation speed (the mean training metric over the epochs of fine-tuning)
can saturate at another time. The line from a checkpoint to the last one shows when pretraining entered the basin where
it ended: for a pretraining done here, on the source's own test images; for given files, between the two fine-tuned
networks. CKA compares the two checkpoints' features there, block by block. Random labels are the control: what they
give is not due to classes.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.checkpoint import joined, sweep
from transferscope.analyses.checkpoint.card import card
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures import depth
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.origin import Checkpoint

TITLE = "Which pretraining checkpoint is worth having"
RISE = 0.02  # a training metric that rose by less over the whole pretraining has not risen
WATCHED = 256  # images that a training metric is read on, unless the study says otherwise


class Options(analyses.Options):
    """For how many seeds every checkpoint is fine-tuned, and what joins it to the last one."""

    seeds: Annotated[int, Field(ge=1)] | None = None
    """How many of the study's seeds, from the first on, are fine-tuned; null for all."""
    lines: bool = True
    """Whether the barrier and the CKA from every checkpoint to the last are measured too."""
    images: Annotated[int, Field(ge=8)] = 500
    """Test images for `lines`, at most."""
    alphas: Annotated[int, Field(ge=3)] = 11
    """Points on each of the `lines`, both ends counted."""
    margin: Annotated[float, Field(gt=0)] = 1.0
    """How many points behind the best a checkpoint may be and still do."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """The pretrainings, a fine-tuning per target, checkpoint and seed, and what joins each checkpoint to the last."""
    found = study.checkpoints()
    if not found:
        raise UserError("analyses.checkpoint: there are no checkpoints to compare; add 'pretrained: {series: ...}'.")
    seeds = study.seeds[: options.seeds]
    here = study.pretrained is not None and study.pretrained.source is not None
    tracks = {c.track: [d for d in found if d.track == c.track] for c in found}

    def labels(what: str, target: str | None, c: Checkpoint, place: int, seed: int | None) -> dict[str, Any]:
        return {
            "what": what,
            "target": target,
            "track": c.track,
            "checkpoint": c.name,
            "pretrained_epochs": c.epoch,
            "place": place,
            "seed": seed,
        }

    for of in tracks.values():
        last = of[-1]
        if isinstance(last.weights, Step):
            yield labels("source", None, last, len(of) - 1, None), last.weights
        for target in study.targets:
            for place, c in enumerate(of):
                for seed in seeds:
                    run = study.run(target, "pretrained", seed, checkpoint=c)
                    yield labels("run", target, c, place, seed), run
        if not options.lines:
            continue
        for place, c in enumerate(of[:-1]):
            if here:
                for what, step in joined.saves(c, last, options.images, options.alphas):
                    yield labels(what, None, c, place, None), step
                continue
            for target in study.targets:
                for what, step in joined.tuned(study, target, seeds[0], c, last, options.images, options.alphas):
                    yield labels(what, target, c, place, None), step


def section(table: ResultTable, options: Options) -> Section:
    """Source and target metric and speed by checkpoint, the earliest that does, and the way into the last basin."""
    if table.rows.is_empty() or "run" not in table.rows["what"]:
        return Section(TITLE, notes=["No run has finished yet."])
    runs = sweep.finished(table.rows.filter(pl.col("what") == "run"))
    runs = gains.with_parts(runs, table, ["target", "track", "checkpoint", "seed"])
    source = _source(table.rows)
    said = Parts()
    for (target, track), of in runs.group_by("target", "track", maintain_order=True):
        if of["place"].n_unique() < 2:
            said.notes.append(f"On {target} there is one checkpoint only: give a series to compare several.")
            continue
        said.findings += sweep.worth(target, str(track), of, options.margin)
        if track != "random":
            said.cards += card(str(target), of, options.margin)
        said.findings += _follows(target, str(track), of, source)
    for target, of in by_target(runs):
        said.charts += sweep.curves(target, of)
    said.charts += _source_chart(source)
    for (where,), of in joined.gathered(table.rows).group_by("where", maintain_order=True):
        said.findings += joined.onset(str(where), of)
        said.charts += joined.drawn(str(where), of)
    said.notes += [*_learnt(source), *sweep.unlearnt(runs)]
    said.tables.append(View("checkpoints", "Every checkpoint, means over seeds", sweep.summary_table(runs)))
    basis = f"{gains.basis(runs)} {outcomes.SPEED}"
    if options.lines:
        basis += (
            f" Barriers and CKA are on at most {options.images} test images; along a line running statistics are "
            "estimated anew from training images."
        )
    return said.section(TITLE, basis)


def _source(rows: pl.DataFrame) -> pl.DataFrame:
    """The pretraining's own test metric by track and epoch; empty for given checkpoints."""
    found = rows.filter(pl.col("what") == "source")
    more = ["deviation"] if "deviation" in found.columns else []
    return found.select("track", "epoch", "metric", pl.col("test_metric"), pl.col("train_metric"), *more)


def _learnt(source: pl.DataFrame) -> list[str]:
    """A note for every pretraining whose training metric did not rise: its checkpoints are all untrained networks."""
    found = []
    for (track,), of in source.drop_nulls("train_metric").sort("epoch").group_by("track", maintain_order=True):
        first, last = float(of["train_metric"][0]), float(of["train_metric"][-1])
        metric, share = str(of["metric"][0]), min(1.0, max(0.0, first))
        chance = 2 * math.sqrt(2 * share * (1 - share) / WATCHED)  # twice the standard error of a difference
        if of.height > 1 and last - first < max(RISE * phrases.deviation(of), chance):
            found.append(
                f"The pretraining with {track} labels has learnt next to nothing (training metric "
                f"{phrases.score(first, metric)} to {phrases.score(last, metric)}): change pretrained.recipe before "
                "reading more into its checkpoints."
            )
    return found


def _follows(target: str, track: str, runs: pl.DataFrame, source: pl.DataFrame) -> list[Finding]:
    """Whether a better source metric means a better target metric, over checkpoints.

    Not for random labels: there the source's test metric is chance throughout.
    """
    if track == "random":
        return []
    own = source.filter(pl.col("track") == track).rename({"test_metric": "source", "epoch": "pretrained_epochs"})
    if own.is_empty():
        return []
    pairs = runs.join(own.drop_nulls("source"), on="pretrained_epochs").drop_nulls("final").sort("place")
    if pairs.is_empty():
        return []
    wide = pairs.pivot("seed", index=["place", "source"], values="final")
    found = depth.correlation(wide.drop("place", "source").to_numpy().T, wide["source"].to_numpy())
    if found is None:
        return []
    goes = ("is not shown to go with", "goes with", "goes against")[depth.leans(found)]
    text = (
        f"On {target}, the rank of a checkpoint by its source metric ({track} labels) {goes} its rank on the target: "
        f"one correlation over {wide.height} checkpoints for every seed of fine-tuning."
    )
    return [contrasts.finding(text, found, "rank correlation")]


def _source_chart(source: pl.DataFrame) -> list[Chart]:
    """The source's test metric over the pretraining."""
    rows = source.drop_nulls("test_metric")
    if rows.is_empty():
        return []
    metric = str(rows["metric"][0])
    spec = charts.lines(
        phrases.upright(rows, "test_metric", metric),
        "epoch",
        "test_metric",
        "track",
        x_title="epoch of pretraining",
        y_title="test metric on the source",
        percent=phrases.percent(metric),
    )
    return [Chart("source", "The pretraining itself", spec, "With random labels no test metric can be above chance.")]
