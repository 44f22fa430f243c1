"""Barrier: does performance stay up on the straight line between two trained networks?

Every weight is moved in a straight line from one network to another and the network in between is tested. Pairs: two
seeds of an arm, the pretrained arm beside every other arm with the same seed, and the best and the last weights of one
run; on request two runs from the same random start, and two runs whose units were matched first. (Neyshabur, Sedghi and
Zhang 2020, section 3 and figures 4 and 16; barriers: Frankle et al. 2020 and Entezari et al. 2022; matching of units:
Ainsworth et al. 2023.)

How to read it. The *barrier* is how far the score falls on the line below the mean of its ends (Frankle); up to 2
points count as none. Measured from the chord between the ends (Entezari) it is smaller where the ends differ: read that
one for the best and the last weights of one run. Connected networks can be averaged. A barrier between two fine-tuned
networks belongs to their heads as well: runs that share the new head's first values and runs that do not are two
questions, and every finding says which one was asked. Networks with batch norm need new statistics at every point;
without them a barrier appears that is not there. The line has one basis: its ends are re-estimated like all between,
from the same training images, for stale statistics at the ends alone would hide a barrier; what the networks score with
their own statistics stands beside, and a note says where that differs by more than chance. A barrier is the largest of
several noisy differences and leans upward by about the noise; that of several lines is the mean of their largest ones.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import barriers, contrasts, phrases
from transferscope.analyses._shared.barriers import ALIGNED, LIMIT, NORMS, SAME_INIT
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import kind_of, pairs, sides, trained
from transferscope.study.schema import as_tuple

TITLE = "What lies between two networks"
Kind = Literal["replicas", "arms", "best"]
Norm = Literal["refresh", "average", "first", "last"]
Where = Literal["test", "val", "train"]


class Options(analyses.OfTrained):
    """Which lines are drawn, how finely, and on which images they are tested."""

    pairs: Annotated[tuple[Kind, ...], BeforeValidator(as_tuple)] = ("replicas", "arms", "best")
    """What is joined: `replicas` (two seeds of an arm), `arms` (the pretrained arm and another), `best` (one run's best
    and last weights)."""
    same_init: bool = False
    """Whether two runs from one random start are joined too."""
    align: bool = False
    """Whether replicas of the random arm are joined once more after matching their units."""
    alphas: Annotated[int, Field(ge=3)] | Literal["adaptive"] = "adaptive"
    """How many even steps the line has; `adaptive` adds points until the barrier is known to `tolerance`."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How exactly `adaptive` finds the barrier, as a share of the score (0.01 is one point)."""
    splits: Annotated[tuple[Where, ...], BeforeValidator(as_tuple), Field(min_length=1)] = ("test",)
    """The splits to test on, the first of which the findings use."""
    images: Annotated[int, Field(ge=8)] = 1000
    """Images of test and of val to score on, at most."""
    train_images: Annotated[int, Field(ge=8)] = 500
    """Training images to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 250
    """Training images from which batch-norm statistics are re-estimated."""
    batch_norm: Annotated[tuple[Norm, ...], BeforeValidator(as_tuple), Field(min_length=1)] = ("refresh",)
    """Where the statistics on the line come from, the findings using the first listed: `refresh` re-estimates them at
    every point, `average` averages them like the weights, `first` and `last` take those of one end."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair and batch-norm strategy."""
    counts = {"test": options.images, "val": options.images, "train": options.train_images}
    for target in study.targets:
        for labels, a, a_at, b, b_at in _pairs_of(study, target, options):
            for norm in options.batch_norm:
                step = barriers.line.step(
                    a=a,
                    a_at=a_at,
                    b=b,
                    b_at=b_at,
                    data=study.data(target),
                    splits=list(options.splits),
                    images={split: counts[split] for split in options.splits},
                    statistics=options.statistics,
                    batch_norm=norm,
                    alphas=options.alphas,
                    tolerance=options.tolerance,
                    align=labels["pair"].endswith(ALIGNED),
                )
                yield {"target": target, **labels, "batch_norm": norm}, step


