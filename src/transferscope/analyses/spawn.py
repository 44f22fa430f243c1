"""Spawn: how early in training is it decided in which basin a run will end?

From the weights that a run had after epoch K two children go on, each with an order of images and augmentation of its
own, to the last epoch. If the line between the children has no barrier, what came after epoch K no longer decided where
the run ends up. (The instability analysis of Frankle et al. 2020, section 3; Neyshabur, Sedghi and Zhang 2020, section
3, compare fine-tuned networks that share their start, which is epoch 0 of the pretrained arm.)

How to read it. The curve shows the barrier between two children against the epoch they parted at: from the epoch on
where it stays below 2 points the run is *stable*. A pretrained run that is stable from epoch 0 starts inside its final
basin. All points of a line, the children themselves too, have batch-norm statistics re-estimated from the same training
images; the children's own scores stand in the table. Each barrier is read at the worst place of its line, chosen on
other images than it is read on. Children keep their parent's learning-rate schedule; momentum starts afresh where they
part. Children of epoch 0 of the random arm share every initial weight and are apart only through chance in training.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import barriers, contrasts, judging, line_step, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, Finding, Section, View
from transferscope.strict_models import as_tuple
from transferscope.study import Study

TITLE = "When a run's basin is decided"


def _saved(epochs: tuple[int, ...] | None) -> tuple[int, ...] | None:
    for epoch in epochs or ():
        if epoch < 0 or epoch & (epoch - 1):
            raise ValueError(f"runs save epochs 0, 1, 2, 4, 8, ...; there is nothing to start from at {epoch}")
    return epochs


Epochs = Annotated[tuple[int, ...] | None, BeforeValidator(as_tuple), AfterValidator(_saved)]


class Options(analyses.Options):
    """When children part, of which arms, and how finely their line is tested; each epoch trains two children a seed
    (one at epoch 0, where the parent is the other)."""

    epochs: Epochs = None
    """Epochs to part at, of those that runs save: 0, 1, 2, 4, 8, ...; null for all of them."""
    arms: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    """Arms whose runs have children; null for the random and the pretrained one."""
    alphas: Annotated[int, Field(ge=3)] | Literal["adaptive"] = "adaptive"
    """How many even steps the line has; `adaptive` adds points until the barrier is known to `tolerance`."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How exactly `adaptive` finds the barrier, as a share of the score (0.01 is one point)."""
    images: Annotated[int, Field(ge=8)] = 1000
    """Test images to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 250
    """Training images from which batch-norm statistics are re-estimated."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """Two children and the line between them for every target, arm, epoch and seed."""
    arms = options.arms or [arm for arm in study.arms if arm in ("pretrained", "random")] or study.arms[:1]
    outcomes.known_arms(study, "spawn", arms)
    last = min(study.recipe.epochs_of(arm) for arm in arms)
    epochs = options.epochs or (0, *(2**k for k in range(last.bit_length()) if 2**k < last))
    if late := [epoch for epoch in epochs if epoch >= last]:
        raise UserError(f"analyses.spawn.epochs: a run of {last} epochs has nothing left to train after {late[0]}.")
    for target in study.targets:
        for arm in arms:
            for epoch in epochs:
                for seed in study.seeds:
                    parent = study.run(target, arm, seed)
                    first = line_step.fork(study, target, arm, seed, epoch, 2) if epoch else parent
                    step = line_step.line.step(
                        a=first,
                        a_at="final",
                        b=line_step.fork(study, target, arm, seed, epoch, 1),
                        b_at="final",
                        data=study.data(target),
                        splits=["test"],
                        images={"test": options.images},
                        statistics=options.statistics,
                        batch_norm="refresh",
                        alphas=options.alphas,
                        tolerance=options.tolerance,
                        align=False,
                        **judging.judging(study.data(target)),
                    )
                    yield {"target": target, "arm": arm, "epoch": epoch, "seed": seed}, step


def section(table: ResultTable, options: Options) -> Section:
    """The barrier between children against the epoch they parted at, and from when on a run is stable."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No pair of children has finished yet."])
    said = Parts()
    for target, rows in by_target(table.rows):
        every = barriers.curves(rows, ("arm", "epoch", "seed", "split")).drop_nulls("barrier")
        if every.is_empty():
            continue
        means = _means(every)
        for (arm,), of in means.group_by("arm", maintain_order=True):
            said.findings.append(_stable(target, str(arm), of, every.filter(pl.col("arm") == arm)))
        runs = every.select("arm", "epoch", pl.col("seed"), barrier=barriers.times(every) * pl.col("barrier"))
        spec = charts.lines(
            means,
            "epoch",
            "barrier",
            "arm",
            low="low",
            high="high",
            runs=runs,
            reference=barriers.times(every) * barriers.limit(every),
            x_title="epoch at which the children part",
            y_title=f"barrier between them ({barriers.points(every)})",
        )
        caption = "Thick: mean and 95% interval over seeds. Faint: single seeds. Below the rule they are connected."
        said.charts.append(Chart(f"{target}-spawn", f"Barriers between children on {target}", spec, caption))
        every = every.with_columns(own=(pl.col("first_own") + pl.col("second_own")) / 2)
        shown = {
            "ends": "ends",
            "own": "ends, own statistics",
            "lowest": "lowest",
            "middle": "middle",
            "barrier": "barrier",
        }
        sign = "%" if phrases.percent(every["measure"][0]) else barriers.hundredths(every)
        numbers = [
            barriers.column(c, every, level=c != "barrier").alias(f"{title} ({sign})") for c, title in shown.items()
        ]
        said.tables.append(
            View(f"{target}-children", f"Pairs of children on {target}", every.select("arm", "epoch", "seed", *numbers))
        )
    few = contrasts.notes_on_pairs(table.rows.with_columns(seed_b=pl.col("seed")))[:1]
    said.notes += [*(note for note in few if note != contrasts.TWINS), *barriers.basis(table.rows)]
    statistics = f"{barriers.NORMS['refresh']} (at most {options.statistics})"
    basis = barriers.read(f"test images (at most {options.images})", statistics) + judging.basis(table.rows)
    return said.section(TITLE, basis)


