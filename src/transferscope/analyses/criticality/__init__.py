"""Criticality: how far did each block have to move from its start, and how exactly?

One block at a time is put somewhere between its start and its final value with noise added, all other blocks final.
Its criticality mu is the least (share of the way x distance / noise)^2 at which the training error stays within a
tolerance, there and under all less noise (of few images and draws some place far outside the valley would do by luck).
A block that works at its start scores 0; one that needed a long way into a narrow valley scores high.
(Chatterji, Neyshabur and Sedghi 2020; Neyshabur, Sedghi and Zhang 2020, section 3 and figures 5 and 6.)

How to read it. Large blocks have a larger mu because distance sums over weights. Blocks are therefore compared by
log10(1 + mu / number of weights), the form in which mu enters the bound of Chatterji et al.: 0 for a block that may
stay at its start, 2 for one that moved ten times as far, weight by weight, as the noise that it bears. The *valleys*
show the training error over the way (from left to right) and the noise (mirrored about 0, as in the paper): wide and
even for a block that could have stayed anywhere, a wedge that opens on the right for one that had to move. Noise is
relative to the size of the block's weights. Where even the least noise is too much, mu is at least the value given.
The table of blocks also tells between what the criticality of the first seed's network lies (95%), as few draws and
images leave it open: "at least" where they show no cell to hold. More `images` and `draws` narrow it; the grid's own
steps come on top.

What it rests on. In every cell, and for the final network, batch-norm statistics are estimated anew from the training
images that are evaluated; the final network's error with its own stands beside. With `batch_norm: as found` they are
the final network's everywhere, a part of what a cell loses is one of fit, and the findings say so. All is decided in
float32 unless asked otherwise: bfloat16 moves a score by a step of the grid. The criticality of a whole network is a
sum over blocks that one or two of them make up, which are named. The head, random at the start in every arm, belongs to
no half and is never advised to be frozen.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from transferscope.analyses._shared import advice, block_basis, per_block, readings
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.criticality.card import card
from transferscope.analyses.criticality.figures import bars, networks, valleys
from transferscope.analyses.criticality.findings import VALUE, fine_tuned, network_sums, own_scores, scratch
from transferscope.analyses.criticality.options import Options
from transferscope.analyses.criticality.step import measure
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Section
from transferscope.study import Study
from transferscope.study.pairs import trained

NOT_FOR = {"regression": "it counts wrong answers, and numbers to predict are not right or wrong"}
UNSWAYED = (
    "it goes by the share of wrong training answers whatever metric: says ({names}), of which its bound is; a cell is "
    "decided by the answers that are surely wrong, before all are known"
)
TITLE = "Which blocks had to move"
HALVES = "Criticality of a block of the upper half less one of the lower, fine-tuned networks"


def unswayed(study: Study) -> Iterator[str]:
    """That another metric than accuracy judges nothing here."""
    if names := [name for name, target in study.targets.items() if target.metric not in (None, "accuracy")]:
        yield UNSWAYED.format(names=", ".join(names))


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per target, arm and seed."""
    said = {"auto": ["auto"], "none": []}.get(options.valleys) if isinstance(options.valleys, str) else options.valleys
    given = options.model_dump(mode="json", exclude={"valleys", "valley_seeds"})
    for target in study.targets:
        for arm in study.arms:
            for seed in study.seeds:
                drawn = list(said or []) if per_block.includes(options.valley_seeds, seed, study.seeds) else []
                step = measure.step(run=study.run(target, arm, seed), data=study.data(target), valleys=drawn, **given)
                yield {"target": target, "arm": arm, "seed": seed}, step


def section(table: ResultTable, options: Options) -> Section:
    """Criticality by block and arm, the valleys of a few blocks, and what to do with which."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No network has been measured yet."])
    for target, every in by_target(table.rows):
        rows = every.with_columns(arm=pl.col("arm").map_elements(trained, pl.String))
        scores = rows.filter(pl.col("kind") == "score").with_columns(value=(1 + VALUE).log10())
        if scores["value"].count() == 0:
            continue
        said.findings += [*fine_tuned(target, scores), *scratch(target, scores), *network_sums(target, scores)]
        if (own := block_basis.own_scores(target, own_scores(scores), "on these training images")) is not None:
            said.notes.append(own)
        said.cards += card(target, scores)
        apart = per_block.halves_apart(scores.filter(pl.col("arm") == "P-T"), "value")
        said.readings += readings.by_seed("criticality", "Freeze", HALVES, target, "powers of ten", apart)
        said.charts += [*bars(target, scores, options), *valleys(target, rows, options)]
        said.tables += [advice.by_criticality(target, scores), networks(target, scores)]
        if lost := int(scores["at_least"].sum()):
            said.notes.append(
                f"On {target} {lost} of {scores.height} blocks bear not even the least noise: their criticality is at "
                "least the value given if they need the whole of their way. More training images, or a larger "
                "tolerance, would tell more."
            )
    images = f"training images (at most {options.images})"
    basis = block_basis.read(images, options.batch_norm, "these images", options.checkpoint)
    return said.section(TITLE, basis)
