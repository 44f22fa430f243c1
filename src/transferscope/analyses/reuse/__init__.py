"""Reuse: how much of what pretraining gives is due to features, how much to the statistics of the weights?

Between the random start and the pretrained one stand control arms. `stats` redraws every weight tensor with the
pretrained tensor's mean and variance: the scale is kept, the features are gone (`permuted` keeps the whole histogram).
`transfuse:K` has pretrained values up to block K and random ones above. What the pretrained arm scores beyond `stats`
is due to features. (Raghu et al. 2019, "Transfusion"; Matsoukas et al. 2022. Neyshabur, Sedghi and Zhang 2020,
figure 3, ask the same question with shuffled images.)

How to read it. The line shows the final test metric against the last block that got pretrained values: from "none" to
"all". Where it stops rising, the blocks above gain nothing from pretraining; where it rises most, the features that
matter sit. The dashed rule is `stats`: if it lies near "all", statistics explain the gain. The share due to features is
(P-T - stats) / P-T; for an AUC, whose value without any skill is 50%, it can hardly exceed one half, and of an error
there is none, only of the gain. Optimisation speed
is the mean training metric over the epochs. "Not distinguishable" means that the interval includes no difference: with
few seeds it is wide, and says little. Pretrained values up to a block are *enough* if they are shown to end less than
`margin` points below those in all blocks (one-sided, 5%); cut points are asked from the highest down, as far as that
holds, and what is neither shown to be within the margin nor beyond it is undecided.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from transferscope.analyses._shared import gains, outcomes, phrases, readings
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.reuse.card import card
from transferscope.analyses.reuse.figures import curves, lines, summary_table
from transferscope.analyses.reuse.findings import enough, features, of_arm, speed
from transferscope.analyses.reuse.options import POINTS, Options
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError, did_you_mean
from transferscope.models.anatomy import block_names, body_names
from transferscope.section import Section, View
from transferscope.study import Study

TITLE = "Features or statistics"


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One training run per target, start and seed, from no pretrained block to all of them."""
    outcomes.need_weights(study, "reuse")
    names = block_names(study.network, study.memo)
    suffix = "+stats" if options.above == "stats" else ""
    plain = dict.fromkeys(("random", *options.controls, options.above))
    starts: list[tuple[str, int | None, str | None]]
    starts = [(arm, 0, "none") if arm == options.above else (arm, None, None) for arm in plain]
    starts += [(f"transfuse:{k}{suffix}", k, names[k - 1]) for k in cuts(study, options)]
    starts.append(("pretrained", len(names), "all"))
    changes: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    for target in study.targets:
        for arm, blocks, upto in starts:
            for seed in options.seeds or study.seeds:
                labels = {"target": target, "arm": arm, "blocks": blocks, "upto": upto, "seed": seed}
                yield labels, study.run(target, arm, seed, **changes)


def cuts(study: Study, options: Options) -> list[int]:
    """The numbers of blocks that keep pretrained values, increasing, none of them equal to no block or to all.

    UserError for a block there is not, and for one from which on nothing pretrained is left above.
    """
    names = block_names(study.network, study.memo)
    most = names.index(body_names(study.network, study.memo)[-1])
    if options.at == "none":
        return []
    if options.at == "every":
        return list(range(1, most + 1))
    if options.at is None:
        return sorted({int(k) for k in np.linspace(1, most, min(POINTS, most)).round()}) if most else []
    found = set()
    for at in options.at:
        if isinstance(at, str) and at not in names:
            raise UserError(f"analyses.reuse.at: the network has no block '{at}'; {did_you_mean(at, names)}")
        count = names.index(at) + 1 if isinstance(at, str) else at
        if count > most:
            raise UserError(
                f"analyses.reuse.at: above '{at}' nothing pretrained is left to leave out; give counts of blocks from "
                f"1 to {most} or names up to '{names[most - 1]}'."
            )
        found.add(count)
    return sorted(found)


def section(table: ResultTable, options: Options) -> Section:
    """The share due to features, speed, the block after which nothing is gained, and the line from none to all."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    places = table.rows.select("target", "arm", "blocks", "upto").unique(maintain_order=True)
    every = outcomes.summarise(table.rows).join(places, on=["target", "arm"], how="left", maintain_order="left")
    every = gains.with_parts(every, table, ["target", "arm", "seed"])
    for target, of_target in by_target(every):
        said.notes += outcomes.undefined(of_target, "final", target)
        said.notes += outcomes.lengths(table.rows.filter(pl.col("target") == target), target)
        runs = of_target.drop_nulls(["final", "speed"])
        if runs.is_empty():
            continue
        said.findings += [
            *features(target, runs, said.notes),
            *speed(target, runs),
            *enough(target, runs, options.margin),
        ]
        said.cards += card(target, runs)
        said.readings += _readings(target, runs)
        said.charts += [*lines(target, runs, options), *curves(target, table.rows)]
        said.tables.append(View(f"{target}-starts", f"Every start on {target}, means over seeds", summary_table(runs)))
    basis = f"{gains.basis(every)} {outcomes.SPEED} A share of the score counts as a difference, to first order; the "
    return said.section(TITLE, f"{basis}share of the gain has its interval over seeds.")


def _readings(target: str, runs: pl.DataFrame) -> list[readings.Reading]:
    """What pretrained weights score beyond random ones of the same scale."""
    tuned, scale = (runs.filter(of_arm(arm)) for arm in ("pretrained", "stats"))
    if (points := gains.difference(tuned, scale)) is None:
        return []
    metric = str(runs["metric"][0])
    how = phrases.less("from pretrained weights", "from random ones of the same scale", metric)
    asks = f"Final test {phrases.word(metric)} {how}"
    return readings.of_scores("features", "Why", asks, target, metric, points, gains.common_seeds([tuned, scale]))
