"""Criticality: how far did each block have to move from its start, and how exactly?

One block at a time is put somewhere between its start and its final value with noise added, all other blocks final.
Its criticality mu is the least (share of the way x distance / noise)^2 at which the training error stays within a
tolerance. A block that works at its start scores 0; one that needed a long way into a narrow valley scores high.
(Chatterji, Neyshabur and Sedghi 2020; Neyshabur, Sedghi and Zhang 2020, section 3 and figures 5 and 6.)

How to read it. Large blocks have a larger mu because distance sums over weights. Blocks are therefore compared by
log10(1 + mu / number of weights), the form in which mu enters the bound of Chatterji et al.: 0 for a block that may
stay at its start, 2 for one that moved ten times as far, weight by weight, as the noise that it bears. The *valleys*
show the training error over the way (from left to right) and the noise (mirrored about 0, as in the paper): wide and
even for a block that could have stayed anywhere, a wedge that opens on the right for one that had to move. Noise is
relative to the size of the block's weights. Where even the least noise is too much, mu is at least the value given.

What it rests on. In every cell, and for the final network, batch-norm statistics are estimated anew from the training
images that are evaluated; the final network's error with its own stands beside. With `batch_norm: as found` they are
the final network's everywhere, a part of what a cell loses is one of fit, and the findings say so. All is decided in
float32 unless asked otherwise: bfloat16 moves a score by a step of the grid. The criticality of a whole network is a
sum over blocks that one or two of them make up, which are named. The head, random at the start in every arm, belongs to
no half and is never advised to be frozen.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import advice, block_basis, contrasts, per_block, phrases
from transferscope.analyses._shared.per_block import Which
from transferscope.analyses.criticality.step import measure
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.measures.intervals import mean_interval, paired_interval, too_few
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import trained
from transferscope.study.schema import as_tuple

TITLE = "Which blocks had to move"
UNIT = "in log10(1 + mu per weight)"
VALUE = pl.when(pl.col("size") > 0).then(pl.col("mu") / pl.col("size"))


class Options(analyses.OfTrained):
    """How finely way and noise are searched, what error is allowed, and which valleys are drawn."""

    images: Annotated[int, Field(ge=8)] = 200
    """Training images to score on, at most."""
    alphas: Annotated[int, Field(ge=2)] = 6
    """Points on the way from start to end, both counted."""
    sigmas: Annotated[int, Field(ge=2)] = 6
    """Levels of noise to try."""
    draws: Annotated[int, Field(ge=1)] = 3
    """Draws of noise at each level."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The training error above the final one that is allowed, as a share of the images (0.01 is one point)."""
    relative: bool = False
    """Whether `tolerance` is a share of the final error."""
    path: Literal["direct", "optimisation"] = "direct"
    """The way: straight from start to end (`direct`), or along the saved epochs (`optimisation`)."""
    grid: bool = False
    """Whether every cell is evaluated, and not only those that decide."""
    valleys: Annotated[tuple[str, ...] | Literal["auto", "none"], BeforeValidator(as_tuple)] = "auto"
    """The blocks whose whole valley is drawn, by name; `auto` takes the first, a middle one and the last."""
    valley_seeds: Which = "first seed"
    """The seeds whose valleys are drawn."""
    valley_images: Annotated[int, Field(ge=8)] = 100
    """Training images for the valleys, at most."""
    batch_norm: Literal["refresh", "as found"] = "refresh"
    """Batch-norm statistics are re-estimated in every cell (`refresh`), or left `as found`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What numbers the network computes in."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per target, arm and seed."""
    said = {"auto": ["auto"], "none": []}.get(options.valleys) if isinstance(options.valleys, str) else options.valleys
    given = options.model_dump(mode="json", exclude={"valleys", "valley_seeds"})
    for target in study.targets:
        for arm in study.arms:
            for seed in study.seeds:
                drawn = list(said or []) if per_block.asked(options.valley_seeds, seed, study.seeds) else []
                step = measure.step(run=study.run(target, arm, seed), data=study.data(target), valleys=drawn, **given)
                yield {"target": target, "arm": arm, "seed": seed}, step


