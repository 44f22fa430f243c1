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
from dataclasses import replace
from typing import Any

import polars as pl

from transferscope.analyses._shared import advice, block_basis, judging, outcomes, per_block, phrases, readings
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.rewind.card import card
from transferscope.analyses.rewind.figures import draw
from transferscope.analyses.rewind.findings import fine_tuned, own_scores, scratch, start, together
from transferscope.analyses.rewind.options import Options
from transferscope.analyses.rewind.step import measure
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Section
from transferscope.study import Study
from transferscope.study.pairs import trained

TITLE = "Which blocks can be rewound"
HALVES = "Score lost by rewinding a block of the upper half less one of the lower, fine-tuned networks"


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
                    checkpoints=per_block.includes(options.checkpoints, seed, study.seeds),
                    redraw=per_block.includes(options.redraw, seed, study.seeds),
                    cumulative=options.cumulative,
                    batch_norm=options.batch_norm,
                    statistics=options.statistics,
                    **judging.judging(study.data(target)),
                )
                yield {"target": target, "arm": arm, "seed": seed}, step


def section(table: ResultTable, options: Options) -> Section:
    """What each block's rewinding costs, how many can go back together, and what to do with which."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No network has been rewound yet."])
    for target, every in by_target(table.rows):
        rows = every.filter(pl.col("data") == options.splits[-1])
        rows = rows.with_columns(pl.col("drop").cast(pl.Float64), arm=pl.col("arm").map_elements(trained, pl.String))
        alone = start(rows, "rewind")
        if lost := alone["drop"].null_count():
            finite = alone["metric"][0] == "accuracy"
            why = "their outputs are no longer finite numbers" if finite else outcomes.why(alone)
            said.notes.append(f"On {target} {lost} of {alone.height} rewound networks have no score: {why}.")
        if alone["drop"].count() == 0:
            continue
        if (
            own := block_basis.own_scores(
                target, own_scores(rows), "by more than chance (paired by image)", rows["metric"][0]
            )
        ) is not None:
            said.notes.append(own)
        threshold = phrases.threshold(options.threshold, rows)
        said.findings += [
            *fine_tuned(target, alone, options),
            *scratch(target, alone, options),
            *together(target, rows, options),
        ]
        said.charts += draw(target, rows, options)
        said.tables.append(advice.by_loss(target, alone, threshold))
        tuned = rows.filter(pl.col("arm") == "P-T")
        said.tables += advice.frozen(target, start(tuned, "rewind"), start(tuned, "bottom"), threshold)
        apart = {
            seed: phrases.times(rows["metric"][0]) * v
            for seed, v in per_block.halves_apart(start(tuned, "rewind"), "drop").items()
        }
        judged, unit = str(rows["metric"][0]), phrases.unit(rows["metric"][0])
        said.readings += readings.by_seed("rewind", "Freeze", HALVES, target, unit, apart, judged=judged)
        said.cards += card(target, start(tuned, "rewind"), start(tuned, "bottom"), threshold)
    basis = block_basis.read(
        f"{options.splits[-1]} images (at most {options.images})",
        options.batch_norm,
        f"the same training images (at most {options.statistics})",
        options.checkpoint,
    )
    whole = said.section(TITLE, basis + judging.basis(table.rows, "metric"))
    return replace(whole, unasked={"Freeze": "rewind: {cumulative: bottom}"}) if options.cumulative == "none" else whole