def _pairs_of(study: Study, target: str, options: Options) -> Iterator[tuple[dict[str, Any], Step, str, Step, str]]:
    """Labels, and the two ends of every line: a run and the name of its weights."""
    at = options.checkpoint
    for pair in pairs(study, target):
        if pair.b.at != "end" or ("replicas" if pair.a.arm == pair.b.arm else "arms") not in options.pairs:
            continue
        yield dict(pair.labels), pair.a.run, at, pair.b.run, at
        if options.align and pair.a.arm == pair.b.arm == "random":
            yield {**pair.labels, "pair": pair.kind + ALIGNED}, pair.a.run, at, pair.b.run, at
    for arm in sorted(study.arms, key="pretrained".__ne__):
        for seed in study.seeds:
            run, name = study.run(target, arm, seed), trained(arm)
            if "best" in options.pairs:
                yield {"pair": f"{name} best & last", "seed": seed, "seed_b": seed}, run, "best", run, "final"
            if options.same_init and arm == "random":
                child = barriers.fork(study, target, arm, seed, 0, 1)
                yield {"pair": kind_of(name) + SAME_INIT, "seed": seed, "seed_b": None}, run, at, child, at


def section(table: Table, options: Options) -> Section:
    """Curves and barriers by kind of pair, whether fine-tuned networks connect, and every pair in a table."""

    def told(target: str, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
        every = barriers.curves(rows)
        main = every.filter((pl.col("split") == options.splits[0]) & (pl.col("batch_norm") == options.batch_norm[0]))
        found = [*_connected(target, main), *_others(target, main), *_strategies(target, every, options)]
        return found, _charts(target, rows, every, options), _summary(target, every)

    images = options.train_images if options.splits[0] == "train" else options.images
    statistics = NORMS[options.batch_norm[0]]
    if options.batch_norm[0] == "refresh":
        statistics += f" (at most {options.statistics})"
    basis = barriers.read(f"{options.splits[0]} images (at most {images})", statistics, options.checkpoint)
    return contrasts.section(TITLE, table.rows, told, _notes, basis)


def _connected(target: str, main: pl.DataFrame) -> list[Finding]:
    """Claim 7: no barrier between two P-T, one between two RI-T."""
    tuned, scratch = (barriers.over_pairs(main, kind_of(arm), "barrier") for arm in ("P-T", "RI-T"))
    found = []
    if tuned is not None:
        of = main.filter(pl.col("pair") == "P-T & P-T")
        verb = "connect" if tuned.mean <= LIMIT else "do NOT connect"
        if verb != "connect" and not tuned.excludes(LIMIT):
            verb = "are not shown to connect"
        text = f"On {target}, two fine-tuned networks {_heads(of)} {verb}: {_falls('two P-T', of, tuned.mean)}."
        effects = [contrasts.moved(tuned, -1, LIMIT), scratch and contrasts.moved(scratch, 1, -LIMIT)]
        found.append(contrasts.judged(text, contrasts.moved(tuned, 100), barriers.points(of), 7, effects))
        middle = of.drop_nulls(["middle", "ends"])
        if not middle.is_empty():
            gap = contrasts.interval(100 * (middle["middle"] - middle["ends"]).to_numpy(), chained=True)
            text = (
                f"On {target}, the middle of the line between two P-T scores "
                f"{contrasts.average(middle['middle']):z.1%}, its ends {contrasts.average(middle['ends']):z.1%}."
            )
            found.append(contrasts.told(text, gap, barriers.points(of)))
    if scratch is not None:
        of = main.filter(pl.col("pair") == "RI-T & RI-T")
        too = ", too" if tuned is not None and tuned.mean <= LIMIT else ""
        verb = f"connect{too}" if scratch.mean <= LIMIT else "do not connect"
        text = f"On {target}, two networks from scratch {_heads(of)} {verb}: {_falls('two RI-T', of, scratch.mean)}."
        found.append(contrasts.told(text, contrasts.moved(scratch, 100), barriers.points(of)))
    return found


def _others(target: str, main: pl.DataFrame) -> list[Finding]:
    """What the remaining kinds of pairs show."""
    found = []
    for kind in main["pair"].unique(maintain_order=True):
        own = kind.endswith(" best & last")
        of = main.filter(pl.col("pair") == kind)
        height = barriers.over_pairs(of, kind, "chord_barrier" if own else "barrier")
        if height is None or kind in ("P-T & P-T", "RI-T & RI-T"):
            continue
        name = kind.removesuffix(" best & last")
        if own:
            verb = "no barrier lies" if height.mean <= LIMIT else "a barrier lies"
            text = (
                f"On {target}, {verb} between the best and the last weights of one {name} run: the score falls "
                f"{100 * height.mean:z.1f} points below the chord between them{_worst(of, 'chord_barrier')}."
            )
        elif kind.endswith(SAME_INIT):
            verb = "connect" if height.mean <= LIMIT else "do not connect"
            start = _falls("them", of, height.mean)
            text = f"On {target}, two networks from one random start, with other orders of the images, {verb}: {start}."
        elif kind.endswith(ALIGNED):
            before = contrasts.mean(main, kind.removesuffix(ALIGNED), "barrier")
            text = (
                f"On {target}, matching the units of two RI-T {_heads(of)} leaves a barrier of "
                f"{100 * height.mean:z.1f} points"
                + (f" of the {100 * before:z.1f} there were" if before is not None else "")
                + "."
            )
        else:
            a, b = sides(kind)
            who = f"two {a}" if a == b else f"{a} and {b}"
            verb = "connect" if height.mean <= LIMIT else "do not connect"
            text = f"On {target}, {who} {_heads(of)} {verb}: {_falls(who, of, height.mean)}."
        found.append(contrasts.told(text, contrasts.moved(height, 100), barriers.points(of)))
    return found


def _strategies(target: str, every: pl.DataFrame, options: Options) -> list[Finding]:
    """What other treatments of the batch-norm statistics make of the line between two P-T."""
    found = []
    of = every.filter((pl.col("pair") == "P-T & P-T") & (pl.col("split") == options.splits[0]))
    first = barriers.over_pairs(of.filter(pl.col("batch_norm") == options.batch_norm[0]), "P-T & P-T", "barrier")
    for norm in options.batch_norm[1:]:
        other = barriers.over_pairs(of.filter(pl.col("batch_norm") == norm), "P-T & P-T", "barrier")
        if first is None or other is None:
            continue
        text = (
            f"On {target}, with batch-norm statistics {NORMS[norm]} the barrier between two P-T is "
            f"{100 * other.mean:z.1f} points, with statistics {NORMS[options.batch_norm[0]]} {100 * first.mean:z.1f}."
        )
        found.append(contrasts.told(text, contrasts.moved(other, 100), barriers.points(of)))
    return found


def _heads(of: pl.DataFrame) -> str:
    return "whose heads began with the same values" if of["head"][0] == "shared" else "with heads begun at random each"


def _falls(who: str, of: pl.DataFrame, height: float) -> str:
    """How far the score falls on the line between `who`."""
    text = f"on the line between {who} the {of['split'][0]} {phrases.word(of['measure'][0])} "
    ends, lowest = of["ends"].drop_nulls(), of["lowest"].drop_nulls()
    if height < 0.0005 and not ends.is_empty():
        return f"{text}never falls below the mean of its ends, {contrasts.average(ends):z.1%}"
    text += f"falls {100 * height:z.1f} points below the mean of its ends"
    if not ends.is_empty() and not lowest.is_empty():
        text += f", from {contrasts.average(ends):z.1%} to {contrasts.average(lowest):z.1%}"
    return f"{text}{_worst(of, 'barrier')}"


def _worst(of: pl.DataFrame, height: str) -> str:
    """What the fall is, and how the statistics were treated where that is not the default."""
    norm = str(of["batch_norm"][0])
    basis = "" if norm == "refresh" else f", with batch-norm statistics {NORMS[norm]}"
    return f"{barriers.worst(of[height].drop_nulls().len())}{basis}"


def _charts(target: str, rows: pl.DataFrame, every: pl.DataFrame, options: Options) -> list[Chart]:
    first = options.batch_norm[0]
    main = rows.filter((pl.col("batch_norm") == first) & ~pl.col("pair").str.ends_with(" best & last"))
    facet = "split" if len(options.splits) > 1 else None
    words = main["statistics"][0] if not main.is_empty() else ""
    caption = f"Thick: means over pairs. Faint: single pairs. Batch-norm statistics: {words}."
    found = list(
        barriers.chart(f"{target}-lines", f"On the line between two networks, {target}", main, caption, facet=facet)
    )
    values = every.filter(pl.col("split") == options.splits[0]).with_columns(barrier=100 * pl.col("barrier"))
    parts = []
    for key, of in values.drop_nulls("barrier").group_by("pair", "batch_norm", maintain_order=True):
        height = barriers.over_pairs(of, str(key[0]), "barrier")
        if height is not None:
            parts.append(
                {
                    "pair": key[0],
                    "statistics": NORMS[str(key[1])],
                    "barrier": height.mean,
                    "low": height.low,
                    "high": height.high,
                }
            )
    if not parts:
        return found
    schema = dict.fromkeys(("pair", "statistics"), pl.String) | dict.fromkeys(("barrier", "low", "high"), pl.Float64)
    runs = values.select("pair", "seed", "barrier", statistics=pl.col("batch_norm").replace(NORMS)).drop_nulls(
        "barrier"
    )
    spec = charts.dots(
        pl.DataFrame(parts, schema=schema),
        "pair",
        "barrier",
        "statistics" if len(options.batch_norm) > 1 else "pair",
        low="low",
        high="high",
        runs=runs,
        value_title="barrier (points)",
        reference=100 * LIMIT,
    )
    caption = (
        "How far the score falls below the mean of the ends. Large: mean and 95% interval over seeds; small: single "
        f"pairs. The rule stands at {100 * LIMIT:g} points, below which networks count as connected."
    )
    return [*found, Chart(f"{target}-barriers", f"Barriers on {target}", spec, caption)]


def _summary(target: str, every: pl.DataFrame) -> View:
    """Every pair: its ends, its middle, and both barriers with their bootstrap intervals over images, in points."""

    def with_interval(name: str, low: str, high: str) -> pl.Expr:
        parts = [(100 * pl.col(part)).round(1).cast(pl.String).fill_null("-") for part in (name, low, high)]
        return pl.format("{} [{}, {}]", *parts)

    named = {
        "first": "first",
        "middle": "middle",
        "second": "second",
        "first_own": "first (own statistics)",
        "second_own": "second (own statistics)",
    }
    numbers = [(100 * pl.col(name)).round(1).alias(title) for name, title in named.items()]
    found = every.select(
        "pair",
        "seed",
        "seed_b",
        "split",
        pl.col("batch_norm").alias("statistics"),
        "head",
        *numbers,
        with_interval("barrier", "barrier_low", "barrier_high").alias("barrier"),
        with_interval("chord_barrier", "chord_low", "chord_high").alias("from the chord"),
        pl.col("loss_barrier").round(3).alias("barrier of the loss"),
        "points",
        "images",
    )
    caption = (
        "Scores in percent, barriers in points with 95% bootstrap intervals over images, the loss in nats. Barriers "
        "are measured from the ends as the line has them; own statistics: these networks with the batch-norm "
        "statistics they came with. points: how many places of the line were evaluated."
    )
    return View(f"{target}-pairs", f"Every line on {target}", found, caption)


def _notes(rows: pl.DataFrame) -> list[str]:
    """What to know of heads and of lines without a length, and of the seeds."""
    found = []
    if (rows["head"] == "own").any():
        found.append(
            "Runs here began with heads of their own (head: per-seed). A barrier between them can come from the heads "
            "alone: body and head grow into each other. With head: shared the question is about the bodies."
        )
    if "same" in rows.columns and rows["same"].any():
        found.append("Where the last epoch was also the best one, the line from best to last has no length.")
    return [*found, *barriers.basis(rows), *contrasts.notes_on_seeds(rows)]