def section(table: Table, options: Options) -> Section:
    """Criticality by block and arm, the valleys of a few blocks, and what to do with which."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No network has been measured yet."])
    findings: list[Finding] = []
    drawn: list[Chart] = []
    views: list[View] = []
    notes: list[str] = []
    for (name,), every in table.rows.group_by("target", maintain_order=True):
        target = str(name)
        rows = every.with_columns(arm=pl.col("arm").map_elements(trained, pl.String))
        scores = rows.filter(pl.col("kind") == "score").with_columns(value=(1 + VALUE).log10())
        if scores["value"].count() == 0:
            continue
        findings += [*_fine_tuned(target, scores), *_scratch(target, scores), *_whole(target, scores)]
        if (own := block_basis.own_scores(target, _own(scores), "on these training images")) is not None:
            notes.append(own)
        drawn += [*_bars(target, scores, options), *_valleys(target, rows, options)]
        views += [advice.by_criticality(target, scores), _networks(target, scores)]
        if lost := int(scores["at_least"].sum()):
            notes.append(
                f"On {target} {lost} of {scores.height} blocks bear not even the least noise: their criticality is at "
                "least the value given if they need the whole of their way. More training images, or a larger "
                "tolerance, would tell more."
            )
    if few := too_few(table.rows["seed"].n_unique()):
        notes.append(few)
    images = f"training images (at most {options.images})"
    basis = block_basis.read(images, options.batch_norm, "these images", options.checkpoint)
    return Section(TITLE, findings, drawn, views, notes=notes, basis=basis)


def _own(scores: pl.DataFrame) -> pl.DataFrame:
    """Arm, seed, training accuracy and that with own statistics, for the networks that have both."""
    if "own_error" not in scores.columns:
        return pl.DataFrame()
    found = (
        scores.filter(pl.col("basis").str.starts_with("re-"))
        .select("arm", "seed", "error", "own_error")
        .unique(maintain_order=True)
    )
    return found.select(
        "arm",
        "seed",
        score=1 - pl.col("error"),
        own=1 - pl.col("own_error"),
        differs=pl.col("own_error") != pl.col("error"),
    )


def _basis(scores: pl.DataFrame) -> str:
    return block_basis.words(scores, "training images")


def _fine_tuned(target: str, scores: pl.DataFrame) -> list[Finding]:
    """Claim 9, first half: in P-T criticality is low in the lower blocks and rises towards the head."""
    names = per_block.order(scores)
    lower, upper = per_block.halves(names)
    tuned, scratch = (scores.filter(pl.col("arm") == arm) for arm in ("P-T", "RI-T"))
    low, high = per_block.level(tuned, "value", lower), per_block.level(tuned, "value", upper)
    gap = per_block.contrast(tuned, "value", upper, lower)
    if low is None or high is None or gap is None:
        return []
    other = per_block.level(scratch, "value", lower)
    beside = f" ({other.mean:z.2f} in RI-T)" if other is not None else ""
    rises = "rises" if gap.mean > 0 else "does NOT rise"
    text = (
        f"On {target}, criticality {rises} with depth in P-T: it is {low.mean:z.2f} in the lower half "
        f"({per_block.span(lower)}){beside} and {high.mean:z.2f} in the upper half, means over blocks and seeds of "
        f"log10(1 + mu per weight). {per_block.HEADLESS} {_basis(tuned)}."
    )
    found = [contrasts.judged(text, gap, f"{UNIT}, upper minus lower half", 9, [gap])]
    if (rank := per_block.trend(tuned, "value", names)) is not None:
        most = max(per_block.intervals(tuned, "value").items(), key=lambda pair: pair[1].mean)
        text = f"On {target}, the most critical block of P-T is {most[0]}, at {most[1].mean:z.2f}."
        found.append(contrasts.told(text, rank, "rank correlation of depth and criticality"))
    return found


def _scratch(target: str, scores: pl.DataFrame) -> list[Finding]:
    """Claim 9, second half: in RI-T the first block and those where stages begin are critical."""
    rows = scores.filter(pl.col("arm") == "RI-T")
    first, rest = per_block.entries(per_block.order(scores))
    gap, of, other = (
        per_block.contrast(rows, "value", first, rest),
        per_block.level(rows, "value", first),
        per_block.level(rows, "value", rest),
    )
    if gap is None or of is None or other is None:
        return []
    text = (
        f"On {target}, the blocks of RI-T where a stage begins ({phrases.listed(first)}) are "
        f"{'more' if gap.mean > 0 else 'NOT more'} critical than the others: {of.mean:z.2f} against {other.mean:z.2f}. "
        f"{per_block.HEADLESS} {_basis(rows)}."
    )
    return [contrasts.judged(text, gap, f"{UNIT}, stage entries minus others", 9, [gap])]


def _totals(scores: pl.DataFrame) -> pl.DataFrame:
    """The criticality of every network, the sum over its blocks, as log10(1 + sum); its largest block and that one's
    `share` of the sum (null where that is 0), and the median block's, as log10(1 + mu)."""
    sums = (
        scores.drop_nulls("mu")
        .group_by("arm", "seed", maintain_order=True)
        .agg(
            pl.col("mu").sum(),
            pl.col("at_least").any(),
            largest=pl.col("block").get(pl.col("mu").arg_max()),
            most=pl.col("mu").max(),
            median=(1 + pl.col("mu").median()).log10(),
        )
    )
    share = pl.when(pl.col("mu") > 0).then(pl.col("most") / pl.col("mu"))
    return sums.with_columns(total=(1 + pl.col("mu")).log10(), share=share)


