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

from collections.abc import Iterator
from typing import Any

from transferscope.analyses._shared import contrasts, judging, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.basin.figures import floor, summary_table, walls
from transferscope.analyses.basin.findings import basin, last
from transferscope.analyses.basin.options import Options
from transferscope.analyses.basin.step import measure
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Section
from transferscope.study import Study
from transferscope.study.pairs import pairs

TITLE = "Whether the line runs in a basin"


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair of neighbouring seeds of each arm asked for."""
    arms = options.arms or (("pretrained",) if "pretrained" in study.arms else study.arms[:1])
    outcomes.known_arms(study, "basin", arms)
    how = options.model_dump(exclude={"arms", "checkpoint"}) | {"per_weight": list(options.per_weight)}
    for target in study.targets:
        for pair in pairs(study, target):
            if pair.b.at == "end" and pair.a.arm == pair.b.arm and pair.a.arm in arms:
                data = study.data(target)
                runs: dict[str, Any] = {"a": pair.a.run, "b": pair.b.run, "at": options.checkpoint, "data": data}
                step = measure.step(**runs, **how, **judging.judging(data))
                yield {"target": target, **pair.labels}, step


def section(table: ResultTable, options: Options) -> Section:
    """Whether every pair's segment is a basin, the error along it, and the margins off its ends."""
    if table.rows.is_empty():
        return Section(TITLE, notes=["No pair of networks has finished yet (this analysis needs two seeds)."])
    said = Parts(notes=contrasts.notes_on_pairs(table.rows))
    for target, rows in by_target(table.rows):
        every = last(rows)
        if every.is_empty():
            continue
        for (kind,), of in every.group_by("pair", maintain_order=True):
            said.findings.append(basin(target, str(kind), of))
        said.charts += [*floor(target, table), *walls(target, rows)]
        said.tables.append(summary_table(target, every))
    basis = (
        "Every network on the segment, beyond it and under noise is scored on the same test images (at most "
        f"{options.images}), in eval mode; batch-norm statistics, where there are any, are re-estimated for each from "
        f"the same training images (at most {options.statistics}). {phrases.weights(options.checkpoint)} Standard "
        "errors are over draws of noise, not over images."
    )
    return said.section(TITLE, basis + judging.basis(table.rows, "loss"))