def _means(every: pl.DataFrame) -> pl.DataFrame:
    """Mean barrier in points by arm and epoch, with its interval over seeds."""
    found = []
    for (arm, epoch), of in every.sort("epoch").group_by("arm", "epoch", maintain_order=True):
        height = contrasts.moved(_height(of), barriers.times(of))
        found.append(
            {
                "arm": arm,
                "epoch": epoch,
                "barrier": height.mean,
                "low": height.low,
                "high": height.high,
                "seeds": height.n,
            }
        )
    numbers = dict.fromkeys(("barrier", "low", "high"), pl.Float64)
    return pl.DataFrame(found, schema={"arm": pl.String, "epoch": pl.Int64, **numbers, "seeds": pl.Int64})


def _height(of: pl.DataFrame) -> Interval:
    """The mean barrier of pairs of children, with its interval over seeds."""
    return contrasts.interval(of["barrier"].to_numpy(), name="barrier", metric=of["measure"][0])


def _stable(target: str, arm: str, means: pl.DataFrame, every: pl.DataFrame) -> Finding:
    """From which of the epochs on children of an arm connect."""
    rows = means.sort("epoch").rows(named=True)
    shown = {
        row["epoch"]: barriers.outcome(_height(every.filter(pl.col("epoch") == row["epoch"])), every) for row in rows
    }
    stable, last = None, rows[-1]["epoch"]
    for epoch, what in reversed(shown.items()):
        if what != "within":
            break
        stable = epoch
    tried = phrases.listed([str(row["epoch"]) for row in rows])
    limit = f"(at most {barriers.most(every)} {barriers.hundredths(every)})"
    if stable is None:
        still = "still do not connect" if shown[last] == "beyond" else "are not shown to connect"
        when = f"{still} when they part at epoch {last}, the last tried"
    elif stable == rows[0]["epoch"]:
        when = f"connect {limit} whenever they part, from epoch {stable} on"
    else:
        when = f"connect {limit} when they part at epoch {stable} or later, of which alone it is shown"
    height = phrases.difference(rows[0]["barrier"], str(every["measure"][0]))
    first = every.filter(pl.col("epoch") == rows[0]["epoch"])
    text = (
        f"On {target}, two children of one {arm} run {when} (tried: {tried}); the barrier between "
        f"those of epoch {rows[0]['epoch']} is {height} "
        f"{barriers.hundredths(every)}{barriers.worst(first.height)}."
    )
    shown_height = contrasts.moved(_height(first), barriers.times(every))
    return contrasts.finding(text, shown_height, barriers.points(every))
