"""Basin: is the line between two fine-tuned networks the floor of one basin, with walls around it?

The segment between two seeds of an arm is extended beyond both as far as the error stays low. Then three questions,
those of an (epsilon, delta)-basin: how much does the error vary on the segment (epsilon, condition 1)? Is it worse by
at least 2 epsilon when noise of total size delta is added to the weights at its ends (condition 2), and when one goes
on past the ends by steps of size delta (condition 3)? (Neyshabur, Sedghi and Zhang 2020, definition 3.1.)

How to read it. *Epsilon* is the mean deviation of the error from its mean on the segment, *delta* the smallest tried
distance off its ends at which both other conditions hold; per weight it is delta over the root of the number of
weights. A small epsilon and a clear rise at delta mean a flat floor with walls; no delta means that some way off the
segment costs nothing, or that the floor itself is too uneven for the walls to show. Everything is estimated from a few
draws of noise on a few hundred images: a margin counts only beyond two standard errors of its draws. All points have
one basis: batch-norm statistics are re-estimated at every one, the two networks and those with noise too, from training
images; the networks' losses with their own statistics stand in the table. Where the segment cannot be extended, or the
loss is the same everywhere, a basin has no size, and the finding says so.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import barriers, contrasts, outcomes, phrases
from transferscope.engine.step import Step, task
from transferscope.engine.store import Artifact
from transferscope.engine.table import Table
from transferscope.engine.work import Work
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import pairs
from transferscope.study.schema import as_tuple
from transferscope.tasks import costs as passes

TITLE = "Whether the line runs in a basin"
SURE = 2.0  # standard errors
OWN = {"at": "at the networks", "own": "with own statistics"}
EXTENT = {
    "could not be extended": "Beyond the networks themselves the segment has no length: it could not be extended",
    "a plateau": "The loss was the same wherever it was asked for, a plateau without walls, so the basin has no size",
}
CONDITIONS = {"noise": "with noise in every weight", "beyond": "when one goes on past the ends"}


Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Options(analyses.Options):
    """Whose segments are explored, how far and how finely, and on which images."""

    arms: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    """Arms whose neighbouring seeds are compared; null for the pretrained one."""
    loss: Literal["error", "cross-entropy"] = "error"
    """What is measured along the way."""
    samples: Annotated[int, Field(ge=3)] = 8
    """Points on the segment."""
    draws: Annotated[int, Field(ge=2)] = 4
    """Draws of noise at each end."""
    per_weight: Annotated[tuple[Deviation, ...], BeforeValidator(as_tuple), Field(min_length=1)] = (0.01, 0.02, 0.04)
    """Standard deviations of the noise in a single weight to try, smallest first."""
    slack: Annotated[float, Field(ge=0)] = 0.02
    """The segment is extended beyond its ends as far as the loss stays this close to its mean."""
    limit: Annotated[float, Field(gt=0)] = 1.0
    """How far beyond either end the segment is extended at most, in lengths of the segment."""
    images: Annotated[int, Field(ge=8)] = 200
    """Test images to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 100
    """Training images from which batch-norm statistics are re-estimated."""
    checkpoint: Literal["final", "best"] = "final"
    """The weights to look at: the `final` ones, or those `best` on val."""


