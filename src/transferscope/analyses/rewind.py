"""Rewind: which blocks of a trained network can go back to where they started without loss?

One block at a time is set back to its starting value (or drawn anew, or set to its value at an early epoch), all others
keep their final weights, and the network is tested. The same with ever more blocks from the bottom. (Neyshabur, Sedghi
and Zhang 2020, section 3 and figure 5; re-initialisation: Zhang, Bengio and Singer 2022.)

How to read it. A block whose rewinding costs nothing holds nothing that training put there: *safe to reset*. In the
pretrained arm it may stay at its pretrained values: *safe to freeze*. A block whose rewinding costs much is *critical*.
Blocks that are safe one by one need not be safe together: the freeze list is taken from the blocks rewound together,
from the bottom. Rewinding is evidence about a finished network, not an experiment in freezing: training with the blocks
frozen can end better or worse, which the analysis `tuning` tests.

What it rests on. After every change all batch-norm statistics are estimated anew from training images, for the
unchanged network too, from which losses are measured; what it scores with its own statistics stands beside. With
`batch_norm: as found` a rewound block brings along the statistics of its start and the blocks above keep theirs: a part
of its loss is then one of fit, and the findings say so. The last block, the head, starts from random values in every
arm: it belongs to no half, is never advised to be frozen, and does not count among the blocks that go back together.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import advice, block_basis, contrasts, outcomes, per_block, phrases
from transferscope.analyses._shared.per_block import Which
from transferscope.engine.step import Step, task
from transferscope.engine.store import Artifact
from transferscope.engine.table import Table
from transferscope.engine.work import Work
from transferscope.measures.intervals import mean_interval, paired_interval, too_few
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import trained
from transferscope.study.schema import as_tuple
from transferscope.tasks import costs as passes

TITLE = "Which blocks can be rewound"


class Options(analyses.Options):
    """What is set back, on which images that is tested, and which loss counts as harmless."""

    splits: Annotated[tuple[Literal["train", "val", "test"], ...], BeforeValidator(as_tuple), Field(min_length=1)] = (
        "train",
        "test",
    )
    """The splits to test on, the last of which the findings use."""
    images: Annotated[int, Field(ge=8)] = 250
    """Images of each split to score on, at most."""
    checkpoint: Literal["final", "best"] = "final"
    """The weights that are set back: the `final` ones, or those `best` on val."""
    checkpoints: Which = "first seed"
    """For which seeds blocks are also set back to every saved epoch, drawn as a heat map."""
    redraw: Which = "first seed"
    """For which seeds blocks also get fresh random values."""
    cumulative: Literal["bottom", "both", "none"] = "bottom"
    """Whether ever more blocks are set back together: from the `bottom`, from `both` ends, or not at all (`none`)."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The largest loss that counts as harmless, as a share of the score (0.01 is one point)."""
    statistics: Annotated[int, Field(ge=2)] = 250
    """Training images from which batch-norm statistics are re-estimated."""
    batch_norm: Literal["refresh", "as found"] = "refresh"
    """Batch-norm statistics are re-estimated after every change (`refresh`), or left `as found`."""


