"""Barrier: does performance stay up on the straight line between two trained networks?

Every weight is moved in a straight line from one network to another and the network in between is tested. Pairs: two
seeds of an arm, the pretrained arm beside every other arm with the same seed, and the best and the last weights of one
run; on request two runs from the same random start, and two runs whose units were matched first. (Neyshabur, Sedghi and
Zhang 2020, section 3 and figures 4 and 16; barriers: Frankle et al. 2020 and Entezari et al. 2022; matching of units:
Ainsworth et al. 2023.)

How to read it. The *barrier* is how far the score falls on the line below the mean of its ends (Frankle); up to 2
points count as none (of an error that judges: 2% of the numbers' deviation in training). Measured from the chord
between the ends (Entezari) it is smaller where the ends differ: read that one for the best and the last weights of one
run. Connected networks can be averaged. A barrier between two fine-tuned networks belongs to their heads as well: runs
that share the new head's first values and runs that do not are two questions, and every finding says which one was
asked. Networks with batch norm need new statistics at every point; without them a barrier appears that is not there.
The line has one basis: its ends are re-estimated like all between, from the same training images, for stale statistics
at the ends alone would hide a barrier; what the networks score with their own statistics stands beside, and a note says
where that differs by more than chance. The worst place of a line is chosen on four fifths of the images and read on the
other fifth, each fifth in turn: the largest of several noisy differences would lean upward by about the noise. So a
barrier may read a little below 0 where there is none, and a little too low where many places are about as bad. That of
several lines is the mean of theirs; where all pairs of three networks of an arm or more are walked, the page also says
into how many basins they fall, which a mean would hide.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from transferscope.analyses._shared import barriers, contrasts, judging, line_step
from transferscope.analyses._shared.barriers import ALIGNED, NORMS, SAME_INIT
from transferscope.analyses.barrier.basins import basins
from transferscope.analyses.barrier.figures import draw, summary_table
from transferscope.analyses.barrier.findings import connected, heights, others, strategies
from transferscope.analyses.barrier.options import Options
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import kind_of, pairs, trained

TITLE = "What lies between two networks"


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair and batch-norm strategy."""
    counts = {"test": options.images, "val": options.images, "train": options.train_images}
    for target in study.targets:
        for labels, a, a_at, b, b_at in _pairs_of(study, target, options):
            for norm in options.batch_norm:
                step = line_step.line.step(
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
                    **judging.judging(study.data(target)),
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
                child = line_step.fork(study, target, arm, seed, 0, 1)
                yield {"pair": kind_of(name) + SAME_INIT, "seed": seed, "seed_b": None}, run, at, child, at


def section(table: ResultTable, options: Options) -> Section:
    """Curves and barriers by kind of pair, whether fine-tuned networks connect, and every pair in a table."""
    measured: list[Any] = []

    def of_target(target: str, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
        every = barriers.curves(rows)
        main = every.filter((pl.col("split") == options.splits[0]) & (pl.col("batch_norm") == options.batch_norm[0]))
        found = [
            *connected(target, main),
            *basins(target, main),
            *others(target, main),
            *strategies(target, every, options),
        ]
        measured.extend(heights(target, main))
        return found, draw(target, rows, every, options), summary_table(target, every)

    images = options.train_images if options.splits[0] == "train" else options.images
    statistics = NORMS[options.batch_norm[0]]
    if options.batch_norm[0] == "refresh":
        statistics += f" (at most {options.statistics})"
    basis = barriers.read(f"{options.splits[0]} images (at most {images})", statistics, options.checkpoint)
    basis += judging.basis(table.rows)
    return replace(contrasts.section(TITLE, table.rows, of_target, _notes, basis), readings=measured)


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
    return [*found, *barriers.basis(rows), *contrasts.notes_on_pairs(rows)]