@task("basin", version=2, cost=passes.basin)  # 2: own scores, no extent, every kind of batch norm
def measure(
    *,
    a: Artifact,
    b: Artifact,
    at: str,
    data: Artifact,
    loss: str,
    samples: int,
    draws: int,
    per_weight: list[float],
    slack: float,
    limit: float,
    images: int,
    statistics: int,
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of `probes.basin`, one a delta tried, each with epsilon, the delta found and the segment's ends.

    The whole result is written as ``basin.safetensors``.
    """
    import torch

    from transferscope.probes.walks.basin import basin
    from transferscope.tasks import restore

    torch.set_num_threads(work.threads)
    found = basin(
        restore.weights(a, at),
        restore.weights(b, at),
        list(restore.batches(a, data, "test", images=images, device=work.device)),
        loss=loss,  # type: ignore[arg-type]
        samples=samples,
        draws=draws,
        per_weight=per_weight,
        slack=slack,
        limit=limit,
        statistics=barriers.training_images(a, data, statistics, work.device),
        images=statistics,
        precision=restore.said(a)["precision"],
        like=restore.bare(a, data).to(work.device),
    )
    found.save(work.folder / "basin.safetensors")
    whole = {
        "loss": found.loss,
        "mean": found.mean,
        "epsilon": found.epsilon,
        "epsilon_error": found.epsilon_error,
        "found_delta": found.delta,
        "sure": found.sure,
        "first_end": float(found.ends[0]),
        "second_end": float(found.ends[1]),
        "first_reached": bool(found.reached[0]),
        "second_reached": bool(found.reached[1]),
        "length": found.length,
        "size": found.size,
        "images": found.images,
        "samples": samples,
        "draws": draws,
        "head": barriers.head(a, b),
        "failing": "; ".join(found.failing),
        "at": float(found.at.mean()),
        "own": float(found.own.mean()),
        "batch_norm": found.batch_norm,
        "told": " ".join(found.notes),
    }
    return [{**row, **whole} for row in found.table().to_dicts()]


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair of neighbouring seeds of each arm asked for."""
    arms = options.arms or (("pretrained",) if "pretrained" in study.arms else study.arms[:1])
    outcomes.known_arms(study, "basin", arms)
    how = options.model_dump(exclude={"arms", "checkpoint"}) | {"per_weight": list(options.per_weight)}
    for target in study.targets:
        for pair in pairs(study, target):
            if pair.b.at == "end" and pair.a.arm == pair.b.arm and pair.a.arm in arms:
                step = measure.step(a=pair.a.run, b=pair.b.run, at=options.checkpoint, data=study.data(target), **how)
                yield {"target": target, **pair.labels}, step


def section(table: Table, options: Options) -> Section:
    """Whether every pair's segment is a basin, the error along it, and the margins off its ends."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No pair of networks has finished yet (this analysis needs two seeds)."])
    findings: list[Finding] = []
    drawn: list[Chart] = []
    views: list[View] = []
    for (name,), rows in table.rows.group_by("target", maintain_order=True):
        target, every = str(name), _last(rows)
        if every.is_empty():
            continue
        for (kind,), of in every.group_by("pair", maintain_order=True):
            findings.append(_basin(target, str(kind), of))
        drawn += [*_floor(target, table), *_walls(target, rows)]
        views.append(_summary(target, every))
    basis = (
        "Every network on the segment, beyond it and under noise is scored on the same test images (at most "
        f"{options.images}), in eval mode; batch-norm statistics, where there are any, are re-estimated for each from "
        f"the same training images (at most {options.statistics}). {phrases.weights(options.checkpoint)} Standard "
        "errors are over draws of noise, not over images."
    )
    return Section(TITLE, findings, drawn, views, notes=contrasts.notes_on_seeds(table.rows), basis=basis)


def _last(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a pair, at the largest delta tried (the one found where there is one), with both margins over 2 epsilon.

    `noise_sure` and `beyond_sure` are the margins drawn towards 0 by two standard errors of their draws.
    """
    rows = rows.with_columns(pl.col("found_delta").cast(pl.Float64))  # all null where no pair has one
    of = rows.sort("delta").group_by("pair", "seed", "seed_b", maintain_order=True).last()
    margins = [(pl.col(name) - pl.col("twice_epsilon")).alias(f"{name}_margin") for name in CONDITIONS]
    of = of.with_columns(margins)
    sure = [
        (pl.col(f"{n}_margin").sign() * (pl.col(f"{n}_margin").abs() - SURE * pl.col(f"{n}_error")).clip(0)).alias(
            f"{n}_sure"
        )
        for n in CONDITIONS
    ]
    return of.drop_nulls(["epsilon", "first_end", "second_end", *CONDITIONS]).with_columns(sure).sort("pair", "seed")


def _basin(target: str, kind: str, of: pl.DataFrame) -> Finding:
    """Claim 8, from the pairs of one kind."""
    chained = contrasts.twins(kind)
    count, held = of.height, of.drop_nulls("found_delta")
    share = of["loss"][0] == "error"
    times, unit = (100.0, "points of error") if share else (1.0, "nats")
    epsilon = contrasts.average(of["epsilon"]) * times
    who = kind.replace(" & ", " and ")
    reach = contrasts.average((of["second_end"] - of["first_end"] - 1) / 2)
    where = f"On {target}, the segment between {who}, extended by {reach:z.0%} of its length past either end"
    if open_ := 2 * count - int(of["first_reached"].sum()) - int(of["second_reached"].sum()):
        where += f" (at {open_} of {2 * count} ends the search stopped with the {of['loss'][0]} still low)"
    if held.height:
        delta = contrasts.average(held["found_delta"])
        each = delta / math.sqrt(held["size"][0] or math.inf)  # of no weight at all
        sure = int(held["sure"].sum())
        pairs = "" if sure in (0, count) else f" for {sure} of {count} pairs"
        some = "" if held.height == count else f" for {held.height} of {count} pairs"
        verb = (
            f"is a basin{pairs}" if sure else f"may be a basin{some}, but its walls are not clear of the draws' noise"
        )
        text = f"{where}, {verb}: epsilon is {epsilon:.2g} {unit}, delta {delta:.3g} ({each:.2g} per weight)"
    else:
        text = f"{where}, is NOT shown to be a basin: epsilon is {epsilon:.2g} {unit}, and no delta tried is enough"
        failing = sorted({part for text in of["failing"] if text for part in text.split("; ")})
        text += f", for {phrases.listed(failing)} fails" if failing else ""
    rise = [f"{times * contrasts.average(of[n]):.2g} {unit.split()[0]} {word}" for n, word in CONDITIONS.items()]
    text += f"; the {of['loss'][0]} rises by {phrases.listed(rise)}."
    for told in ("could not be extended", "a plateau"):
        such = of.filter(pl.col("told").str.contains(told)).height if "told" in of.columns else 0
        if such:
            text += f" {EXTENT[told]}{'' if such == count else f' ({such} of {count} pairs)'}."
    effects = [contrasts.interval(of[f"{name}_sure"].to_numpy(), chained=chained) for name in CONDITIONS]
    least = of.select(pl.min_horizontal("noise_margin", "beyond_margin"))["noise_margin"].to_numpy()
    shown = contrasts.moved(contrasts.interval(least, chained=chained), times)
    unit = f"{unit} over 2 epsilon, the smaller of both margins"
    return contrasts.judged(text, shown, unit, 8, effects) if kind == "P-T & P-T" else contrasts.told(text, shown, unit)


def _floor(target: str, table: Table) -> list[Chart]:
    """The error on every pair's segment."""
    parts = []
    loss = "error"
    for labels, artifact in table.artifacts:
        if labels["target"] != target or not artifact.rows:
            continue
        arrays, loss = artifact.arrays("basin"), str(artifact.rows[0]["loss"])
        of = pl.DataFrame({"alpha": arrays["alphas"], "loss": arrays["losses"]}).sort("alpha")
        name = f"{labels['pair']}, seeds {labels['seed']} and {labels['seed_b']}"
        parts.append(of.with_columns(pair=pl.lit(name)))
    if not parts:
        return []
    spec = charts.lines(
        pl.concat(parts),
        "alpha",
        "loss",
        "pair",
        y_title=f"test {loss}",
        percent=loss == "error",
        x_title="from the first network (0) to the second (1) and beyond",
    )
    caption = "Points spread evenly over the segment out to where the error leaves the slack, or the search ended."
    return [Chart(f"{target}-floor", f"On the floor of the basin, {target}", spec, caption)]


def _walls(target: str, rows: pl.DataFrame) -> list[Chart]:
    """Rises off the segment's ends over 2 epsilon, for both ways off and every delta tried."""
    share = rows["loss"][0] == "error"
    long = pl.concat(
        rows.select(
            "pair",
            pl.format("{}-{}", "seed", "seed_b").alias("seed"),
            pl.format(f"{word}, {{}} a weight", "per_weight").alias("off the ends"),
            (pl.col(name) - pl.col("twice_epsilon")).alias("margin"),
        ).sort("off the ends", maintain_order=True)
        for name, word in (("noise", "noise"), ("beyond", "past the ends"))
    )
    means = long.group_by("pair", "off the ends", maintain_order=True).agg(pl.col("margin").mean())
    spec = charts.dots(
        means,
        "off the ends",
        "margin",
        "pair",
        runs=long,
        reference=0.0,
        percent=share,
        value_title=f"rise of the {rows['loss'][0]} over 2 epsilon",
    )
    caption = (
        "Right of the rule the condition holds. Large: means over pairs. Small: single pairs. Larger deltas are not "
        "tried once both conditions hold."
    )
    return [Chart(f"{target}-walls", f"The walls of the basin, {target}", spec, caption)]


def _summary(target: str, every: pl.DataFrame) -> View:
    rows = every.select(
        "pair",
        "seed",
        "seed_b",
        pl.col("first_end").round(2).alias("from"),
        pl.col("second_end").round(2).alias("to"),
        pl.col("mean").round(4),
        pl.col("epsilon").round(4),
        pl.col("epsilon_error").round(4).alias("its error"),
        pl.col("found_delta").round(2).alias("delta"),
        pl.col("noise").round(4).alias("rise with noise"),
        pl.col("beyond").round(4).alias("rise beyond"),
        "sure",
        "failing",
        *(pl.col(c).round(4).alias(title) for c, title in OWN.items() if c in every.columns),
    )
    caption = (
        f"{every['loss'][0]} on {every['images'][0]} test images; {every['samples'][0]} points on each segment, "
        f"{every['draws'][0]} draws at each end, from seed 0. from, to: the segment in units of the line."
    )
    return View(f"{target}-basins", f"Basins on {target}", rows, caption)