@task("rewind", version=2, cost=passes.rewinding)  # 2: statistics re-estimated, for the unchanged network too
def measure(
    *,
    run: Artifact,
    data: Artifact,
    checkpoint: str,
    splits: list[str],
    images: int,
    checkpoints: bool,
    redraw: bool,
    cumulative: str,
    batch_norm: str,
    statistics: int,
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of `probes.rewind` with the names of each block's modules, the statistics ("basis") and the precision.

    The whole result is written as ``rewind.safetensors``.
    """
    import torch

    from transferscope.data.table import open_table
    from transferscope.models.blocks import blocks
    from transferscope.models.build import build_network
    from transferscope.probes.blocks.rewind import rewind
    from transferscope.streams import stream_seed
    from transferscope.tasks import restore

    torch.set_num_threads(work.threads)
    said = restore.said(run)
    later = {}
    if checkpoints:
        saved = sorted(path.stem for path in run.path.glob("epoch-*.safetensors"))[1:]
        later = {f"epoch {int(name.removeprefix('epoch-'))}": restore.weights(run, name) for name in saved}
    fresh = stream_seed(said["seed"], "redraw") % 2**31
    classes = len(open_table(data.path).classes)
    net = restore.bare(run, data)
    found = rewind(
        restore.weights(run, checkpoint),
        restore.weights(run, "start"),
        {split: list(restore.batches(run, data, split, images=images, device=work.device)) for split in splits},
        checkpoints=later,
        redraw=build_network(said["network"], classes, seed=fresh) if redraw else False,
        cumulative=None if cumulative == "none" else cumulative,  # type: ignore[arg-type]
        batch_norm=batch_norm,  # type: ignore[arg-type]
        statistics=[x for x, *_ in restore.batches(run, data, "train", images=statistics, device=work.device)],
        images=statistics,
        precision=said["precision"],
        like=net.to(work.device),
    )
    found.save(work.folder / "rewind.safetensors")
    modules = {block.name: ", ".join(block.prefixes) for block in blocks(net)}
    more = {"basis": found.batch_norm, "precision": found.precision}
    return [{**row, "modules": modules.get(row["block"]), **more} for row in found.table().to_dicts()]


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per target, arm and seed."""
    for target in study.targets:
        for arm in study.arms:
            for seed in study.seeds:
                step = measure.step(
                    run=study.run(target, arm, seed),
                    data=study.data(target),
                    checkpoint=options.checkpoint,
                    splits=list(options.splits),
                    images=options.images,
                    checkpoints=per_block.asked(options.checkpoints, seed, study.seeds),
                    redraw=per_block.asked(options.redraw, seed, study.seeds),
                    cumulative=options.cumulative,
                    batch_norm=options.batch_norm,
                    statistics=options.statistics,
                )
                yield {"target": target, "arm": arm, "seed": seed}, step


def section(table: Table, options: Options) -> Section:
    """What each block's rewinding costs, how many can go back together, and what to do with which."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No network has been rewound yet."])
    findings: list[Finding] = []
    drawn: list[Chart] = []
    views: list[View] = []
    notes: list[str] = []
    for (name,), every in table.rows.group_by("target", maintain_order=True):
        target = str(name)
        rows = every.filter(pl.col("data") == options.splits[-1])
        rows = rows.with_columns(pl.col("drop").cast(pl.Float64), arm=pl.col("arm").map_elements(trained, pl.String))
        alone = _start(rows, "rewind")
        if lost := alone["drop"].null_count():
            why = outcomes.UNDEFINED if alone["metric"][0] == "auc" else "their outputs are no longer finite numbers"
            notes.append(f"On {target} {lost} of {alone.height} rewound networks have no score: {why}.")
        if alone["drop"].count() == 0:
            continue
        if (own := block_basis.own_scores(target, _own(rows), "by more than chance (paired by image)")) is not None:
            notes.append(own)
        findings += [
            *_fine_tuned(target, alone, options),
            *_scratch(target, alone, options),
            *_together(target, rows, options),
        ]
        drawn += _charts(target, rows, options)
        views.append(advice.by_loss(target, alone, options.threshold))
        tuned = rows.filter(pl.col("arm") == "P-T")
        views += advice.frozen(target, _start(tuned, "rewind"), _start(tuned, "bottom"), options.threshold)
    if few := too_few(table.rows["seed"].n_unique()):
        notes.append(few)
    basis = block_basis.read(
        f"{options.splits[-1]} images (at most {options.images})",
        options.batch_norm,
        f"the same training images (at most {options.statistics})",
        options.checkpoint,
    )
    return Section(TITLE, findings, drawn, views, notes=notes, basis=basis)


def _own(rows: pl.DataFrame) -> pl.DataFrame:
    """Arm, seed, score and own score of every network that has both, and whether they differ by more than chance."""
    now, own = (rows.filter(pl.col("how") == how).drop_nulls("score") for how in ("none", "own"))
    both = now.select("arm", "seed", "score").join(
        own.select(
            "arm", "seed", pl.col("score").alias("own"), *(c for c in ("drop_low", "drop_high") if c in own.columns)
        ),
        on=["arm", "seed"],
    )
    ends = {"drop_low", "drop_high"} <= set(both.columns)
    apart = (pl.col("drop_low") > 0) | (pl.col("drop_high") < 0) if ends else pl.col("own") != pl.col("score")
    return both.with_columns(differs=apart.fill_null(pl.col("own") != pl.col("score")))


def _start(rows: pl.DataFrame, how: str) -> pl.DataFrame:
    return rows.filter((pl.col("how") == how) & (pl.col("checkpoint") == "start"))


def _unit(rows: pl.DataFrame) -> str:
    return phrases.unit(rows["metric"][0])


def _basis(rows: pl.DataFrame, options: Options) -> str:
    return block_basis.words(rows, f"{options.splits[-1]} images")


def _points(value: float) -> str:
    return f"{100 * value:z.1f}"


def _fine_tuned(target: str, alone: pl.DataFrame, options: Options) -> list[Finding]:
    """Claim 9, first half: the lower blocks of P-T can be rewound without harm, the upper ones less so."""
    rows, names = alone.filter(pl.col("arm") == "P-T"), per_block.order(alone)
    lower, upper = per_block.halves(names)
    low, high = per_block.level(rows, "drop", lower), per_block.level(rows, "drop", upper)
    gap = per_block.contrast(rows, "drop", upper, lower)
    if low is None or high is None or gap is None:
        return []
    text = (
        f"On {target}, rewinding one block of the lower half of P-T ({per_block.span(lower)}) costs "
        f"{_points(low.mean)} {_unit(alone)} on average over blocks and seeds, "
        f"{advice.harm(low, options.threshold)} by the threshold of {_points(options.threshold)}; one of the upper "
        f"half costs {_points(high.mean)}. "
        f"{per_block.HEADLESS} {_basis(alone, options)}."
    )
    found = [
        contrasts.judged(
            text,
            contrasts.moved(gap, 100),
            f"{_unit(alone)}, upper minus lower half",
            9,
            [gap, contrasts.moved(low, -1, options.threshold)],
        )
    ]
    if (rank := per_block.trend(rows, "drop", names)) is not None:
        rises = "rises towards the head" if rank.mean > 0.3 else "falls towards the head" if rank.mean < -0.3 else None
        text = (
            f"On {target}, the loss by rewinding a block of P-T {rises or 'does not follow its depth'} "
            f"{_basis(alone, options)}."
        )
        found.append(contrasts.told(text, rank, "rank correlation of depth and loss"))
    return found


def _scratch(target: str, alone: pl.DataFrame, options: Options) -> list[Finding]:
    """Claim 9, second half: in RI-T the first block and those where stages begin are critical."""
    rows = alone.filter(pl.col("arm") == "RI-T")
    first, rest = per_block.entries(per_block.order(alone))
    gap, of, other = (
        per_block.contrast(rows, "drop", first, rest),
        per_block.level(rows, "drop", first),
        per_block.level(rows, "drop", rest),
    )
    if gap is None or of is None or other is None:
        return []
    text = (
        f"On {target}, rewinding a block of RI-T where a stage begins ({phrases.listed(first)}) costs "
        f"{_points(of.mean)} {_unit(alone)} on average over blocks and seeds, {'more' if gap.mean > 0 else 'NOT more'} "
        f"than another block ({_points(other.mean)}). {per_block.HEADLESS} {_basis(alone, options)}."
    )
    return [contrasts.judged(text, contrasts.moved(gap, 100), f"{_unit(alone)}, stage entries minus others", 9, [gap])]


def _together(target: str, rows: pl.DataFrame, options: Options) -> list[Finding]:
    """How many blocks, counted from the bottom, can go back together."""
    body = per_block.order(_start(rows, "rewind"))[:-1]
    bottom = _start(rows, "bottom").filter(pl.col("block").is_in(body))
    counts = _counts(bottom, options.threshold)
    if counts.is_empty():
        return []
    said = [
        f"{contrasts.average(of['blocks']):z.1f} of {arm}" for (arm,), of in counts.group_by("arm", maintain_order=True)
    ]
    text = (
        f"On {target}, of {len(body)} blocks below the head the lowest {phrases.listed(said)} can be rewound together "
        f"at a loss of at most {_points(options.threshold)} {_unit(rows)}, in the mean over seeds of each seed's "
        f"count {_basis(rows, options)}."
    )
    tuned, scratch = (counts.filter(pl.col("arm") == arm).sort("seed") for arm in ("P-T", "RI-T"))
    both = tuned.join(scratch, on="seed", suffix="_scratch")
    if both.is_empty():
        arm = counts["arm"][0]
        own = counts.filter(pl.col("arm") == arm)["blocks"].to_numpy()
        return [contrasts.told(text, mean_interval(own), f"blocks of {arm}")]
    gap = paired_interval(both["blocks"].to_numpy(), both["blocks_scratch"].to_numpy())
    return [contrasts.told(text, gap, "blocks more in P-T than in RI-T")]


def _counts(bottom: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """The length of the longest run of blocks from the bottom that can go back together, for every arm and seed."""
    found = []
    for (arm, seed), of in bottom.group_by("arm", "seed", maintain_order=True):
        drops = of["drop"].to_list()
        if any(d is not None for d in drops):
            fine = [d is not None and d <= threshold for d in drops]
            found.append({"arm": arm, "seed": seed, "blocks": float(advice.run(fine))})
    return pl.DataFrame(found, schema={"arm": pl.String, "seed": pl.Int64, "blocks": pl.Float64})


def _charts(target: str, rows: pl.DataFrame, options: Options) -> list[Chart]:
    found = []
    where = f"{phrases.word(rows['metric'][0])} on up to {options.images} {options.splits[-1]} images"
    where += f" {block_basis.words(rows, 'same images for all')}"
    lost = f"{phrases.word(rows['metric'][0])} lost"
    alone = _start(rows, "rewind").drop_nulls("drop")
    means = per_block.means(alone, "drop")
    spec = charts.bars(
        means,
        "block",
        "drop",
        "arm",
        low="low",
        high="high",
        value_title=lost,
        percent=True,
        runs=alone.select("arm", "block", "seed", "drop"),
    )
    caption = (
        f"Each block alone set back to its start; {where}. Bars: means with 95% intervals over seeds; dots: seeds."
    )
    found.append(Chart(f"{target}-blocks", f"What rewinding a block costs on {target}", spec, caption))
    bottom = _start(rows, "bottom").drop_nulls("drop")
    if not bottom.is_empty():
        means = per_block.means(bottom, "drop")
        spec = charts.lines(
            means,
            "block",
            "drop",
            "arm",
            low="low",
            high="high",
            percent=True,
            y_title=lost,
            runs=bottom.select("arm", "block", "seed", "drop"),
            x_title="rewound up to this block",
            reference=options.threshold,
        )
        caption = f"The block and all below it set back together; {where}. The rule is the threshold."
        found.append(Chart(f"{target}-together", f"Rewinding from the bottom on {target}", spec, caption))
    heat = rows.filter(pl.col("how") == "rewind").drop_nulls("drop")
    heat = heat.filter(pl.col("checkpoint").n_unique().over("arm", "seed") > 1)
    if not heat.is_empty():
        heat = heat.filter(pl.col("seed") == heat["seed"][0])
        scale = (0.0, max(0.01, float(heat["drop"].max() or 0.0)))  # type: ignore[arg-type]
        maps = [
            charts.heat(of, "checkpoint", "block", "drop", percent=True, domain=scale, value_title=lost, title=str(arm))
            for (arm,), of in heat.group_by("arm", maintain_order=True)
        ]
        spec = charts.beside(*maps) if len(maps) > 1 else maps[0]
        caption = f"Seed {heat['seed'][0]}; every block alone set back to its value at a saved epoch; {where}."
        found.append(Chart(f"{target}-epochs", f"When each block was settled on {target}", spec, caption))
    fresh = rows.filter(pl.col("how") == "redraw").drop_nulls("drop")
    if not fresh.is_empty():
        both = alone.join(fresh.select("arm", "seed").unique(), on=["arm", "seed"], how="semi")
        both = pl.concat(
            [both.with_columns(what=pl.lit("set back to its start")), fresh.with_columns(what=pl.lit("drawn anew"))]
        )
        means = both.group_by("arm", "block", "what", maintain_order=True).agg(pl.col("drop").mean())
        spec = charts.dots(means, "block", "drop", "what", facet="arm", value_title=lost, percent=True)
        caption = f"The same seeds in both; {where}. A block drawn anew has random weights it has never had before."
        found.append(Chart(f"{target}-redrawn", f"Rewound and redrawn blocks on {target}", spec, caption))
    return found