def _largest(sums: pl.DataFrame) -> str:
    """Which block makes up most of the sums of an arm, and how much of them."""
    known = sums.drop_nulls("share")
    if known.is_empty():
        return "all of it 0"
    names = known["largest"].unique(maintain_order=True).to_list()
    return f"{contrasts.average(known['share']):z.0%} of it in {' or '.join(names)} alone"


def _whole(target: str, scores: pl.DataFrame) -> list[Finding]:
    sums = _totals(scores)
    tuned, scratch = (sums.filter(pl.col("arm") == arm) for arm in ("P-T", "RI-T"))
    both = tuned.join(scratch, on="seed", suffix="_scratch").sort("seed")
    if both.is_empty():
        return []
    gap = paired_interval(both["total_scratch"].to_numpy(), both["total"].to_numpy())
    text = (
        f"On {target}, the criticality of the whole network, the sum over its blocks, is "
        f"10^{contrasts.average(both['total']):z.1f} for P-T ({_largest(tuned)}) and "
        f"10^{contrasts.average(both['total_scratch']):z.1f} for RI-T ({_largest(scratch)}); the median block's is "
        f"10^{contrasts.average(both['median']):z.1f} and 10^{contrasts.average(both['median_scratch']):z.1f} "
        f"{_basis(scores)}."
    )
    return [contrasts.told(text, gap, "powers of ten, RI-T above P-T")]


def _bars(target: str, scores: pl.DataFrame, options: Options) -> list[Chart]:
    means = per_block.means(scores, "value")
    spec = charts.bars(
        means,
        "block",
        "value",
        "arm",
        low="low",
        high="high",
        runs=scores.select("arm", "block", "seed", "value").drop_nulls(),
        value_title="criticality, log10(1 + mu per weight)",
    )
    way = "the straight way" if options.path == "direct" else "the saved epochs"
    allowed = f"{100 * options.tolerance:g}{'%' if options.relative else ' points'}"
    caption = (
        f"Along {way}, on up to {options.images} training images; errors up to {allowed} above the final one are "
        f"allowed. {per_block.INTERVALS} {_basis(scores)}."
    )
    return [Chart(f"{target}-blocks", f"Criticality of each block on {target}", spec, caption)]


def _valleys(target: str, rows: pl.DataFrame, options: Options) -> list[Chart]:
    """Training error over way and noise, mirrored, of the blocks that were asked for; one seed of each arm."""
    cells = rows.filter(pl.col("kind") == "valley").drop_nulls(["error", "sigma_relative"])
    if cells.is_empty():
        return []
    seed = cells["seed"][0]
    cells = cells.filter(pl.col("seed") == seed)
    levels = cells["sigma_relative"].unique().sort(descending=True).to_list()
    parts = []
    for sign, each in ((1, levels), (-1, [level for level in reversed(levels) if level > 0])):
        for level in each:
            one = cells.filter(pl.col("sigma_relative") == level)
            parts.append(one.with_columns(noise=pl.lit(f"{sign * level:.2g}")))
    straight = options.path == "direct"  # else the blocks have shares of their own
    way = pl.col("alpha").round(2) if straight else pl.col("point")
    drawn = pl.concat(parts).with_columns(way=way.cast(pl.String), of=pl.format("{}: {}", "arm", "block"))
    facets = {name: i for i, name in enumerate(_facets(cells))}
    drawn = drawn.sort(pl.col("of").replace_strict(facets, return_dtype=pl.Int64), maintain_order=True)
    spec = charts.heat(
        drawn,
        "way",
        "noise",
        "error",
        facet="of",
        columns=3,
        percent=True,
        domain=(0.0, 1.0),
        x_title="share of the way" if straight else "point on the way",
        value_title="training error",
    )
    caption = (
        f"Seed {seed}. From the start (left) to the final weights (right); up and down: noise, its standard deviation "
        "over the size of the block's weights. The lower half mirrors the upper."
    )
    return [Chart(f"{target}-valleys", f"Valleys of a few blocks on {target}", spec, caption)]


def _facets(cells: pl.DataFrame) -> list[str]:
    """Arm by arm, blocks in order."""
    found = cells.select("arm", "block").unique(maintain_order=True)
    return [f"{arm}: {block}" for arm, block in found.sort("arm", maintain_order=True).iter_rows()]


def _networks(target: str, scores: pl.DataFrame) -> View:
    """The sums over blocks."""
    found = []
    for (arm,), of in _totals(scores).group_by("arm", maintain_order=True):
        found.append(
            {
                "network": arm,
                "log10(1 + sum of mu)": mean_interval(of["total"].to_numpy()).text(2),
                "largest block": _largest(of),
                "log10(1 + median mu)": mean_interval(of["median"].to_numpy()).text(2),
                "a lower bound in": f"{int(of['at_least'].sum())} of {of.height} seeds",
            }
        )
    title = f"Criticality of whole networks on {target}"
    caption = "Sums over blocks, which the largest one or two make up; the median block is that of each seed."
    return View(f"{target}-networks", title, pl.DataFrame(found), caption)
